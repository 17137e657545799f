"""Work, utilisation, concurrency and burdens: worked out by hand, and counted tick by tick for random programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.analysis import (
    burden_ns,
    concurrency,
    first_starts_ns,
    lanes_utilisation,
    max_running,
    parallelism,
    start_burden_ns,
    utilisation,
    wait_burden_ns,
    work_ns,
)
from asyncjit.profiler.records import CANCELLED, UNFINISHED, UNKNOWN, Lane, Records
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

DIAMOND = handmade(  # on one lane: b queues behind a
    [("a", 0, 4), ("b", 0, 8)],
    [(0, 0, 0, 10), (1, 1, 5, 105), (2, 1, 105, 165), (0, 0, 106, 108), (0, 0, 166, 170)],
    [(0, 1, 0, 10, 106), (0, 2, 0, 108, 166)],
    num_lanes=1,
    duration_ns=200,
)
OVERLAPPING = handmade([("a", 0, 4), ("b", 0, 8)], [(0, 0, 0, 10), (1, 1, 5, 20), (2, 2, 8, 12)], duration_ns=30)
EMPTY = handmade([], [])


def test_the_work_is_all_that_ran_outside_of_forks_too() -> None:
    assert work_ns(DIAMOND) == 10 + 100 + 60 + 2 + 4
    assert work_ns(EMPTY) == 0


def test_the_work_of_a_team_counts_on_each_of_its_lanes() -> None:
    assert work_ns(handmade([("a", 0, 1)], [(1, 1, 2, 10), (1, 2, 4, 8)])) == 12


def test_the_parallelism_is_work_by_span() -> None:
    assert parallelism(DIAMOND) == 176 / 110
    assert parallelism(handmade([], [(0, 0, 0, 7)])) == 1
    assert parallelism(EMPTY) == 0


def test_each_lane_is_busy_for_its_share_of_the_duration() -> None:
    assert utilisation(DIAMOND).tolist() == [16 / 200, 160 / 200]


def test_a_lane_without_strands_and_an_empty_profile_are_idle() -> None:
    lanes = [Lane("main"), Lane("lane 1"), Lane("lane 2")]
    assert utilisation(replace(DIAMOND, lanes=tuple(lanes))).tolist() == [0.08, 0.8, 0]
    assert utilisation(EMPTY).tolist() == [0]


def test_only_kernels_beside_the_loop_use_the_inter_op_threads() -> None:
    records = handmade(
        [("k", 0, 1), ("c", 0, 2, 1, True), ("cheap", 0, 3), ("in place", 0, 4)],
        [(0, 0, 0, 10), (1, 1, 10, 40), (2, 0, 10, 50), (3, 0, 50, 60), (4, 2, 60, 70)],
        lanes=[Lane("main", is_loop=True), Lane("lane 1"), Lane("script")],
        duration_ns=100,
    )
    assert lanes_utilisation(records) == (30 + 10) / (100 * 2)


def test_the_inter_op_threads_are_never_more_than_busy() -> None:
    crowded = handmade([("a", 0, 1), ("b", 0, 1)], [(1, 1, 2, 10), (2, 2, 2, 10)], num_lanes=1, duration_ns=10)
    assert lanes_utilisation(crowded) == 1
    assert lanes_utilisation(EMPTY) == 0


def test_forks_run_at_once_and_what_is_outside_of_them_does_not_count() -> None:
    assert max_running(OVERLAPPING) == 2
    assert max_running(EMPTY) == 0


def test_what_starts_when_another_ends_did_not_run_beside_it() -> None:
    assert max_running(DIAMOND) == 1


def test_the_time_with_so_many_strands() -> None:
    assert concurrency(OVERLAPPING).tolist() == [10, 5 + 8, 3 + 2, 2]
    assert concurrency(replace(EMPTY, duration_ns=9)).tolist() == [9]


def test_strands_that_took_no_time_count_for_nothing() -> None:
    records = handmade([("a", 0, 4)], [(0, 0, 0, 10), (1, 1, 5, 5), (1, 2, 10, 10)])
    assert concurrency(records).tolist() == [0, 10]
    assert max_running(records) == 0


BURST = handmade(  # two lanes: a and b find them free, c queues behind them, d finds one free again, e both
    [("a", 0, 0), ("b", 0, 1), ("c", 0, 2), ("d", 0, 30), ("e", 0, 60), ("c", 0, 61, 1, True), ("x", 0, 62, CANCELLED)],
    [(1, 1, 3, 20), (2, 2, 6, 40), (3, 1, 20, 25), (4, 1, 37, 50), (5, 2, 71, 80), (6, 0, 300, 310)],
)


def test_a_start_costs_the_median_of_the_kernels_that_found_a_free_lane() -> None:
    assert start_burden_ns(BURST) == 6  # of 3, 5, 7 and 11; c took 18
    assert start_burden_ns(replace(BURST, num_lanes=1)) == 7  # of 3 (a) and 11 (e): all others found it taken


def test_a_wait_costs_the_median_of_the_waiters_that_could_go_on() -> None:
    lanes = [Lane("main", is_loop=True), Lane("lane 1"), Lane("lane 2")]
    records = handmade(
        [("a", 0, 0), ("b", 0, 0), ("c", 0, 0), ("early", 0, 0), ("other", 0, 0, 1, True), ("open", 0, 0, UNFINISHED)],
        [
            *[(0, 0, 0, 5), (1, 1, 1, 10), (0, 0, 14, 15)],  # 4
            *[(2, 0, 15, 20), (0, 0, 22, 23)],  # 2, after a target in place
            *[(3, 1, 20, 30), (5, 0, 28, 50), (0, 0, 60, 61)],  # 30, but the loop was busy
            *[(4, 2, 1, 2), (0, 0, 62, 63), (6, 1, 30, 99)],  # over before it was waited for; not over
        ],
        [
            *[(0, 1, 0, 5, 14), (0, 2, 0, 15, 22), (0, 3, 0, 23, 60), (0, 4, 0, 61, 62)],
            *[(0, UNKNOWN, 0, 63, 80), (0, 6, 0, 90, UNKNOWN)],
        ],
        lanes=lanes,
    )
    assert wait_burden_ns(records) == 3


def test_a_wait_on_a_lane_without_strands_is_one_that_could_go_on() -> None:
    records = handmade([("a", 0, 0)], [(1, 1, 1, 10)], [(0, 1, 0, 5, 17)], lanes=[Lane("main"), Lane("lane 1")])
    assert wait_burden_ns(records) == 7


def test_the_burden_of_a_fork_is_that_of_its_start_and_its_wait() -> None:
    assert burden_ns(DIAMOND) == 1 + 1
    assert burden_ns(EMPTY) == 0


def test_the_first_strand_of_a_task_need_not_be_on_its_first_lane() -> None:
    records = handmade([("a", 0, 0), ("b", 0, 0)], [(1, 1, 50, 60), (1, 2, 10, 20)])
    assert first_starts_ns(records).tolist() == [UNKNOWN, 10, UNKNOWN]


def ticks(records: Records) -> np.ndarray:
    """Return how many strands ran in each tick."""
    counts = np.zeros(records.duration_ns, int)
    for strand in records.strands:
        counts[strand["start_ns"] : strand["end_ns"]] += 1
    return counts


@given(st.integers(0, 2**32), st.integers(0, 2))
def test_time_by_concurrency_is_what_counting_ticks_gives(seed: int, latency_ns: int) -> None:
    records = random_records(seed, latency_ns=latency_ns)
    counts = ticks(records)
    found = concurrency(records)
    assert found.tolist() == np.bincount(counts, minlength=len(found)).tolist()
    assert np.dot(found, np.arange(len(found))) == work_ns(records) == counts.sum()
    assert utilisation(records).sum() * records.duration_ns == pytest.approx(work_ns(records))
    assert 0 <= lanes_utilisation(records) <= 1
    assert max_running(records) <= records.num_lanes + 1


@given(st.integers(0, 2**32), st.integers(0, 9))
def test_a_start_costs_at_least_what_every_lane_took(seed: int, latency_ns: int) -> None:
    records = random_records(seed, latency_ns=latency_ns, coroutines=False, cut=False)
    started = first_starts_ns(records)[1:] != UNKNOWN
    assert start_burden_ns(records) >= latency_ns * started.any()
