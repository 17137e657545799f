"""`Layer`: a module of this package, whose parameters cannot be changed in place.

Layers compute with forms that are made of their parameters once, such as panels (`packing`). A parameter that was
written to afterwards would be silently ignored by them. So what is set as a parameter of a layer is copied into memory
that NumPy refuses to write to, through this array and every view of it; setting the attribute anew, or
`load_state_dict`, is how a parameter changes, and both are seen, because forms are kept with the array they were made
of. Arrays that are shared (tied) stay so: one that has such memory already is not copied again.

A matrix may be kept by columns: torch's (N, K) is then a transposed view of a (K, N) array, which is what NumPy's
product with it is fastest on. Where N times the item size is a multiple of 1 KB, rows of that array would meet in the
same few sets of the CPU's caches; 64 bytes of padding take them apart (small products with a 256 wide weight: 0.7 of
the time; `benchmarks/kernels.py`).
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.module import Module

_PADDING_BYTES, _ALIASING_BYTES = 64, 1024  # measured, as the docstring tells


class Layer(Module):
    """Base class of this package's layers; parameters are read-only copies of what they are set to.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> linear = nn.Linear(2, 1)
    >>> linear.weight[0, 0] = 5
    Traceback (most recent call last):
        ...
    ValueError: assignment destination is read-only
    >>> linear.weight = np.array([[5, 6]], dtype=np.float32)
    >>> linear.weight
    array([[5., 6.]], dtype=float32)
    """

    _replaces_parameters: ClassVar[bool] = True
    _by_columns: ClassVar[bool] = False  # whether matrices are kept by columns

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray) and self._is_parameter(name, value):
            value = read_only(value, by_columns=self._by_columns)
        super().__setattr__(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Copies and pickles come with writeable arrays.
        for name, value in state.items():
            setattr(self, name, value)


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
    if _is_read_only(array):
        return array
    if not by_columns or array.ndim != 2:
        return _filled(array.shape, array)
    num_rows, num_columns = array.shape
    pitch = num_rows
    if num_rows and num_rows * array.itemsize % _ALIASING_BYTES == 0:
        pitch += _PADDING_BYTES // array.itemsize
    return _filled((num_columns, pitch), array.T)[:, :num_rows].T


def _filled(shape: tuple[int, ...], values: NDArray[Any]) -> NDArray[Any]:
    memory = np.empty(shape, values.dtype).view(_Memory)
    memory[tuple(map(slice, values.shape))] = values
    return np.asarray(memoryview(memory).toreadonly())


def _is_read_only(array: NDArray[Any]) -> bool:
    if type(array) is not np.ndarray or array.flags.writeable:
        return False
    base: Any = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and type(base.obj) is _Memory
