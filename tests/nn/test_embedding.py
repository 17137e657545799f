"""`Embedding` and `functional.embedding`: rows of a table by their numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.nn.embedding import Embedding, embedding
from tests.reference.make_layers_reference import cases

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize(("config", "stored"), cases("embedding"))
def test_lookups_are_torchs(config: dict[str, Any], stored: dict[str, Any]) -> None:
    layer = Embedding(*stored["weight"].shape, dtype=stored["weight"].dtype)
    layer.load_state_dict({"weight": stored["weight"]})
    for found in (layer(stored["x"]), embedding(stored["x"], stored["weight"])):
        assert found.dtype == stored["y"].dtype
        np.testing.assert_array_equal(found, stored["y"], strict=True)


@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    sizes=st.tuples(st.integers(1, 9), st.integers(0, 5)),
    integer=st.sampled_from(INTEGERS),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_each_index_gives_its_row(
    shape: list[int], sizes: tuple[int, int], integer: str, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = Embedding(*sizes, dtype=dtype, rng=rng)
    x = np.asarray(rng.integers(0, sizes[0], [2 * length for length in shape])).astype(integer)
    x = np.asarray(x[(slice(None, None, -2),) * len(shape)])
    x.flags.writeable = False
    y = layer(x)
    assert (y.shape, y.dtype) == ((*shape, sizes[1]), np.dtype(dtype))
    for index in np.ndindex(*shape):
        np.testing.assert_array_equal(y[index], layer.weight[int(x[index])])


def test_what_comes_out_is_the_callers_to_change() -> None:
    layer = Embedding(3, 2, rng=0)
    layer(np.array([1]))[...] = 7
    layer(np.array(1))[...] = 7
    np.testing.assert_array_equal(layer.weight, Embedding(3, 2, rng=0).weight)


def test_nan_and_inf_in_the_table_come_out() -> None:
    table = np.array([[np.nan, np.inf], [-np.inf, 5e-324]])
    np.testing.assert_array_equal(embedding([1, 0], table), table[::-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_table_is_drawn_from_the_normal_distribution(dtype: type[np.floating[Any]]) -> None:
    weight = Embedding(500, 64, dtype=dtype, rng=0).weight
    assert (weight.shape, weight.dtype) == ((500, 64), np.dtype(dtype))
    assert weight.mean() == pytest.approx(0, abs=0.02)
    assert weight.std() == pytest.approx(1, rel=0.02)
    assert np.abs(weight).max() > 3
    np.testing.assert_array_equal(weight, Embedding(500, 64, dtype=dtype, rng=0).weight)


@pytest.mark.parametrize(("padding_idx", "row"), [(0, 0), (2, 2), (-1, 3), (-4, 0), (np.int64(1), 1)])
def test_the_row_of_padding_is_zero_and_no_other(padding_idx: int, row: int) -> None:
    layer = Embedding(4, 5, padding_idx, rng=0)
    assert layer.padding_idx == row
    assert [bool(vector.any()) for vector in layer.weight] == [number != row for number in range(4)]
    assert repr(layer) == f"Embedding(4, 5, padding_idx={row})"


def test_a_loaded_row_of_padding_is_looked_up_like_any_other() -> None:
    layer = Embedding(2, 1, padding_idx=0)
    layer.load_state_dict({"weight": [[5], [6]]})
    assert layer(np.array([0, 1])).tolist() == [[5], [6]]


def test_it_is_shown_as_torch_shows_it() -> None:
    assert repr(Embedding(3, 4)) == "Embedding(3, 4)"


@pytest.mark.parametrize(
    ("x", "wrong"),
    [
        (np.array([0, 3, 4]), 3),
        (np.array([[2], [-1]]), -1),
        (np.array(7, np.uint8), 7),
        (np.array([2**64 - 1], np.uint64), 2**64 - 1),
        (np.array([-128], np.int8), -128),
    ],
)
def test_an_index_out_of_range_is_named_beside_the_size(x: Any, wrong: int) -> None:
    message = f"^embedding: index {wrong} is out of range for 3 embeddings$"
    with pytest.raises(IndexError, match=message):
        Embedding(3, 2)(x)
    with pytest.raises(IndexError, match=message):
        embedding(x, np.zeros((3, 2)))


def test_a_table_without_rows_has_no_index() -> None:
    assert Embedding(0, 4)(np.zeros((2, 0), int)).shape == (2, 0, 4)
    with pytest.raises(IndexError, match="index 0 is out of range for 0 embeddings"):
        Embedding(0, 4)(np.array([0]))


@pytest.mark.parametrize("x", [np.array([1.0]), np.array([True]), np.array([1], np.float32), np.array([1j])])
def test_indices_that_are_no_integers_are_refused(x: Any) -> None:
    with pytest.raises(RuntimeError, match=rf"indices of an integer dtype, got {x.dtype} \(shape \(1,\)\); .*astype"):
        Embedding(3, 2)(x)


def test_a_table_has_two_axes() -> None:
    with pytest.raises(RuntimeError, match=r"weight must be 2-D, got shape \(3,\)"):
        embedding([0], np.zeros(3))


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((-1, 2), {}, ValueError, "num_embeddings must be at least 0, got -1"),
        ((1, 2.0), {}, TypeError, r"embedding_dim should be an int, got 2\.0"),
        ((3, 2, 3), {}, ValueError, "padding_idx must be within num_embeddings, 3, got 3"),
        ((3, 2, -4), {}, ValueError, "padding_idx must be at least -3, got -4"),
        ((0, 2, 0), {}, ValueError, "padding_idx must be within num_embeddings, 0, got 0"),
        ((3, 2, 1.0), {}, TypeError, r"padding_idx should be an int, got 1\.0"),
        ((3, 2), {"dtype": np.float16}, TypeError, "dtype should be float32 or float64, got float16"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Embedding(*args, **kwargs)


def test_the_functions_row_of_padding_is_checked() -> None:
    assert embedding([0], np.ones((3, 1)), padding_idx=-1).tolist() == [[1]]
    with pytest.raises(ValueError, match="padding_idx must be within num_embeddings, 3, got 7"):
        embedding([0], np.ones((3, 1)), padding_idx=7)
