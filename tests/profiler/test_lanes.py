"""Strands and ranges on their lanes: they nest, whatever was noted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.lanes import cut
from asyncjit.profiler.notes import CLOSED, NOT_MEASURED, OPENED, STARTED, STOPPED, Ints
from tests.profiler.noted import Recording, ranges, strands


def two_forks() -> Recording:
    recording = Recording()
    recording.here.fork(1, 1)
    recording.here.fork(2, 2)
    return recording


def test_a_strand_is_cut_by_the_strand_of_another_fork_in_it() -> None:
    recording = two_forks()
    here = recording.here
    here.start(1, 10, 100)
    here.run(2, 20, 30, (105, 112))
    here.stop(1, 40, 120)
    assert [row for row in recording.records().strands.tolist() if row[0]] == [
        (1, 0, 10, 20, 5),
        (2, 0, 20, 30, 7),
        (1, 0, 30, 40, 8),
    ]


@pytest.mark.parametrize(
    ("closed_ns", "more"), [(35, [("range", 1, 0, 30, 35)]), (25, [])], ids=["while it executes", "while it does not"]
)
def test_a_range_of_a_fork_is_open_only_while_that_executes(closed_ns: int, more: list[tuple[object, ...]]) -> None:
    recording = two_forks()
    here = recording.here
    here.start(1, 10)
    here.open("range", 1, 12)
    here.stop(1, 20)
    if closed_ns < 30:
        here.close(1, closed_ns)
    here.start(1, 30)
    if closed_ns > 30:
        here.close(1, closed_ns)
    here.stop(1, 40)
    records = recording.records()
    assert strands(records) == [(1, 0, 10, 20), (1, 0, 30, 40)]
    assert ranges(records) == [("range", 1, 0, 12, 20), *more]


def test_a_range_goes_on_with_its_fork_on_another_lane() -> None:
    recording = two_forks()
    recording.here.start(1, 10)
    recording.here.open("range", 1, 12)
    recording.here.stop(1, 20)
    recording.there.start(1, 30)
    recording.there.close(1, 35)
    recording.there.stop(1, 40)
    assert ranges(recording.records()) == [("range", 1, 0, 12, 20), ("range", 1, 1, 30, 35)]


def test_two_ranges_that_cross_are_cut_so_that_they_nest() -> None:
    recording = Recording()
    here = recording.here
    here.open("first", 1, 10)
    here.open("second", 2, 20)
    here.close(1, 30)
    here.close(2, 40)
    assert ranges(recording.records()) == [
        ("first", 0, 0, 10, 30),
        ("second", 0, 0, 20, 30),
        ("second", 0, 0, 30, 40),
    ]


def test_what_is_open_at_the_end_is_shown_up_to_there() -> None:
    recording = two_forks()
    recording.here.start(1, 10)
    recording.here.open("range", 1, 12)
    records = recording.records(end_ns=50)
    assert (strands(records), ranges(records)) == ([(1, 0, 10, 50)], [("range", 1, 0, 12, 50)])


def test_the_end_of_a_strand_that_began_before_the_recording_is_no_strand() -> None:
    recording = two_forks()
    recording.here.stop(1, 10)
    recording.here.run(2, 20, 30)
    assert strands(recording.records()) == [(2, 0, 20, 30)]


def table(rows: Sequence[tuple[int, ...]]) -> Ints:
    return np.array(rows, np.int64).reshape(-1, 4)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(0, 3)), max_size=30))
def test_reading_pairs_off_gives_what_the_stack_gives(pieces: list[tuple[int, int, int]]) -> None:
    lanes: list[list[tuple[int, ...]]] = [[], [], []]
    at_ns = [0, 0, 0]
    for fork, (lane, length_ns, gap_ns) in enumerate(pieces, 1):
        start_ns = at_ns[lane] + gap_ns
        at_ns[lane] = start_ns + length_ns
        lanes[lane] += [(STARTED, fork, start_ns, 10 * start_ns), (STOPPED, fork, at_ns[lane], 10 * at_ns[lane])]
    end_ns = max(at_ns) + 1
    plain, no_ranges = cut([table(rows) for rows in lanes], end_ns)
    lanes[0] += [(OPENED, 99, end_ns, 0), (CLOSED, 99, end_ns, 0)]  # so that the stack is needed
    stacked, one_range = cut([table(rows) for rows in lanes], end_ns)
    assert sorted(plain.tolist()) == sorted(stacked.tolist())
    assert (len(no_ranges), len(one_range)) == (0, 1)


@given(st.lists(st.tuples(st.sampled_from([STARTED, STOPPED, OPENED, CLOSED]), st.integers(1, 4)), max_size=40))
def test_whatever_is_noted_strands_do_not_overlap_and_ranges_nest_with_them(notes: list[tuple[int, int]]) -> None:
    rows = [
        (mark, what + 100 * (mark in (OPENED, CLOSED)), at_ns, 0 if mark == OPENED else NOT_MEASURED)
        for at_ns, (mark, what) in enumerate(notes, 1)
    ]
    found_strands, found_ranges = cut([table(rows)], len(notes) + 1)
    on_lane = sorted((start, end) for _, _, start, end, _ in found_strands.tolist())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(on_lane))
    both = on_lane + [(start, end) for _, _, _, start, end in found_ranges.tolist()]
    for first in both:
        for second in both:
            is_crossing = first[0] < second[0] < first[1] < second[1]
            assert not is_crossing
