"""What a profile's notes say: strands that nest on their lanes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import pytest

from asyncjit import sync
from asyncjit._core.cell import FINISHED
from asyncjit.profiler import profile, record_function
from asyncjit.profiler.records import Strand, Task, Wait
from asyncjit.profiler.timeline import CLOSED, OPENED, STARTED, STOPPED, WAITED, Timeline, most_at_once
from asyncjit.testing import deterministic
from tests.profiler.programs import PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS)
def test_strands_of_one_lane_do_not_overlap_and_never_more_run_than_may(
    runtime: sync.Runtime, program: Callable[[], None]
) -> None:
    with profile() as prof:
        program()
    assert prof.events()
    lanes: dict[int, list[Any]] = {}
    for strand in sorted(prof.events(), key=lambda strand: (strand.start_ns, strand.end_ns)):
        lanes.setdefault(strand.lane, []).append(strand)
    for strands in lanes.values():
        assert all(before.end_ns <= after.start_ns for before, after in itertools.pairwise(strands))
    assert 0 < prof.utilisation() <= 1


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
    waits = {wait.fork: wait.at_ns for wait in prof.waits()}
    assert waits[leaf.fork or 0] == pieces[1].start_ns  # the kernel goes on with its next strand


# -- hand-made notes

HERE, THERE = 11, 22  # threads


class Code:
    """Stands for a fork or a range: something with a name."""

    def __init__(self, name: str, parent: Any = None, *, is_async: bool = False) -> None:
        self.name = name
        self.parent = parent
        self.is_async = is_async

    def display_name(self) -> str:
        return self.name

    def site(self) -> str:
        return f"forked at {self.name}.py"


def told(
    forks: Iterable[tuple[Code, int, int]], marks: Iterable[tuple[int, Code, int, int]], *, end_ns: int = 100
) -> Timeline:
    """Return the timeline of a profile that began in the thread HERE at 0."""
    flat_forks: list[Any] = []
    for fork, at_ns, thread in forks:
        flat_forks += (fork, fork.parent, at_ns, thread)
    flat_marks = [entry for mark in marks for entry in mark]
    return Timeline(flat_forks, flat_marks, HERE, 0, end_ns)


def pieces(timeline: Timeline) -> list[tuple[str, int, int, int]]:
    return [(strand.name, strand.lane, strand.start_ns, strand.end_ns) for strand in timeline.strands]


def test_a_strand_lies_on_the_lane_of_its_thread_and_times_count_from_the_start() -> None:
    fork = Code("a")
    forks = [fork, None, 1005, HERE]
    marks = [STARTED, fork, 1010, THERE, STOPPED, fork, 1030, THERE, -FINISHED, fork, 1031, THERE]
    timeline = Timeline(forks, marks, HERE, 1000, 1100)
    assert timeline.strands == [Strand("a", 1, 10, 30, 1)]
    assert timeline.tasks() == [Task(1, "a", "forked at a.py", None, 0, 5, 31, "finished")]


def test_a_strand_is_cut_by_the_strand_of_another_fork_in_it() -> None:
    outer, inner = Code("outer"), Code("inner")
    timeline = told(
        [(outer, 1, HERE), (inner, 2, HERE)],
        [
            (STARTED, outer, 10, HERE),
            (STARTED, inner, 20, HERE),
            (STOPPED, inner, 30, HERE),
            (STOPPED, outer, 40, HERE),
        ],
    )
    assert pieces(timeline) == [("outer", 0, 10, 20), ("inner", 0, 20, 30), ("outer", 0, 30, 40)]


@pytest.mark.parametrize(
    ("closed_ns", "more"), [(35, [("range", 0, 30, 35)]), (25, [])], ids=["while it executes", "while it does not"]
)
def test_a_range_of_a_fork_is_open_only_while_that_executes(
    closed_ns: int, more: list[tuple[str, int, int, int]]
) -> None:
    fork, label = Code("a"), Code("range")
    marks = [
        (STARTED, fork, 10, HERE),
        (OPENED, label, 12, HERE),
        (STOPPED, fork, 20, HERE),
        (CLOSED, label, closed_ns, HERE),
        (STARTED, fork, 30, HERE),
        (STOPPED, fork, 40, HERE),
    ]
    timeline = told([(fork, 1, HERE)], sorted(marks, key=itemgetter(2)))
    assert pieces(timeline) == [("a", 0, 10, 20), ("range", 0, 12, 20), ("a", 0, 30, 40), *more]


def test_two_ranges_that_cross_are_cut_so_that_they_nest() -> None:
    first, second = Code("first"), Code("second")
    timeline = told(
        [],
        [(OPENED, first, 10, HERE), (OPENED, second, 20, HERE), (CLOSED, first, 30, HERE), (CLOSED, second, 40, HERE)],
    )
    assert pieces(timeline) == [("first", 0, 10, 30), ("second", 0, 20, 30), ("second", 0, 30, 40)]


def test_what_is_open_at_the_end_is_shown_up_to_there_and_later_notes_are_not() -> None:
    fork, late = Code("a"), Code("late")
    timeline = told(
        [(fork, 1, HERE), (late, 101, HERE)],
        [(STARTED, fork, 10, HERE), (STOPPED, fork, 110, HERE), (-FINISHED, fork, 111, HERE)],
        end_ns=100,
    )
    assert pieces(timeline) == [("a", 0, 10, 100)]
    assert [(task.name, task.ended_ns, task.state) for task in timeline.tasks()] == [("a", None, "unfinished")]


def test_the_parent_of_a_fork_is_the_nearest_that_the_profile_saw() -> None:
    seen = Code("seen")
    unseen = Code("unseen", seen)
    below, orphan = Code("below", unseen), Code("orphan", Code("other"))
    timeline = told([(seen, 1, HERE), (below, 2, HERE), (orphan, 3, HERE)], [])
    assert [task.parent for task in timeline.tasks()] == [None, 1, None]


@pytest.mark.parametrize(("is_async", "at_ns"), [(False, 30), (True, 22)], ids=["a thread", "a loop"])
def test_the_end_of_a_wait_is_where_the_waiting_strand_goes_on(is_async: bool, at_ns: int) -> None:
    waiter, target = Code("waiter", is_async=is_async), Code("target")
    timeline = told(
        [(waiter, 1, HERE), (target, 2, HERE)],
        [
            (STARTED, waiter, 10, HERE),
            (OPENED, Code("range"), 11, HERE),
            (STOPPED, waiter, 20, HERE),
            (WAITED, target, 22, HERE),
            (WAITED, Code("of nobody"), 23, HERE),
            (STARTED, waiter, 30, HERE),
            (STOPPED, waiter, 40, HERE),
        ],
    )
    assert timeline.waits == [Wait(2, 0, at_ns)]


def test_strands_that_touch_do_not_run_at_once() -> None:
    def strand(start_ns: int, end_ns: int) -> Strand:
        return Strand("a", 0, start_ns, end_ns, 1)

    assert most_at_once([]) == 0
    assert most_at_once([strand(0, 10), strand(10, 20)]) == 1
    assert most_at_once([strand(0, 10), strand(9, 20), strand(9, 10), strand(30, 40)]) == 3
