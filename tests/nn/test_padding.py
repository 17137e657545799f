"""What `Conv1d` pads its input with."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit.nn.convolution import Conv1d
from asyncjit.nn.padding import PADDING_MODES, checked_padding, find_margins, padded

Array = NDArray[Any]

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def test_numpy_has_a_mode_for_each_of_ours() -> None:
    assert tuple(NUMPY_MODES) == PADDING_MODES


@given(
    N=st.integers(0, 2),
    L=st.integers(1, 9),
    margins=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    mode=st.sampled_from(PADDING_MODES),
)
def test_what_is_padded_is_what_numpy_pads_and_contiguous(N: int, L: int, margins: tuple[int, int], mode: str) -> None:
    most = {"reflect": L - 1, "circular": L}.get(mode, 20)
    left, right = min(margins[0], most), min(margins[1], most)
    x = np.random.default_rng(0).standard_normal((L, 3, N)).T
    found = padded(x, (left, right), mode)
    expected = np.pad(x, ((0, 0), (0, 0), (left, right)), NUMPY_MODES[mode])  # type: ignore[call-overload]
    np.testing.assert_array_equal(found, expected, strict=True)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("padding", "kernel_size", "dilation", "margins"),
    [((3,), 4, 2, (3, 3)), ("valid", 4, 2, (0, 0)), ("same", 3, 2, (2, 2)), ("same", 4, 1, (1, 2))],
)
def test_margins_keep_the_length_if_the_padding_is_same(
    padding: tuple[int] | str, kernel_size: int, dilation: int, margins: tuple[int, int]
) -> None:
    assert find_margins(padding, kernel_size, dilation) == margins


def test_a_width_comes_out_as_a_tuple_of_one_and_a_word_as_it_is() -> None:
    assert checked_padding(np.int64(3), 2) == checked_padding((3,), 2) == (3,)
    assert checked_padding("same", 1) == "same"
    assert checked_padding("valid", 2) == "valid"


@pytest.mark.parametrize(("mode", "padding"), [("reflect", 9), ("circular", 10)])
def test_padding_takes_no_more_than_there_is(mode: str, padding: int) -> None:
    x = np.zeros((2, 4, 9), np.float32)
    Conv1d(4, 3, 3, padding=padding - 1, padding_mode=mode)(x)
    message = rf"padding \({padding}, {padding}\) is too wide for '{mode}' and an input of length 9"
    with pytest.raises(RuntimeError, match=message):
        Conv1d(4, 3, 3, padding=padding, padding_mode=mode)(x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_nothing_is_padded_with_nothing(mode: str) -> None:
    with pytest.raises(RuntimeError, match=r"is too wide for .* an input of length 0"):
        Conv1d(4, 3, 3, padding=2, padding_mode=mode)(np.zeros((2, 4, 0), np.float32))
    assert Conv1d(4, 3, 3, padding=2, padding_mode=mode)(np.zeros((0, 4, 9), np.float32)).shape == (0, 3, 11)
