"""Chinese characters to pinyin with real weights: the g2pM model's bidirectional LSTM on asyncjit's `nn`.

A character with several readings is read by its sentence. The sentences of a text file are sorted by length and read in
batches, and the batches are forked. Run it: `python examples/pinyin.py [FILE]`; it needs
`pip install 'asyncjit[examples]'`.

The weights come from the wheel of g2pM (Apache-2.0), in pickles. A pickle can run any code, so they are read by an
unpickler that knows the names that NumPy's arrays need and refuses all others.
"""

from __future__ import annotations

import argparse
import importlib.util
import pickle
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import nn, sync

UNKNOWN, START, END = "<UNK>", "시", "끝"  # g2pM's own tokens
BATCH = 32  # sentences: measured by benchmarks/pinyin.py
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
    """Embedding, bidirectional LSTM, two linear layers; from sentences of numbers to the readings at places in them."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        super().__init__()
        num_characters, size = weights["embedding.weight"].shape
        width = weights["lstm.weight_hh_l0"].shape[1]
        hidden, num_readings = weights["logit_layer.0.weight"].shape[0], weights["logit_layer.2.weight"].shape[0]
        self.embedding = nn.Embedding(num_characters, size)
        self.forwards = nn.LSTM(size, width)
        self.backwards = nn.LSTM(size, width)
        self.hidden = nn.Linear(2 * width, hidden)
        self.readings = nn.Linear(hidden, num_readings)
        self.embedding.load_state_dict({"weight": weights["embedding.weight"]})
        for layer, suffix in ((self.forwards, ""), (self.backwards, "_reverse")):
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            layer.load_state_dict({name: weights[f"lstm.{name}{suffix}"] for name in names})
        for linear, key in ((self.hidden, "logit_layer.0"), (self.readings, "logit_layer.2")):
            linear.load_state_dict({name: weights[f"{key}.{name}"] for name in ("weight", "bias")})

    def forward(self, sentences: list[list[int]], places: list[tuple[int, int]]) -> NDArray[np.int64]:
        """Return the number of the reading at each of `places`, which are pairs of a sentence and a step in it."""
        # Each sentence is reversed before it is padded: in both directions the padding comes last, and is not read.
        forwards, _ = self.forwards(self.embedding(pad(sentences)))
        backwards, _ = self.backwards(self.embedding(pad([sentence[::-1] for sentence in sentences])))
        which, step = np.array(places).T
        last = np.array([len(sentence) - 1 for sentence in sentences])
        both = np.concatenate((forwards[step, which], backwards[last[which] - step, which]), axis=1)
        found: NDArray[np.int64] = self.readings(np.maximum(self.hidden(both), 0)).argmax(axis=1)
        return found


def pad(sentences: list[list[int]]) -> NDArray[np.int64]:
    """Return the sentences as columns of one length, with zeros behind their ends."""
    columns = np.zeros((max(map(len, sentences)), len(sentences)), np.int64)
    for number, sentence in enumerate(sentences):
        columns[: len(sentence), number] = sentence
    return columns


class Reader:
    """From sentences to their pinyin."""

    def __init__(self) -> None:
        self.dictionary: dict[str, list[str]] = load("digest_cedict.pkl")
        self._numbers: dict[str, int] = load("char2idx.pkl")
        self._names = {number: name for name, number in load("class2idx.pkl").items()}
        self._tagger = Tagger(load("np_ckpt.pkl"))

    def read(self, sentence: str) -> list[str]:
        """Return the pinyin of each character, with the tone's number; other characters as they are."""
        return self.read_batch([sentence])[0]

    def read_all(self, sentences: list[str]) -> list[list[str]]:
        """Return the pinyin of each sentence; batches of similar length are forked."""
        by_length = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
        batches = [by_length[start : start + BATCH] for start in range(0, len(by_length), BATCH)]
        found = sync.map(self.read_batch, [[sentences[number] for number in batch] for batch in batches])
        pinyin = dict(zip(chain.from_iterable(batches), chain.from_iterable(found), strict=True))
        return [pinyin[number] for number in range(len(sentences))]

    def read_batch(self, sentences: list[str]) -> list[list[str]]:
        """Return the pinyin of each of a few sentences; this is what is forked."""
        unknown, start, end = (self._numbers[token] for token in (UNKNOWN, START, END))
        readings = [[self.dictionary.get(character, [character]) for character in sentence] for sentence in sentences]
        pinyin = [[choice[0] for choice in choices] for choices in readings]
        places = [(n, i) for n, choices in enumerate(readings) for i, choice in enumerate(choices) if len(choice) > 1]
        if places:
            framed = [[start, *(self._numbers.get(character, unknown) for character in s), end] for s in sentences]
            found = self._tagger(framed, [(n, i + 1) for n, i in places])
            for (n, i), number in zip(places, found.tolist(), strict=True):
                pinyin[n][i] = self._names[number]
        return pinyin


def main() -> None:
    """Print the pinyin of every line of a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", nargs="?", type=Path, default=SENTENCES, help="UTF-8 text, a sentence a line")
    path = parser.parse_args().file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"cannot read {path}: {error}")
    for line, pinyin in zip(lines, Reader().read_all(lines), strict=True):
        print(line, " ".join(pinyin), sep="\n")


if __name__ == "__main__":
    main()
