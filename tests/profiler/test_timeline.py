"""From notes to records."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from asyncjit import sync
from asyncjit._core import cell
from asyncjit.profiler import profile, record_function
from asyncjit.profiler.records import CANCELLED, FAILED, FINISHED, UNFINISHED, UNKNOWN
from asyncjit.testing import deterministic
from tests.profiler.noted import Recording, strands
from tests.profiler.programs import PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS)
def test_strands_of_one_lane_do_not_overlap_and_never_more_run_than_may(
    runtime: sync.Runtime, program: Callable[[], None]
) -> None:
    with profile() as prof:
        program()
    assert prof.events()
    lanes: dict[int, list[Any]] = {}
    for _, lane, start_ns, end_ns, _ in prof.records.strands.tolist():
        lanes.setdefault(lane, []).append((start_ns, end_ns))
    for pieces in lanes.values():
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(pieces))


def test_a_range_is_cut_where_its_fork_waits_and_goes_on_with_it() -> None:
    def kernel() -> None:
        with record_function("across"):
            sync.wait(sync.fork(abs, -1))

    ticks = itertools.count()
    with deterministic(0), profile(clock=lambda: next(ticks)) as prof:
        sync.call(kernel)
    pieces = [strand for strand in prof.events() if strand.name == "across"]
    leaf = next(strand for strand in prof.events() if strand.name == "abs")
    assert len(pieces) == 2
    assert pieces[0].end_ns <= leaf.start_ns <= leaf.end_ns <= pieces[1].start_ns
    wait = next(wait for wait in prof.waits() if wait.fork == leaf.fork)
    assert (wait.start_ns, wait.end_ns) == (pieces[0].end_ns, pieces[1].start_ns)


def test_lanes_are_threads_in_the_order_in_which_they_come_the_blocks_own_first() -> None:
    recording = Recording(start_ns=1000)
    recording.here.fork(7, 1005)
    recording.there.run(7, 1010, 1030)
    recording.there.end(7, "a")
    records = recording.records(1100)
    assert strands(records) == [(1, 1, 10, 30)]
    assert [(lane.name, lane.is_loop) for lane in records.lanes] == [("main", False), ("lane 1", False)]
    assert records.duration_ns == 100


def test_a_task_tells_its_name_place_parent_and_end() -> None:
    recording = Recording()
    recording.here.fork(5, 1)
    recording.there.fork(9, 12, parent=5)
    recording.there.fork(8, 14, parent=4)  # of a fork that the profile has not seen
    recording.there.run(5, 10, 20)
    recording.there.end(5, "a")
    records = recording.records()
    row = dict(zip(records.tasks.dtype.names or (), records.tasks[1].tolist(), strict=True))
    assert (row["parent"], row["lane"], row["forked_ns"], row["ended_ns"], row["shapes"]) == (0, 0, 1, 20, UNKNOWN)
    assert records.tasks["parent"].tolist() == [UNKNOWN, 0, 0, 1]
    assert (records.name_of(1), records.site_of(1)[:10]) == ("a", "forked at ")
    assert records.site_of(0) == ""


@pytest.mark.parametrize(
    ("state", "is_async", "at_ns", "expected"),
    [
        (cell.FINISHED, False, 0, (FINISHED, 0, 20)),
        (cell.FAILED, False, 0, (FAILED, 0, 20)),
        (cell.CANCELLED, True, 25, (CANCELLED, 1, 25)),
    ],
    ids=["finished", "failed", "cancelled"],
)
def test_the_state_of_a_task_is_what_became_of_its_body(
    state: int, is_async: bool, at_ns: int, expected: tuple[int, ...]
) -> None:
    recording = Recording()
    recording.here.fork(1, 1)
    recording.here.run(1, 10, 20)
    recording.here.end(1, "a", state, at_ns, is_async=is_async)
    task = recording.records().tasks[1]
    assert (task["state"], task["is_async"], task["ended_ns"]) == expected


def test_what_is_noted_after_the_end_is_left_out() -> None:
    recording = Recording()
    recording.here.fork(1, 1)
    recording.here.fork(2, 101)
    recording.here.run(1, 10, 110)
    records = recording.records(100)
    assert len(records.tasks) == 2
    assert strands(records) == [(1, 0, 10, 100)]
    assert records.tasks["state"][1] == UNFINISHED


def test_a_lane_with_the_strand_of_a_coroutine_is_a_loops() -> None:
    recording = Recording()
    recording.here.fork(1, 1)
    recording.there.run(1, 10, 20, (5, 9))
    recording.there.end(1, "a", is_async=True)
    lanes = recording.records().lanes
    assert [(lane.name, lane.is_loop, lane.cpu_ns) for lane in lanes] == [("main", False, UNKNOWN), ("loop", True, 4)]


def test_an_empty_recording_has_one_lane_and_one_row() -> None:
    records = Recording().records()
    assert (len(records.tasks), len(records.lanes), records.sites) == (1, 1, ("",))
