"""Plans: programs laid out for the simulation."""

from __future__ import annotations

import numpy as np

from asyncjit.profiler.plan import plan_of
from asyncjit.profiler.records import CANCELLED, FINISHED, UNFINISHED, Lane
from tests.profiler.handmade import handmade


def test_a_profile_is_laid_out_by_its_steps() -> None:
    records = handmade(
        [("a", 0, 10), ("c", 0, 15, FINISHED, True), ("u", 1, 25)],
        [(0, 0, 0, 20), (1, 1, 12, 40), (2, 2, 16, 18), (0, 0, 41, 50), (3, 2, 30, 31)],
        [(0, 1, 0, 20, 41), (1, 2, 1, 35, 35)],
        lanes=[Lane("main"), Lane("lane 1"), Lane("loop", is_loop=True)],
    )
    made = plan_of(records)
    assert made.doing == [1, 2, -1, 0, 3, -2, 0, 0, 0]
    assert made.before_ns.tolist() == [10, 5, 5, 9, 13, 10, 5, 2, 1]
    assert made.first == [0, 4, 7, 8]
    assert made.task.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 3]
    assert made.is_kernel == [False, True, False, True]
    assert made.is_on_loop == [False, False, True, False]
    assert made.is_cheap == [False, False, False, True]
    assert made.work_ns == 60


def test_a_plan_scales_the_times_of_each_task() -> None:
    records = handmade([("a", 0, 10)], [(0, 0, 0, 20), (1, 1, 12, 41)])
    assert plan_of(records).scaled(np.array([1.0, 0.5])).before_ns.tolist() == [10, 10, 14]  # 14.5, to the even one


def test_what_was_cancelled_or_never_ended_is_not_waited_for() -> None:
    for state, waits in ((FINISHED, [-1]), (CANCELLED, []), (UNFINISHED, [])):
        records = handmade([("a", 0, 10, state)], [(0, 0, 0, 20), (1, 1, 12, 40), (0, 0, 40, 50)], [(0, 1, 0, 20, 40)])
        assert plan_of(records).doing == [1, *waits, 0, 0]


def test_an_empty_profile_has_only_the_end_of_the_code_outside() -> None:
    plan = plan_of(handmade([], []))
    assert (plan.first, plan.doing, plan.before_ns.tolist(), plan.work_ns) == ([0], [0], [0], 0)
