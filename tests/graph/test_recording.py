"""Errors while a trace is recorded, and in runs of its graph: they surface as themselves, through every fork."""

from typing import Any

import numpy as np
import pytest

from asyncjit import fork, nn, sync
from asyncjit.errors import CallbackError, TraceError
from asyncjit.graph.tracing import trace
from tests.graph.eager import check, kinds

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def double(x: Any) -> Any:
    return x * 2


def test_an_error_in_a_fork_surfaces_as_itself_with_a_note_for_each_level() -> None:
    def inner(x: Any) -> Any:
        raise KeyError("lost")

    def outer(x: Any) -> Any:
        return sync.wait(fork(inner, x))

    def f(x: Any) -> Any:
        return sync.wait(fork(outer, x))

    with pytest.raises(KeyError) as caught:
        trace(f, X)
    lines = (outer.__code__.co_firstlineno + 1, f.__code__.co_firstlineno + 1)
    name = "test_recording.py"
    assert caught.value.__notes__ == [
        f"forked at {name}:{lines[0]} in outer",
        f"forked at {name}:{lines[1]} in f",
        "while tracing f",
    ]
    assert caught.traceback[-1].name == "inner"


def test_a_mistake_in_numpy_surfaces_as_numpys_error() -> None:
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        trace(lambda x: fork(np.matmul, x, x).wait(), X)


def test_an_error_in_the_run_surfaces_through_two_levels() -> None:
    table = np.arange(3.0)

    def look_up(i: Any) -> Any:
        return nn.functional.embedding(i, table[:, None])

    def f(i: Any) -> Any:
        return sync.wait(fork(lambda: sync.wait(fork(look_up, i))))

    result = trace(f, np.array([0, 2]))
    with pytest.raises(IndexError, match="index 5 is out of range for 3 embeddings"):
        result(np.array([0, 5]))


def test_an_error_in_a_callback_is_its_futures() -> None:
    def f(x: Any) -> Any:
        return fork(double, x).then(lambda future: 1 / 0).result()

    with pytest.raises(CallbackError, match="division by zero"):
        trace(f, X)


def test_an_error_is_raised_by_the_fork_and_caught_there_leaves_a_whole_graph() -> None:
    def body(y: Any) -> Any:
        return np.concatenate([y + 1, y[0]])

    def f(x: Any) -> Any:
        try:
            return sync.wait(fork(body, x * 2))
        except ValueError:
            return x + 1

    assert kinds(check(f, {"x": X}, {"x": -X}).graph) == ["numpy::multiply", "numpy::add"]


def test_an_error_that_the_function_catches_fixes_what_it_was_raised_for() -> None:
    def f(x: Any, w: Any) -> Any:
        rows: list[Any] = []
        try:
            while True:
                rows.append(x[len(rows)] * 2)
        except IndexError:
            pass
        try:
            return x @ w, rows
        except ValueError:
            return x @ w.T, rows

    traced = check(f, {"x": X, "w": X}, {"x": -X, "w": X})
    with pytest.raises(TraceError, match=r"size in dimension 0 of the input x was read at .*, and was 2; now it is 3"):
        traced(np.ones((3, 3), np.float32), X)
    with pytest.raises(TraceError, match=r"size in dimension 0 of the input w was read at .*, and was 2; now it is 3"):
        traced(X, np.ones((3, 3), np.float32))


def test_an_error_of_a_change_that_the_function_catches_fixes_the_shapes() -> None:
    def f(x: Any, w: Any) -> Any:
        y = x * 2
        try:
            y += w
        except ValueError:
            y += w.T
        return y

    traced = check(f, {"x": X, "w": X.T}, {"x": -X, "w": X.T})
    with pytest.raises(TraceError, match="of the input w was read at"):
        traced(X, X)
