"""Measuring nodes and hops: what is run, how often, and what is left of it; no figure is judged."""

import threading
import weakref
from typing import Any

import numpy as np
import pytest

from asyncjit import get_num_interop_threads, get_num_threads, sync
from asyncjit.graph import costs
from asyncjit.graph.costs import MAX_ROUNDS, measure_hop, measure_nodes
from tests.graph.graphs import X, call, give, graph_of


def test_every_node_gets_a_cost() -> None:
    graph, [x] = graph_of("x")
    give(graph, call(graph, np.add, call(graph, np.negative, x), x))
    assert len(found := measure_nodes(graph, [X])) == 2
    assert all(0 < cost < 10**9 for cost in found)


@pytest.mark.parametrize(("enough_s", "rounds"), [(1e9, MAX_ROUNDS), (0.0, 2)])
def test_a_long_graph_is_run_twice_and_a_short_one_more_often(
    enough_s: float, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "ENOUGH_S", enough_s)
    calls: list[Any] = []
    graph, [x] = graph_of("x")
    give(graph, call(graph, calls.append, x, gives=x.type, kind="noted"))
    measure_nodes(graph, [X])
    assert len(calls) == rounds


def test_nodes_are_measured_on_one_thread() -> None:
    seen: list[tuple[int, int]] = []

    def look(x: Any) -> Any:
        seen.append((get_num_interop_threads(), get_num_threads()))
        return x

    graph, [x] = graph_of("x")
    give(graph, call(graph, look, x))
    with sync.Runtime(4, 4):
        measure_nodes(graph, [X])
        assert get_num_interop_threads() == 4
    assert set(seen) == {(1, 1)}


def test_values_are_let_go_after_their_last_use() -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def fresh(x: Any) -> Any:
        array = x + 1
        made.append(weakref.ref(array))
        return array

    def look(x: Any) -> Any:
        alive.append(sum(ref() is not None for ref in made))
        return x.copy()

    graph, [value] = graph_of("x")
    for _ in range(3):
        value = call(graph, look, call(graph, fresh, value))
    give(graph, value)
    measure_nodes(graph, [X])
    assert max(alive) == 1


def test_a_hop_is_run_by_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(costs, "_nothing", lambda: threads.append(threading.get_ident()))
    with sync.Runtime(2):
        assert measure_hop() > 0
    assert threads
    assert threading.get_ident() not in threads


def test_an_error_on_the_example_names_the_node() -> None:
    graph, [x] = graph_of("x")
    give(graph, call(graph, np.linalg.inv, x))
    with pytest.raises(np.linalg.LinAlgError, match="two-dimensional") as caught:
        measure_nodes(graph, [X])
    assert caught.value.__notes__ == ["in numpy::inv, measured on the example inputs"]
