"""What a function does in `with np.errstate(...)` its graph does as well."""

from typing import Any

import numpy as np
import pytest

from asyncjit.graph.errstates import UnderErrstate
from asyncjit.graph.tracing import trace
from tests.graph.eager import assert_same

X = np.array([0.0, 1.0, 2.0])


def test_a_call_has_its_errstate_and_leaves_that_of_others_alone() -> None:
    before = np.geterr()
    call = UnderErrstate(np.divide, {**before, "divide": "raise"})
    with pytest.raises(FloatingPointError, match="divide by zero"):
        call(1.0, X)
    assert np.geterr() == before


def test_what_was_silent_is_silent_in_the_graph() -> None:
    def f(x: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.where(x > 0, np.log(x), 0)
            y += 0 / x
            return np.nan_to_num(y)

    traced = trace(f, X, check_trace=False)
    assert_same(f(X), traced(X))  # a warning would be an error here


def test_what_was_loud_is_loud_in_the_graph_and_only_that() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        with np.errstate(divide="raise"):
            return 1 / y

    traced = trace(f, X + 1)
    assert [type(node.fn) is UnderErrstate for node in traced.graph.nodes()] == [False, True]
    with pytest.raises(FloatingPointError, match="divide by zero"):
        traced(X)
