"""Arrays that are not traced: one that changes while a function is traced is no constant, and refused."""

from typing import Any

import numpy as np
import pytest

from asyncjit.errors import TraceError
from asyncjit.graph.constants import Constants
from asyncjit.graph.tracing import trace
from asyncjit.sync import fork, wait
from tests.graph.eager import assert_same

X = np.arange(3.0)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0),
        np.arange(6).reshape(2, 3).T,
        np.arange(12)[::2],
        np.array(3.0),
        np.array([True, False]),
        np.zeros(2, [("a", "f4"), ("b", "i8")]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros((0, 3)),
        np.array([None, "a"], object),
    ],
)
def test_what_stays_as_it_was_passes(array: Any) -> None:
    constants = Constants()
    constants.take(((array, [array]), {"key": array}))
    constants.check()


@pytest.mark.parametrize("array", [np.arange(6.0), np.arange(6).reshape(2, 3).T, np.array(3.0), np.zeros(2, np.int8)])
def test_a_change_of_one_element_is_found(array: Any) -> None:
    constants = Constants()
    constants.take(array)
    array[(-1,) * array.ndim] += 1
    with pytest.raises(TraceError, match=rf"{__file__}:\d+: an array that is not traced, {array.dtype.name[:4]}"):
        constants.check()


def test_a_buffer_that_is_filled_anew_is_refused_and_its_copy_is_not() -> None:
    def f(x: Any, *, copies: bool) -> list[Any]:
        plain, results = np.zeros(3), []
        for index in range(3):
            plain[index] = 1
            results.append(x * (plain.copy() if copies else plain))
        return results

    text = rf"{__file__}:{f.__code__.co_firstlineno + 4}: an array that is not traced, float64\[3\], is changed"
    with pytest.raises(TraceError, match=text + r" after it was used here, .*: use a copy, as x \* plain.copy\(\), or"):
        trace(lambda x: f(x, copies=False), X, check_trace=False)
    traced = trace(lambda x: f(x, copies=True), X)
    assert_same(f(X + 1, copies=True), traced(X + 1))


def test_a_buffer_that_forks_fill_is_refused() -> None:
    def f(x: Any) -> list[Any]:
        plain = np.zeros(3)

        def body(index: int) -> Any:
            plain[index] = 1
            return x * plain

        return [wait(fork(body, index)) for index in range(2)]

    with pytest.raises(TraceError, match="is changed after it was used here"):
        trace(f, X, check_trace=False)
