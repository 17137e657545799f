"""The interpreter: a graph run on the runtime, from every side, at once."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import asyncjit
from asyncjit import Future, sync
from asyncjit.errors import WaitOnEventLoopError
from asyncjit.graph import Graph, Interpreter, Value, dead_code, inline_fork_wait
from asyncjit.graph.ir import Guard, ObjectType, Place
from asyncjit.graph.tracing import trace
from asyncjit.graph.trees import Ref
from tests.at_rest import PATIENCE_S
from tests.graph.graphs import (
    SCALAR,
    X,
    call,
    evaluate,
    fork,
    forked,
    future_passed_on,
    future_returned,
    give,
    graph_of,
    leaf,
    nested,
    wait,
)
from tests.graph.programs import graphs

PLACE = Place("/models/model.py", 41, "forward")


def resolved(tree: Any) -> Any:
    """Return a structure with the values of its futures."""
    if isinstance(tree, Future):
        return resolved(tree.result(PATIENCE_S))
    if isinstance(tree, tuple):
        return tuple(map(resolved, tree))
    return {key: resolved(item) for key, item in tree.items()} if isinstance(tree, dict) else tree


# -- from every side


def test_called_in_a_script_it_returns_its_value(runtime: sync.Runtime) -> None:
    np.testing.assert_array_equal(Interpreter(forked())(X), X - X)


def test_called_in_a_kernel_it_returns_its_value(runtime: sync.Runtime) -> None:
    interpreter = Interpreter(forked())

    def kernel(x: Any) -> Any:
        return interpreter(x)

    np.testing.assert_array_equal(sync.wait(sync.fork(kernel, X)), X - X)


@pytest.mark.parametrize("length", [1, 20])
def test_a_forked_chain_adds_one_fork_however_long_it_is(runtime: sync.Runtime, length: int) -> None:
    graph, [x] = graph_of("x")
    body, [value] = graph_of("a", name="prim::fork_0")
    for _ in range(length):
        value = call(body, np.negative, value)
    give(graph, wait(graph, fork(graph, give(body, value), x)))
    Interpreter(graph)(X)
    assert runtime.statistics().forked == 1


def test_forked_it_is_a_fork_that_bears_the_name_of_its_graph(runtime: sync.Runtime) -> None:
    future = sync.fork(Interpreter(forked()), X)
    assert "the fork of f (forked at test_interpreter.py:" in repr(future)
    np.testing.assert_array_equal(future.result(PATIENCE_S), X - X)


async def test_awaited_it_gives_its_value_and_called_on_a_loops_thread_it_names_the_await(
    runtime: sync.Runtime,
) -> None:
    interpreter = Interpreter(forked())
    np.testing.assert_array_equal(await asyncjit.call(interpreter, X), X - X)
    with pytest.raises(WaitOnEventLoopError, match=r"write `await asyncjit.call\(f, ...\)`"):
        interpreter(X)


def test_a_scripted_function_can_wait_for_it_at_any_depth(runtime: sync.Runtime) -> None:
    interpreter = Interpreter(forked(fn=Interpreter(forked())))
    np.testing.assert_array_equal(interpreter(X), (X - X) + X)


def test_the_debuggers_mode_runs_it_in_the_calling_thread() -> None:
    threads = set()

    def note(a: Any) -> Any:
        threads.add(threading.get_ident())
        return a

    with sync.Runtime(2, blas_threads=None, inline=True):
        np.testing.assert_array_equal(Interpreter(forked(fn=note))(X), X + X)
        assert threads == {threading.get_ident()}


def test_many_callers_run_one_graph_at_once(runtime: sync.Runtime) -> None:
    interpreter = Interpreter(future_passed_on())
    inputs = [np.float32(number) * X for number in range(50)]
    futures = [sync.fork(interpreter, x) for x in inputs]
    for x, result in zip(inputs, sync.wait_all(futures), strict=True):
        np.testing.assert_array_equal(result["sum"], -x + x * x)


def test_two_callers_are_in_the_same_graph_at_the_same_time() -> None:
    barrier = threading.Barrier(2)

    def meet(a: Any) -> Any:
        barrier.wait(PATIENCE_S)
        return a

    with sync.Runtime(2, blas_threads=None):
        interpreter = Interpreter(forked(fn=meet))
        sync.wait_all([sync.fork(interpreter, X), sync.fork(interpreter, -X)])


def test_forks_of_a_graph_run_in_parallel() -> None:
    barrier = threading.Barrier(2)

    def meet(a: Any) -> Any:
        barrier.wait(PATIENCE_S)
        return a

    graph, [x] = graph_of("x")
    futures = [fork(graph, leaf(f"prim::fork_{number}", meet), x) for number in range(2)]
    give(graph, tuple(wait(graph, future) for future in futures))
    with sync.Runtime(2, blas_threads=None):
        Interpreter(graph)(X)


def test_a_wait_in_a_forked_graph_holds_no_thread() -> None:
    """On one thread, a fork that waits for what only another kernel sets would be stuck."""
    gate: Future[Any] = Future()
    graph, [x] = graph_of("x")
    future = call(graph, lambda a: gate, x, kind="test::gate", gives=forked().body[0].targets[0].type)
    give(graph, wait(graph, future))
    with sync.Runtime(1, blas_threads=None) as runtime:
        waiting = [sync.fork(Interpreter(graph), X) for _ in range(5)]
        sync.fork(gate.set_result, X).result(PATIENCE_S)
        for each in waiting:
            assert each.result(PATIENCE_S) is X
        assert runtime.statistics().blocked == 0


@pytest.mark.parametrize("make", [forked, future_passed_on, future_returned, lambda: nested(20)])
def test_it_gives_what_plain_evaluation_gives(runtime: sync.Runtime, make: Callable[[], Graph]) -> None:
    graph = make()
    np.testing.assert_equal(resolved(Interpreter(graph)(X)), evaluate(graph, X))


@settings(max_examples=50)
@given(graphs())
def test_random_graphs_give_what_plain_evaluation_gives_before_and_after_the_passes(graph: Graph) -> None:
    inputs = [X, -X][: len(graph.params)]
    expected = evaluate(graph, *inputs)
    for each in (graph, dead_code(graph), inline_fork_wait(graph)):
        np.testing.assert_equal(resolved(Interpreter(each)(*inputs)), expected)


def test_a_graph_of_five_hundred_levels_runs(runtime: sync.Runtime) -> None:
    np.testing.assert_array_equal(Interpreter(nested(500))(X), 499 * X)


def test_a_graph_of_ten_thousand_nodes_runs(runtime: sync.Runtime) -> None:
    graph, [x] = graph_of("x")
    y = x
    for _ in range(10_000):
        y = call(graph, np.negative, y)
    np.testing.assert_array_equal(Interpreter(give(graph, y))(X), X)


# -- arguments


def test_arguments_come_in_the_structure_of_the_traced_call_keywords_in_any_order(runtime: sync.Runtime) -> None:
    graph, [x, y, z] = graph_of("x", "y", "z")
    graph.signature = ([{"a": Ref(0)}, 3],), {"y": Ref(1), "z": (Ref(2),)}
    give(graph, [x, {"y": y, "rest": (z, None)}])
    interpreter = Interpreter(graph)
    for result in (interpreter([{"a": 1}, 3], y=2, z=(4,)), interpreter([{"a": 1}, 3], z=(4,), y=2)):
        assert result == [1, {"y": 2, "rest": (4, None)}]


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((X,), {}, r"expected a dict with the keys \[\'a\'\], got a ndarray"),
        ((), {"y": X}, "expected a tuple of 1, got a tuple of 0"),
        (({"b": X},), {"y": (X, 3)}, r"expected a dict with the keys \['a'\], got a dict with the keys \['b'\]"),
        (({"a": X},), {"y": (X, 4)}, "expected the constant 3, got 4"),
    ],
)
def test_arguments_of_another_structure_are_a_type_error_that_names_what_was_expected(
    args: Any, kwargs: Any, problem: str
) -> None:
    graph, [x, y] = graph_of("x", "y")
    graph.signature = ({"a": Ref(0)},), {"y": (Ref(1), 3)}
    interpreter = Interpreter(give(graph, (x, y)))
    expected = r"f\({'a': x : float32\[3\]}, y=\(y : float32\[3\], 3\)\) was traced, .*"
    with pytest.raises(TypeError, match=expected + problem):
        interpreter(*args, **kwargs)


def test_one_array_too_many_is_a_type_error() -> None:
    expected = r"f\(x : float32\[3\]\) was traced, .* expected a tuple of 1, got a tuple of 2"
    with pytest.raises(TypeError, match=expected):
        Interpreter(forked())(X, X)


def test_a_graph_without_signature_takes_its_inputs_one_by_one(runtime: sync.Runtime) -> None:
    graph = forked()
    graph.signature = (), {}
    np.testing.assert_array_equal(Interpreter(graph)(X), X - X)


def test_without_signature_a_wrong_number_of_inputs_is_a_type_error() -> None:
    graph = forked()
    graph.signature = (), {}
    with pytest.raises(TypeError, match=r"f\(x : float32\[3\]\) was .* expected a tuple of 1, got a tuple of 2"):
        Interpreter(graph)(X, X)


def test_what_is_returned_is_the_callers_own_to_change(runtime: sync.Runtime) -> None:
    graph, [x] = graph_of("x")
    interpreter = Interpreter(give(graph, ([1, 2], {"x": x})))
    interpreter(X)[0].append(3)
    assert interpreter(X)[0] == [1, 2]


def test_a_graph_that_is_not_right_is_refused_when_the_interpreter_is_made() -> None:
    graph = forked()
    graph.body.reverse()
    with pytest.raises(ValueError, match="which is not given before"):
        Interpreter(graph)


# -- traced anew


def test_a_graph_that_is_run_within_a_trace_adds_its_nodes_with_the_places_of_its_forks_and_its_guards() -> None:
    inner = forked(place=PLACE)
    inner.guards = [Guard(inner.params[0], 0, 3, PLACE)]
    outer = trace(Interpreter(inner), X).graph
    assert [node.kind() for part in outer.subgraphs() for node in part.nodes()] == [
        "prim::fork",
        "aten::wait",
        "numpy::add",
        "numpy::negative",
    ]
    assert outer.body[0].place == PLACE
    assert [(guard.value, guard.what, guard.expected) for guard in outer.guards] == [(outer.params[0], 0, 3)]


async def test_a_task_that_awaits_it_can_be_cancelled(runtime: sync.Runtime) -> None:
    started, gate = threading.Event(), threading.Event()

    def hold(a: Any) -> Any:
        started.set()
        assert gate.wait(PATIENCE_S)
        return a

    task = asyncio.create_task(asyncjit.call(Interpreter(forked(fn=hold)), X))
    while not started.is_set():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()


def test_its_repr_names_its_graph() -> None:
    assert repr(Interpreter(forked())) == "<asyncjit.graph.Interpreter of f>"


def test_a_value_that_is_no_array_passes_through(runtime: sync.Runtime) -> None:
    graph = Graph("f")
    text = graph.add_param(ObjectType("str"), "text")
    number: Value = call(graph, len, text, gives=SCALAR, kind="builtins::len")
    assert Interpreter(give(graph, (text, number)))("abc") == ("abc", 3)
