"""Voice activity with real weights: silero-vad's model on asyncjit's `nn`, many audio streams at once.

Each stream is a fork that feeds the model chunk by chunk, 32 ms each, and carries a state of its own; the model is one
for all of a rate. Run it: `python examples/vad.py [FILE.wav ...]` (16-bit PCM at 8 or 16 kHz), or without files on
audio that it generates. It prints when the probability of speech was above a threshold.

The weights come from the wheel of silero-vad (MIT). It is installed alone, `pip install --no-deps silero-vad==6.2.3`,
since what it requires (torch) is not needed here; `pip install 'asyncjit[examples]'` brings onnx, which reads the file.
Not from the wheel's safetensors: those are of another training than the model that the package runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit import nn, sync
from asyncjit.nn import functional

Array = NDArray[np.float32]

RATES = {8_000: "else_branch", 16_000: "then_branch"}  # samples a second, and where the file has the model for them
INSTALL = "pip install 'asyncjit[examples]' && pip install --no-deps silero-vad==6.2.3"
NAMES = {
    "stft.forward_basis_buffer": "stft.weight",
    ".reparam_conv": "",
    "decoder.rnn": "lstm",
    "decoder.decoder.2": "score",
}


class Stream(NamedTuple):
    """Audio that comes chunk by chunk."""

    name: str
    rate: int
    chunks: Iterator[Array]  # of `chunk_size(rate)` samples; the last may be shorter


class State(NamedTuple):
    """What is carried from chunk to chunk of N streams."""

    context: Array  # (N, chunk / 8), the end of the last chunk, which the model sees again
    h: Array  # (N, 128), of the LSTM
    c: Array  # (N, 128)


def chunk_size(rate: int) -> int:
    """Return the samples of a chunk: 32 ms."""
    return rate * 32 // 1000


class Detector(nn.Module):
    """Short-time Fourier transform, four convolutions, an LSTM cell, and one score out of it."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.chunk = chunk_size(rate)
        self.context = self.chunk // 8
        self.bins = self.chunk // 4 + 1
        self.stft = nn.Conv1d(1, 2 * self.bins, self.chunk // 2, stride=self.chunk // 4, bias=False)
        self.encoder = nn.ModuleList(
            [
                nn.Conv1d(self.bins, 128, 3, padding=1),
                nn.Conv1d(128, 64, 3, stride=2, padding=1),
                nn.Conv1d(64, 64, 3, stride=2, padding=1),
                nn.Conv1d(64, 128, 3, padding=1),
            ]
        )
        self.lstm = nn.LSTMCell(128, 128)
        self.score = nn.Conv1d(128, 1, 1)

    def initial_state(self, N: int = 1) -> State:
        """Return the state of N streams that begin."""
        h, c = np.zeros((2, N, 128), np.float32)
        return State(np.zeros((N, self.context), np.float32), h, c)

    def forward(self, chunk: Array, state: State) -> tuple[Array, State]:
        """Return the probabilities (N,) that there is speech in `chunk`, of shape (N, chunk), and the next state."""
        reflection = chunk[:, -2 : -self.context - 2 : -1]
        spectrum = self.stft(np.concatenate((state.context, chunk, reflection), axis=1)[:, np.newaxis])
        x = np.hypot(spectrum[:, : self.bins], spectrum[:, self.bins :])  # real and imaginary parts
        for conv in self.encoder:
            x = functional.relu(conv(x))
        h, c = self.lstm(x[:, :, 0], (state.h, state.c))
        score = self.score(functional.relu(h)[:, :, np.newaxis])[:, 0, 0]
        return functional.sigmoid(score), State(chunk[:, -self.context :], h, c)


def load_detector(rate: int) -> Detector:
    """Return the model for a rate with the weights of silero-vad's wheel, without importing the package."""
    wheel = importlib.util.find_spec("silero_vad")
    if wheel is None or wheel.origin is None or importlib.util.find_spec("onnx") is None:
        raise SystemExit(f"this example needs the weights of silero-vad, and onnx to read them: {INSTALL}")
    import onnx
    import onnx.numpy_helper

    model = onnx.load(Path(wheel.origin).with_name("data") / "silero_vad.onnx")
    (choice,) = (node for node in model.graph.node if node.op_type == "If")  # by the rate
    (graph,) = (attribute.g for attribute in choice.attribute if attribute.name == RATES[rate])
    detector = Detector(rate)
    weights = {}
    for node in graph.node:
        _, _, name = node.output[0].partition("__Inline_0__")
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        if node.op_type == "Constant" and name in detector.state_dict():
            weights[name] = onnx.numpy_helper.to_array(node.attribute[0].t)
    detector.load_state_dict(weights)
    return detector


def listen(detector: Detector, chunks: Iterable[Array]) -> Array:
    """Return the probability of speech in each chunk of one stream; this is what is forked."""
    state, probabilities = detector.initial_state(), []
    for chunk in chunks:
        whole = np.zeros((1, detector.chunk), np.float32)  # the last one may be short
        whole[0, : len(chunk)] = chunk
        probability, state = detector(whole, state)
        probabilities.append(probability)
    return np.concatenate(probabilities) if probabilities else np.zeros(0, np.float32)


def stretches(probabilities: Array, threshold: float) -> list[tuple[float, float]]:
    """Return start and end, in seconds, of each run of chunks above the threshold."""
    is_speech = np.concatenate(([False], probabilities > threshold, [False]))
    edges = np.flatnonzero(is_speech[1:] != is_speech[:-1]) * 0.032
    return [(float(start), float(end)) for start, end in edges.reshape(-1, 2)]


def stream_of_file(path: Path) -> Stream:
    """Return a stream that reads a WAV file as it goes; OSError if the model cannot hear it."""
    try:
        with wave.open(str(path)) as file:
            rate, width = file.getframerate(), file.getsampwidth()
    except (EOFError, wave.Error) as error:
        raise OSError(f"cannot read {path}: {error!r}") from error
    if rate not in RATES or width != 2:
        raise OSError(f"{path} has {8 * width} bits at {rate} Hz, and should have 16 bits at 8000 or 16000 Hz")
    return Stream(str(path), rate, chunks_of_file(path, chunk_size(rate)))


def chunks_of_file(path: Path, size: int) -> Iterator[Array]:
    """Yield a WAV file chunk by chunk, its channels averaged."""
    with wave.open(str(path)) as file:
        num_channels = file.getnchannels()
        while frames := file.readframes(size):
            num_frames = len(frames) // (2 * num_channels)  # a file that was cut off may end within one
            samples = np.frombuffer(frames, "<i2", num_frames * num_channels).reshape(num_frames, num_channels)
            yield samples.mean(axis=1, dtype=np.float32) / 32768


def chunks_of(audio: Array, size: int) -> Iterator[Array]:
    """Yield an array chunk by chunk."""
    for start in range(0, len(audio), size):
        yield audio[start : start + size]


def voice(seconds: int, pitch: float, rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a second of four vowels, a second of silence, and so on: harmonics of a falling pitch, three formants."""
    formants = np.array([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)])
    time = np.arange(rate // 4) / rate
    phase = 2 * np.pi * pitch * (time - time**2 / 4)
    order = np.arange(1, int(rate / 2 / pitch))[:, np.newaxis]  # of the harmonics
    syllables = []
    for number in range(4 * seconds):
        gains = (1 / (1 + ((order * pitch - rng.choice(formants)) / 100) ** 2)) @ [1.0, 0.5, 0.25]
        loudness = 0.2 * np.sin(4 * np.pi * time) * (number % 8 < 4)
        syllables.append(loudness * (gains @ np.sin(order * phase)))
    return np.concatenate(syllables) + rng.normal(0, 1e-3, seconds * rate)


def generated(rate: int = 16_000, seconds: int = 8) -> list[Stream]:
    """Return streams to try the model on."""
    rng = np.random.default_rng(0)
    time = np.arange(seconds * rate) / rate
    noise = rng.normal(0, 0.1, len(time))
    audio = {
        "low voice": voice(seconds, 110, rate, rng),
        "high voice": voice(seconds, 220, rate, rng),
        "voice in noise": voice(seconds, 140, rate, rng) + noise / 10,
        "noise": noise,
        "bursts of noise": noise * (np.sin(8 * np.pi * time) > 0),
        "tone": 0.3 * np.sin(880 * np.pi * time),
    }
    size = chunk_size(rate)
    return [Stream(name, rate, chunks_of(samples.astype(np.float32), size)) for name, samples in audio.items()]


def main() -> None:
    """Print when there is speech in each stream, all streams forked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.wav", help="16-bit PCM at 8 or 16 kHz")
    parser.add_argument("--threshold", type=float, default=0.5, help="of the probability (default 0.5)")
    options = parser.parse_args()
    try:
        streams = [stream_of_file(path) for path in options.files] or generated()
    except OSError as error:
        parser.error(str(error))
    detectors = {rate: load_detector(rate) for rate in {stream.rate for stream in streams}}
    futures = [sync.fork(listen, detectors[stream.rate], stream.chunks) for stream in streams]
    for stream, future in zip(streams, futures, strict=True):
        found = stretches(sync.wait(future), options.threshold)
        print(f"{stream.name}:", ", ".join(f"{start:.2f}–{end:.2f} s" for start, end in found) or "no speech")


if __name__ == "__main__":
    main()
