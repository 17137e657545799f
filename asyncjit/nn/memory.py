"""Where arrays lie in memory: aligned workspaces, and memory that nobody can write to.

NumPy aligns arrays to 16 bytes, but the vectors of AVX-512 are 64 wide: a small product with a weight that straddles
cache lines takes up to 1.8 times as long, one with panels 1.07.

A matrix may be kept by columns: torch's (N, K) is then a transposed view of a (K, N) array, which is what NumPy's
product with it is fastest on. Where N times the item size is a multiple of 1 KB, rows of that array would meet in the
same few sets of the CPU's caches; 64 bytes of padding take them apart (a small product with a 64 by 256 weight: 0.7 of
the time). All measured by `benchmarks/kernels.py`.
"""

import math
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64  # bytes: a cache line, and a vector of AVX-512
_ALIASING = 1024  # bytes: measured, as the docstring tells


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised array whose first item lies on a cache line's start."""
    num_bytes = math.prod(shape) * dtype.itemsize
    buffer = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + num_bytes].view(dtype).reshape(shape)


class _Memory(np.ndarray[Any, Any]):
    """The memory of a read-only parameter: nobody but `read_only` has ever had it in hand."""


def read_only(array: NDArray[Any], *, by_columns: bool = False) -> NDArray[Any]:
    """Return a copy of `array` that nobody can write to, or `array` itself if it is one.

    Parameters
    ----------
    array : ndarray
        Not kept.
    by_columns : bool
        Whether a matrix is kept by columns; the result has the same shape all the same.
    """
    if is_read_only(array):
        return array
    if not by_columns or array.ndim != 2:
        return _filled(array.shape, array)
    num_rows, num_columns = array.shape
    pitch = num_rows
    if num_rows and num_rows * array.itemsize % _ALIASING == 0:
        pitch += _ALIGNMENT // array.itemsize
    return _filled((num_columns, pitch), array.T)[:, :num_rows].T


def _filled(shape: tuple[int, ...], values: NDArray[Any]) -> NDArray[Any]:
    memory = aligned(shape, values.dtype).view(_Memory)
    memory[tuple(map(slice, values.shape))] = values
    view = memoryview(memory).toreadonly()  # type: ignore[arg-type]
    return np.asarray(view)


def is_read_only(array: Any) -> bool:
    """Whether `array` is one that `read_only` has made."""
    if type(array) is not np.ndarray or array.flags.writeable:
        return False
    base: Any = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and isinstance(base.obj, _Memory)


class Pickled:
    """What a read-only array is pickled as: once, however many share it, and restored as one that they share."""

    __slots__ = ("__weakref__", "array")

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __reduce__(self) -> tuple[Any, ...]:
        array = self.array
        is_by_columns = array.ndim == 2 and array.strides[0] == array.itemsize < array.strides[1]
        return _restored, (np.array(array), is_by_columns)


_pickled: WeakValueDictionary[int, Pickled] = WeakValueDictionary()  # by the array's id, which lives as long


def pickled(array: NDArray[Any]) -> Pickled:
    """Return the one object that stands for `array` in a pickle."""
    return _pickled.get(id(array)) or _pickled.setdefault(id(array), Pickled(array))


def _restored(array: NDArray[Any], is_by_columns: bool) -> NDArray[Any]:
    return read_only(array, by_columns=is_by_columns)
