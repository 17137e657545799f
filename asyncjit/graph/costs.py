"""What things take here: the nodes of a graph on an example, whole runs, and a fork that another thread runs."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from asyncjit._core.context import current
from asyncjit._core.forking import start
from asyncjit._core.runtime import Runtime
from asyncjit.graph.ir import Graph
from asyncjit.graph.plan import describe, note_once
from asyncjit.graph.trees import fill, leaves_at

ENOUGH_S = 0.5  # chosen: a graph that takes longer is run once more after its first run, which warms up, not five times
MAX_ROUNDS = 5  # chosen
NUM_HOPS = 15  # chosen: the median of so many is steady to a tenth


def measure_nodes(graph: Graph, inputs: list[Any]) -> list[int]:
    """Return what each node of a graph without forks takes on these flat inputs, in ns: the least of some rounds.

    One thread computes: what nodes might gain from threads that happen to be free is not theirs to count on.
    """
    costs = [sys.maxsize] * len(graph.body)
    with Runtime(1, 1, local=True):
        started = time.perf_counter()
        for number in range(MAX_ROUNDS):
            costs = list(map(min, costs, _run_once(graph, inputs)))
            if number and time.perf_counter() - started > ENOUGH_S:
                break
    return costs


def _run_once(graph: Graph, inputs: list[Any]) -> list[int]:
    last_use = {id(value): index for index, node in enumerate(graph.body) for value in node.arguments}
    values = dict(zip(map(id, graph.params), inputs, strict=True))
    costs = []
    for index, node in enumerate(graph.body):
        args, kwargs = fill((node.args, node.kwargs), [values[id(value)] for value in node.arguments])
        begin = time.perf_counter_ns()
        try:
            result = node.fn(*args, **kwargs)  # type: ignore[misc]  # without forks every node has a function
        except Exception as error:
            note_once(error, f"{describe(node)}, measured on the example inputs")
            raise
        costs.append(time.perf_counter_ns() - begin)
        values.update(zip(map(id, node.targets), leaves_at(node.results, result), strict=True))
        del args, kwargs, result
        for value in node.arguments:
            if last_use[id(value)] == index:
                values.pop(id(value), None)
    return costs


def measure_runs(runs: Sequence[Callable[[], object]]) -> list[int]:
    """Return what each of some runs takes, in turn, in ns: the least of some rounds."""
    least = [sys.maxsize] * len(runs)
    started = time.perf_counter()
    for number in range(MAX_ROUNDS):
        for index, run in enumerate(runs):
            begin = time.perf_counter_ns()
            run()
            least[index] = min(least[index], time.perf_counter_ns() - begin)
        if number and time.perf_counter() - started > ENOUGH_S:
            break
    return least


def measure_hop() -> int:
    """Return what a fork takes that another thread of the current runtime runs, and its waiter's wake-up, in ns."""
    durations = []
    for _ in range(NUM_HOPS):
        begin = time.perf_counter_ns()
        start(_nothing, (), {}, current.get(), sys._getframe()).result(timeout=60)  # with a timeout it does not claim
        durations.append(time.perf_counter_ns() - begin)
    return int(statistics.median(durations))


def _nothing() -> None:
    pass
