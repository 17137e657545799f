"""The tutorial's ensemble, traced from its serial form and made parallel: bit for bit what the forms by hand give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import demo, fork, sync, trace
from asyncjit.graph import Graph, Interpreter, auto_fork, dead_code, inline_fork_wait
from asyncjit.graph.auto_forking import fork_chains
from tests.programs.running import WAYS, told
from tests.rules.places import in_threads
from tests.torchscript.running import FORK, WAIT, count, counts

SIZE = demo.Size(steps=3, batch=2, hidden=8, models=4)
HAND_FORKED = "everything forked"
LAYER_NS, OTHER_NS, HOP_NS = 1_000_000, 1_000, 10_000


@pytest.fixture
def forms() -> dict[str, demo.Ensemble]:
    return demo.make_forms(SIZE)


@pytest.fixture
def x() -> demo.Array:
    return demo.make_input(SIZE)


def forked_by_costs(graph: Graph, num_threads: int) -> Graph:
    """Return the graph forked as if each layer took a hundred times what a fork takes, and nothing else counted."""
    serial = dead_code(inline_fork_wait(graph))
    costs = [LAYER_NS if node.kind() == "nn::LSTM" else OTHER_NS for node in serial.nodes()]
    return fork_chains(serial, costs, num_threads, HOP_NS)


def test_the_serial_form_has_a_node_for_each_layer_and_no_fork(forms: dict[str, demo.Ensemble], x: demo.Array) -> None:
    graph = trace(forms[demo.SERIAL], x).graph
    assert counts(graph, "nn::LSTM") == (2 * SIZE.models, 2 * SIZE.models)
    assert counts(graph, FORK) == counts(graph, WAIT) == (0, 0)


@pytest.mark.parametrize("num_threads", [2, 4])
def test_each_layer_of_the_serial_form_is_forked(
    forms: dict[str, demo.Ensemble], x: demo.Array, num_threads: int
) -> None:
    graph = forked_by_costs(trace(forms[demo.SERIAL], x).graph, num_threads)
    assert count(graph, FORK) in (2 * SIZE.models - 1, 2 * SIZE.models), "one may stay in the root, as by hand"
    assert counts(graph, "nn::LSTM")[1] == 2 * SIZE.models
    for part in list(graph.subgraphs())[1:]:
        assert count(part, "nn::LSTM") == 1


def test_the_graphs_of_the_serial_and_the_hand_forked_form_are_the_same_without_forks(
    forms: dict[str, demo.Ensemble], x: demo.Array
) -> None:
    hand_forked = inline_fork_wait(trace(forms[HAND_FORKED], x).graph)
    serial = trace(forms[demo.SERIAL], x).graph
    assert sorted(node.kind() for node in hand_forked.nodes()) == sorted(node.kind() for node in serial.nodes())


def runs_of(forms: dict[str, demo.Ensemble], x: demo.Array) -> dict[str, Callable[..., Any]]:
    """Return every way from the serial form to a parallel one."""
    serial, hand_forked = trace(forms[demo.SERIAL], x), trace(forms[HAND_FORKED], x)
    return {
        "traced": serial,
        "traced, by hand": hand_forked,
        "auto-forked": Interpreter(auto_fork(serial.graph, x)),
        "auto-forked by hand": Interpreter(auto_fork(hand_forked.graph, (x,))),
        "forked by costs": Interpreter(forked_by_costs(serial.graph, 4)),
        "in one step": trace(forms[demo.SERIAL], x, parallel=True),
        "scripted, in one step": trace(asyncjit.script(forms[HAND_FORKED]), x, parallel=True),
    }


def test_auto_forked_is_serial_and_hand_forked_bit_for_bit(
    runtime: sync.Runtime, forms: dict[str, demo.Ensemble], x: demo.Array
) -> None:
    other = np.random.default_rng(2).random(x.shape, dtype=np.float32)
    runs = runs_of(forms, x)
    with asyncio.Runner() as runner:
        expected = [[demo.run(model, each, runner) for model in forms.values()] for each in (x, other)]
    for each, outputs in zip((x, other), expected, strict=True):
        for output in outputs[1:]:
            np.testing.assert_array_equal(output, outputs[0], strict=True)
        for name, run in runs.items():
            for way in WAYS:
                assert (name, way.__name__, way(run, each)) == (name, way.__name__, told(outputs[0]))


def test_a_forked_graph_forks_on_the_runtime(
    runtime: sync.Runtime, forms: dict[str, demo.Ensemble], x: demo.Array
) -> None:
    graph = forked_by_costs(trace(forms[demo.SERIAL], x).graph, 4)
    run, before = Interpreter(graph), runtime.statistics().forked
    run(x)
    assert runtime.statistics().forked - before == count(graph, FORK) >= 2 * SIZE.models - 1
    assert runtime.statistics().threads <= runtime.num_interop_threads


def test_many_threads_run_one_graph_at_once(
    runtime: sync.Runtime, forms: dict[str, demo.Ensemble], x: demo.Array
) -> None:
    run = Interpreter(forked_by_costs(trace(forms[demo.SERIAL], x).graph, 4))
    xs = [x * np.float32(n) for n in range(32)]
    expected = sync.call(lambda: [forms[demo.SERIAL](each) for each in xs])
    called = in_threads(*(partial(lambda mine: [run(each) for each in mine], xs[n::4]) for n in range(4)))
    forked = sync.wait_all([fork(run, each) for each in xs])
    np.testing.assert_array_equal(forked, expected, strict=True)
    for n, outputs in enumerate(called):
        np.testing.assert_array_equal(outputs, expected[n::4], strict=True)


async def test_many_tasks_run_one_graph_at_once(
    num_interop_threads: int, forms: dict[str, demo.Ensemble], x: demo.Array
) -> None:
    async with asyncjit.Runtime(num_interop_threads, blas_threads=None) as runtime:
        traced = await asyncjit.call(trace, forms[demo.SERIAL], x)
        run = Interpreter(forked_by_costs(traced.graph, 4))
        in_one_step = await asyncjit.call(trace, forms[demo.SERIAL], x, parallel=True)
        xs = [x * np.float32(n) for n in range(32)]
        expected = await asyncjit.call(lambda: [forms[demo.SERIAL](each) for each in xs])
        for graph in (run, in_one_step):
            outputs = await asyncio.gather(*(asyncjit.call(graph, each) for each in xs))
            np.testing.assert_array_equal(outputs, expected, strict=True)
    now = runtime.statistics()
    assert now.forked == now.finished
    assert (now.running, now.queued, now.blocked, now.suspended, now.excess) == (0, 0, 0, 0, 0)


def test_it_tells_what_it_measured_and_forked(
    runtime: sync.Runtime, forms: dict[str, demo.Ensemble], x: demo.Array
) -> None:
    report = auto_fork(trace(forms[demo.SERIAL], x).graph, x).report()
    assert 0 < report.span_ns <= report.work_ns
    assert report.num_threads == runtime.num_interop_threads
    assert len(report.forked) + len(report.unforked) > 0
    assert f"expected on {runtime.num_interop_threads} threads" in str(report)


def test_on_one_thread_nothing_is_forked(forms: dict[str, demo.Ensemble], x: demo.Array) -> None:
    with sync.Runtime(1, blas_threads=None):
        graph = trace(forms[demo.SERIAL], x, parallel=True).graph
        assert counts(graph, FORK) == (0, 0)
        assert counts(forked_by_costs(graph, 1), FORK) == (0, 0)
