"""Chinese characters to pinyin with real weights: the g2pM model's bidirectional LSTM on asyncjit's `nn`.

A character with several readings is read by its sentence. Both directions of the LSTM are forked, and so are the
sentences of a text file. Run it: `python examples/pinyin.py [FILE]`; it needs `pip install 'asyncjit[examples]'`.

The weights come from the wheel of g2pM (Apache-2.0), in pickles. A pickle can run any code, so they are read by an
unpickler that knows the names that NumPy's arrays need and refuses all others.
"""

from __future__ import annotations

import argparse
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import nn, sync

UNKNOWN, START, END = "<UNK>", "시", "끝"  # g2pM's own tokens
SENTENCES = Path(__file__).with_name("sentences.txt")

# All that the four files of g2pM 0.1.2.5 name (`pickletools.genops` lists it); NumPy 2 calls the first numpy._core.
ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


class ArrayUnpickler(pickle.Unpickler):
    """Reads dicts, strings, numbers and NumPy's arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a name that NumPy's arrays need; refuse any other."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load(name: str) -> Any:
    """Read one of the files of g2pM's wheel, without importing the package."""
    spec = importlib.util.find_spec("g2pM")
    if spec is None or spec.origin is None:
        raise SystemExit("this example needs the weights of g2pM: pip install 'asyncjit[examples]'")
    with Path(spec.origin).with_name(name).open("rb") as file:
        return ArrayUnpickler(file).load()


class Tagger(nn.Module):
    """Embedding, bidirectional LSTM, two linear layers; from T character numbers to a reading for each of P places."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        super().__init__()
        embedding = weights["embedding.weight"].astype(np.float64)
        width = weights["lstm.weight_hh_l0"].shape[1]
        hidden, num_readings = weights["logit_layer.0.weight"].shape[0], weights["logit_layer.2.weight"].shape[0]
        self.embedding = embedding
        self.forwards = nn.LSTM(embedding.shape[1], width, dtype=np.float64)
        self.backwards = nn.LSTM(embedding.shape[1], width, dtype=np.float64)
        self.hidden = nn.Linear(2 * width, hidden, dtype=np.float64)
        self.readings = nn.Linear(hidden, num_readings, dtype=np.float64)
        for layer, suffix in ((self.forwards, ""), (self.backwards, "_reverse")):
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            layer.load_state_dict({name: weights[f"lstm.{name}{suffix}"].astype(np.float64) for name in names})
        for linear, key in ((self.hidden, "logit_layer.0"), (self.readings, "logit_layer.2")):
            linear.load_state_dict({name: weights[f"{key}.{name}"].astype(np.float64) for name in ("weight", "bias")})

    def forward(self, characters: NDArray[np.int64], places: list[int]) -> NDArray[np.int64]:
        """Return the number of the reading at each of `places`."""
        x = self.embedding[characters]
        future = sync.fork(self.forwards, x)
        backwards, _ = self.backwards(x[::-1])
        forwards, _ = sync.wait(future)
        both = np.concatenate((forwards, backwards[::-1]), axis=1)[places]
        found: NDArray[np.int64] = self.readings(np.maximum(self.hidden(both), 0.0)).argmax(axis=1)
        return found


class Reader:
    """From a sentence to its pinyin."""

    def __init__(self) -> None:
        self.dictionary: dict[str, list[str]] = load("digest_cedict.pkl")
        self._numbers: dict[str, int] = load("char2idx.pkl")
        self._names = {number: name for name, number in load("class2idx.pkl").items()}
        self._tagger = Tagger(load("np_ckpt.pkl"))

    def read(self, sentence: str) -> list[str]:
        """Return the pinyin of each character, with the tone's number; other characters as they are."""
        readings = [self.dictionary.get(character, [character]) for character in sentence]
        places = [place for place, choice in enumerate(readings) if len(choice) > 1]
        pinyin = [choice[0] for choice in readings]
        if places:
            unknown = self._numbers[UNKNOWN]
            numbers = [self._numbers.get(character, unknown) for character in sentence]
            framed = np.array([self._numbers[START], *numbers, self._numbers[END]])
            for place, number in zip(places, self._tagger(framed, [place + 1 for place in places]), strict=True):
                pinyin[place] = self._names[int(number)]
        return pinyin


def main() -> None:
    """Print the pinyin of every line of a file, all lines forked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", nargs="?", type=Path, default=SENTENCES, help="UTF-8 text, a sentence a line")
    path = parser.parse_args().file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"cannot read {path}: {error}")
    reader = Reader()
    for line, pinyin in zip(lines, sync.map(reader.read, lines), strict=True):
        print(line, " ".join(pinyin), sep="\n")


if __name__ == "__main__":
    main()
