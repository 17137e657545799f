"""`functional`: elementwise functions and `linear`; the others are tested beside their layers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit.nn import functional
from asyncjit.nn.blocks import BLOCK
from tests.reference.make_layers_reference import cases

RTOL = {"float32": 1e-5, "float64": 1e-12}
ATOL = {"float32": 1e-6, "float64": 1e-14}

Array = NDArray[Any]

ELEMENTWISE = [case for case in cases("activations") if "dim" not in case[0]["arguments"]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def gelu_tanh(x: float) -> float:
    # 1 + tanh(u) = 2 · sigmoid(2u)
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


# The formulas of torch's documentation, one number at a time.
TEXTBOOK: dict[str, tuple[Callable[[Any], Array], Callable[[float], float]]] = {
    "relu": (functional.relu, lambda x: max(x, 0.0)),
    "leaky_relu": (lambda x: functional.leaky_relu(x, 0.3), lambda x: x if x > 0 else 0.3 * x),
    "elu": (lambda x: functional.elu(x, 1.5), lambda x: x if x > 0 else 1.5 * math.expm1(x)),
    "gelu": (functional.gelu, lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2))),
    "gelu_tanh": (lambda x: functional.gelu(x, "tanh"), gelu_tanh),
    "silu": (functional.silu, lambda x: x * sigmoid(x)),
    "sigmoid": (functional.sigmoid, sigmoid),
    "tanh": (functional.tanh, math.tanh),
    "softplus": (
        lambda x: functional.softplus(x, 2, 10),
        lambda x: x if 2 * x > 10 else math.log1p(math.exp(2 * x)) / 2,
    ),
    "hardtanh": (lambda x: functional.hardtanh(x, -3, 2.5), lambda x: min(max(x, -3), 2.5)),
}

finite = st.floats(-80, 80, width=32)


@pytest.mark.parametrize(("config", "stored"), ELEMENTWISE)
def test_values_are_torchs(config: dict[str, Any], stored: dict[str, Array]) -> None:
    dtype = stored["y"].dtype.name
    for x, y in (("x", "y"), ("special", "of_special")):
        found = getattr(functional, config["function"])(stored[x], **config["arguments"])
        assert (found.shape, found.dtype) == (stored[y].shape, stored[y].dtype)
        np.testing.assert_allclose(found, stored[y], RTOL[dtype], ATOL[dtype])


@pytest.mark.parametrize("name", TEXTBOOK)
@given(values=st.lists(finite, max_size=9), dtype=st.sampled_from(["float32", "float64"]))
def test_each_element_is_the_formulas_value(name: str, values: list[float], dtype: str) -> None:
    function, formula = TEXTBOOK[name]
    found = function(np.array(values, dtype))
    assert (found.shape, found.dtype) == ((len(values),), np.dtype(dtype))
    expected = np.array([formula(value) for value in values], np.float64)
    # To as many digits as the dtype has, however small the value; below its smallest normal number, those that it has.
    np.testing.assert_allclose(found, expected, RTOL[dtype], float(np.finfo(dtype).tiny) * 80)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_is_exact_to_the_dtype_everywhere(dtype: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 4801), np.geomspace(1e-30, 1, 200)]).astype(dtype)
    expected = np.array([0.5 * value * math.erfc(-value / math.sqrt(2)) for value in x.tolist()])
    # The exponent of the tail, x² / 2, is rounded, here and in math.erfc: each is an error of as many eps.
    bound = np.finfo(dtype).eps * (4 + np.square(np.minimum(x, 0), dtype=np.float64))
    assert (np.abs(functional.gelu(x) - expected) <= bound * np.abs(expected)).all()


@pytest.mark.parametrize("name", TEXTBOOK)
@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    dtype=st.sampled_from(["float32", "float64"]),
    is_transposed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_read_only_view_gives_the_bits_of_its_copy(
    name: str, shape: list[int], dtype: str, is_transposed: bool, seed: int
) -> None:
    function, _ = TEXTBOOK[name]
    whole = 5 * np.random.default_rng(seed).standard_normal([2 * length + 1 for length in shape]).astype(dtype)
    x = whole[(slice(None, None, -2),) * len(shape)]
    x = np.asarray(x.T if is_transposed else x)
    x.flags.writeable = False
    before = whole.copy()
    found = function(x)
    np.testing.assert_array_equal(found, function(x.copy(order="C")), strict=True)
    assert found.shape == x.shape
    assert not np.shares_memory(found, whole)
    np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_overflow_and_nan_raise_nothing_even_if_numpy_is_told_to(name: str) -> None:
    function, _ = TEXTBOOK[name]
    x = np.array([-np.inf, -3e38, -1000, -1e-44, 1e-44, 1000, 3e38, np.inf, np.nan], np.float32)
    with np.errstate(all="raise"):
        found = function(x)
    assert np.isnan(found[8])
    assert not np.isnan(found[1:8]).any()


def test_sigmoid_keeps_its_digits_where_it_is_small() -> None:
    assert functional.sigmoid(np.float32(-50)) == pytest.approx(math.exp(-50), rel=1e-5)
    assert functional.sigmoid([-700.0]) == pytest.approx(math.exp(-700), rel=1e-12)
    assert functional.sigmoid(np.array([-1e4, 1e4], np.float32)).tolist() == [0, 1]


@pytest.mark.parametrize("name", TEXTBOOK)
def test_split_or_not_the_bits_are_the_same(name: str, runtime: sync.Runtime) -> None:
    function, _ = TEXTBOOK[name]
    x = 5 * np.random.default_rng(0).standard_normal(BLOCK * 4 + 17).astype(np.float32)
    y = sync.call(function, x)
    pieces = [function(x[start : start + 1000]) for start in range(0, len(x), 1000)]
    np.testing.assert_array_equal(y, np.concatenate(pieces))


def test_a_number_gives_an_array_without_axes() -> None:
    for function, _ in TEXTBOOK.values():
        y = function(np.float32(1))
        assert isinstance(y, np.ndarray)
        assert (y.shape, y.dtype.name) == ((), "float32")


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "gelu", "silu", "softplus", "softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16", "complex64", ">f4"])
def test_what_torch_has_no_kernel_for_is_refused(name: str, dtype: str) -> None:
    arguments = {"dim": 0} if "softmax" in name else {}
    with pytest.raises(NotImplementedError, match=rf"^{name}: not implemented for {np.dtype(dtype)}, only for float32"):
        getattr(functional, name)(np.zeros(3, dtype), **arguments)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
def test_relu_and_hardtanh_keep_integers(dtype: str) -> None:
    x = np.arange(4).astype(dtype)
    assert functional.relu(x).dtype == dtype
    assert functional.relu(x).tolist() == [0, 1, 2, 3]
    if dtype != "uint8":
        assert functional.relu(-x).tolist() == [0, 0, 0, 0]
        assert functional.hardtanh(x, -1, 2).dtype == dtype
        assert functional.hardtanh(-x, -2, 2).tolist() == [0, -1, -2, -2]


def test_relu_and_hardtanh_refuse_what_torch_refuses() -> None:
    with pytest.raises(RuntimeError, match=r"^relu: Boolean inputs not supported for relu"):
        functional.relu([True])
    with pytest.raises(NotImplementedError, match=r"^relu: not implemented for complex128"):
        functional.relu([1j])
    for dtype in (bool, np.uint8, np.float16):
        with pytest.raises(NotImplementedError, match=r"^hardtanh: not implemented for"):
            functional.hardtanh(np.zeros(2, dtype))
    with pytest.raises(ValueError, match="min_val cannot be greater than max_val, got 1 and -1"):
        functional.hardtanh([0.0], 1, -1)


@pytest.mark.parametrize("x", [np.array([0, 1, 2]), np.array([0, 1, 2], np.uint8), np.array([True, False])])
def test_sigmoid_and_tanh_take_integers_as_float32(x: Array) -> None:
    for function in (functional.sigmoid, functional.tanh):
        np.testing.assert_array_equal(function(x), function(x.astype(np.float32)), strict=True)
    with pytest.raises(NotImplementedError, match=r"^sigmoid: not implemented for float16"):
        functional.sigmoid(np.zeros(2, np.float16))


def test_in_place_changes_nothing_in_place() -> None:
    x = np.array([-1.0, 1.0])
    for y in (
        functional.relu(x, True),
        functional.leaky_relu(x, 0.1, True),
        functional.elu(x, 1, True),
        functional.hardtanh(x, 0, 0.5, True),
    ):
        assert y[0] != -1
    assert functional.silu(x, inplace=True)[1] != 1
    assert x.tolist() == [-1, 1]


def test_gelu_has_two_forms() -> None:
    with pytest.raises(RuntimeError, match="approximate argument must be either none or tanh, got 'erf'"):
        functional.gelu([1.0], "erf")


@given(
    leading=st.lists(st.integers(0, 3), max_size=3),
    sizes=st.tuples(st.integers(0, 6), st.integers(0, 4)),
    has_bias=st.booleans(),
    is_vector=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_linear_is_a_weighted_sum_plus_bias(
    leading: list[int], sizes: tuple[int, int], has_bias: bool, is_vector: bool, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    K, M = sizes
    weight = rng.standard_normal((K,) if is_vector else (M, K)).astype(dtype)
    bias = rng.standard_normal(weight.shape[:-1]).astype(dtype) if has_bias else None
    x = rng.standard_normal((K, *leading)).astype(dtype).transpose(*range(1, len(leading) + 1), 0)
    x.flags.writeable = False
    y = functional.linear(x, weight, bias)
    assert (y.shape, y.dtype) == ((*leading, *weight.shape[:-1]), np.dtype(dtype))
    np.testing.assert_array_equal(y, functional.linear(x.copy(order="C"), weight, bias))
    for index in np.ndindex(*y.shape):
        row, place = (weight, index) if is_vector else (weight[index[-1]], index[:-1])
        expected = sum(float(row[k]) * float(x[(*place, k)]) for k in range(K))
        if bias is not None:
            expected += float(bias if is_vector else bias[index[-1]])
        assert y[index] == pytest.approx(expected, rel=RTOL[dtype], abs=ATOL[dtype])


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (np.zeros((2, 3)), np.zeros((4, 2)), None, r"input of shape \(2, 3\) .* weight of shape \(4, 2\)"),
        (np.zeros(()), np.zeros((4, 2)), None, r"input of shape \(\) .* weight of shape \(4, 2\)"),
        (np.zeros((2, 3)), np.zeros((4, 3), np.float32), None, "input of .* float64 does not fit .* dtype float32"),
        (np.zeros(3), np.zeros((1, 4, 3)), None, r".* weight of shape \(1, 4, 3\)"),
        (np.zeros((2, 3)), np.zeros((4, 3)), np.zeros(3), r"bias of shape \(3,\) .* weight of shape \(4, 3\)"),
        (np.zeros(3), np.zeros((4, 3)), np.zeros(4, np.float32), "bias of .* float32 does not fit .* float64"),
    ],
)
def test_operands_of_linear_that_do_not_fit_are_shown(x: Array, weight: Array, bias: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^linear: {message}"):
        functional.linear(x, weight, bias)


def test_linear_lets_nan_and_inf_pass() -> None:
    y = functional.linear([[np.inf, 1.0], [np.nan, 0.0], [1.0, 2.0]], np.array([[1.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(y, [[np.inf, np.nan], [np.nan, np.nan], [3, 2]])
