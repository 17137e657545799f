"""`key_averages`: what each function cost, itself and with all below it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.averages import key_averages
from asyncjit.profiler.records import CANCELLED, STRAND, TASK, UNFINISHED, UNKNOWN, Records
from asyncjit.profiler.table import FunctionEventAvg
from tests.profiler.handmade import Row, handmade

US = 1000  # a tick of the programs below, in nanoseconds


def in_us(rows: list[Row], *times: int) -> list[Row]:
    """Return rows with the times at some places in microseconds."""
    return [tuple(value * US if place in times else value for place, value in enumerate(row)) for row in rows]


def averages(records: Records, *, shapes: bool = False) -> dict[str, FunctionEventAvg]:
    return {event.key: event for event in key_averages(records, group_by_input_shape=shapes)}


def nested() -> Records:
    """A script that makes two calls of `outer`, which forks `inner`, and `inner` `outer` again."""
    return handmade(
        in_us([("outer", 0, 0), ("outer", 0, 2), ("inner", 1, 12), ("outer", 3, 25)], 2),
        in_us(
            [
                (0, 0, 0, 10, 9),
                (1, 1, 10, 20, 6),
                (2, 2, 2, 9, 7),
                (3, 2, 20, 28, 4),
                (4, 1, 25, 30, 5),
                (1, 2, 30, 31, 1),
            ],
            2,
            3,
            4,
        ),
    )


def test_self_is_the_own_strands_and_total_all_below_each_once() -> None:
    found = averages(nested())
    assert {key: (e.count, e.self_wall_time_total, e.wall_time_total) for key, e in found.items()} == {
        "(outside of forks)": (1, 10, 41),
        "outer": (3, 10 + 7 + 5 + 1, 10 + 7 + 8 + 5 + 1),
        "inner": (1, 8, 8 + 5),
    }
    assert {key: (e.self_cpu_time_total, e.cpu_time_total) for key, e in found.items()} == {
        "(outside of forks)": (9, 32),
        "outer": (6 + 7 + 5 + 1, 6 + 7 + 4 + 5 + 1),
        "inner": (4, 4 + 5),
    }


def test_a_fork_is_queued_up_to_its_first_strand() -> None:
    found = averages(nested())
    assert found["outer"].queue_time_total == 10 + 0 + 0
    assert found["inner"].queue_time_total == 8
    assert found["(outside of forks)"].queue_time_total is None


def test_a_fork_that_never_started_is_queued_to_its_end_or_the_profiles() -> None:
    records = handmade(
        in_us([("a", 0, 1, CANCELLED), ("b", 0, 2, UNFINISHED)], 2),
        in_us([(0, 0, 0, 5)], 2, 3),
        duration_ns=20 * US,
    )
    records.tasks["ended_ns"][1] = 4 * US
    found = averages(records)
    assert (found["a"].queue_time_total, found["b"].queue_time_total) == (3, 18)
    assert (found["a"].count, found["a"].wall_time_total, found["a"].cpu_time_total) == (1, 0, 0)


def test_averages_are_those_of_a_call() -> None:
    outer = averages(nested())["outer"]
    assert (outer.wall_time, outer.cpu_time, outer.queue_time) == pytest.approx((31 / 3, 23 / 3, 10 / 3))


def test_ranges_have_rows_and_take_their_time_from_the_function_around() -> None:
    records = handmade(
        in_us([("a", 0, 5)], 2),
        in_us([(0, 0, 0, 10), (1, 1, 5, 25), (0, 0, 25, 30)], 2, 3),
        ranges=in_us([("step", 0, 0, 4, 28), ("part", 1, 1, 5, 9), ("part", 1, 1, 10, 12)], 3, 4),
    )
    found = averages(records)
    assert {key: (e.count, e.self_wall_time_total, e.wall_time_total) for key, e in found.items()} == {
        "(outside of forks)": (1, 6, 35),
        "step": (1, 9, 29),
        "a": (1, 14, 20),
        "part": (2, 6, 6),
    }
    assert [key for key, event in found.items() if event.is_user_annotation] == ["step", "part"]
    assert [key for key, event in found.items() if event.is_top_level] == ["(outside of forks)", "step"]
    assert found["step"].queue_time_total is None


def test_a_block_counts_once_however_often_it_was_cut() -> None:
    records = handmade([("a", 0, 0)], [(1, 1, 0, 10), (1, 2, 20, 30)], ranges=[("r", 1, 1, 2, 10), ("r", 1, 2, 20, 25)])
    assert averages(records)["r"].count == 1


def test_a_function_and_a_range_of_one_name_are_told_apart() -> None:
    records = handmade([("f", 0, 0)], [(1, 1, 0, 10 * US)], ranges=[("f", 1, 1, 0, 4 * US)])
    found = [(e.key, e.is_user_annotation, e.self_wall_time_total) for e in key_averages(records)]
    assert found == [("f", False, 6), ("f", True, 4)]


def test_cpu_times_that_were_not_measured_are_none() -> None:
    records = handmade([("a", 0, 0), ("b", 1, 0)], [(1, 1, 0, 5 * US, UNKNOWN), (2, 2, 0, 5 * US, 3 * US)])
    found = averages(records)
    assert (found["a"].self_cpu_time_total, found["a"].cpu_time_total, found["a"].cpu_time) == (None, 3, 3)
    assert key_averages(handmade([("a", 0, 0)], [(1, 1, 0, 5, UNKNOWN)]))[0].cpu_time is None


def test_of_a_function_measured_in_part_that_part_is_told() -> None:
    records = handmade([("a", 0, 0)], [(1, 1, 0, 5 * US, UNKNOWN), (1, 1, 6 * US, 9 * US, 2 * US)])
    assert averages(records)["a"].self_cpu_time_total == 2


def with_shapes() -> Records:
    records = handmade([("f", 0, 0), ("f", 1, 0), ("f", 0, 0), ("g", 0, 0)], [(n, n, 0, n * US) for n in (1, 2, 3, 4)])
    records.tasks["shapes"][1:] = [0, 1, 0, UNKNOWN]
    return replace(records, shapes=("[[2, 3]]", "[[5], []]"))


def test_calls_with_other_shapes_have_rows_of_their_own() -> None:
    found = [
        (e.key, e.input_shapes, e.count, e.self_wall_time_total, e.wall_time_total)
        for e in key_averages(with_shapes(), group_by_input_shape=True)
    ]
    assert found == [("f", "[[2, 3]]", 2, 4, 6), ("f", "[[5], []]", 1, 2, 2), ("g", "", 1, 4, 4)]


def test_without_grouping_or_without_shapes_they_are_empty() -> None:
    assert [(e.key, e.input_shapes, e.count) for e in key_averages(with_shapes())] == [("f", "", 3), ("g", "", 1)]
    grouped = key_averages(nested(), group_by_input_shape=True)
    assert {event.input_shapes for event in grouped} == {""}
    assert grouped == key_averages(nested())


def test_functions_stand_in_the_order_of_their_first_calls() -> None:
    records = handmade([("b", 0, 5), ("a", 0, 6)], [(0, 0, 0, 1)], ranges=[("c", 0, 0, 0, 1), ("d", 0, 0, 9, 10)])
    assert [event.key for event in key_averages(records)] == ["(outside of forks)", "c", "b", "a", "d"]


def test_an_empty_profile_has_no_averages() -> None:
    assert key_averages(handmade([], [])) == []


def test_recursion_of_any_depth_is_counted_once() -> None:
    depth = 100_000
    tasks = np.zeros(depth + 1, TASK)
    tasks["parent"] = np.arange(-1, depth)
    tasks["name"][1:] = 1 + np.arange(depth) % 2
    strands = np.zeros(depth, STRAND)
    strands["task"] = np.arange(1, depth + 1)
    strands["start_ns"] = np.arange(depth) * US
    strands["end_ns"] = strands["start_ns"] + US
    records = replace(handmade([], []), tasks=tasks, strands=strands, names=("outside", "even", "odd"))
    found = averages(records)
    assert (found["even"].self_wall_time_total, found["even"].wall_time_total) == (depth / 2, depth)
    assert found["odd"].wall_time_total == depth - 1


NAMES = st.sampled_from("fgh")


@st.composite
def programs(draw: st.DrawFn) -> Records:
    """Draw records whose strands and ranges nest as those of a profile; otherwise of any kind."""
    num_lanes = draw(st.integers(1, 3))
    num_tasks = draw(st.integers(0, 6))
    tasks = [(draw(NAMES), draw(st.integers(0, number)), draw(st.integers(0, 20))) for number in range(num_tasks)]
    strands: list[Row] = []
    ranges: list[Row] = []

    def add_ranges(task: int, lane: int, start: int, end: int) -> None:
        cuts = draw(st.lists(st.integers(start, end), max_size=4, unique=True).map(sorted))
        for first, last in zip(cuts[::2], cuts[1::2], strict=False):
            ranges.append((draw(NAMES), task, lane, first, last))
            if draw(st.booleans()):
                add_ranges(task, lane, first, last)

    for lane in range(num_lanes):
        cuts = draw(st.lists(st.integers(0, 25), max_size=8, unique=True).map(sorted))
        for start, end in pairwise(cuts):
            if draw(st.booleans()):
                strands.append((draw(st.integers(0, num_tasks)), lane, start, end))
                add_ranges(strands[-1][0], lane, start, end)
    records = handmade(tasks, strands, ranges=ranges, duration_ns=25)
    records.tasks["lane"][1:] = [draw(st.integers(0, num_lanes - 1)) for _ in tasks]
    return records


def counted(records: Records) -> tuple[Counter[tuple[str, bool]], Counter[tuple[str, bool]]]:
    """Return each key's own and total time, counted nanosecond by nanosecond."""
    own: Counter[tuple[str, bool]] = Counter()
    total: Counter[tuple[str, bool]] = Counter()
    ranges = records.ranges.tolist()

    def calls_at(task: int, lane: int, at_ns: int) -> list[tuple[str, bool]]:
        """Return the keys of what is open in a task at a time, the innermost last, below all that it is in."""
        above = []
        if task:
            row = records.tasks[task]
            above = calls_at(int(row["parent"]), int(row["lane"]), int(row["forked_ns"]))
        inside = [
            (records.names[name], True)
            for name, of_task, of_lane, start_ns, end_ns in ranges
            if of_task == task and of_lane == lane and start_ns <= at_ns < end_ns
        ]
        return [*above, (records.name_of(task), False), *inside]

    for task, lane, start_ns, end_ns, _ in records.strands.tolist():
        for at_ns in range(start_ns, end_ns):
            open_calls = calls_at(task, lane, at_ns)
            own[open_calls[-1]] += 1
            total.update(set(open_calls))
    return own, total


@given(programs())
def test_times_are_those_counted_nanosecond_by_nanosecond(records: Records) -> None:
    own, total = counted(records)
    found = key_averages(records)
    for event in found:
        key = (event.key, event.is_user_annotation)
        assert round(event.self_wall_time_total * 1000) == own.pop(key, 0)
        assert round(event.wall_time_total * 1000) == total.pop(key, 0)
        assert event.cpu_time_total == event.wall_time_total
        assert event.self_cpu_time_total == event.self_wall_time_total
    assert not own
    assert set(total) <= {("(outside of forks)", False)}
