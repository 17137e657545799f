"""`auto_fork`: what it forks, that nothing changes by it, and what it tells."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit import call as call_async
from asyncjit import sync
from asyncjit.errors import TraceError, WaitOnEventLoopError
from asyncjit.graph import Graph, Interpreter, auto_forking, dead_code, inline_fork_wait
from asyncjit.graph.auto_forking import ForkedGraph, auto_fork, fork_chains
from asyncjit.graph.ir import FORK, WAIT, FutureType, Guard, Place
from tests.graph.graphs import X, call, count, evaluate, fork, give, graph_of, leaf
from tests.graph.programs import graphs
from tests.graph.test_chains import diamond, line

HEAVY = 1_000_000
HOP = 10_000


def forked_by(graph: Graph, *costs: int, num_threads: int = 2) -> ForkedGraph:
    """Return the graph forked by these costs, in ns."""
    return fork_chains(graph, costs, num_threads, HOP)


def test_a_diamond_gets_a_fork_for_each_side() -> None:
    made = forked_by(diamond(2, 2), 10, *[HEAVY] * 4, 10)
    assert count(made, FORK) == 2
    assert [node.kind() for node in made.nodes()].count(WAIT) == 2
    assert [[node.kind() for node in part.nodes()] for part in list(made.subgraphs())[1:]] == [
        ["numpy::square"] * 2
    ] * 2


def test_a_chain_that_needs_other_forks_waits_for_their_futures_itself() -> None:
    graph, [x] = graph_of("x")
    sides = [call(graph, np.negative, x) for _ in range(4)]
    left = call(graph, np.add, sides[0], sides[1])
    right = call(graph, np.add, sides[2], sides[3])
    give(graph, (left, right))
    made = forked_by(graph, *[HEAVY] * 6)
    assert count(made, FORK) == 6
    last = list(made.nodes())[5]
    assert all(isinstance(value.type, FutureType) for value in last.inputs())
    assert last.subgraph is not None
    assert [node.kind() for node in last.subgraph.nodes()] == [WAIT, WAIT, "numpy::add"]


def test_a_line_stays_serial_and_says_why() -> None:
    made = forked_by(line(3), HEAVY, HEAVY, HEAVY)
    assert count(made, FORK) == 0
    assert "not forked, nothing of weight can run beside it: 1" in str(made.report())


def test_on_one_thread_nothing_is_forked() -> None:
    made = forked_by(diamond(2), HEAVY, HEAVY, HEAVY, HEAVY, num_threads=1)
    assert count(made, FORK) == 0
    assert "not forked, the whole would not gain: 2" in str(made.report())


def test_what_would_gain_less_than_a_tenth_stays_serial() -> None:
    assert count(forked_by(diamond(2), 30 * HEAVY, HEAVY, HEAVY, HEAVY), FORK) == 0
    assert count(forked_by(diamond(2), 3 * HEAVY, HEAVY, HEAVY, HEAVY), FORK) == 2


def test_forks_that_were_there_are_taken_out_first() -> None:
    graph, [x] = graph_of("x")
    fork(graph, leaf(), x)
    give(graph, call(graph, np.square, x))
    assert [node.kind() for node in auto_fork(graph, (X,)).nodes()] == ["numpy::square"]


def test_the_given_graph_is_left_alone() -> None:
    graph = diamond(2)
    before = str(graph)
    auto_fork(graph, (X,))
    assert str(graph) == before


def test_guards_go_with_their_values() -> None:
    graph, [x] = graph_of("x")
    left, right = call(graph, np.negative, x), call(graph, np.square, x)
    give(graph, call(graph, np.add, left, right))
    graph.guards += [Guard(x, 0, 3, Place("model.py", 1, "f")), Guard(left, "ndim", 1, Place("model.py", 2, "f"))]
    made = forked_by(graph, HEAVY, HEAVY, 10)
    assert [guard.what for guard in made.guards] == [0]
    assert [guard.what for part in list(made.subgraphs())[1:] for guard in part.guards] == ["ndim"]
    with pytest.raises(TraceError, match="dimension 0"):
        Interpreter(made)(np.ones(4, np.float32))


def test_the_report_tells_work_span_and_what_was_forked() -> None:
    account = forked_by(diamond(2), 10_000, HEAVY, HEAVY, 10_000).report()
    assert (account.work_ns, account.span_ns) == (2_020_000, 1_020_000)
    assert account.expected_speedup == pytest.approx(2_020_000 / 1_030_000)
    assert [part.name for part in account.forked] == ["numpy::square"] * 2
    text = str(account)
    assert "work 2.020 ms, span 1.020 ms: at most 1.98x on any number of threads" in text
    assert "expected on 2 threads: 1.030 ms, 1.96x" in text
    assert "a fork on another thread costs 10 us" in text
    assert re.search(r"forked: 2\n +1.000 ms +numpy::square\n", text)
    assert "not forked, too small for a fork: 2, 0.020 ms" in text


def test_a_long_report_is_cut() -> None:
    text = str(forked_by(diamond(30), 10, *[HEAVY] * 30, 10).report())
    assert "forked: 30" in text
    assert "and 10 more" in text


def test_a_graph_that_returns_a_future_is_refused() -> None:
    graph, [x] = graph_of("x")
    give(graph, fork(graph, leaf(), x))
    with pytest.raises(ValueError, match="f returns a future, so its fork can't be taken out: wait for it"):
        auto_fork(graph, (X,))


@pytest.mark.parametrize("inputs", [(), (X, X)])
def test_an_example_of_another_structure_is_refused(inputs: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="the example inputs are not what f takes: expected a tuple of 1"):
        auto_fork(line(1), inputs)


@given(graphs(), st.data())
def test_whatever_is_forked_the_values_are_the_same_bit_for_bit(graph: Graph, data: st.DataObject) -> None:
    serial = dead_code(inline_fork_wait(graph))
    if any(node.kind() == FORK for node in serial.nodes()):
        return
    costs = data.draw(st.lists(st.sampled_from([1, HOP, HEAVY]), min_size=len(serial.body), max_size=len(serial.body)))
    inputs = [X + number for number in range(len(graph.params))]
    expected = evaluate(graph, *inputs)
    made = fork_chains(serial, costs, data.draw(st.integers(1, 4)), HOP)
    np.testing.assert_equal(Interpreter(made)(*inputs), expected)


def test_the_example_may_be_given_by_name() -> None:
    graph, [x] = graph_of("x")
    graph.signature = (), {"x": graph.signature[0][0]}
    give(graph, call(graph, np.negative, x))
    np.testing.assert_array_equal(Interpreter(auto_fork(graph, {"x": X}))(x=X), -X)


def test_the_measured_pass_gives_the_same_values() -> None:
    rng = np.random.default_rng(1)
    graph, [x] = graph_of("x")
    give(graph, [call(graph, np.matmul, x, x) for _ in range(3)])
    array = rng.standard_normal((300, 300)).astype(np.float32)
    with sync.Runtime(2):
        made = auto_fork(graph, (array,))
        for result in Interpreter(made)(array):
            np.testing.assert_array_equal(result, array @ array)
    assert made.report().num_threads == 2


@pytest.mark.parametrize("runs", [(30, 20), (20, 30)], ids=["faster", "slower"])
def test_what_is_no_faster_when_it_is_run_stays_serial(runs: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_forking, "measure_nodes", lambda graph, inputs: [10, HEAVY, HEAVY, 10])
    monkeypatch.setattr(auto_forking, "measure_hop", lambda: HOP)
    monkeypatch.setattr(auto_forking, "get_num_interop_threads", lambda: 2)
    monkeypatch.setattr(auto_forking, "measure_runs", lambda runs_made: list(runs))
    made = auto_fork(diamond(2), (X,))
    is_faster = runs[1] < runs[0]
    assert count(made, FORK) == (2 if is_faster else 0)
    assert ("the whole was no faster with it: 2" in str(made.report())) is not is_faster
    assert "run: serially 0.000 ms, forked 0.000 ms" in str(made.report())


async def test_on_a_loop_it_names_the_await() -> None:
    with pytest.raises(WaitOnEventLoopError, match=r"await asyncjit.call\(auto_fork, graph, example_inputs\)"):
        auto_fork(line(1), (X,))
    assert count(await call_async(auto_fork, line(1), (X,)), FORK) == 0
