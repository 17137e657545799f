"""The tree of calls: forks, the pieces of ranges in them, and what each executed itself."""

from __future__ import annotations

from asyncjit.profiler.calls import Calls, calls_of
from asyncjit.profiler.records import UNKNOWN
from tests.profiler.handmade import handmade


def wall(calls: Calls) -> list[int]:
    return [int(value) for value in calls.own.wall_ns]


def test_each_nanosecond_belongs_to_the_innermost_call() -> None:
    calls = calls_of(
        handmade(
            [("a", 0, 0)],
            [(0, 0, 0, 10), (1, 1, 0, 100)],
            ranges=[("outer", 1, 1, 10, 60), ("inner", 1, 1, 20, 35), ("inner", 1, 1, 40, 45)],
        )
    )
    assert calls.parent.tolist() == [UNKNOWN, 0, 1, 2, 2]
    assert wall(calls) == [10, 50, 30, 15, 5]


def test_a_fork_made_in_a_range_stands_below_it() -> None:
    calls = calls_of(
        handmade(
            [("before", 0, 5), ("in", 0, 10), ("innermost", 0, 20), ("behind", 0, 40), ("elsewhere", 1, 20)],
            [(0, 0, 0, 50), (1, 1, 15, 30)],
            ranges=[("outer", 0, 0, 10, 40), ("inner", 0, 0, 15, 25)],
        )
    )
    outer, inner = 6, 7
    assert calls.parent.tolist() == [UNKNOWN, 0, outer, inner, 0, 1, 0, outer]


def test_a_range_has_the_share_of_a_strands_cpu_time_that_it_has_of_its_wall_time() -> None:
    calls = calls_of(handmade([], [(0, 0, 0, 10, 4), (0, 0, 20, 30, 8)], ranges=[("r", 0, 0, 5, 25)]))
    assert wall(calls) == [10, 10]
    assert calls.own.cpu_ns.tolist() == [6, 6]


def test_the_parts_of_an_odd_cpu_time_add_up_to_it() -> None:
    pieces = [("r", 0, 0, start, start + 1) for start in range(10)]
    calls = calls_of(handmade([], [(0, 0, 0, 10, 3)], ranges=pieces))
    assert calls.own.cpu_ns.sum() == 3
    assert calls.own.cpu_ns.min() == 0


def test_a_share_of_wall_time_is_exact() -> None:
    assert wall(calls_of(handmade([], [(0, 0, 0, 49)], ranges=[("r", 0, 0, 1, 49)]))) == [1, 48]  # 1 / 49 * 49 < 1


def test_what_other_tasks_executed_in_a_range_is_none_of_its_own() -> None:
    calls = calls_of(
        handmade(
            [("helped", 0, 5)],
            [(0, 0, 0, 10), (1, 0, 10, 30), (0, 0, 30, 40)],
            ranges=[("waits", 0, 0, 2, 38), ("in helped", 1, 0, 12, 20)],
        )
    )
    assert calls.parent.tolist() == [UNKNOWN, 2, 0, 1]
    assert wall(calls) == [4, 12, 16, 8]


def test_strands_without_cpu_time_do_not_count_as_measured() -> None:
    calls = calls_of(handmade([], [(0, 0, 0, 10, UNKNOWN), (0, 0, 20, 30, 7)], ranges=[("r", 0, 0, 5, 10)]))
    assert calls.own.measured_ns.tolist() == [10, 0]
    assert calls.own.cpu_ns.tolist() == [7, 0]


def test_a_block_that_was_cut_at_waits_goes_on() -> None:
    calls = calls_of(
        handmade(
            [("a", 0, 0)],
            [(1, 1, 0, 10), (1, 2, 20, 30), (1, 1, 40, 50)],
            ranges=[
                ("r", 1, 1, 2, 10),
                ("inner", 1, 1, 5, 10),
                ("r", 1, 2, 20, 30),
                ("inner", 1, 2, 20, 25),
                ("inner", 1, 2, 26, 28),
                ("r", 1, 1, 40, 45),
                ("r", 1, 1, 46, 47),
            ],
        )
    )
    assert calls.goes_on[2:].tolist() == [False, False, True, True, False, True, False]


def test_of_two_blocks_of_one_name_in_each_other_both_go_on() -> None:
    calls = calls_of(
        handmade(
            [("a", 0, 0)],
            [(1, 1, 0, 10), (1, 1, 20, 30)],
            ranges=[("r", 1, 1, 2, 10), ("r", 1, 1, 5, 10), ("r", 1, 1, 20, 30), ("r", 1, 1, 20, 25)],
        )
    )
    assert calls.goes_on[2:].tolist() == [False, False, True, True]


def test_a_block_that_begins_where_another_of_its_name_goes_on_is_a_new_one() -> None:
    calls = calls_of(
        handmade(
            [("a", 0, 0)],
            [(1, 1, 0, 10), (1, 1, 20, 30)],
            ranges=[("r", 1, 1, 2, 10), ("r", 1, 1, 20, 30), ("r", 1, 1, 20, 25)],
        )
    )
    assert calls.goes_on[2:].tolist() == [False, True, False]


def test_a_block_that_was_cut_by_one_that_it_crosses_goes_on() -> None:
    calls = calls_of(handmade([], [(0, 0, 0, 50)], ranges=[("r", 0, 0, 5, 20), ("r", 0, 0, 20, 30)]))
    assert calls.goes_on.tolist() == [False, False, True]


def test_blocks_of_other_tasks_and_names_are_other_blocks() -> None:
    calls = calls_of(
        handmade(
            [("a", 0, 0), ("b", 0, 0)],
            [(1, 1, 0, 10), (1, 1, 20, 30), (2, 2, 0, 10), (2, 2, 20, 30)],
            ranges=[("r", 1, 1, 2, 10), ("s", 1, 1, 20, 30), ("r", 2, 2, 20, 30)],
        )
    )
    assert not calls.goes_on.any()


def test_a_block_that_took_no_time_is_one_block() -> None:
    calls = calls_of(handmade([], [(0, 0, 0, 50)], ranges=[("r", 0, 0, 5, 5), ("r", 0, 0, 7, 7)]))
    assert not calls.goes_on.any()
    assert wall(calls) == [50, 0, 0]


def test_ranges_outside_of_all_strands_executed_nothing() -> None:
    records = handmade([("a", 0, 0)], [(1, 1, 0, 9)], ranges=[("r", 0, 0, 5, 50), ("s", 1, 1, 12, 15)])
    assert wall(calls_of(records)) == [0, 9, 0, 0]


def test_an_empty_profile_has_the_code_outside_of_forks() -> None:
    calls = calls_of(handmade([], []))
    assert (calls.parent.tolist(), wall(calls), calls.goes_on.tolist()) == ([UNKNOWN], [0], [False])


def test_ranges_without_any_strand_executed_nothing() -> None:
    assert wall(calls_of(handmade([], [], ranges=[("r", 0, 0, 5, 50)]))) == [0, 0]
