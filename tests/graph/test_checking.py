"""`check_trace`: graph and function are compared, bit for bit, on the example and on other values."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from asyncjit import fork, sync
from asyncjit.errors import TraceError
from asyncjit.graph.checking import check_traced, perturbed
from asyncjit.graph.ir import Place
from asyncjit.graph.tracing import trace

X = np.arange(6, dtype=np.float32).reshape(2, 3)
HERE = Place("model.py", 7, "main")


def test_a_function_of_its_arguments_alone_passes() -> None:
    trace(lambda x: {"y": [np.tanh(x), (x > 0).sum()], "z": None}, X)
    trace(lambda x, i: x[i], (X, np.array([0, 1])))


def test_random_numbers_are_found() -> None:
    random = np.random.default_rng()
    text = (
        rf"{__file__}:\d+: on the example inputs, the graph and the function differ in the result: 6 of 6 elements "
        r"differ, first at \(0, 0\): .* the largest difference being .*side effects, or draws random numbers.*np.where"
    )
    with pytest.raises(TraceError, match=text):
        trace(lambda x: x + random.standard_normal((2, 3)), X)


def test_side_effects_are_found() -> None:
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        return {"n": [x, x * len(calls)]}

    with pytest.raises(TraceError, match=r"differ in the result\['n'\]\[1\]: 5 of 6 elements differ"):
        trace(f, X)


def test_a_plain_array_that_is_filled_later_is_found() -> None:
    def f(x: Any) -> Any:
        plain = np.zeros(3, np.float32)
        y = x + plain
        plain[:] = 1
        return y

    with pytest.raises(TraceError, match=rf"{__file__}:{f.__code__.co_firstlineno + 2}: an array that is not traced"):
        trace(f, X)


def test_another_structure_or_shape_or_constant_is_found() -> None:
    for number, text in (
        (lambda: random.random(), r"the function gives 0\.\d+ of type float, the graph 0\.\d+ of type float"),
        (
            lambda: np.ones(random.randrange(10**6) % 7 + random.randrange(1, 10**3)),
            "the function gives an array of shape",
        ),
    ):
        with pytest.raises(TraceError, match=text):
            trace(lambda x, number=number: (x, number()), X)


def test_what_only_other_values_show_is_found() -> None:
    seen: list[bytes] = [X.tobytes()]

    def f(x: Any) -> Any:
        return x * 2

    def traced(x: Any) -> Any:
        return x * 2 if x.tobytes() in seen else x * 3

    with pytest.raises(
        TraceError, match=r"^model.py:7: on other values than the example's, the graph and the function"
    ):
        check_traced(f, traced, (X,), {}, HERE)


def test_values_that_the_function_refuses_are_left_out() -> None:
    def f(x: Any) -> Any:
        if x.tobytes() != X.tobytes():
            raise ValueError
        return x

    check_traced(f, lambda x: x, (X,), {}, HERE)


def test_the_sign_of_zero_and_the_dtype_count_and_nan_is_nan() -> None:
    zeros = np.zeros(2)
    with pytest.raises(TraceError, match="2 of 2 elements differ"):
        check_traced(lambda x: zeros, lambda x: -zeros, (X,), {}, HERE)
    with pytest.raises(TraceError, match="2 of 2 elements differ"):
        check_traced(lambda x: zeros + 1j, lambda x: zeros + 2j, (X,), {}, HERE)
    with pytest.raises(TraceError, match=r"of shape \(2,\) and dtype float64, the graph an array of .* dtype float32"):
        check_traced(lambda x: zeros, lambda x: zeros.astype(np.float32), (X,), {}, HERE)
    check_traced(lambda x: zeros * np.nan, lambda x: zeros - np.nan, (X,), {}, HERE)


def test_futures_in_results_are_waited_for() -> None:
    trace(lambda x: [fork(np.negative, x)], X)


def test_the_example_is_not_changed() -> None:
    x = X.copy()

    def f(x: Any) -> Any:
        y = x * 2
        y += 1
        return sync.wait(fork(np.negative, y))

    trace(f, x)
    assert np.array_equal(x, X)


@given(arrays(st.sampled_from([np.float32, np.float64, np.int16, np.bool_, np.complex64]), array_shapes(min_side=0)))
def test_perturbed_values_are_of_the_same_kind_and_integers_of_the_same_range(array: Any) -> None:
    other = perturbed(array, np.random.default_rng(0))
    assert type(other) is type(array)
    assert (other.dtype, other.shape) == (array.dtype, array.shape)
    if array.dtype.kind in "ib":
        assert set(other.reshape(-1).tolist()) <= set(array.reshape(-1).tolist())


def test_perturbed_floats_are_others_and_scalars_stay_scalars() -> None:
    random = np.random.default_rng(0)
    assert not np.any(perturbed(X, random) == X)
    assert not np.any(perturbed(np.zeros(3), random) == 0)
    assert type(perturbed(np.float32(1), random)) is np.float32
