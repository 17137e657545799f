"""`load` and `save`: state dicts in files, as safetensors or ``.npz``, and never as pickles.

Both formats hold plain arrays by name and nothing that runs. A pickle, which is what torch writes by itself, runs
whatever its author put into it as soon as it is read; so a file of that kind is refused, with what to do instead.

A file is written under another name beside the one asked for, and takes its place when it is complete and on disk:
whoever reads the file meanwhile, or after a crash, finds the old one or the new one whole.
"""

import errno
import importlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.module import Module

Arrays = dict[str, NDArray[Any]]

# The codes of the format's specification (github.com/huggingface/safetensors) for which NumPy has a dtype.
_DTYPES = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"}
_DTYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}
_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


def load(path: str | os.PathLike[str]) -> Arrays:
    """Read a state dict from a ``.safetensors`` or an ``.npz`` file.

    Parameters
    ----------
    path : str or path-like
        Its suffix tells the format.

    Returns
    -------
    dict of str to ndarray
        By name; fresh arrays of the dtype they have in the file, except that bfloat16, which NumPy does not have,
        becomes float32 of the same values. Those of a safetensors file are in the order of their names.

    Raises
    ------
    ValueError
        If the suffix is another, a pickle's among them; if the file is damaged, or of another kind than its suffix
        says; if an array has a dtype that NumPy does not have (float8), or holds Python objects.
    OSError
        If the file cannot be read: FileNotFoundError if there is none, IsADirectoryError for a directory.
    ImportError
        If the package safetensors is needed and missing (``pip install 'asyncjit[weights]'``).

    Examples
    --------
    >>> from asyncjit import nn
    >>> model.load_state_dict(nn.load("model.safetensors"))  # doctest: +SKIP
    """
    path = Path(path)
    form = _format_of(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a directory: name the file in it that holds the weights", str(path))
    data = path.read_bytes()
    try:
        return form.read(data)
    except (ImportError, MemoryError):
        raise
    except _UnsupportedError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # parsers of foreign bytes raise about anything
        detail = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged, or no {path.suffix} file: {detail}") from error


def save(model: Module | Mapping[str, NDArray[Any]], path: str | os.PathLike[str]) -> None:
    """Write a model's state dict to a ``.safetensors`` or an ``.npz`` file.

    What `load` reads from it is the same to the bit; torch reads the safetensors file too. Arrays that a model has
    under several names (tied ones) are written under each.

    Parameters
    ----------
    model : Module, or mapping of str to ndarray
        The model, or its state dict. It must not be changed meanwhile in another thread.
    path : str or path-like
        Its suffix tells the format. A file that is there is replaced when the new one is complete; until then, and
        if anything fails, it stays as it was. A process that is killed may leave a file ``.NAME.XXXXXXXX`` beside it.

    Raises
    ------
    ValueError
        If the suffix is another, or a name is one that a safetensors file cannot have.
    TypeError
        If `model` is neither, a value no ndarray, or of a dtype that the format does not have (Python objects are in
        none).
    OSError
        If the file cannot be written.
    ImportError
        If the package safetensors is needed and missing (``pip install 'asyncjit[weights]'``).

    Examples
    --------
    >>> from asyncjit import nn
    >>> nn.save(nn.Linear(2, 3), "linear.safetensors")  # doctest: +SKIP
    """
    path = Path(path)
    form = _format_of(path)
    arrays = {name: _plain(name, array) for name, array in _state_dict(model).items()}
    target = path.resolve()  # a link stays one
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as file:
            form.write(file, arrays)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may find the new name on disk, and not what is in it
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class _UnsupportedError(Exception):
    """A file is what it should be, and has something in it that cannot be loaded; the message says what."""


class _Format(NamedTuple):
    read: Callable[[bytes], Arrays]
    write: Callable[[BinaryIO, Arrays], None]


def _format_of(path: Path) -> _Format:
    suffix = path.suffix.lower()
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    if suffix in _PICKLES:
        raise ValueError(
            f"{path}: {suffix} files are pickles, which can run any code when they are read; asyncjit never reads or "
            f"writes them. Save the state dict as safetensors where torch is: "
            f"safetensors.torch.save_file(model.state_dict(), {str(path.with_suffix('.safetensors'))!r})"
        )
    raise ValueError(f"{path}: unknown suffix {path.suffix!r}; known are {' and '.join(_FORMATS)}")


def _state_dict(model: Module | Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    if isinstance(model, Module):
        return model.state_dict()
    if isinstance(model, Mapping):
        return model
    raise TypeError(f"a Module or a mapping of names to arrays can be saved, got {type(model).__name__}")


def _plain(name: object, array: object) -> NDArray[Any]:
    """Return `array` in C order (a layer's weights may lie transposed), or raise TypeError."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an array should be a string, got {name!r}")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} should be an ndarray, got {type(array).__name__} (a tensor has .numpy())")
    if array.dtype.hasobject:
        raise TypeError(f"{name} holds Python objects ({array.dtype}), which only a pickle could keep")
    return np.asarray(array, order="C")


def _library(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        install = "pip install 'asyncjit[weights]'"
        raise ImportError(f".safetensors files need the package safetensors: {install}") from error


def _read_safetensors(data: bytes) -> Arrays:
    return {name: _read_tensor(name, **tensor) for name, tensor in sorted(_library("safetensors").deserialize(data))}


def _read_tensor(name: str, dtype: str, shape: list[int], data: bytearray) -> NDArray[Any]:
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in _DTYPES:
        raise _UnsupportedError(
            f"{name} has the dtype {dtype}, which NumPy does not have; convert it to float32 where the file is made "
            f"(in torch, tensor.float())"
        )
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def _write_safetensors(file: BinaryIO, arrays: Arrays) -> None:
    writeable = {np.dtype(dtype).name for dtype in _DTYPES.values()}
    for name, array in arrays.items():
        if array.dtype.name not in writeable:
            raise TypeError(f"{name} has the dtype {array.dtype}, which safetensors does not have; .npz does")
        if name == "__metadata__":
            raise ValueError("__metadata__ is no name for an array: safetensors keeps it for itself; .npz does not")
    file.write(_library("safetensors.numpy").save(arrays))


def _zipfile() -> Any:
    return importlib.import_module("zipfile")  # 3 ms, for who needs it


def _read_npz(data: bytes) -> Arrays:
    # Not np.load, which takes any member that is no array for bytes, and finds damage after it made use of it.
    with _zipfile().ZipFile(io.BytesIO(data)) as archive:
        return {name.removesuffix(".npy"): _read_npy(name, archive.read(name)) for name in archive.namelist()}


def _read_npy(name: str, data: bytes) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise _UnsupportedError(
            f"{name} is no plain array ({error}); arrays of Python objects are pickles, which are never loaded"
        ) from error
    return array


def _write_npz(file: BinaryIO, arrays: Arrays) -> None:
    # Not np.savez, which has no room for an array called "file".
    with _zipfile().ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


_FORMATS = {
    ".safetensors": _Format(_read_safetensors, _write_safetensors),
    ".npz": _Format(_read_npz, _write_npz),
}
