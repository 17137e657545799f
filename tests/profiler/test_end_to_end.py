"""Random programs from end to end: what holds of every profile, whatever ran."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from asyncjit import sync
from asyncjit.profiler import critical, profile
from asyncjit.profiler.analysis import concurrency
from asyncjit.profiler.prediction import curve
from asyncjit.profiler.records import FINISHED, OUTSIDE, UNFINISHED, UNKNOWN, Records
from asyncjit.profiler.saved import read_trace
from tests.at_rest import PATIENCE_S, when_idle
from tests.profiler.random_programs import Program, programs

# Tasks and generators that a closing loop leaves unfinished complain when they go.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*never awaited:RuntimeWarning"),
    pytest.mark.usefixtures("collected"),
]

some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=[1, 2, 4], ids="N{}".format)
def pool(request: pytest.FixtureRequest) -> Iterator[sync.Runtime]:
    """Serve all examples of a test by one pool."""
    with sync.Runtime(request.param, blas_threads=None) as runtime:
        yield runtime


def recorded(program: Program) -> Records:
    return profiled(program).records


def profiled(program: Program, pool: sync.Runtime | None = None) -> profile:
    """Run a program under a profile, and until nothing runs any more if the pool is given."""
    with profile() as prof:
        try:
            program()
        except asyncio.CancelledError:  # of a plain task, by what it waited for
            pass
        if pool is not None:
            when_idle(pool).result(PATIENCE_S)
    return prof


@some
@given(program=programs(nested_loops=True))
def test_strands_lie_on_their_lanes_between_the_fork_and_the_end_of_their_task(
    pool: sync.Runtime, program: Program
) -> None:
    records = recorded(program)
    strands, tasks = records.strands, records.tasks
    assert (strands["start_ns"] <= strands["end_ns"]).all()
    for lane in range(len(records.lanes)):
        pieces = strands[strands["lane"] == lane][["start_ns", "end_ns"]].tolist()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(pieces))
    of_forks = strands[strands["task"] != OUTSIDE]
    assert (of_forks["start_ns"] >= tasks["forked_ns"][of_forks["task"]]).all()
    ended_ns = tasks["ended_ns"][of_forks["task"]]
    assert ((ended_ns == UNKNOWN) | (of_forks["end_ns"] <= ended_ns)).all()
    assert (strands["end_ns"] <= records.duration_ns).all()
    assert (of_forks["cpu_ns"] >= UNKNOWN).all()  # not known where the range of a nested loop cuts a strand


@some
@given(program=programs())
def test_every_fork_that_finished_has_run_and_knows_who_forked_it(pool: sync.Runtime, program: Program) -> None:
    records = profiled(program, pool).records
    tasks = records.tasks
    assert UNFINISHED not in tasks["state"][1:]
    finished = np.flatnonzero(tasks["state"] == FINISHED)
    assert set(finished.tolist()) <= set(records.strands["task"].tolist())
    rows = np.arange(1, len(tasks))
    assert ((tasks["parent"][1:] >= 0) & (tasks["parent"][1:] < rows)).all()
    assert all(records.name_of(task) for task in range(len(tasks)))
    assert all(records.site_of(task).startswith("forked at ") for task in rows.tolist())


@some
@given(program=programs())
def test_waits_end_after_their_targets_unless_they_were_given_up(pool: sync.Runtime, program: Program) -> None:
    records = recorded(program)
    waits, tasks = records.waits, records.tasks
    over = waits[waits["end_ns"] != UNKNOWN]
    assert (over["start_ns"] <= over["end_ns"]).all()
    assert (np.diff(over["end_ns"]) >= 0).all()
    known = over[over["target"] != UNKNOWN]
    finished = known[tasks["state"][known["target"]] == FINISHED]
    last = np.zeros(len(tasks), np.int64)
    np.maximum.at(last, records.strands["task"], records.strands["end_ns"])
    was_cancelled = tasks["state"][finished["task"]] != FINISHED  # a waiter that is cancelled does not wait for the end
    assert (was_cancelled | (finished["task"] == OUTSIDE) | (last[finished["target"]] <= finished["end_ns"])).all()


@some
@given(program=programs())
def test_ranges_nest_with_the_strands_of_forks(pool: sync.Runtime, program: Program) -> None:
    records = recorded(program)
    strands = records.strands[records.strands["task"] != OUTSIDE]
    pieces: dict[int, list[tuple[int, int]]] = {}
    for lane, start_ns, end_ns in strands[["lane", "start_ns", "end_ns"]].tolist():
        pieces.setdefault(lane, []).append((start_ns, end_ns))
    for lane, start_ns, end_ns in records.ranges[["lane", "start_ns", "end_ns"]].tolist():
        for other in pieces.get(lane, []):
            assert not start_ns < other[0] < end_ns < other[1]
            assert not other[0] < start_ns < other[1] < end_ns


@some
@given(program=programs())
def test_the_critical_path_adds_up_to_the_span_which_is_no_longer_than_the_work_and_the_time(
    pool: sync.Runtime, program: Program
) -> None:
    records = recorded(program)
    path, span_ns = critical.critical_path(records), critical.span_ns(records)
    assert sum(piece.end_ns - piece.start_ns for piece in path) == span_ns
    assert span_ns <= records.duration_ns
    assert all(before.start_ns <= after.start_ns for before, after in itertools.pairwise(path))
    assert concurrency(records).sum() == records.duration_ns


@some
@given(program=programs())
def test_every_program_can_be_predicted_and_saved(
    pool: sync.Runtime, tmp_path_factory: pytest.TempPathFactory, program: Program
) -> None:
    prof = profiled(program)
    times = [point.time_s for point in curve(prof.records, (1, 2, 16))]
    assert all(0 < time_s < 3600 for time_s in times)
    assert 1 <= len(prof.explain()) <= 5
    path = tmp_path_factory.mktemp("saved") / "trace.json"
    prof.export_chrome_trace(path)
    again = read_trace(path)
    for table in ("strands", "tasks", "waits", "ranges"):
        assert (getattr(again, table) == getattr(prof.records, table)).all()
    assert (again.names, again.sites, again.lanes) == (prof.records.names, prof.records.sites, prof.records.lanes)
