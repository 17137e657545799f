"""Arrays that stand for those of a run: of their dtype and shape, and of no particular value.

A tracer computes nothing. To learn what a function would return it is called with dummies: ones, but zeros where they
are integers, which are indices that fit wherever one does. Large ones take the memory of one element. All are
read-only, so that a function that writes into its arguments is found out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit.graph.ir import ArrayType
from asyncjit.graph.trees import map_tree

SMALL = 4096  # chosen: as many elements are computed with in some ten microseconds

Array = NDArray[Any]


def dummy(dtype: np.dtype[Any], shape: tuple[int, ...], *, is_scalar: bool = False) -> Any:
    """Return the dummy of an array or, if `is_scalar`, of a NumPy scalar."""
    element = (np.zeros if dtype.kind in "iumM" else np.ones)((), dtype)
    if is_scalar:
        return element[()]
    if math.prod(shape) > SMALL:
        return np.broadcast_to(element, shape)
    array = np.full(shape, element)
    array.flags.writeable = False
    return array


def other_dummy(value: Any) -> Any:
    """Return another dummy, with ones for the zeros and False for True; None if its values are no integers or bools.

    Where that gives a result of another shape, the shape depends on values.
    """
    if value.dtype.kind not in "iub":
        return None
    element = np.array(value.dtype.kind != "b", value.dtype)
    return element[()] if isinstance(value, np.generic) else np.broadcast_to(element, value.shape)


def dummy_like(value: Any) -> Any:
    """Return the dummy of `value`, an array or NumPy scalar."""
    return dummy(value.dtype, value.shape, is_scalar=isinstance(value, np.generic))


def is_array(value: Any) -> bool:
    """Whether `value` is an array or a NumPy scalar."""
    return isinstance(value, (np.ndarray, np.generic))


def type_of(value: Any) -> ArrayType:
    """Return the type of a dummy."""
    return ArrayType(value.dtype, value.shape)


def call_with_dummies(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what `fn` returns; its warnings are about the dummies' values, and tell nobody anything."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fn(*args, **kwargs)


def shrunk(tree: Any) -> Any:
    """Return `tree` with every array's axes shortened to length 1; an axis of length 0 gets one element."""
    return map_tree(lambda leaf: _shrink(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def _shrink(array: Array) -> Array:
    if array.size == 0:
        small: Array = dummy(array.dtype, (1,) * array.ndim)
        return small
    return array[(slice(0, 1),) * array.ndim] if array.ndim else array


def resized(result: Any, shape: tuple[int, ...]) -> Any:
    """Return the dummy of an array of the dtype of `result` and another shape; scalars stay scalars."""
    return dummy(result.dtype, shape, is_scalar=isinstance(result, np.generic) and shape == ())
