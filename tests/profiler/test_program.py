"""Programs behind profiles: what each task did, step by step."""

from __future__ import annotations

from asyncjit.profiler.program import FORKS, RUN, SLEEPS, WAITS, program_of
from asyncjit.profiler.records import UNKNOWN, Records
from tests.profiler.handmade import handmade


def steps(records: Records, task: int) -> list[tuple[int, int]]:
    program = program_of(records)
    part = slice(program.first[task], program.first[task + 1])
    return list(zip(program.kind[part].tolist(), program.value[part].tolist(), strict=True))


def test_a_task_runs_forks_runs_on_and_waits() -> None:
    records = handmade(
        [("a", 0, 10)],
        [(0, 0, 0, 20), (1, 1, 12, 40), (0, 0, 41, 50)],
        [(0, 1, 0, 20, 41)],
    )
    assert steps(records, 0) == [(RUN, 10), (FORKS, 1), (RUN, 10), (WAITS, 1), (RUN, 9)]
    assert steps(records, 1) == [(RUN, 28)]


def test_a_wait_that_names_no_target_stands_for_the_forks_that_had_ended_since_the_last() -> None:
    records = handmade(
        [("a", 0, 1), ("b", 0, 2), ("c", 0, 3)],
        [(0, 0, 0, 5), (1, 1, 2, 10), (2, 1, 10, 20), (0, 0, 21, 25), (3, 1, 20, 30), (0, 0, 31, 33)],
        [(0, UNKNOWN, 0, 5, 21), (0, UNKNOWN, 0, 25, 31)],
    )
    program = steps(records, 0)
    assert [value for kind, value in program if kind == WAITS] == [1, 2, 3]
    assert program[-2:] == [(WAITS, 3), (RUN, 2)]


def test_a_coroutine_that_awaits_something_else_sleeps() -> None:
    records = handmade(
        [("a", 0, 1, 1, True), ("k", 1, 4)],
        [(1, 0, 2, 5), (2, 1, 5, 9), (1, 0, 10, 12), (1, 0, 30, 31)],
        [(1, 2, 0, 5, 10)],
    )
    assert steps(records, 1) == [(RUN, 2), (FORKS, 2), (RUN, 1), (WAITS, 2), (RUN, 2), (SLEEPS, 18), (RUN, 1)]


def test_a_coroutine_that_waits_does_not_sleep_though_its_wait_is_noted_to_be_over_when_it_runs_again() -> None:
    records = handmade(
        [("a", 0, 1, 1, True), ("k", 1, 4)],
        [(1, 0, 2, 5), (2, 1, 5, 9), (1, 0, 10, 12)],
        [(1, 2, 0, 5, 11)],
    )
    assert steps(records, 1) == [(RUN, 2), (FORKS, 2), (RUN, 1), (RUN, 1), (WAITS, 2), (RUN, 1)]


def test_the_strands_of_a_team_count_once() -> None:
    records = handmade([("a", 0, 1)], [(1, 1, 2, 10), (1, 2, 4, 8)])
    assert steps(records, 1) == [(RUN, 2), (RUN, 4), (RUN, 2)]


def test_an_empty_profile_has_no_steps() -> None:
    assert steps(handmade([], []), 0) == []


def test_a_wait_that_was_given_up_is_none() -> None:
    records = handmade([("a", 0, 2)], [(0, 0, 0, 4), (1, 1, 3, 90), (0, 0, 10, 40)], [(0, 1, 0, 4, 10)])
    assert [kind for kind, _ in steps(records, 0)] == [RUN, FORKS, RUN, RUN]
