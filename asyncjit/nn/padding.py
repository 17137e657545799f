"""What a convolution puts before and behind its input: how much, and made of what.

The padded input is an array of its own, contiguous, because the convolution lays strided windows over it.
"""

import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.arguments import checked_single

Array = NDArray[Any]
Size = SupportsIndex | Sequence[SupportsIndex]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def checked_padding(padding: Size | str, stride: int) -> tuple[int] | str:
    """Return the width on each side as a tuple of one, or "same" or "valid"; TypeError or ValueError names it."""
    if not isinstance(padding, str):
        return (checked_single("padding", padding, 0),)
    if padding not in ("same", "valid"):
        raise ValueError(f"Invalid padding string {padding!r}, should be one of same, valid")
    if padding == "same" and stride != 1:
        raise ValueError(f"padding='same' is not supported for strided convolutions, got stride {stride}")
    return padding


def find_margins(padding: tuple[int] | str, kernel_size: int, dilation: int) -> tuple[int, int]:
    """Return how much is put before and behind."""
    if padding == "same":
        total = dilation * (kernel_size - 1)
        return total // 2, total - total // 2
    width = 0 if isinstance(padding, str) else padding[0]
    return width, width


def padded(x: Array, margins: tuple[int, int], mode: str) -> Array:
    """Return `x` (N, C, L) with margins on both sides of its last axis, contiguous."""
    left, right = margins
    if left == right == 0:
        return np.ascontiguousarray(x)
    N, C, L = x.shape
    if mode == "zeros":
        with_zeros: Array = np.zeros((N, C, left + L + right), x.dtype)
        with_zeros[:, :, left : left + L] = x
        return with_zeros
    most = {"reflect": L - 1, "circular": L}.get(mode, math.inf)
    if L == 0 or max(margins) > most:
        raise RuntimeError(
            f"conv1d: padding {margins} is too wide for {mode!r} and an input of length {L} (shape {x.shape})"
        )
    places = np.arange(-left, L + right)
    if mode == "reflect":
        places = L - 1 - np.abs(L - 1 - np.abs(places))
    return x.take(places, axis=2, mode="wrap" if mode == "circular" else "clip")
