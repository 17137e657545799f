"""Forks and waits while tracing: nothing runs beside anything else, and each is a node."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import Future, collect_all, fail_after, fork, fork_group, nn, sync
from asyncjit.errors import TraceError
from asyncjit.graph import Graph, Interpreter
from asyncjit.graph.futures import TracedFuture
from asyncjit.graph.ir import FORK, WAIT, FutureType
from asyncjit.graph.tracing import trace
from tests.graph.eager import assert_same, check, kinds

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def counts(graph: Graph) -> dict[str, tuple[int, int]]:
    """Return how many forks and waits each graph has of its own, by name."""
    return {part.name: (kinds(part).count(FORK), kinds(part).count(WAIT)) for part in graph.subgraphs()}


def traced(fn: Callable[..., Any], **others: Any) -> Graph:
    """Trace `fn`, compare it on other values, and return the graph."""
    return check(fn, {"x": X}, {"x": X * -2 + 1}).graph


def double(x: Any) -> Any:
    return x * 2


def test_a_fork_and_a_wait_are_nodes_and_the_body_is_a_graph_of_its_own() -> None:
    def f(x: Any) -> Any:
        future = fork(double, x)
        seen.append(type(future))
        return sync.wait(future) + x

    seen: list[Any] = []
    graph = traced(f)
    assert seen[0] is TracedFuture
    assert kinds(graph) == [FORK, WAIT, "numpy::add"]
    node = next(graph.nodes())
    assert node.subgraph is not None
    assert node.subgraph.name == "prim::fork_0"
    assert kinds(node.subgraph) == ["numpy::multiply"]
    assert node.place is not None
    assert (node.place.filename, node.place.line) == (__file__, f.__code__.co_firstlineno + 1)
    text = str(graph)
    assert "prim::fork_0(%x)" in text
    assert "aten::wait(" in text
    assert "with prim::fork_0 = graph(" in text


def test_forks_are_numbered_in_order_over_the_whole_graph() -> None:
    def leaf(x: Any) -> Any:
        return sync.wait(fork(np.negative, x))

    def f(x: Any) -> Any:
        futures = [fork(leaf, x), fork(double, x)]
        return sync.wait_all(futures)

    assert counts(traced(f)) == {
        "f": (2, 2),
        "prim::fork_0": (1, 1),
        "prim::fork_1": (0, 0),
        "prim::fork_2": (0, 0),
    }


def test_nested_forks_take_the_values_of_all_graphs_above_as_inputs() -> None:
    def f(x: Any) -> Any:
        y = x + 1

        def outer() -> Any:
            z = x * 3

            def inner() -> Any:
                return x + y + z

            return sync.wait(fork(inner)) + y

        return sync.wait(fork(outer))

    graph = traced(f)
    outer = next(node for node in graph.nodes() if node.kind() == FORK)
    assert outer.subgraph is not None
    inner = next(node for node in outer.subgraph.nodes() if node.kind() == FORK)
    assert inner.subgraph is not None
    assert (len(outer.arguments), len(inner.arguments)) == (2, 3)
    assert all(value.node is None for value in inner.subgraph.inputs())


def test_two_waits_for_one_future_are_two_nodes() -> None:
    def f(x: Any) -> Any:
        future = fork(double, x)
        return sync.wait(future) + future.result() * future.value()

    assert counts(traced(f)) == {"f": (1, 3), "prim::fork_0": (0, 0)}


def test_of_five_forks_three_are_waited_for() -> None:
    def f(x: Any) -> Any:
        futures = [fork(np.add, x, n) for n in range(5)]
        return sum(sync.wait(future) for future in futures[::2])

    graph = traced(f)
    assert counts(graph)["f"] == (5, 3)
    assert str(graph).count("aten::wait(") == 3
    assert sum(f"= prim::fork_{n}(" in str(graph) for n in range(5)) == 5


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x: fork(f, x, 1, c=2),
        lambda f, x: fork(f, c=2, a=x, b=1),
        lambda f, x: fork(f, b=1, c=2, a=x),
        lambda f, x: fork(f, x, c=2, b=1),
    ],
)
def test_keyword_arguments_go_through_in_every_order(call: Callable[..., Any]) -> None:
    def body(a: Any, b: Any, c: Any) -> Any:
        return (a - b) * c

    assert counts(traced(lambda x: sync.wait(call(body, x)))) == {"<lambda>": (1, 1), "prim::fork_0": (0, 0)}


def test_futures_in_lists_and_dicts_and_from_submodules_are_waited_for_anywhere() -> None:
    class Sub(nn.Module):
        def forward(self, x: Any) -> Any:
            return [fork(double, x)], {"other": fork(np.negative, x)}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sub = Sub()

        def forward(self, x: Any) -> Any:
            (first,), named = self.sub(x)
            return first.wait() + sync.wait(named["other"])

    graph = check(Model(), {"x": X}, {"x": -X}).graph
    assert counts(graph)["Model"] == (2, 2)


def test_a_fork_may_return_tuples_dicts_and_constants() -> None:
    def body(x: Any) -> Any:
        return (x * 2, [x.sum(), None]), {"x": x, "n": 3}

    def f(x: Any) -> Any:
        (y, (total, nothing)), named = sync.wait(fork(body, x))
        assert nothing is None
        return y + total + named["x"] * named["n"]

    graph = traced(f)
    (value,) = next(graph.nodes()).outputs()
    assert str(value.type) == "Future[((float32[2, 3], [float32[], None]), {'x': float32[2, 3], 'n': 3})]"


def test_a_fork_may_return_a_future() -> None:
    def body(x: Any) -> Any:
        return fork(double, x), x + 1

    def f(x: Any) -> Any:
        inner, y = sync.wait(fork(body, x))
        return sync.wait(inner) + y

    graph = traced(f)
    assert counts(graph) == {"f": (1, 2), "prim::fork_0": (1, 0), "prim::fork_1": (0, 0)}
    (value,) = next(graph.nodes()).outputs()
    assert isinstance(value.type, FutureType)
    assert isinstance(value.type.result[0], FutureType)


def test_the_traced_function_may_return_a_future() -> None:
    result = trace(lambda x: (fork(double, x), x), X)(X)
    assert isinstance(result[0], Future)
    assert np.array_equal(result[0].result(), X * 2)


def test_a_fork_of_a_ufunc_or_a_layer_has_it_inside() -> None:
    layer = nn.Linear(3, 2)
    graph = traced(
        lambda x: (sync.wait(fork(np.negative, x)), sync.wait(fork(layer, x)), sync.wait(fork(nn.functional.relu, x)))
    )
    assert [kinds(part) for part in list(graph.subgraphs())[1:]] == [
        ["numpy::negative"],
        ["nn::Linear"],
        ["nn::functional.relu"],
    ]


def test_every_word_of_waiting_works() -> None:
    def f(x: Any) -> Any:
        results = [sync.call(double, x)]
        results += sync.map(np.add, [x, x], [1, 2])
        futures = [fork(np.multiply, x, n) for n in range(3)]
        results += [future.result() for future in sync.as_completed(futures)]
        results += [future.value() for future in sync.wait(collect_all(futures))]
        results += sync.wait_all(futures, return_exceptions=True)
        results.append(futures[0].then(lambda future: future.value() + 1).result())
        with sync.fork_group() as group:
            grouped = group.fork(double, x)
        with sync.fail_after(60):
            results.append(sync.wait(grouped))
        return results

    graph = traced(f)
    assert counts(graph)["f"] == (7, 1 + 2 + 3 + 3 + 3 + 1 + 1)


def test_async_functions_are_driven_to_their_end() -> None:
    async def body(x: Any) -> Any:
        return await fork(np.negative, x)

    async def f(x: Any) -> Any:
        results = [await fork(body, x), await asyncjit.wait(fork(double, x)), await asyncjit.call(double, x)]
        futures = [fork(np.add, x, n) for n in range(2)]
        results += await asyncjit.wait_all(futures)
        results += [await future async for future in asyncjit.as_completed(futures)]
        results += [value async for value in asyncjit.map(double, [x, x])]
        async with fork_group() as group:
            grouped = group.fork(body, x)
        with fail_after(60):
            return results, await grouped

    result = trace(f, X)
    assert counts(result.graph)["f"] == (8, 10)
    expected, last = sync.call(f, X + 1)
    found, other = result(X + 1)
    assert_same([*expected, last], [*found, other])


def test_an_async_module_is_traced() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        async def forward(self, x: Any) -> Any:
            return await fork(self.layer, x) + 1

    model = Model()
    result = trace(nn.Sequential(model, nn.ReLU()), X)
    assert kinds(result.graph) == [FORK, WAIT, "numpy::add", "nn::ReLU"]
    assert np.array_equal(result(-X), np.maximum(model.layer(-X) + 1, 0))


def test_a_coroutine_that_awaits_anything_else_is_refused() -> None:
    class Never:
        def __await__(self) -> Any:
            yield "a timer"

    async def f(x: Any) -> Any:
        await Never()
        return x

    line = f.__code__.co_firstlineno
    with pytest.raises(TraceError, match=rf"{__file__}:{line}: .*f awaits 'a timer', and in a trace only forks can be"):
        trace(f, X)


def test_the_graph_runs_its_forks_on_the_runtime() -> None:
    result = trace(lambda x: sync.wait(fork(double, x)), X)
    assert isinstance(result, Interpreter)
    assert np.array_equal(sync.wait(fork(result, X)), X * 2)
