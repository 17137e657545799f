"""The voice activity example hears what onnxruntime hears with the wheel's own ONNX file."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import nn, sync
from tests.examples.loading import EXAMPLES, load_example
from tests.support import is_ci, optional

ROOT = EXAMPLES.parent
EXAMPLE = EXAMPLES / "vad.py"


@pytest.fixture(scope="module")
def weights() -> Path:
    """Return the folder of the weights. The package itself needs torch, and is not imported."""
    optional("onnx")
    wheel = importlib.util.find_spec("silero_vad")
    if wheel is None or wheel.origin is None:
        reason = "silero-vad is not installed: pip install --no-deps silero-vad==6.2.3"
        if is_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(wheel.origin).with_name("data")


@pytest.fixture(scope="module")
def vad() -> ModuleType:
    return load_example(EXAMPLE)


@pytest.fixture(scope="module")
def session(weights: Path) -> Any:
    onnxruntime = optional("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(weights / "silero_vad.onnx"), options)


def heard(session: Any, chunks: list[NDArray[np.float32]], rate: int) -> list[float]:
    """Return onnxruntime's probability for each chunk, called as the wheel's own wrapper calls it."""
    size = 512 if rate == 16_000 else 256
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, size // 8), np.float32)
    probabilities = []
    for chunk in chunks:
        x = np.concatenate((context, np.pad(chunk, (0, size - len(chunk)))[np.newaxis]), axis=1)
        found, state = session.run(None, {"input": x, "state": state, "sr": np.array(rate)})
        context = x[:, -size // 8 :]
        probabilities.append(float(found[0, 0]))
    return probabilities


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_each_chunk_of_each_stream_is_heard_as_onnxruntime_hears_it(vad: ModuleType, session: Any, rate: int) -> None:
    detector = vad.load_detector(rate)
    streams = {stream.name: list(stream.chunks) for stream in vad.generated(rate, seconds=4)}
    streams["cut short"] = [*streams["low voice"][:20], streams["low voice"][20][:100]]
    with sync.Runtime(2):
        futures = {name: sync.fork(vad.listen, detector, chunks) for name, chunks in streams.items()}
        ours = {name: sync.wait(future) for name, future in futures.items()}
    expected = {name: heard(session, chunks, rate) for name, chunks in streams.items()}
    for name, probabilities in ours.items():
        np.testing.assert_allclose(probabilities, expected[name], rtol=0, atol=1e-4, err_msg=name)
    assert min(min(probabilities) for probabilities in expected.values()) < 0.01
    assert max(max(probabilities) for probabilities in expected.values()) > 0.9


def test_streams_forked_together_are_heard_bit_for_bit_as_one_by_one(
    vad: ModuleType, weights: Path, num_interop_threads: int
) -> None:
    detector = vad.load_detector(16_000)
    streams = [list(stream.chunks) for stream in vad.generated(seconds=1)]
    one_by_one = [vad.listen(detector, chunks) for chunks in streams]
    with sync.Runtime(num_interop_threads) as runtime:
        together = sync.wait_all([sync.fork(vad.listen, detector, chunks) for chunks in streams])
    assert runtime.statistics().forked == len(streams)
    for alone, forked in zip(one_by_one, together, strict=True):
        np.testing.assert_array_equal(alone, forked)


def test_a_batch_of_streams_is_heard_as_its_streams(vad: ModuleType, weights: Path) -> None:
    detector = vad.load_detector(16_000)
    chunks = np.stack([next(stream.chunks) for stream in vad.generated(seconds=1)])
    state = detector.initial_state(len(chunks))
    for _ in range(3):  # the same again, so that the state counts
        together, state = detector(chunks, state)
    for number, chunk in enumerate(chunks):
        assert together[number] == pytest.approx(vad.listen(detector, [chunk] * 3)[-1], abs=1e-6)


def test_the_wheels_safetensors_holds_a_model_of_the_same_make(vad: ModuleType, weights: Path) -> None:
    optional("safetensors")
    found = nn.load(weights / "silero_vad_16k.safetensors")
    renamed = {"stft_conv": "stft", "lstm_cell": "lstm", "final_conv": "score"}
    renamed |= {f"conv{number + 1}": f"encoder.{number}" for number in range(4)}
    state = {f"{renamed[name.partition('.')[0]]}.{name.partition('.')[2]}": array for name, array in found.items()}
    detector = vad.load_detector(16_000)
    window = detector.stft.weight
    detector.load_state_dict(state)
    np.testing.assert_array_equal(detector.stft.weight, window)  # the one part that was not trained anew


def test_stretches_begin_and_end_where_the_threshold_is_passed(vad: ModuleType) -> None:
    def found(*probabilities: float) -> list[tuple[int, int]]:
        stretches = vad.stretches(np.array(probabilities, np.float32), 0.5)
        return [(round(start * 1000), round(end * 1000)) for start, end in stretches]

    assert found() == []
    assert found(0.1, 0.5) == []
    assert found(0.9) == [(0, 32)]
    assert found(0.1, 0.9, 0.8, 0.2, 0.6) == [(32, 96), (128, 160)]


def write_wav(path: Path, samples: NDArray[np.int16], rate: int, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_a_file_is_read_chunk_by_chunk_and_its_channels_averaged(vad: ModuleType, tmp_path: Path, rate: int) -> None:
    size = rate * 32 // 1000
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (2 * size + 5, 2)).astype(np.int16)
    write_wav(tmp_path / "two.wav", samples, rate)
    stream = vad.stream_of_file(tmp_path / "two.wav")
    chunks = list(stream.chunks)
    assert (stream.name, stream.rate) == (str(tmp_path / "two.wav"), rate)
    assert [len(chunk) for chunk in chunks] == [size, size, 5]
    assert {chunk.dtype for chunk in chunks} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.concatenate(chunks), samples.astype(np.float64).mean(axis=1) / 2**15, atol=1e-6)


def test_a_file_that_was_cut_off_within_a_sample_ends_before_it(vad: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    write_wav(path, np.full((600, 1), 2**14, np.int16), 16_000)
    path.write_bytes(path.read_bytes()[:-3])
    chunks = list(vad.stream_of_file(path).chunks)
    assert [len(chunk) for chunk in chunks] == [512, 600 - 512 - 2]
    assert np.concatenate(chunks) == pytest.approx(0.5)


def test_files_that_cannot_be_heard_are_named_with_the_reason(
    vad: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(name: str) -> str:
        monkeypatch.setattr(sys, "argv", ["vad.py", str(tmp_path / name)])
        with pytest.raises(SystemExit, match="2"):
            vad.main()
        return capsys.readouterr().err

    write_wav(tmp_path / "fast.wav", np.zeros((4, 1), np.int16), 44_100)
    write_wav(tmp_path / "coarse.wav", np.zeros((4, 1), np.int16), 16_000, width=1)
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "empty.wav").touch()
    assert "fast.wav has 16 bits at 44100 Hz, and should have 16 bits at 8000 or 16000 Hz" in error("fast.wav")
    assert "coarse.wav has 8 bits at 16000 Hz, and should have" in error("coarse.wav")
    assert f"cannot read {tmp_path / 'text.wav'}: Error('file does not start with RIFF id')" in error("text.wav")
    assert f"cannot read {tmp_path / 'empty.wav'}: EOFError()" in error("empty.wav")
    assert "No such file or directory" in error("missing.wav")


@pytest.mark.parametrize("package", ["silero_vad", "onnx"])
def test_where_a_part_is_missing_the_commands_that_install_it_are_named(
    vad: ModuleType, weights: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as the import system marks a module that is not there
    with pytest.raises(SystemExit) as caught:
        vad.load_detector(16_000)
    assert str(caught.value).endswith("pip install 'asyncjit[examples]' && pip install --no-deps silero-vad==6.2.3")


def test_make_installs_the_wheel_that_the_example_names(vad: ModuleType) -> None:
    asked = vad.INSTALL.partition("--no-deps")[2].strip()
    assert asked.startswith("silero-vad==")
    assert f"--no-deps {asked}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_example_prints_when_there_is_speech(tmp_path: Path, vad: ModuleType, weights: Path) -> None:
    def run(*arguments: str) -> list[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, str(EXAMPLE), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    generated = dict(line.split(": ") for line in run())
    assert generated.keys() == {stream.name for stream in vad.generated(seconds=1)}
    assert {name for name, found in generated.items() if found == "no speech"} == {"noise", "bursts of noise", "tone"}
    paths = []
    for rate in (8_000, 16_000):
        voice = vad.voice(2, 110, rate, np.random.default_rng(0))
        paths.append(str(tmp_path / f"{rate}.wav"))
        write_wav(Path(paths[-1]), (voice * 2**14)[:, np.newaxis].astype(np.int16), rate)
    for path, line in zip(paths, run(*paths, "--threshold", "0.3"), strict=True):
        name, found = line.split(": ")
        start, end = found.partition(", ")[0].removesuffix(" s").split("–")
        assert name == path
        assert 0 <= float(start) < float(end) < 1.2
