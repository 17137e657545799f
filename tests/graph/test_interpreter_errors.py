"""The interpreter on wrong inputs: guards, errors, and the notes that say where they arose."""

from typing import Any

import numpy as np
import pytest

from asyncjit import Future, sync
from asyncjit._core.context import Instrument
from asyncjit.errors import DeadlineExceeded, TraceError
from asyncjit.graph import Interpreter
from asyncjit.graph.ir import Guard, Place
from tests.graph.graphs import (
    THREE,
    X,
    call,
    fork,
    forked,
    give,
    graph_of,
    leaf,
    wait,
)

PLACE = Place("/models/model.py", 41, "forward")
FOUR = np.ones(4, np.float32)


# -- guards and other inputs than traced


def test_inputs_of_another_shape_and_dtype_work_where_the_graph_allows_it(runtime: sync.Runtime) -> None:
    np.testing.assert_array_equal(Interpreter(forked())(np.ones((2, 5))), np.zeros((2, 5)))


@pytest.mark.parametrize("kind", [list, tuple, np.ma.masked_array])
def test_an_input_whose_operators_are_no_ufuncs_is_refused(kind: Any) -> None:
    text = r"the input x, traced as float32\[3\], is a \w+, which does not compute as arrays do: give an array, as np"
    with pytest.raises(TypeError, match=text):
        Interpreter(forked())(kind([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("what", "expected", "given", "message"),
    [
        (0, 3, FOUR, "the size in dimension 0 of the input x .* was 3; now it is 4"),
        (0, 3, np.float32(1), "the size in dimension 0 of the input x .* was 3; now this dimension is missing"),
        ("ndim", 1, np.ones((3, 3), np.float32), "the ndim of the input x .* was 1; now it is 2"),
        ("dtype", np.dtype("float32"), np.ones(3), "the dtype of the input x .* was float32; now it is float64"),
    ],
)
def test_what_was_read_while_tracing_must_be_the_same(what: Any, expected: Any, given: Any, message: str) -> None:
    graph = forked()
    graph.guards = [Guard(graph.params[0], what, expected, PLACE)]
    interpreter = Interpreter(graph)
    interpreter(X)
    with pytest.raises(TraceError, match=message) as caught:
        interpreter(given)
    assert "was read at /models/model.py:41 in forward while tracing" in str(caught.value)
    assert "trace the function anew" in str(caught.value)


def test_a_guard_of_a_value_is_checked_before_anybody_takes_it_also_in_a_fork(runtime: sync.Runtime) -> None:
    graph = forked(np.negative)
    body = graph.body[0].subgraph
    assert body is not None
    taken: list[Any] = []
    call(body, taken.append, body.returns[0], gives=None, kind="test::take")
    body.guards = [Guard(body.body[0].targets[0], 0, 3, None)]
    with pytest.raises(TraceError, match=r"dimension 0 of %\d, which numpy::negative gives, was read while tracing"):
        Interpreter(graph)(FOUR)
    assert taken == []


def test_a_guard_on_a_value_that_nobody_takes_is_checked() -> None:
    graph, [x] = graph_of("x")
    graph.guards = [Guard(call(graph, np.negative, x), 0, 3, None)]
    with pytest.raises(TraceError, match="size in dimension 0"):
        Interpreter(give(graph, 3))(FOUR)


def test_an_error_after_other_inputs_than_traced_shows_both_types() -> None:
    graph, [x, y, z] = graph_of("x", "y", "z")
    give(graph, call(graph, np.matmul, call(graph, np.add, x, y), z))
    with pytest.raises(ValueError, match="could not be broadcast") as caught:
        Interpreter(graph)(FOUR, X, 1)
    assert "traced for x : float32[3], z : float32[3], called with float32[4], int" in caught.value.__notes__


def test_an_error_with_the_inputs_that_were_traced_says_nothing_of_types() -> None:
    graph, [x] = graph_of("x")
    give(graph, call(graph, np.linalg.inv, x))
    with pytest.raises(np.linalg.LinAlgError) as caught:
        Interpreter(graph)(X)
    assert caught.value.__notes__ == ["in numpy::inv"]


def test_a_node_that_gives_another_structure_than_traced_is_an_error() -> None:
    graph, [x] = graph_of("x")
    give(graph, call(graph, lambda a: (a, len(a)), x, gives=(THREE, 3), kind="test::sized"))
    interpreter = Interpreter(graph)
    assert interpreter(X) == (X, 3)
    with pytest.raises(TraceError, match=r"test::sized gave something else than .*: expected the constant 3, got 4"):
        interpreter(FOUR)


# -- errors


def test_an_error_in_a_node_surfaces_as_itself_and_names_the_node_and_its_place() -> None:
    error = KeyError("lost")

    def lose(a: Any) -> Any:
        raise error

    graph, [x] = graph_of("x")
    interpreter = Interpreter(give(graph, call(graph, lose, x, place=PLACE)))
    for _ in range(2):
        with pytest.raises(KeyError, match="lost") as caught:
            interpreter(X)
        assert caught.value is error
        assert error.__notes__ == ["in numpy::lose, traced at model.py:41 in forward"], "once, however often"


def test_an_error_through_two_forks_names_the_node_once_and_each_fork_in_the_traced_code(
    runtime: sync.Runtime,
) -> None:
    graph, [x] = graph_of("x")
    outer, [a] = graph_of("a", name="prim::fork_0")
    inner, [b] = graph_of("b", name="prim::fork_1")
    give(inner, call(inner, np.linalg.inv, b, place=PLACE))
    give(outer, wait(outer, fork(outer, inner, a, place=Place("/models/model.py", 20, "outer"))))
    give(graph, wait(graph, fork(graph, outer, x, place=Place("/models/model.py", 10, "main"))))
    with pytest.raises(np.linalg.LinAlgError) as caught:
        Interpreter(graph)(X)
    assert caught.value.__notes__ == [
        "in numpy::inv, traced at model.py:41 in forward",
        "forked at model.py:20 in outer",
        "forked at model.py:10 in main",
    ]


def test_an_error_that_takes_no_notes_travels_without() -> None:
    class Bare(Exception):
        def add_note(self, note: str) -> None:
            raise TypeError

    def fail(a: Any) -> Any:
        raise Bare

    graph, [x] = graph_of("x")
    with pytest.raises(Bare):
        Interpreter(give(graph, call(graph, fail, x)))(FOUR)


def test_a_passed_deadline_ends_its_wait_without_a_node_to_blame() -> None:
    gate: Future[Any] = Future()
    graph, [x] = graph_of("x")
    future = call(graph, lambda a: gate, x, kind="test::gate", gives=forked().body[0].targets[0].type)
    give(graph, wait(graph, future))
    with pytest.raises(DeadlineExceeded) as caught, sync.fail_after(0.01):
        Interpreter(graph)(X)
    assert not any("test::gate" in note for note in getattr(caught.value, "__notes__", ()))


class Names(Instrument):
    """Notes the names and sites of forks."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def forked(self, fork: Any) -> None:
        self.seen.append((fork.display_name(), fork.site()))


def test_an_instrument_sees_the_forks_by_their_names_and_places_in_the_traced_code() -> None:
    names = Names()
    graph, [x] = graph_of("x")
    outer, [a] = graph_of("a", name="prim::fork_0")
    give(outer, wait(outer, fork(outer, leaf("prim::fork_1"), a, place=PLACE)))
    give(graph, wait(graph, fork(graph, outer, x)))
    with sync.Runtime(1, blas_threads=None, instruments=[names]):
        Interpreter(graph)(X)
    assert names.seen == [
        ("prim::fork_0", "forked at <graph>:1 in prim::fork_0"),
        ("prim::fork_1", "forked at model.py:41 in forward"),
    ]
