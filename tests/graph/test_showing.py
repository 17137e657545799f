"""What a call would give: where values decide on the shape, and what shares memory."""

from typing import Any

import numpy as np
import pytest

from asyncjit.errors import TraceError
from asyncjit.graph.dummies import dummy
from asyncjit.graph.showing import show_call, take_out_arrays
from asyncjit.graph.trees import Ref

INTS = dummy(np.dtype(np.int64), (3,))
BY_VALUES = r"numpy::f: the shape of its result depends on the values of a traced array: a graph's shapes do not"


def shown(fn: Any, *dummies: Any) -> Any:
    return show_call("numpy::f", fn, ([Ref(index) for index in range(len(dummies))], {}), list(dummies))


def test_a_shape_that_another_integer_changes_is_refused() -> None:
    with pytest.raises(TraceError, match=BY_VALUES):
        shown(lambda n: np.zeros(int(n.sum())), INTS)
    assert shown(lambda n: np.zeros(5) + n.sum(), INTS).shape == (5,)


def test_an_error_of_one_value_alone_decides_too() -> None:
    def only_ones(n: Any) -> Any:
        return np.zeros(6).reshape(2, 3 * int(n[0])) if n[0] else np.zeros(6).reshape(2, 0)

    with pytest.raises(TraceError, match=BY_VALUES):
        shown(only_ones, INTS)
    with pytest.raises(ValueError, match="cannot reshape array of size 6"):
        shown(lambda n: np.zeros(6).reshape(5, -1), INTS)


def test_an_index_that_fits_no_more_tells_nothing() -> None:
    assert shown(lambda n: np.zeros(1)[n], INTS).shape == (3,)


def test_floats_decide_on_no_shape_and_are_asked_once() -> None:
    calls: list[Any] = []

    def noting(x: Any) -> Any:
        calls.append(x)
        return x

    shown(noting, dummy(np.dtype(float), (2,)))
    assert len(calls) == 1


def test_a_number_that_is_no_array_would_be_fixed() -> None:
    with pytest.raises(
        TraceError, match=r"numpy::f gives a Python int, 3, which would be fixed in the graph: return an"
    ):
        take_out_arrays((np.ones(1), 3), "numpy::f")
    with pytest.raises(TraceError, match="numpy::f gives an array of Python objects: a graph has arrays of numbers"):
        take_out_arrays(np.array([None]), "numpy::f")
    template, leaves = take_out_arrays((np.True_, [np.True_, None], "text"), "numpy::f")
    assert template == (Ref(0), [Ref(1), None], "text")
    assert leaves == [True, True]
