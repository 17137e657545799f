"""`LayerNorm`, `layer_norm`, `softmax` and `log_softmax`: what is computed from whole rows."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit.nn import functional
from asyncjit.nn.blocks import BLOCK
from asyncjit.nn.normalization import LayerNorm, layer_norm, log_softmax, softmax
from tests.nn.stored import assert_as_stored
from tests.reference.make_layers_reference import cases

RTOL = {"float32": 1e-5, "float64": 1e-12}
ATOL = {"float32": 1e-6, "float64": 1e-14}

Array = NDArray[Any]

ALONG_AXIS = [case for case in cases("activations") if "dim" in case[0]["arguments"]]
dtypes = st.sampled_from(["float32", "float64"])


def view_of(shape: list[int], dtype: str, seed: int) -> Array:
    """Return an array that is neither contiguous nor writable."""
    x = np.random.default_rng(seed).standard_normal([2 * length for length in reversed(shape)]).astype(dtype)
    x = 3 * x[(slice(None, None, -2),) * len(shape)].T + 1
    x.flags.writeable = False
    return x


# softmax


@pytest.mark.parametrize(("config", "stored"), ALONG_AXIS)
def test_softmax_is_torchs(config: dict[str, Any], stored: dict[str, Array]) -> None:
    found = getattr(functional, config["function"])(stored["x"], **config["arguments"])
    dtype = stored["y"].dtype.name
    assert (found.shape, found.dtype.name) == (stored["y"].shape, dtype)
    np.testing.assert_allclose(found, stored["y"], RTOL[dtype], ATOL[dtype])


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), dtype=dtypes, data=st.data())
def test_softmax_is_the_formulas_value_along_any_axis(shape: list[int], dtype: str, data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = view_of(shape, dtype, data.draw(st.integers(0, 99)))
    found, logarithm = softmax(x, dim), log_softmax(x, dim)
    assert found.shape == logarithm.shape == x.shape
    assert found.dtype == logarithm.dtype == dtype
    np.testing.assert_array_equal(found, softmax(x.copy(order="C"), dim))
    np.testing.assert_array_equal(logarithm, log_softmax(x.copy(order="C"), dim))
    for index in np.ndindex(*x.shape):
        others = np.moveaxis(x, dim, -1)[tuple(np.delete(index, dim))]
        expected = float(x[index]) - math.log(sum(math.exp(value) for value in others.tolist()))
        assert found[index] == pytest.approx(math.exp(expected), rel=RTOL[dtype], abs=ATOL[dtype])
        assert logarithm[index] == pytest.approx(expected, rel=RTOL[dtype], abs=10 * ATOL[dtype])


def test_softmax_of_large_numbers_does_not_overflow() -> None:
    x = np.array([[1e4, 1e4 - 1, -1e4], [3e38, -3e38, -np.inf]], np.float32)
    with np.errstate(all="raise"):
        found, logarithm = softmax(x, 1), log_softmax(x, 1)
    e = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(found, np.array([[e, 1 - e, 0], [1, 0, 0]]), rtol=1e-6)
    np.testing.assert_allclose(logarithm[0], np.array([math.log(e), math.log(1 - e), -2e4 + math.log(e)]), rtol=1e-6)
    assert logarithm[1, 0] == 0
    assert logarithm[1, 2] == -np.inf


def test_softmax_of_what_has_no_largest_number_is_nan() -> None:
    x = np.array([[np.nan, 0], [np.inf, 0], [-np.inf, -np.inf], [0, 0]])
    with np.errstate(all="raise"):
        assert np.isnan(softmax(x, 1)).all(axis=1).tolist() == [True, True, True, False]
        assert np.isnan(log_softmax(x, 1)).any(axis=1).tolist() == [True, True, True, False]


def test_a_number_has_one_axis() -> None:
    for dim in (0, -1):
        np.testing.assert_array_equal(softmax(np.float32(5), dim), np.array(1, np.float32), strict=True)
    with pytest.raises(IndexError, match=r"softmax: Dimension out of range \(.* range of \[-1, 0\], but got 1\)"):
        softmax(5.0, 1)


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_an_axis_that_is_not_there_is_named(function: Any) -> None:
    name = function.__name__
    for dim in (2, -3):
        with pytest.raises(IndexError, match=rf"^{name}: Dimension out of range \(.* \[-2, 1\], but got {dim}\)"):
            function(np.zeros((2, 3)), dim)


@pytest.mark.parametrize(("ndim", "dim"), [(0, 0), (1, 0), (2, 1), (3, 0), (4, 1)])
@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_without_an_axis_torchs_choice_is_made_with_a_warning(function: Any, ndim: int, dim: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 2)[:ndim])
    with pytest.warns(UserWarning, match=f"Implicit dimension choice for {function.__name__} .*here it was {dim}") as w:
        found = function(x)
    assert w[0].filename == __file__
    np.testing.assert_array_equal(found, function(x, dim))


def test_softmax_converts_first_if_told_to() -> None:
    x = np.array([1, 2, 3])
    np.testing.assert_array_equal(softmax(x, 0, dtype=np.float32), softmax(x.astype(np.float32), 0), strict=True)
    assert log_softmax(x.astype(np.float32), 0, dtype="float64").dtype == np.float64
    with pytest.raises(TypeError, match="dtype should be float32 or float64, got int64"):
        softmax(x, 0, dtype=int)


# LayerNorm


@pytest.mark.parametrize(("config", "stored"), cases("normalization"))
def test_layer_norm_is_torchs(config: dict[str, Any], stored: dict[str, Array]) -> None:
    assert_as_stored(LayerNorm, config, stored, RTOL, ATOL)


def textbook_layer_norm(row: list[float], eps: float) -> Array:
    mean = math.fsum(row) / len(row)
    variance = math.fsum((value - mean) ** 2 for value in row) / len(row)
    return np.array([(value - mean) / math.sqrt(variance + eps) for value in row])


@given(
    leading=st.lists(st.integers(0, 3), max_size=2),
    normalized_shape=st.lists(st.integers(0, 5), min_size=1, max_size=2),
    dtype=dtypes,
    flags=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
)
def test_rows_get_mean_0_and_variance_1_then_scale_and_shift(
    leading: list[int], normalized_shape: list[int], dtype: str, flags: tuple[bool, bool], seed: int
) -> None:
    layer = LayerNorm(normalized_shape, 1e-3, *flags, dtype=dtype)
    rng = np.random.default_rng(seed)
    layer.load_state_dict({name: rng.standard_normal(array.shape) for name, array in layer.state_dict().items()})
    x = view_of([*leading, *normalized_shape], dtype, seed)
    y = layer(x)
    assert (y.shape, y.dtype) == (x.shape, np.dtype(dtype))
    np.testing.assert_array_equal(y, layer(x.copy(order="C")))
    for index in np.ndindex(*leading):
        row: list[float] = x[index].ravel().tolist()
        expected = textbook_layer_norm(row, 1e-3).reshape(normalized_shape) if row else x[index]
        expected = expected if layer.weight is None else expected * layer.weight
        expected = expected if layer.bias is None else expected + layer.bias
        np.testing.assert_allclose(y[index], expected, RTOL[dtype], 10 * ATOL[dtype])


def test_rows_far_from_zero_keep_their_digits() -> None:
    row = [1e6, 1e6 + 1, 1e6 + 5]
    np.testing.assert_allclose(layer_norm(np.array(row, np.float32), (3,)), textbook_layer_norm(row, 1e-5), rtol=1e-6)


def test_a_row_has_the_bits_that_it_has_alone() -> None:
    x = np.random.default_rng(0).standard_normal((7, 3, 70)).astype(np.float32)
    layer = LayerNorm(70)
    np.testing.assert_array_equal(layer(x), np.array([[layer(row) for row in rows] for rows in x]))
    np.testing.assert_array_equal(softmax(x, -1), np.array([[softmax(row, 0) for row in rows] for rows in x]))


def test_split_or_not_the_bits_are_the_same(runtime: sync.Runtime) -> None:
    x = np.random.default_rng(0).standard_normal((BLOCK // 16 + 1, 70)).astype(np.float32)
    for function in (LayerNorm(70), lambda x: softmax(x, 1), lambda x: log_softmax(x, 1)):
        y = sync.call(function, x)
        np.testing.assert_array_equal(y, np.concatenate([function(x[i : i + 100]) for i in range(0, len(x), 100)]))


def test_nan_and_inf_spoil_their_row_and_no_other() -> None:
    with np.errstate(all="raise"):
        y = LayerNorm(2, dtype=np.float64)(np.array([[np.nan, 1], [np.inf, 1], [3, 1]]))
    assert np.isnan(y[0]).all()
    assert np.isnan(y[1]).any()
    np.testing.assert_allclose(y[2], [1, -1], rtol=1e-4)


def test_new_layers_scale_by_one_and_shift_by_nothing() -> None:
    layer = LayerNorm(np.int64(3), dtype=np.float64)
    assert {name: array.tolist() for name, array in layer.state_dict().items()} == {"weight": [1] * 3, "bias": [0] * 3}
    assert {array.dtype for array in layer.parameters()} == {np.dtype(np.float64)}
    assert list(LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(LayerNorm(3, elementwise_affine=False).state_dict()) == []


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 4), np.float32), RuntimeError, r"Given .*=\(3,\), expected .* \(\*, 3\), but got \(2, 4\)"),
        (np.float32(1), RuntimeError, r"Given normalized_shape=\(3,\), .* but got \(\)"),
        (
            np.zeros((2, 3)),
            RuntimeError,
            r"input dtype \(float64\) .* weight dtype \(float32\); .*astype\(np.float32\)",
        ),
        (np.zeros((2, 3), int), RuntimeError, r"input dtype \(int64\) does not match weight dtype \(float32\)"),
    ],
)
def test_an_input_that_does_not_fit_is_shown(x: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^layer_norm: {message}"):
        LayerNorm(3)(x)


def test_without_parameters_both_dtypes_are_taken_and_no_others() -> None:
    layer = LayerNorm(2, elementwise_affine=False)
    for dtype in (np.float32, np.float64):
        assert layer(np.zeros((1, 2), dtype)).dtype == dtype
    with pytest.raises(NotImplementedError, match=r"^layer_norm: not implemented for int64"):
        layer(np.array([1, 2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3,), np.zeros(2)), r"Expected weight to be of same shape .* of shape \(2,\) and normalized_shape=\(3,\)"),
        (((3,), None, np.zeros(2)), r"Expected bias to be of same shape .* of shape \(2,\)"),
        (((3,), None, np.zeros(3, np.float32)), r"input dtype \(float64\) does not match bias dtype \(float32\)"),
        (((),), "Expected normalized_shape to be at least 1-dimensional"),
    ],
)
def test_operands_of_the_function_that_do_not_fit_are_shown(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^layer_norm: {message}"):
        layer_norm(np.zeros((2, 3)), *arguments)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((-1,), {}, ValueError, "normalized_shape must be at least 0, got -1"),
        ((2.5,), {}, TypeError, r"normalized_shape should be an int, got 2\.5"),
        (((2, "3"),), {}, TypeError, "normalized_shape should be an int, got '3'"),
        (((),), {}, ValueError, r"normalized_shape should have at least one axis, got \(\)"),
        ((3,), {"bias": 1}, TypeError, "bias should be a bool, got 1"),
        ((3, 1e-5, None), {}, TypeError, "elementwise_affine should be a bool, got None"),
        ((3,), {"dtype": int}, TypeError, "dtype should be float32 or float64, got int64"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LayerNorm(*args, **kwargs)
