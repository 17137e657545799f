"""What functions cost and lose, alone and under load: worked out by hand, and counted tick by tick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.analysis import lengths_ns
from asyncjit.profiler.inflation import Stretches, function_loads, shared_time_ns
from asyncjit.profiler.records import CANCELLED, OUTSIDE, UNKNOWN
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

INFLATED = handmade(  # f takes 10 alone and 20 beside g, in which it computes 12; the third time half of it is shared
    [("f", 0, 0), ("f", 0, 0), ("g", 0, 12), ("f", 0, 50), ("g", 0, 50)],
    [
        *[(1, 1, 4, 14, 9), (2, 1, 20, 40, 12), (3, 2, 20, 45, 13)],
        *[(4, 1, 100, 110, 10), (5, 2, 105, 205, 100)],
    ],
)


def test_a_function_is_slower_under_load() -> None:
    loads = {load.name: load for load in function_loads(INFLATED)}
    f = loads["f"]
    assert f.alone == Stretches(num_strands=1, wall_ns=10, num_measured=1, measured_ns=10, cpu_ns=9)
    assert f.loaded == Stretches(num_strands=1, wall_ns=20, num_measured=1, measured_ns=20, cpu_ns=12)
    assert f.all == Stretches(num_strands=3, wall_ns=40, num_measured=3, measured_ns=40, cpu_ns=31)
    assert f.inflation == 2
    assert (f.alone.lost_share, f.loaded.lost_share) == (0.1, 0.4)
    assert (f.all.lost_ns, f.all.mean_ns, f.all.mean_cpu_ns) == (9, 40 / 3, 31 / 3)
    assert loads["g"].loaded.wall_ns == 25  # 20 of 25 beside f
    assert loads["g"].alone.wall_ns == 100  # 5 of 100 beside f


def test_functions_come_with_their_calls_and_queues_the_longest_first() -> None:
    loads = function_loads(INFLATED)
    assert [load.name for load in loads] == ["g", "f"]
    assert [load.calls for load in loads] == [2, 3]
    assert [load.queue_ns for load in loads] == [8 + 55, 4 + 20 + 50]


def test_a_kernel_that_sleeps_loses_its_time_alone_too() -> None:
    records = handmade([("f", 0, 0), ("f", 0, 0), ("g", 0, 0)], [(1, 1, 0, 10, 1), (2, 1, 20, 30, 1), (3, 2, 20, 30)])
    [f] = [load for load in function_loads(records) if load.name == "f"]
    assert f.alone.lost_share == f.loaded.lost_share == 0.9
    assert f.inflation == 1


def test_the_code_outside_of_forks_is_load_and_no_function() -> None:
    records = handmade([("f", 0, 0)], [(0, 0, 0, 100), (1, 1, 10, 20)])
    [f] = function_loads(records)
    assert f.loaded.num_strands == 1
    assert f.alone.num_strands == 0
    assert f.inflation is None


def test_the_bounds_of_alone_and_under_load() -> None:
    strands = [(1, 1, 0, 10), (2, 1, 100, 110), (3, 1, 200, 210), (4, 1, 300, 310)]
    beside = [(5, 2, 9, 10), (5, 2, 108, 110), (5, 2, 205, 210), (5, 2, 304, 310)]
    records = handmade([*[("f", 0, 0)] * 4, ("g", 0, 0)], strands + beside)
    [f] = [load for load in function_loads(records) if load.name == "f"]
    assert f.alone.num_strands == 1  # a tenth is shared
    assert f.loaded.num_strands == 1  # six tenths; not two, and not five


def test_without_cpu_times_nothing_is_known_to_be_lost() -> None:
    strands = INFLATED.strands.copy()
    strands["cpu_ns"] = UNKNOWN
    for load in function_loads(replace(INFLATED, strands=strands)):
        assert load.all.lost_ns is load.all.lost_share is load.all.mean_cpu_ns is None
    assert load.inflation == 2


def test_only_measured_strands_tell_what_is_lost() -> None:
    records = handmade([("f", 0, 0), ("f", 0, 0)], [(1, 1, 0, 10, 4), (2, 1, 20, 50, UNKNOWN)])
    [f] = function_loads(records)
    assert (f.all.wall_ns, f.all.measured_ns, f.all.lost_ns, f.all.lost_share) == (40, 10, 6, 0.6)


def test_a_clock_that_saw_more_cpu_than_wall_time_lost_nothing() -> None:
    [f] = function_loads(handmade([("f", 0, 0)], [(1, 1, 0, 10, 11)]))
    assert (f.all.lost_ns, f.all.lost_share) == (0, 0)


def test_forks_that_never_started_are_calls_without_a_queue() -> None:
    records = handmade([("f", 0, 3), ("f", 0, 4, CANCELLED)], [(1, 1, 8, 10)])
    [f] = function_loads(records)
    assert (f.calls, f.num_started, f.queue_ns) == (2, 1, 5)


def test_an_empty_profile_has_no_functions() -> None:
    assert function_loads(handmade([], [])) == []
    assert shared_time_ns(handmade([], []).strands).tolist() == []


@given(st.integers(0, 2**32))
def test_shared_time_is_what_counting_ticks_gives(seed: int) -> None:
    records = random_records(seed)
    counts = np.zeros(records.duration_ns, int)
    for strand in records.strands:
        counts[strand["start_ns"] : strand["end_ns"]] += 1
    expected = [int((counts[strand["start_ns"] : strand["end_ns"]] > 1).sum()) for strand in records.strands]
    assert shared_time_ns(records.strands).tolist() == expected


@given(st.integers(0, 2**32))
def test_functions_have_all_strands_of_forks_between_them(seed: int) -> None:
    records = random_records(seed)
    of_forks = records.strands[records.strands["task"] != OUTSIDE]
    loads = function_loads(records)
    assert sum(load.calls for load in loads) == len(records.tasks) - 1
    assert sum(load.all.num_strands for load in loads) == len(of_forks)
    assert sum(load.all.wall_ns for load in loads) == lengths_ns(of_forks).sum()
    for load in loads:
        assert load.alone.wall_ns + load.loaded.wall_ns <= load.all.wall_ns
        assert load.all.lost_share is None or 0 <= load.all.lost_share <= 1
