"""Span and critical path: small programs worked out by hand, random ones against a plain fixed point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.analysis import work_ns
from asyncjit.profiler.critical import AWAITING, critical_path, longest_path, span_ns
from asyncjit.profiler.program import FORKS, RUN, SLEEPS, WAITS, Program, program_of
from asyncjit.profiler.records import CANCELLED, FAILED, UNFINISHED, UNKNOWN, Records
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

OUTSIDE_NAME = "(outside of forks)"

CHAIN = handmade(
    [("a", 0, 10)],
    [(0, 0, 0, 10), (1, 1, 12, 40), (0, 0, 42, 50)],
    [(0, 1, 0, 10, 42)],
)
DIAMOND = handmade(  # on one lane: b queues behind a
    [("a", 0, 4), ("b", 0, 8)],
    [(0, 0, 0, 10), (1, 1, 5, 105), (2, 1, 105, 165), (0, 0, 106, 108), (0, 0, 166, 170)],
    [(0, 1, 0, 10, 106), (0, 2, 0, 108, 166)],
)
NESTED = handmade(  # a forks b, runs on beside it and waits; the script waits for a
    [("a", 0, 2), ("b", 1, 6)],
    [(0, 0, 0, 3), (1, 1, 3, 10), (2, 2, 8, 30), (1, 1, 31, 35), (0, 0, 36, 40)],
    [(1, 2, 1, 10, 31), (0, 1, 0, 3, 36)],
)
LOOP_BOUND = handmade(  # two coroutines take turns on the loop's lane, and their kernels on lane 1
    [("c", 0, 1, 1, True), ("c", 0, 2, 1, True), ("k", 1, 7), ("k", 2, 12)],
    [
        *[(0, 0, 0, 3), (1, 0, 3, 8), (2, 0, 8, 13), (1, 0, 28, 30), (2, 0, 48, 50), (0, 0, 51, 52)],
        *[(3, 1, 7, 27), (4, 1, 27, 47)],
    ],
    [(1, 3, 0, 8, 28), (2, 4, 0, 13, 48), (0, 1, 0, 3, 51), (0, 2, 0, 51, 51)],
)
SLEEPY = handmade(
    [("c", 0, 1, 1, True)],
    [(0, 0, 0, 2), (1, 0, 2, 5), (1, 0, 23, 24), (0, 0, 25, 26)],
    [(0, 1, 0, 2, 25)],
)
CANCELLED_UNSTARTED = handmade(
    [("a", 0, 2), ("b", 0, 3, CANCELLED)],
    [(0, 0, 0, 4), (1, 1, 3, 9), (0, 0, 10, 11), (0, 0, 12, 13)],
    [(0, 1, 0, 4, 10), (0, 2, 0, 11, 12)],
)
CANCELLED_RUNNING = handmade(  # its waiter goes on at once, its body only later
    [("a", 0, 2, CANCELLED)],
    [(0, 0, 0, 4), (1, 1, 3, 90), (0, 0, 10, 40)],
    [(0, 1, 0, 4, 10)],
)
FAILING = handmade(
    [("a", 0, 2, FAILED)],
    [(0, 0, 0, 4), (1, 1, 3, 9), (0, 0, 10, 13)],
    [(0, 1, 0, 4, 10)],
)
STILL_RUNNING = handmade(  # at the profile's end, and the script still waits
    [("a", 0, 2, UNFINISHED)],
    [(0, 0, 0, 4), (1, 1, 3, 60)],
    [(0, 1, 0, 4, UNKNOWN)],
)
GIVEN_UP = handmade(  # a wait with a timeout: a waits in turn for b, and is not over at the profile's end
    [("a", 0, 2, UNFINISHED), ("b", 1, 4, UNFINISHED)],
    [(0, 0, 0, 4), (1, 1, 3, 5), (2, 2, 5, 40), (0, 0, 10, 60)],
    [(0, 1, 0, 4, 10), (1, 2, 1, 5, UNKNOWN)],
)
TEAM = handmade([("a", 0, 1)], [(0, 0, 0, 2), (1, 1, 2, 10), (1, 2, 4, 8)])
TEAM_THAT_HANDS_OVER = handmade([("a", 0, 1)], [(0, 0, 0, 2), (1, 1, 2, 6), (1, 2, 4, 8)])
WAIT_ALL = handmade(
    [("a", 0, 1), ("b", 0, 2)],
    [(0, 0, 0, 5), (1, 1, 2, 12), (2, 1, 12, 33), (0, 0, 34, 36)],
    [(0, UNKNOWN, 0, 5, 34)],
)
INDEPENDENT = handmade([("a", 0, 1), ("b", 0, 2)], [(0, 0, 0, 3), (1, 1, 2, 22), (2, 1, 22, 52)])
ONLY_A_SCRIPT = handmade([], [(0, 0, 3, 11)])
EMPTY = handmade([], [])

SPANS = {
    "chain": (CHAIN, 10 + 28 + 8),
    "diamond": (DIAMOND, 4 + 100 + 2 + 4),
    "nested": (NESTED, 2 + 3 + 22 + 4 + 4),
    "loop-bound": (LOOP_BOUND, 2 + 4 + 20 + 2 + 1),
    "sleepy": (SLEEPY, 1 + 3 + 18 + 1 + 1),
    "cancelled before it starts": (CANCELLED_UNSTARTED, 2 + 6 + 1 + 1),
    "cancelled while it runs": (CANCELLED_RUNNING, 2 + 87),
    "failed": (FAILING, 2 + 6 + 3),
    "unfinished": (STILL_RUNNING, 2 + 57),
    "given up": (GIVEN_UP, 4 + 50),
    "team": (TEAM, 1 + 8),
    "wait_all": (WAIT_ALL, 2 + 21 + 2),
    "independent": (INDEPENDENT, 2 + 30),
    "only a script": (ONLY_A_SCRIPT, 8),
    "empty": (EMPTY, 0),
}


def pieces(records: Records) -> list[tuple[str, int, int, int]]:
    return [(piece.name, piece.lane, piece.start_ns, piece.end_ns) for piece in critical_path(records)]


@pytest.mark.parametrize(("records", "expected"), SPANS.values(), ids=list(SPANS))
def test_the_span_of_small_programs(records: Records, expected: int) -> None:
    assert span_ns(records) == expected
    assert sum(piece.end_ns - piece.start_ns for piece in critical_path(records)) == expected


@pytest.mark.parametrize(
    ("records", "num_forks"), [(CHAIN, 1), (NESTED, 2), (LOOP_BOUND, 2), (TEAM, 1), (ONLY_A_SCRIPT, 0)]
)
def test_a_burden_lengthens_every_fork_of_the_path(records: Records, num_forks: int) -> None:
    assert span_ns(records, 1000) == span_ns(records) + 1000 * num_forks


def test_a_burden_may_move_the_path() -> None:
    assert span_ns(CANCELLED_RUNNING, 5) == 2 + 5 + 87
    assert span_ns(GIVEN_UP, 5) == 4 + 50  # the script's own steps, as long as b's way of 2 + 5 + 1 + 5 + 35 is shorter
    assert span_ns(GIVEN_UP, 9) == 2 + 9 + 1 + 9 + 35


def test_the_path_of_a_chain_goes_down_and_back() -> None:
    assert pieces(CHAIN) == [(OUTSIDE_NAME, 0, 0, 10), ("a", 1, 12, 40), (OUTSIDE_NAME, 0, 42, 50)]
    down = critical_path(CHAIN)[1]
    assert (down.site, down.task) == (f"forked at a.py:1 in {OUTSIDE_NAME}", 1)


def test_the_path_of_a_diamond_leaves_out_the_short_side_and_the_queue() -> None:
    assert pieces(DIAMOND) == [
        (OUTSIDE_NAME, 0, 0, 4),
        ("a", 1, 5, 105),
        (OUTSIDE_NAME, 0, 106, 108),
        (OUTSIDE_NAME, 0, 166, 170),
    ]


def test_the_path_of_nested_forks() -> None:
    assert pieces(NESTED) == [
        (OUTSIDE_NAME, 0, 0, 2),
        ("a", 1, 3, 6),
        ("b", 2, 8, 30),
        ("a", 1, 31, 35),
        (OUTSIDE_NAME, 0, 36, 40),
    ]


def test_coroutines_do_not_wait_for_each_others_turn_on_the_loop() -> None:
    assert pieces(LOOP_BOUND) == [
        (OUTSIDE_NAME, 0, 0, 2),
        ("c", 0, 8, 12),
        ("k", 1, 27, 47),
        ("c", 0, 48, 50),
        (OUTSIDE_NAME, 0, 51, 52),
    ]


def test_what_a_coroutine_sleeps_is_a_piece_of_its_own() -> None:
    assert pieces(SLEEPY)[1:4] == [("c", 0, 2, 5), (AWAITING, 0, 5, 23), ("c", 0, 23, 24)]
    assert critical_path(SLEEPY)[2].task == 1


def test_the_path_stays_on_the_lane_of_a_team_that_lasts() -> None:
    assert pieces(TEAM) == [(OUTSIDE_NAME, 0, 0, 1), ("a", 1, 2, 10)]
    assert pieces(TEAM_THAT_HANDS_OVER) == [(OUTSIDE_NAME, 0, 0, 1), ("a", 1, 2, 4), ("a", 2, 4, 8)]


def test_the_path_may_end_in_a_fork_that_nobody_waits_for() -> None:
    assert pieces(INDEPENDENT) == [(OUTSIDE_NAME, 0, 0, 2), ("b", 1, 22, 52)]


def test_a_wait_that_decides_nothing_leaves_the_path_with_its_waiter() -> None:
    records = handmade([("a", 0, 1)], [(0, 0, 0, 50), (1, 1, 2, 10), (0, 0, 50, 60)], [(0, 1, 0, 50, 50)])
    assert pieces(records) == [(OUTSIDE_NAME, 0, 0, 60)]


def test_an_empty_path() -> None:
    assert critical_path(EMPTY) == []


def program(*tasks: list[tuple[int, int]]) -> Program:
    steps = [step for task in tasks for step in task]
    first = np.cumsum([0, *(len(task) for task in tasks)])
    return Program(first, np.array([kind for kind, _ in steps]), np.array([value for _, value in steps]))


def test_circles_are_passed_where_the_walk_is_stuck() -> None:
    circle = program(
        [(FORKS, 1), (FORKS, 2), (RUN, 1)],
        [(RUN, 5), (WAITS, 2), (RUN, 3)],
        [(RUN, 2), (WAITS, 1), (RUN, 10)],
    )
    # One of the two waits is passed, and the other task comes behind: 2 + 10 + 3, or 5 + 3 + 10.
    assert longest_path(circle).span_ns in (15, 18)
    assert circle.value[longest_path(circle).steps].sum() == longest_path(circle).span_ns


def test_a_wait_for_itself_or_for_what_was_never_forked_is_passed() -> None:
    itself = [(RUN, 1), (WAITS, 0), (RUN, 2)]
    stuck = program([*itself, (FORKS, 1), (RUN, 4), (WAITS, 2)], [(RUN, 10)], [(RUN, 100)])
    assert longest_path(stuck).span_ns == 13
    assert longest_path(stuck).steps.tolist() == [0, 2, 6]


def ideal(program: Program, burden_ns: int) -> tuple[list[int], dict[int, int]]:
    """Return when each task ends and each step begins, by going through all tasks until nothing changes."""
    begins = {0: 0}
    ends = [0] * (len(program.first) - 1)
    at: dict[int, int] = {}
    before = None
    while before != (begins, ends):
        before = (begins.copy(), ends.copy())
        for task in before[0]:
            now = begins[task]
            for step in range(program.first[task], program.first[task + 1]):
                at[step] = now
                kind, value = program.kind[step], int(program.value[step])
                if kind == FORKS:
                    begins[value] = now + burden_ns
                elif kind == WAITS:
                    now = max(now, ends[value])
                else:
                    now += value
            ends[task] = now
    return ends, at


@given(st.integers(0, 2**32), st.integers(0, 1), st.integers(0, 30), st.integers(1, 25))
def test_the_span_of_any_program_is_its_fixed_point(seed: int, latency_ns: int, burden_ns: int, num_tasks: int) -> None:
    records = random_records(seed, latency_ns=latency_ns, num_tasks=num_tasks)
    steps = program_of(records)
    ends, _ = ideal(steps, burden_ns)
    assert longest_path(steps, burden_ns).span_ns == max(ends)
    assert span_ns(records) <= span_ns(records, burden_ns) <= span_ns(records) + burden_ns * (len(records.tasks) - 1)


@given(st.integers(0, 2**32), st.integers(1, 25))
def test_each_step_of_the_path_begins_where_the_one_before_ends(seed: int, num_tasks: int) -> None:
    steps = program_of(random_records(seed, num_tasks=num_tasks))
    _, at = ideal(steps, 0)
    path = longest_path(steps)
    now = 0
    for step in path.steps.tolist():
        assert steps.kind[step] in (RUN, SLEEPS)
        assert at[step] == now
        now += int(steps.value[step])
    assert now == path.span_ns


@given(st.integers(0, 2**32), st.integers(0, 1), st.integers(1, 25))
def test_the_pieces_of_the_path_lie_in_strands_one_after_the_other(seed: int, latency_ns: int, num_tasks: int) -> None:
    records = random_records(seed, latency_ns=latency_ns, num_tasks=num_tasks)
    path = critical_path(records)
    assert sum(piece.end_ns - piece.start_ns for piece in path) == span_ns(records) <= records.duration_ns
    now = 0
    for piece in path:
        assert now <= piece.start_ns < piece.end_ns <= records.duration_ns
        now = piece.end_ns
        own = records.strands[(records.strands["task"] == piece.task) & (records.strands["lane"] == piece.lane)]
        if piece.name == AWAITING:
            assert piece.start_ns in own["end_ns"]
        else:
            assert piece.name == records.name_of(piece.task)
            inside = np.minimum(own["end_ns"], piece.end_ns) - np.maximum(own["start_ns"], piece.start_ns)
            assert inside[inside > 0].sum() == piece.end_ns - piece.start_ns  # of strands that touch, one piece


@given(st.integers(0, 2**32), st.integers(1, 25))
def test_schedules_of_kernels_keep_brents_bounds(seed: int, num_tasks: int) -> None:
    records = random_records(seed, num_tasks=num_tasks, coroutines=False, cut=False)
    work, span, lanes = work_ns(records), span_ns(records), records.num_lanes
    took = int(records.strands["end_ns"].max())
    assert span <= work <= (lanes + 1) * took  # the script has a lane of its own
    assert span <= took <= work / lanes + span
