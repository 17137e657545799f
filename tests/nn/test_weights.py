"""`load` and `save`: what is written comes back to the bit, and nothing but arrays is ever read."""

import builtins
import json
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from asyncjit import nn
from asyncjit.nn.weights import load, save
from tests.support import optional

SUFFIXES = [".safetensors", ".npz"]
DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
SHAPES = st_np.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)

optional("safetensors")


class Tied(nn.Module):
    """A matrix under two names, a shared module, a buffer of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4, rng=1)
        self.second = nn.Linear(3, 4, rng=2)
        self.second.weight = self.first.weight
        self.again = self.first
        self.register_buffer("steps", np.array(7))


def as_safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """Write the format by hand, as its specification says: length of the header, header, data."""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def assert_same_bits(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()


# What is written comes back.


@given(
    arrays=st.dictionaries(
        st.text(st.characters(categories=["L", "N", "P"], exclude_characters="\\/"), max_size=8),
        st.sampled_from(DTYPES).flatmap(lambda dtype: st_np.arrays(dtype, SHAPES)),
        max_size=4,
    ),
    suffix=st.sampled_from(SUFFIXES),
)
def test_any_arrays_come_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray[Any, Any]], suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    save({name: array.T for name, array in arrays.items()}, path)
    loaded = load(path)
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert_same_bits(loaded[name], array.T)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_payload_of_a_nan_survives(suffix: str, tmp_path: Path) -> None:
    bits = np.array([0x7FC0_1234, 0xFFFF_FFFF, 0x7F80_0001, 0x8000_0000, 1], np.uint32)
    save({"x": bits.view(np.float32)}, tmp_path / f"nan{suffix}")
    assert load(tmp_path / f"nan{suffix}")["x"].view(np.uint32).tolist() == bits.tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_takes_back_what_it_saved_and_computes_the_same(suffix: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 300, rng=1), nn.LSTM(300, 4, bidirectional=True, rng=2))
    again = nn.Sequential(nn.Linear(5, 300), nn.LSTM(300, 4, bidirectional=True))
    save(model, tmp_path / f"model{suffix}")
    again.load_state_dict(load(tmp_path / f"model{suffix}"))
    for name, array in model.state_dict().items():
        assert_same_bits(again.state_dict()[name], array)
    x = np.ones((7, 2, 5), np.float32)
    np.testing.assert_array_equal(model(x)[0], again(x)[0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tied_arrays_are_written_under_each_name_and_buffers_too(suffix: str, tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    other.load_state_dict({name: array * 0 for name, array in other.state_dict().items()})
    save(model, tmp_path / f"tied{suffix}")
    loaded = load(tmp_path / f"tied{suffix}")
    assert set(loaded) == set(model.state_dict())
    assert_same_bits(loaded["second.weight"], model.first.weight)
    assert loaded["steps"].tolist() == 7
    other.load_state_dict(loaded)
    np.testing.assert_array_equal(other.second.weight, model.second.weight)
    assert other.second.weight is other.first.weight


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_loaded_may_be_written_to(suffix: str, tmp_path: Path) -> None:
    save({"x": np.zeros(3)}, tmp_path / f"x{suffix}")
    loaded = load(str(tmp_path / f"x{suffix}"))
    loaded["x"] += 1
    assert loaded["x"].tolist() == [1, 1, 1]


def test_other_readers_and_writers_of_the_formats_understand_ours(tmp_path: Path) -> None:
    w: Any = np.arange(6, dtype=np.float32).reshape(2, 3).T
    arrays = {"w": w, "file": np.array([1.0, 2.0]), "x.npy.y": np.array(True)}
    peer = optional("safetensors.numpy")
    save(arrays, tmp_path / "ours.safetensors")
    save(arrays, tmp_path / "ours.npz")
    peer.save_file({name: array.copy(order="C") for name, array in arrays.items()}, tmp_path / "theirs.safetensors")
    np.savez_compressed(tmp_path / "theirs.npz", w=w)
    with np.load(tmp_path / "ours.npz") as npz:
        read = [dict(npz), peer.load_file(tmp_path / "ours.safetensors")]
    read += [load(tmp_path / name) for name in ("ours.npz", "theirs.safetensors", "theirs.npz")]
    for found in read:
        for name in found:
            assert_same_bits(found[name], arrays[name])
    assert [set(found) for found in read] == [set(arrays)] * 4 + [{"w"}]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_arrays_make_the_same_file_at_any_time(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year in (1990, 2020):
        monkeypatch.setattr("time.localtime", lambda *args, year=year: time.struct_time((year, *[1] * 8)))
        save(nn.Linear(3, 4, rng=1), tmp_path / f"{year}{suffix}")
    assert (tmp_path / f"1990{suffix}").read_bytes() == (tmp_path / f"2020{suffix}").read_bytes()


def test_the_names_of_a_safetensors_file_come_in_order(tmp_path: Path) -> None:
    names = [f"layer.{number}" for number in range(10)]
    save(dict.fromkeys(reversed(names), np.zeros(1)), tmp_path / "x.safetensors")
    assert list(load(tmp_path / "x.safetensors")) == names


# Dtypes that NumPy has not.


def test_bfloat16_becomes_float32_of_the_same_values(tmp_path: Path) -> None:
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    path = tmp_path / "half.safetensors"
    path.write_bytes(as_safetensors({"w": ("BF16", [256, 256], every.tobytes())}))
    w = load(path)["w"]
    assert (w.shape, w.dtype) == ((256, 256), np.dtype(np.float32))
    for sign, exponent, fraction in [(0, 127, 0), (1, 128, 64), (0, 1, 127), (0, 254, 127)]:
        pattern = sign << 15 | exponent << 7 | fraction
        assert float(w.flat[pattern]) == (-1) ** sign * 2.0 ** (exponent - 127) * (1 + fraction / 128)
    assert float(w.flat[1]) == 2.0**-133  # the smallest subnormal
    assert w.view(np.uint32).ravel().tolist() == [pattern << 16 for pattern in range(2**16)]


def test_a_dtype_that_numpy_lacks_is_named_with_its_tensor(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    path.write_bytes(as_safetensors({"ok": ("F32", [1], bytes(4)), "layer.w": ("F8_E4M3", [2, 2], bytes(4))}))
    with pytest.raises(ValueError, match=r"small\.safetensors: layer\.w has the dtype F8_E4M3, which NumPy does not"):
        load(path)


def test_a_dtype_that_safetensors_lacks_is_named_with_its_array(tmp_path: Path) -> None:
    arrays = {"ok": np.zeros(1), "layer.w": np.zeros(2, np.complex128)}
    with pytest.raises(
        TypeError, match=r"layer\.w has the dtype complex128, which safetensors does not .*; \.npz does"
    ):
        save(arrays, tmp_path / "x.safetensors")
    save(arrays, tmp_path / "x.npz")
    assert_same_bits(load(tmp_path / "x.npz")["layer.w"], arrays["layer.w"])
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


# Files that are not what they should be.


def pickled() -> bytes:
    return pickle.dumps({"w": np.zeros(2)})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 7, b"<html>not found</html>" * 9, pickled(), b"\x93NUMPY\x01\0"], ids=repr
)
def test_foreign_content_is_an_error_that_names_the_file(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"foreign{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"foreign\{suffix} is damaged, or no \{suffix} file: .+"):
        load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_short_anywhere_is_damaged(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"whole{suffix}"
    save(nn.Linear(3, 2), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"whole.* is damaged"):
            load(path)


@given(where=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), suffix=st.sampled_from(SUFFIXES))
def test_a_flipped_bit_gives_arrays_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, where: float, bits: int, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"flipped{suffix}"
    weight = np.arange(6.0)
    save({"w": weight}, path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= bits
    path.write_bytes(content)
    loaded, message = {}, str(path)
    try:
        loaded = load(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    if suffix == ".npz":  # has checksums
        assert all(array.tobytes() == weight.tobytes() for array in loaded.values())


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("import builtins; builtins.is_sprung = True",)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "trap.npz"
    np.savez(path, ok=np.zeros(1), trap=np.array([Trap()]))
    with pytest.raises(ValueError, match=r"trap\.npz: trap\.npy is no plain array .*pickles, which are never loaded"):
        load(path)
    assert not hasattr(builtins, "is_sprung")


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "letter.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<?xml version='1.0'?>")
    with pytest.raises(ValueError, match=r"letter\.npz: word/document\.xml is no plain array"):
        load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_there_is_not_found(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"No such file.*missing\{suffix}"):
        load(tmp_path / f"missing{suffix}")


def test_a_directory_is_told_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=r"name the file in it .*model\.safetensors"):
        load(path)


# Suffixes.


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl", ".PT"])
def test_a_pickle_is_refused_with_what_to_do(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickled())
    advice = r"safetensors\.torch\.save_file\(model\.state_dict\(\), '.*model\.safetensors'\)"
    with pytest.raises(ValueError, match=rf"model{suffix}: .* are pickles, which can run any code .*{advice}"):
        load(path)
    with pytest.raises(ValueError, match=advice):
        save(nn.Linear(1, 1), path)
    assert path.read_bytes() == pickled()


@pytest.mark.parametrize("name", ["model.onnx", "model", ".npz", "model.npz.gz"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(name: str, tmp_path: Path) -> None:
    for use in (load, lambda path: save(nn.Linear(1, 1), path)):
        with pytest.raises(ValueError, match=r"unknown suffix '.*'; known are \.safetensors and \.npz"):
            use(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    save({"x": np.ones(1)}, tmp_path / "X.NPZ")
    assert load(tmp_path / "X.NPZ")["x"].tolist() == [1]


# What cannot be saved.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ([np.zeros(1)], TypeError, "a Module or a mapping of names to arrays can be saved, got list"),
        ({"w": [1.0]}, TypeError, "w should be an ndarray, got list"),
        ({1: np.zeros(1)}, TypeError, "the name of an array should be a string, got 1"),
        ({"w": np.array([{}])}, TypeError, r"w holds Python objects \(object\)"),
    ],
)
def test_what_is_no_state_dict_is_refused(
    suffix: str, model: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        save(model, tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_the_name_that_safetensors_keeps_for_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"__metadata__ is no name for an array"):
        save({"__metadata__": np.zeros(1)}, tmp_path / "x.safetensors")


# The old file stays until the new one is complete.


def fail(*args: Any) -> None:
    raise OSError("no space left on device")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("at", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(
    suffix: str, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"model{suffix}"
    save({"x": np.zeros(2)}, path)
    with monkeypatch.context() as patch:
        patch.setattr(at, fail)
        with pytest.raises(OSError, match="no space left"):
            save({"x": np.ones(2)}, path)
    assert load(path)["x"].tolist() == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_new_file_is_on_disk_before_it_takes_the_old_ones_place(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"model{suffix}"
    save({"x": np.zeros(2)}, path)
    seen: list[list[float]] = []

    def look(descriptor: int) -> None:
        assert path in tmp_path.iterdir()
        (written,) = set(tmp_path.iterdir()) - {path}
        (tmp_path / f"copy{suffix}").write_bytes(written.read_bytes())
        seen.extend(load(name)["x"].tolist() for name in (path, tmp_path / f"copy{suffix}"))

    monkeypatch.setattr("os.fsync", look)
    save({"x": np.ones(2)}, path)
    assert seen == [[0, 0], [1, 1]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_as_readable_as_any_new_one(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save({"x": np.zeros(2)}, tmp_path / f"x{suffix}")
    assert (tmp_path / f"x{suffix}").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "latest.npz").symlink_to(tmp_path / "v1.npz")
    save({"x": np.zeros(2)}, tmp_path / "latest.npz")
    assert (tmp_path / "latest.npz").is_symlink()
    assert load(tmp_path / "v1.npz")["x"].tolist() == [0, 0]


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        save({"x": np.zeros(2)}, tmp_path / "nowhere" / "x.npz")


# Without the library.


def test_without_safetensors_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(as_safetensors({}))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.delitem(sys.modules, "safetensors.numpy", raising=False)
    for use in (load, lambda path: save({}, path)):
        with pytest.raises(ImportError, match=r"need the package safetensors: pip install 'asyncjit\[weights\]'"):
            use(path)
    save({"x": np.zeros(1)}, tmp_path / "x.npz")
    assert load(tmp_path / "x.npz")["x"].tolist() == [0]
