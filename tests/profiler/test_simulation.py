"""Simulated schedules: small programs worked out by hand, and the bounds that hold for all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjit.profiler.plan import Plan, lay_out, plan_of
from asyncjit.profiler.program import FORKS, RUN, SLEEPS, WAITS, Program
from asyncjit.profiler.records import CANCELLED, FINISHED, TASK, UNFINISHED, UNKNOWN
from asyncjit.profiler.simulation import FREE, Overheads, simulate
from tests.profiler.generated import random_records

Steps = list[tuple[int, int]]
States = dict[int, int]


def plan(
    *bodies: Steps,
    coroutines: tuple[int, ...] = (),
    on_loop: tuple[int, ...] = (),
    states: dict[int, int] | None = None,
) -> Plan:
    """Return the plan of tasks 0, 1, ... given by their steps; a coroutine is on the loop, and what `on_loop` names."""
    tasks = np.zeros(len(bodies), TASK)
    tasks["state"] = FINISHED
    for task, state in (states or {}).items():
        tasks["state"][task] = state
    tasks["ended_ns"] = np.where(tasks["state"] == UNFINISHED, UNKNOWN, 1)
    tasks["is_async"][list(coroutines)] = 1
    was_on_loop = np.zeros(len(bodies), bool)
    was_on_loop[[*coroutines, *on_loop]] = True
    steps = np.array([step for body in bodies for step in body], np.int64).reshape(-1, 2)
    first = np.cumsum([0, *map(len, bodies)])
    return lay_out(Program(first, steps[:, 0], steps[:, 1]), tasks, was_on_loop)


def times(made: Plan, overheads: Overheads = FREE, lanes: tuple[int, ...] = (1, 2, 3)) -> list[int]:
    return [simulate(made, num_lanes, overheads).time_ns for num_lanes in lanes]


# -- by hand


def test_a_chain_takes_the_same_time_on_any_number_of_lanes() -> None:
    made = plan(
        [(RUN, 10), (FORKS, 1), (WAITS, 1), (RUN, 7)], [(RUN, 20), (FORKS, 2), (WAITS, 2), (RUN, 5)], [(RUN, 30)]
    )
    assert times(made) == [72, 72, 72]


def test_two_arms_of_a_diamond_take_turns_on_one_lane_and_overlap_on_two() -> None:
    made = plan([(RUN, 10), (FORKS, 1), (FORKS, 2), (WAITS, 1), (WAITS, 2), (RUN, 5)], [(RUN, 30)], [(RUN, 20)])
    assert times(made) == [65, 45, 45]


def test_kernels_start_in_the_order_of_their_forks() -> None:
    # 1 lane: 40, 50, 60. 2 lanes: 10 and 10 first would end at 50; in order 40 beside 10 + 10, at 40.
    made = plan([(FORKS, 1), (FORKS, 2), (FORKS, 3), (WAITS, 3)], [(RUN, 40)], [(RUN, 10)], [(RUN, 10)])
    assert times(made) == [60, 40, 40]
    made = plan([(FORKS, 1), (FORKS, 2), (FORKS, 3), (WAITS, 3)], [(RUN, 10)], [(RUN, 10)], [(RUN, 40)])
    assert times(made) == [60, 50, 40]


def test_the_code_outside_of_forks_runs_beside_the_lanes() -> None:
    made = plan([(FORKS, 1), (RUN, 50), (WAITS, 1)], [(RUN, 40)])
    assert times(made) == [50, 50, 50]


def test_nested_forks_run_in_place_under_the_waiters_permit() -> None:
    made = plan(
        [(FORKS, 1), (WAITS, 1)],
        [(RUN, 5), (FORKS, 2), (FORKS, 3), (FORKS, 4), (WAITS, 2), (RUN, 1), (WAITS, 3), (RUN, 1), (WAITS, 4)],
        [(RUN, 10)],
        [(RUN, 20)],
        [(RUN, 30)],
    )
    # 1 lane: all in place, 5 + 10 + 1 + 20 + 1 + 30.
    # 2 lanes: the second runs task 2 from 5 to 15, and under the permit that the waiter gives back somebody runs 3 from
    # 5 to 25. At 15 the waiter goes on under task 2's permit; at 16 it waits for 3, and 4 runs from 16 to 46.
    # 3 lanes: 2, 3 and, under the waiter's permit, 4 run from 5 on, the last until 35.
    assert times(made) == [67, 46, 35]


def test_a_wait_for_all_runs_in_place_what_has_not_started() -> None:
    made = plan(
        [(FORKS, 1), (WAITS, 1)],
        [(RUN, 5), (FORKS, 2), (FORKS, 3), (WAITS, 2), (WAITS, 3)],
        [(RUN, 10)],
        [(RUN, 20)],
    )
    assert times(made, Overheads(hop_ns=100)) == [35, 35, 35]  # before anybody comes
    assert times(made, Overheads(hop_ns=6)) == [35, 26, 26]  # 2 in place from 5 on, 3 elsewhere from 6 on
    made = plan(
        [(FORKS, 1), (WAITS, 1)],
        [(FORKS, 2), (FORKS, 3), (RUN, 5), (WAITS, 2), (WAITS, 3)],
        [(RUN, 40)],
        [(RUN, 60)],
    )
    # 2 lanes: task 2 runs elsewhere from 3 on, 3 in place from 7 on; 3 lanes: who comes at 4 takes that.
    assert times(made, Overheads(claim_ns=1, hop_ns=3)) == [108, 67, 64]


def test_a_script_that_waits_is_a_lane_meanwhile_if_a_permit_is_free() -> None:
    made = plan([(RUN, 10), (FORKS, 1), (WAITS, 1), (RUN, 5)], [(RUN, 30)])
    assert times(made, Overheads(hop_ns=100, claim_ns=1, resume_ns=2)) == [48, 48, 48]
    made = plan([(FORKS, 1), (FORKS, 2), (RUN, 10), (WAITS, 2), (RUN, 5)], [(RUN, 30)], [(RUN, 20)])
    # 1 lane: the thread that was woken comes at 4 and runs 1; there is no permit for 2, which waits from 34 to 54.
    assert times(made, Overheads(hop_ns=4, wake_ns=3)) == [62, 34, 34]
    # It comes at 15, when the script runs 2 from 10 to 30 under the only permit; another is woken at 30, comes at 45.
    assert times(made, Overheads(hop_ns=15)) == [75, 45, 45]


def test_code_on_a_loop_runs_nothing_in_place_but_what_a_loop_ran_itself() -> None:
    steps: Steps = [(FORKS, 1), (WAITS, 1), (RUN, 5)]
    overheads = Overheads(hop_ns=20, claim_ns=1, resume_ns=2, loop_ns=9)
    assert times(plan(steps, [(RUN, 30)]), overheads) == [38, 38, 38]
    assert times(plan(steps, [(RUN, 30)], on_loop=(0,)), overheads) == [64, 64, 64]
    assert times(plan(steps, [(RUN, 30)], on_loop=(0, 1)), overheads) == [38, 38, 38]


def test_coroutines_take_turns_on_the_loop_and_their_kernels_overlap() -> None:
    made = plan(
        [(FORKS, 1), (FORKS, 2), (WAITS, 1), (WAITS, 2)],
        [(RUN, 10), (FORKS, 3), (WAITS, 3), (RUN, 10)],
        [(RUN, 10), (FORKS, 4), (WAITS, 4), (RUN, 10)],
        [(RUN, 30)],
        [(RUN, 30)],
        coroutines=(1, 2),
        on_loop=(0,),
    )
    # The loop: 1 to 10, 2 to 20, 1 again from 40 to 50, 2 from 50 (1 lane: from 70) on.
    assert times(made) == [80, 60, 60]
    # With 7 to wake the loop and 1 from strand to strand: 1 from 1 to 11 and 2 from 12 to 22; their kernels from 11 to
    # 41 and from 22 to 52; the loop has slept: 48 to 58, 59 to 69, and one more turn for the code outside.
    assert times(made, Overheads(loop_ns=7, turn_ns=1), lanes=(2,)) == [70]


def test_a_coroutine_that_sleeps_leaves_the_loop() -> None:
    made = plan([(FORKS, 1), (RUN, 10), (WAITS, 1)], [(RUN, 2), (SLEEPS, 30), (RUN, 3)], coroutines=(1,), on_loop=(0,))
    assert times(made) == [45, 45, 45]
    made = plan([(FORKS, 1), (RUN, 10), (WAITS, 1)], [(RUN, 2), (SLEEPS, 30), (RUN, 3)], coroutines=(1,))
    assert times(made) == [35, 35, 35]  # the script's thread and the loop's are two


def test_the_loop_takes_what_is_ready_in_the_order_in_which_it_became_so() -> None:
    made = plan(
        [(FORKS, 1), (FORKS, 2), (FORKS, 3), (RUN, 10), (WAITS, 4)],
        [(RUN, 20), (FORKS, 4)],
        [(RUN, 30)],
        [(RUN, 30)],
        [(RUN, 90)],
        coroutines=(1, 2, 3),
        on_loop=(0,),
    )
    assert times(made) == [120, 120, 120]  # 10 and 20 on the loop, then the kernel beside the others


def test_a_kernel_does_not_sleep() -> None:
    assert times(plan([(FORKS, 1), (WAITS, 1)], [(RUN, 2), (SLEEPS, 30), (RUN, 3)])) == [5, 5, 5]


def test_all_who_wait_for_one_task_go_on_at_once_and_the_excess_is_repaid() -> None:
    made = plan(
        [(FORKS, 1), (FORKS, 2), (FORKS, 3), (FORKS, 4), (RUN, 55), (FORKS, 5), (WAITS, 5)],
        [(RUN, 50)],
        [(RUN, 1), (WAITS, 1), (RUN, 10)],
        [(RUN, 1), (WAITS, 1), (RUN, 10)],
        [(RUN, 5)],
        [(RUN, 5)],
        coroutines=(1,),
    )
    # 1 lane: 2 and 3 wait from 1 and 2 on, 4 runs from 2 to 7; at 50 both go on, and 5 begins when both have ended.
    assert times(made) == [65, 65, 60]


def test_a_permit_passes_to_the_waiter_and_not_to_the_queue() -> None:
    made = plan(
        [(FORKS, 1), (FORKS, 2), (FORKS, 3), (WAITS, 3)],
        [(RUN, 30)],
        [(RUN, 10), (WAITS, 1), (RUN, 10)],
        [(RUN, 50)],
    )
    # 2 lanes: 3 begins at 10, when 2 waits; at 30 task 2 goes on. 1 lane: 30, then 2 to 50, then 3.
    assert times(made) == [100, 60, 50]


def test_overheads_come_between_the_strands() -> None:
    made = plan([(FORKS, 1), (FORKS, 2), (RUN, 10), (WAITS, 1), (RUN, 1), (WAITS, 2)], [(RUN, 20)], [(RUN, 20)])
    overheads = Overheads(hop_ns=5, next_ns=2, wake_ns=3)
    # 1 lane: 5 to 25 and 27 to 47, waited for from 29 on. 2 lanes: both from 5 to 25; 28 to 29 and no more wait.
    assert times(made, overheads) == [50, 29, 29]


# -- whatever the records


def test_what_never_ends_is_not_waited_for() -> None:
    steps: list[Steps] = [[(FORKS, 1), (WAITS, 1), (RUN, 5)], [(RUN, 30)]]
    assert times(plan(*steps)) == [35, 35, 35]
    for state in (UNFINISHED, CANCELLED):
        assert times(plan(*steps, states={1: state})) == [30, 30, 30]


def test_a_circle_of_waits_is_passed_over() -> None:
    made = plan([(FORKS, 1), (FORKS, 2), (WAITS, 1)], [(WAITS, 2), (RUN, 4)], [(WAITS, 1), (WAITS, 2), (RUN, 6)])
    assert all(time > 0 for time in times(made))


def test_a_wait_for_a_task_that_is_never_forked_is_passed_over() -> None:
    assert times(plan([(WAITS, 1), (RUN, 5)], [(RUN, 30)], coroutines=(1,))) == [5, 5, 5]


def test_no_lanes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_lanes must be positive, not 0: a kernel needs a lane to run on"):
        simulate(plan([(RUN, 1)]), 0)


def test_an_outcome_tells_whether_more_lanes_could_change_it() -> None:
    made = plan([(FORKS, 1), (FORKS, 2), (WAITS, 1), (WAITS, 2)], [(RUN, 30)], [(RUN, 20)])
    assert [simulate(made, lanes).is_bounded for lanes in (1, 2, 3)] == [True, False, False]


# -- for all


def span(made: Plan) -> int:
    """Return the longest path, by going through the tasks as if there were threads for all, the loop's too."""
    ends: dict[int, int] = {}

    def go(task: int, now: int) -> None:
        i = made.first[task]
        while True:
            now += int(made.before_ns[i])
            what = made.doing[i]
            if what == 0:
                ends[task] = now
                return
            if what < 0:
                now = max(now, ends[-what])
            elif what < len(made.first):
                go(what, now)
            else:
                now += what - len(made.first)
            i += 1

    go(0, 0)
    return max(ends.values())


@st.composite
def trees(draw: st.DrawFn) -> Plan:
    """Draw a plan of kernels, each waited for by nobody or by its parent, once."""
    rng = draw(st.randoms(use_true_random=False))
    bodies: list[Steps] = [[]]
    num_tasks = draw(st.integers(1, 30))

    def body(task: int, depth: int) -> None:
        open_forks: list[int] = []
        for _ in range(rng.randint(1, 6)):
            if task:
                bodies[task].append((RUN, rng.choice((1, rng.randint(1, 20), rng.randint(1, 100)))))
            if rng.random() < 0.6 and len(bodies) < num_tasks and depth < 20:
                child = len(bodies)
                bodies.append([])
                body(child, depth + 1)
                bodies[task].append((FORKS, child))
                open_forks.append(child)
            elif open_forks and rng.random() < 0.6:
                bodies[task].append((WAITS, open_forks.pop(rng.randrange(len(open_forks)))))

    body(0, 0)
    return plan(*bodies)


@given(trees(), st.integers(1, 8))
@settings(deadline=None)
def test_brents_bounds_hold_for_trees(made: Plan, num_lanes: int) -> None:
    time_ns = simulate(made, num_lanes).time_ns
    assert max(made.work_ns / num_lanes, span(made)) <= time_ns <= made.work_ns / num_lanes + span(made)


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(deadline=None)
def test_brents_bounds_hold_for_kernels_that_wait_for_any_other(seed: int, num_lanes: int) -> None:
    made = plan_of(random_records(seed, num_tasks=40, coroutines=False))
    time_ns = simulate(made, num_lanes).time_ns
    assert span(made) <= time_ns <= made.work_ns / num_lanes + span(made)


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(deadline=None)
def test_with_coroutines_the_loop_is_one_more_bound(seed: int, num_lanes: int) -> None:
    made = plan_of(random_records(seed, num_tasks=40))
    on_loop_ns = int(made.before_ns[np.array(made.is_on_loop)[made.task]].sum())
    time_ns = simulate(made, num_lanes).time_ns
    kernels_ns = made.work_ns - on_loop_ns
    assert max(on_loop_ns, span(made)) <= time_ns <= kernels_ns / num_lanes + on_loop_ns + span(made)


@given(trees())
@settings(deadline=None)
def test_with_lanes_for_all_a_program_takes_its_span(made: Plan) -> None:
    outcome = simulate(made, len(made.first))
    assert outcome.time_ns == span(made)
    assert not outcome.is_bounded


@given(st.integers(0, 10**6), st.integers(1, 8), st.lists(st.integers(0, 50), min_size=7, max_size=7))
@settings(deadline=None)
def test_a_plan_that_was_not_bounded_takes_the_same_time_on_more_lanes(
    seed: int, num_lanes: int, costs: list[int]
) -> None:
    made = plan_of(random_records(seed, num_tasks=40))
    outcome = simulate(made, num_lanes, Overheads(*costs))
    if not outcome.is_bounded:
        assert simulate(made, 1000, Overheads(*costs)) == outcome


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from((RUN, FORKS, WAITS, SLEEPS)), st.integers(1, 7)), max_size=8),
        min_size=8,
        max_size=8,
    ),
    st.sets(st.integers(1, 7)),
    st.integers(1, 3),
)
@settings(deadline=None)
def test_a_simulation_ends_whatever_the_steps(bodies: list[Steps], coroutines: set[int], num_lanes: int) -> None:
    seen: set[int] = set()
    for body in bodies:  # each is forked once at most, as rows of a table are; it may be by itself, or by its own fork
        body[:] = [step for step in body if step[0] != FORKS or not (step[1] in seen or seen.add(step[1]))]  # type: ignore[func-returns-value]
    simulate(plan(*bodies, coroutines=tuple(coroutines)), num_lanes)
