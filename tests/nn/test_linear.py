"""`Linear`: the product with the weights, for any leading axes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit import nn

RTOL = {"float32": 1e-5, "float64": 1e-12}


@given(
    leading=st.lists(st.integers(0, 4), max_size=3),
    sizes=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    is_reversed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_each_output_is_a_weighted_sum_of_the_inputs_plus_bias(
    leading: list[int], sizes: tuple[int, int], bias: bool, dtype: str, is_reversed: bool, seed: int
) -> None:
    in_features, out_features = sizes
    rng = np.random.default_rng(seed)
    layer = nn.Linear(in_features, out_features, bias, dtype=dtype, rng=rng)
    x = rng.standard_normal((in_features, *leading)).astype(dtype).transpose(*range(1, len(leading) + 1), 0)
    x = x[..., ::-1] if is_reversed else x
    x.flags.writeable = False
    y = layer(x)
    assert (y.shape, y.dtype) == ((*leading, out_features), np.dtype(dtype))
    for index in np.ndindex(*leading):
        for row in range(out_features):
            expected = sum(float(layer.weight[row, k]) * float(x[(*index, k)]) for k in range(in_features))
            expected += float(layer.bias[row]) if layer.bias is not None else 0
            assert y[(*index, row)] == pytest.approx(expected, rel=RTOL[dtype], abs=RTOL[dtype])


def test_known_numbers_come_out() -> None:
    layer = nn.Linear(2, 3, dtype=np.float64)
    layer.load_state_dict({"weight": [[1, 2], [3, 4], [5, 6]], "bias": [0.5, 0, -0.5]})
    assert layer(np.array([10.0, 1.0])).tolist() == [12.5, 34, 55.5]
    assert layer(np.array([[10.0, 1.0], [0.0, 0.0]])).tolist() == [[12.5, 34, 55.5], [0.5, 0, -0.5]]


def test_more_axes_give_the_bits_of_the_same_rows_in_two() -> None:
    layer = nn.Linear(70, 50, rng=1)
    x = np.random.default_rng(2).standard_normal((3, 4, 5, 70)).astype(np.float32)
    np.testing.assert_array_equal(layer(x).reshape(60, 50), layer(x.reshape(60, 70)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_drawn_within_torchs_bound(dtype: type[np.floating[Any]]) -> None:
    layer = nn.Linear(64, 500, dtype=dtype, rng=0)
    assert (layer.weight.shape, layer.weight.dtype) == ((500, 64), np.dtype(dtype))
    assert layer.bias is not None
    assert (layer.bias.shape, layer.bias.dtype) == ((500,), np.dtype(dtype))
    for array in layer.parameters():
        assert np.abs(array).max() == pytest.approx(1 / 8, rel=0.02)
        assert np.abs(array).max() <= 1 / 8
        assert array.std() == pytest.approx(1 / 8 / 3**0.5, rel=0.1)


def test_a_seed_or_a_generator_draws_the_same_parameters_again() -> None:
    np.testing.assert_array_equal(nn.Linear(3, 4, rng=5).weight, nn.Linear(3, 4, rng=5).weight)
    rng = np.random.default_rng(5)
    first, second = nn.Linear(3, 4, rng=rng), nn.Linear(3, 4, rng=rng)
    np.testing.assert_array_equal(first.weight, nn.Linear(3, 4, rng=5).weight)
    assert not np.array_equal(first.weight, second.weight)
    assert not np.array_equal(nn.Linear(3, 4).weight, nn.Linear(3, 4).weight)


def test_without_bias_there_is_none_to_load() -> None:
    layer = nn.Linear(2, 3, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Linear(in_features=2, out_features=3, bias=False)"


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.zeros((2, 2), np.float32), r"shape \(2, 2\) and dtype float32"),
        (np.zeros((2, 3)), r"shape \(2, 3\) and dtype float64"),
        (np.float32(1), r"shape \(\) and dtype float32"),
        ([1, 2, 3], r"shape \(3,\) and dtype int64"),
    ],
)
def test_an_input_that_does_not_fit_is_shown_beside_the_weight(x: Any, found: str) -> None:
    weight = r"weight of shape \(4, 3\) and dtype float32"
    with pytest.raises(RuntimeError, match=rf"^Linear\(in.*: input of {found} does not fit {weight}: .*\.astype"):
        nn.Linear(3, 4)(x)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((-1, 2), {}, ValueError, "in_features must be at least 0, got -1"),
        ((1, 2.0), {}, TypeError, r"out_features should be an int, got 2\.0"),
        ((True, 2), {}, TypeError, "in_features should be an int, got True"),
        ((1, 2, 1), {}, TypeError, "bias should be a bool, got 1"),
        ((1, 2), {"dtype": np.float16}, TypeError, "dtype should be float32 or float64, got float16"),
        ((1, 2), {"dtype": int}, TypeError, "dtype should be float32 or float64, got int64"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nn.Linear(*args, **kwargs)


def test_sizes_may_be_numpys_integers() -> None:
    assert repr(nn.Linear(np.int64(1), np.uint8(2))) == "Linear(in_features=1, out_features=2, bias=True)"
