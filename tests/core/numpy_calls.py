"""Calls of NumPy functions that split themselves, held to what NumPy itself makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit._core import splitting
from asyncjit._core.intraop import parallel_for
from tests.at_rest import assert_at_rest

Array = NDArray[Any]
Make = Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
BLOCK = 1000  # elements, so that small arrays are split

X = np.random.default_rng(1).standard_normal((60, 100))
X.flags.writeable = False
FLAT = X.astype("f4").ravel()
TALL, SQUARE = np.ones((1440, 64)), np.ones((64, 64))


class Loops:
    """Counts the calls that were split."""

    num = 0


@contextmanager
def small_blocks() -> Iterator[None]:
    """Split what is small in the block, on a pool of two threads, with BLAS held."""

    def counted(fn: Callable[[int, int], object], n: int, *, grain: int | None = None) -> None:
        Loops.num += n > 1
        parallel_for(fn, n, grain=grain)

    with pytest.MonkeyPatch.context() as patch, sync.Runtime(2, 2) as runtime:
        patch.setattr(splitting, "parallel_for", counted)
        patch.setattr(splitting, "MIN_BYTES", 64)
        patch.setattr(splitting, "BLOCK_SIZE", BLOCK)
        patch.setattr(splitting, "BLOCK_WORK", 1_100_000)  # smaller products take another path of OpenBLAS
        sync.call(int)  # BLAS is held from the first kernel on
        yield
        assert_at_rest(runtime)


def told(value: Any) -> Any:
    """Tell all that is to be the same of a value: of an array type, dtype, shape, memory layout and bits.

    Which of two NaNs an operation passes on is left out: NumPy itself chooses another for a slice.
    """
    if isinstance(value, tuple):
        return [told(part) for part in value]
    if not isinstance(value, np.ndarray | np.generic):
        return repr(value)
    array = np.asarray(value)
    strides = [stride for stride, length in zip(array.strides, array.shape, strict=True) if length > 1]
    plain: Array = np.array(array)
    if plain.dtype.kind in "fc":
        for part in (plain.real, plain.imag) if plain.dtype.kind == "c" else (plain,):
            part[np.isnan(part)] = np.nan
    bits = plain.tolist() if plain.dtype.kind == "O" else plain.tobytes()
    return type(value), array.dtype.str, array.shape, strides, bits


def outcome(call: Callable[..., Any], make: Make) -> Any:
    """Tell what comes of a call, and what it leaves in its arguments."""
    args, kwargs = make()
    try:
        value = told(call(*args, **kwargs))
    except Exception as error:
        return type(error), str(error)
    return value, [told(x) for x in args], {name: told(x) for name, x in kwargs.items()}


def assert_same(fn: Any, make: Make) -> int:
    """Compare a call of NumPy with the same call forked; return how many loops were split."""
    before = Loops.num
    with np.errstate(all="ignore"):
        expected = outcome(fn, make)
        assert outcome(lambda *args, **kwargs: sync.call(fn, *args, **kwargs), make) == expected
    return Loops.num - before


def make_of(*args: Any, **kwargs: Any) -> Make:
    return lambda: (args, kwargs)


def call(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Name a call as a test's parameter."""
    words = [fn.__name__, *(str(x) if np.ndim(x) == 0 else "x" for x in args), *map(str, kwargs)]
    return pytest.param(fn, args, kwargs, id=" ".join(words))
