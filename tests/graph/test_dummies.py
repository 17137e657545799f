"""Dummies: arrays of a dtype and shape, and of no particular value."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, scalar_dtypes

from asyncjit.graph.dummies import SMALL, call_with_dummies, dummy, dummy_like, other_dummy, resized, shrunk


@given(scalar_dtypes(), array_shapes(min_dims=0))
def test_a_dummy_has_the_dtype_and_the_shape_and_cannot_be_written_to(dtype: Any, shape: tuple[int, ...]) -> None:
    array = dummy(dtype, shape)
    assert (array.dtype, array.shape, type(array)) == (dtype, shape, np.ndarray)
    assert not array.flags.writeable


def test_floats_are_ones_and_integers_are_indices_that_fit() -> None:
    assert dummy(np.dtype(np.float32), (2,)).tolist() == [1, 1]
    assert dummy(np.dtype(np.int32), (2,)).tolist() == [0, 0]
    assert dummy(np.dtype(bool), (1,)).tolist() == [True]
    assert dummy(np.dtype("m8[s]"), ()) == np.timedelta64(0, "s")


def test_scalars_have_scalars_for_dummies() -> None:
    assert type(dummy_like(np.float32(5))) is np.float32
    assert type(dummy_like(np.array(5))) is np.ndarray
    assert type(resized(np.float32(5), ())) is np.float32
    assert type(resized(np.float32(5), (2,))) is np.ndarray


def test_large_ones_take_the_memory_of_one_element() -> None:
    assert dummy(np.dtype(np.float64), (SMALL + 1,)).strides == (0,)
    assert dummy(np.dtype(np.float64), (SMALL,)).strides == (8,)


def test_another_dummy_differs_in_integers_and_bools_alone() -> None:
    assert other_dummy(dummy(np.dtype(np.int8), (2,))).tolist() == [1, 1]
    assert other_dummy(dummy(np.dtype(bool), (2,))).tolist() == [False, False]
    assert other_dummy(np.int8(0)) == 1
    assert other_dummy(dummy(np.dtype(np.float32), (2,))) is None


def test_every_axis_is_shortened_to_one_element() -> None:
    tree = shrunk([np.arange(6).reshape(2, 3), {"x": np.zeros((0, 2)), "n": 3}, np.array(7)])
    assert tree[0].tolist() == [[0]]
    assert tree[1]["x"].shape == (1, 1)
    assert tree[1]["n"] == 3
    assert tree[2] == 7


def test_warnings_are_about_dummies_and_not_shown() -> None:
    def noisy(x: Any) -> Any:
        warnings.warn("about ones", stacklevel=1)
        return x / 0

    assert call_with_dummies(noisy, [np.ones(1)], {}) == np.inf


def test_a_write_into_a_dummy_raises() -> None:
    with pytest.raises(ValueError, match="read-only"):
        np.exp(np.ones(2), out=dummy(np.dtype(float), (2,)))
