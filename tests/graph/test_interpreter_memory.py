"""What a run of a graph keeps, and for how long."""

import gc
import weakref
from typing import Any

import numpy as np

from asyncjit import sync
from asyncjit.graph import Interpreter
from tests.at_rest import PATIENCE_S, Gate
from tests.graph.graphs import (
    X,
    call,
    fork,
    future_passed_on,
    give,
    graph_of,
    leaf,
    wait,
)


class Watch:
    """Nodes that make arrays, and tell how many of them are alive."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Any]] = []
        self.alive: list[int] = []

    def make(self, *args: Any) -> Any:
        array = sum(args)
        self.made.append(weakref.ref(array))
        return array

    def look(self, a: Any) -> Any:
        self.alive.append(sum(ref() is not None for ref in self.made))
        return a


def test_a_value_is_freed_after_its_last_use(runtime: sync.Runtime) -> None:
    watch = Watch()
    graph, [x] = graph_of("x")
    first = call(graph, watch.make, x)
    second = call(graph, watch.make, first)
    third = call(graph, watch.make, first, second)
    looked = call(graph, watch.look, call(graph, np.negative, third))
    call(graph, watch.make, looked)  # nobody takes this one
    fourth = call(graph, watch.make, looked)
    give(graph, call(graph, watch.look, fourth))
    graph.body[-3].cost_ns = 10  # first what nobody takes, then the rest
    Interpreter(graph)(X)
    assert len(watch.made) == 5
    assert watch.alive == [0, 1]


def test_an_argument_is_freed_after_its_last_use_and_one_that_nobody_takes_at_once() -> None:
    watch, gate = Watch(), Gate()

    def hold(a: Any) -> Any:
        gate()
        return -a

    graph, [x, _] = graph_of("x", "y")
    given = wait(graph, fork(graph, leaf(fn=hold), x))
    give(graph, call(graph, watch.look, given))
    x_given, y_given = X.copy(), X.copy()
    watch.made = [weakref.ref(x_given), weakref.ref(y_given)]
    with sync.Runtime(1, blas_threads=None):
        future = sync.fork(Interpreter(graph), x_given, y_given)
        del x_given, y_given
        gate.await_start()  # so the fork above has returned, and the graph waits
        gate.open()
        future.result(PATIENCE_S)
    assert watch.alive == [0]


def test_an_input_of_a_fork_is_kept_neither_by_the_parent_nor_by_the_fork_after_its_last_use(
    runtime: sync.Runtime,
) -> None:
    watch = Watch()
    body, [a] = graph_of("a", name="prim::fork_0")
    give(body, call(body, watch.look, call(body, np.negative, a)))
    waiting, [b] = graph_of("b", name="prim::fork_1")
    give(waiting, call(waiting, watch.look, wait(waiting, fork(waiting, leaf("prim::fork_2"), b))))
    graph, [x] = graph_of("x")
    one = wait(graph, fork(graph, body, call(graph, watch.make, x)))
    give(graph, wait(graph, fork(graph, waiting, call(graph, watch.make, one))))
    Interpreter(graph)(X)
    assert watch.alive == [0, 0]


def test_what_a_wait_gave_is_not_kept_by_its_future_in_the_graph(runtime: sync.Runtime) -> None:
    watch = Watch()
    graph, [x] = graph_of("x")
    waited = wait(graph, fork(graph, leaf(fn=watch.make), x))
    give(graph, call(graph, watch.look, call(graph, np.negative, waited)))
    Interpreter(graph)(X)
    assert watch.alive == [0]


def test_nothing_is_kept_after_a_run(runtime: sync.Runtime) -> None:
    interpreter = Interpreter(future_passed_on())
    x = X.copy()
    seen = weakref.ref(x)
    result = interpreter(x)
    results = [weakref.ref(value) for value in result.values()]
    del x, result
    gc.collect()
    assert [ref() for ref in (seen, *results)] == [None, None, None]
