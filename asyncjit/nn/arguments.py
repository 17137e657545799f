"""Checks of the arguments that layers are constructed with.

A layer that is built wrongly fails here, with the argument's name and value, and not calls later in a matrix
product. NumPy's integers and bools are as good as Python's; a bool is no size.
"""

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.typing import DTypeLike


def checked_size(name: str, value: SupportsIndex, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`; TypeError or ValueError names it."""
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} should be an int, got {value!r}")
    size = operator.index(value)
    if size < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {size}")
    return size


def checked_single(name: str, value: SupportsIndex | Sequence[SupportsIndex], minimum: int) -> int:
    """Return an int that is given as it is, or as the one item of a tuple or list; else as `checked_size`."""
    if isinstance(value, tuple | list) and len(value) == 1:
        (value,) = value
    return checked_size(name, cast(SupportsIndex, value), minimum)


def checked_flag(name: str, value: object) -> bool:
    """Return `value` as a bool; TypeError names it.

    Truthiness is not enough: in torch's signature of LSTM the argument after `batch_first` is a probability,
    and a call copied from there must not switch something else on.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} should be a bool, got {value!r}")
    return bool(value)


def checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return `dtype` as float32 or float64; TypeError for any other."""
    checked = np.dtype(dtype)
    if checked not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype should be float32 or float64, got {checked}")
    return checked
