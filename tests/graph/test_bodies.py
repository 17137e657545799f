"""Bodies: what escapes one without a wait is refused, and so is a change of what belongs to the code that forked it."""

from typing import Any

import numpy as np
import pytest

from asyncjit import collect_all, fork, sync
from asyncjit.errors import TraceError
from asyncjit.graph.tracing import trace
from tests.graph.eager import check

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def double(x: Any) -> Any:
    return x * 2


ESCAPED = (
    "did not have observable data dependence with trace inputs; "
    "this probably indicates your program cannot be understood by the tracer"
)


def test_a_value_that_escapes_its_body_without_a_wait_is_refused_in_torchscripts_words() -> None:
    kept: list[Any] = []

    def body(x: Any) -> Any:
        kept.append(x * 2)
        return x

    def used(x: Any) -> Any:
        fork(body, x)
        return kept.pop() + 1

    def returned(x: Any) -> Any:
        fork(body, x)
        return kept.pop()

    def by_a_sibling(x: Any) -> Any:
        fork(body, x)
        return fork(lambda: kept.pop() + 1).result()

    def read(x: Any) -> Any:
        fork(body, x)
        return x * kept.pop().shape[0]

    for f in (used, returned, by_a_sibling, read):
        line = f.__code__.co_firstlineno + 1
        text = rf"%\d+ : float32\[2, 3\], of the body forked at {__file__}:{line}, {ESCAPED}: return it from the forked"
        with pytest.raises(TraceError, match=text):
            trace(f, X)


def test_a_future_that_escapes_its_body_is_refused() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        fork(lambda: kept.append(fork(double, x)))
        return sync.wait(kept.pop())

    with pytest.raises(TraceError, match=ESCAPED):
        trace(f, X)


def test_an_array_of_the_forking_code_is_not_changed() -> None:
    def f(x: Any) -> Any:
        y = x * 2

        def body() -> Any:
            nonlocal y
            y += 1

        fork(body).wait()
        return y

    with pytest.raises(
        TraceError, match=r"`\+=` would change an array of the code that forked this one: write a new array"
    ):
        trace(f, X)


def test_what_a_future_gives_is_not_changed_while_the_future_is_there() -> None:
    def held(x: Any) -> Any:
        future = fork(double, x)
        y = sync.wait(future)
        y += 1
        return y, future.wait()

    with pytest.raises(TraceError, match="memory that another array shares: a view of it, or a future's value"):
        trace(held, X)

    def gone(x: Any) -> Any:
        y = sync.wait(fork(double, x))
        y += 1
        return y

    check(gone, {"x": X}, {"x": -X})


def test_a_future_used_as_an_array_or_made_of_others_is_refused() -> None:
    with pytest.raises(TraceError, match="a future is used as an array: wait for it first"):
        trace(lambda x: np.stack([x, fork(double, x)]), X)  # type: ignore[list-item]
    with pytest.raises(
        TraceError, match=r"returns .*Future finished.* which is made of others: wait for it and return"
    ):
        trace(lambda x: collect_all([fork(double, x)]), X)
