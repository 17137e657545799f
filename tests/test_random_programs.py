"""Random programs of forks and waits: eager, scripted, traced and auto-forked, they are what they are without forks."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from asyncjit import sync, trace
from asyncjit.graph import Graph, Interpreter, dead_code, inline_fork_wait
from asyncjit.graph.auto_forking import fork_chains
from asyncjit.graph.ir import FORK, WAIT
from tests.at_rest import assert_at_rest
from tests.programs.running import WAYS, X, Y, awaited, in_script, load, outcome
from tests.programs.writing import write_program

randoms = st.randoms(use_true_random=False) | st.integers(0, 2**32).map(Random)  # ones that shrink, and large ones
COSTS_NS = (10, 1_000_000, 5_000_000)
HOP_NS = 1_000

programs = settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target],  # to shrink takes longer than a test may
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True, scope="module")
def no_lost_errors_are_told() -> Iterator[None]:
    """Keep quiet about the errors that programs do not wait for; on CPython 3.11 their tracebacks upset the parser."""
    logger = logging.getLogger("asyncjit")
    logger.disabled = True
    yield
    gc.collect()
    logger.disabled = False


def check(num_threads: int, expected: Any, runs: dict[str, Callable[..., Any]], ways: Any, *args: Any) -> None:
    """Run each of `runs` in each of the ways on a runtime of its own, which must be at rest in the end."""
    with sync.Runtime(num_threads, blas_threads=None) as runtime:
        for name, fn in runs.items():
            for way in ways:
                assert (name, way.__name__, outcome(way, fn, *args)) == (name, way.__name__, expected)
        assert_at_rest(runtime)


@programs
@given(random=randoms, number=st.integers(0, 6), may_fail=st.booleans())
def test_eager_and_scripted_programs_do_what_they_do_without_forks(
    tmp_path_factory: pytest.TempPathFactory, random: Random, number: int, may_fail: bool
) -> None:
    source = write_program(random, may_fail=may_fail)
    hypothesis.note(source)
    mains = load(source, tmp_path_factory.mktemp("programs"))
    args = X, Y, number
    expected = outcome(in_script, mains.pop("serial"), *args)
    for num_threads in (1, 2, 4):
        check(num_threads, expected, mains, WAYS, *args)


@programs
@given(random=randoms, number=st.integers(0, 6))
def test_traced_inlined_and_auto_forked_programs_do_what_they_do_without_forks(
    tmp_path_factory: pytest.TempPathFactory, random: Random, number: int
) -> None:
    source = write_program(random, may_fail=False)
    hypothesis.note(source)
    mains = load(source, tmp_path_factory.mktemp("programs"))
    args = X, Y, number
    expected = outcome(in_script, mains["serial"], *args)
    traced = trace(mains["eager"], args).graph
    scripted = trace(mains["scripted"], args, check_trace=False).graph
    assert shape_of(scripted) == shape_of(traced)
    serial = dead_code(inline_fork_wait(scripted))
    graphs = [traced, dead_code(traced), inline_fork_wait(traced), serial]
    if count(serial, FORK) == 0:
        costs = [random.choice(COSTS_NS) for _ in serial.nodes()]
        graphs.append(fork_chains(serial, costs, 4, HOP_NS))
        assert count(serial, WAIT) == 0
    hypothesis.target(count(graphs[-1], FORK), label="forks made")
    runs: dict[str, Callable[..., Any]] = {f"graph {index}": Interpreter(graph) for index, graph in enumerate(graphs)}
    for num_threads in (1, 2, 4):
        check(num_threads, expected, runs, (in_script, awaited), *args)


def count(graph: Graph, kind: str) -> int:
    return sum(node.kind() == kind for part in graph.subgraphs() for node in part.nodes())


def shape_of(graph: Graph) -> list[str]:
    """Return what a graph does, without the places."""
    return [line.partition(" # ")[0] for line in str(graph).splitlines()]
