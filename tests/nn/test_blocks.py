"""Kernels over blocks: which pieces they are run on, and what is refused before."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit.nn.blocks import SPLIT_SIZE, check_floating, floating, run_in_blocks

Array = NDArray[Any]


def lengths_of_pieces(x: Array, grain: int) -> list[int]:
    """Double `x` in blocks, and return how many items each call of the kernel got."""
    lengths: list[int] = []

    def kernel(x: Array, out: Array) -> None:
        lengths.append(len(x))
        np.multiply(x, 2, out=out)

    out = np.zeros_like(x)
    run_in_blocks(kernel, x, out, grain)
    np.testing.assert_array_equal(out, 2 * x)
    return sorted(lengths)


@pytest.mark.parametrize("shape", [(0,), (SPLIT_SIZE - 1,), (3, SPLIT_SIZE // 4)])
def test_less_than_is_worth_splitting_is_one_piece(shape: tuple[int, ...]) -> None:
    assert lengths_of_pieces(np.ones(shape, np.float32), grain=1) == [shape[0]]


@pytest.mark.parametrize(("shape", "grain"), [((SPLIT_SIZE,), SPLIT_SIZE // 3), ((10, SPLIT_SIZE // 8), 4)])
def test_a_large_array_is_cut_along_its_first_axis(runtime: sync.Runtime, shape: tuple[int, ...], grain: int) -> None:
    pieces = sync.call(lengths_of_pieces, np.ones(shape, np.float32), grain)
    assert sum(pieces) == shape[0]
    assert len(pieces) > 1
    assert max(pieces) <= grain


@pytest.mark.parametrize("size", [1, SPLIT_SIZE])
def test_what_is_not_defined_raises_nothing_even_if_numpy_is_told_to(runtime: sync.Runtime, size: int) -> None:
    x = np.full(size, -1.0)
    out = np.empty(size)

    def root() -> None:
        with np.errstate(all="raise"):
            run_in_blocks(lambda x, out: np.sqrt(x, out=out), x, out, 1000)

    sync.call(root)
    assert np.isnan(out).all()


def test_a_view_comes_out_contiguous_and_a_list_as_an_array() -> None:
    view = np.arange(6.0).reshape(2, 3).T
    assert floating("f", view).flags.c_contiguous
    np.testing.assert_array_equal(floating("f", view), view, strict=True)
    np.testing.assert_array_equal(floating("f", [1.0, 2.0]), np.array([1.0, 2.0]), strict=True)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16", "complex64", ">f4"])
def test_other_dtypes_are_refused_with_the_function_s_name_and_the_conversion(dtype: str) -> None:
    message = rf"^f: not implemented for {np.dtype(dtype)}, only for float32 .*x\.astype\(np\.float32\)"
    for check in (check_floating, floating):
        with pytest.raises(NotImplementedError, match=message):
            check("f", np.zeros(1, dtype))
