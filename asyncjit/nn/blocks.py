"""Kernels over blocks of an array: what the elementwise functions and those of whole rows have in common.

A kernel makes several passes over what it is given, so it is run on blocks that fit the cache, and free threads take
blocks of a large array. Each number of the result is made of one element or one row of the input: neither the blocks
nor who runs them shows in the bits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asyncjit._core.intraop import parallel_for

Array = NDArray[Any]

Kernel = Callable[[Array, Array], object]  # computes its second argument from its first

BLOCK = 65_536  # elements: chosen; with a workspace or two they fit a second-level cache
SPLIT_SIZE = 4 * BLOCK  # elements: chosen; some 150 µs of an exponential, below which help comes too late

_FLOATING = (np.dtype(np.float32), np.dtype(np.float64))


def run_in_blocks(kernel: Kernel, x: Array, out: Array, grain: int) -> None:
    """Run `kernel` on all of `x`, or where that is large on `grain` items of its first axis at a time."""

    def block(start: int, stop: int) -> None:
        with np.errstate(all="ignore"):
            kernel(x[start:stop], out[start:stop])

    if x.size < SPLIT_SIZE:
        block(0, len(x))
    else:
        parallel_for(block, len(x), grain=grain)


def floating(name: str, input: ArrayLike) -> Array:
    """Return `input` as a contiguous array of float32 or float64."""
    x = np.asarray(input, order="C")
    check_floating(name, x)
    return x


def check_floating(name: str, x: Array) -> None:
    """Raise NotImplementedError, as torch does, if `x` is not of float32 or float64."""
    if x.dtype not in _FLOATING:
        raise NotImplementedError(
            f"{name}: not implemented for {x.dtype}, only for float32 and float64 (convert the input with "
            "x.astype(np.float32))"
        )
