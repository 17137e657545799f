"""Slices on lanes: cut, paired and ordered so that they nest; what Perfetto makes of them is in test_chrome.py."""

from __future__ import annotations

from asyncjit.profiler.arrows import arrows_of
from asyncjit.profiler.records import OUTSIDE, UNKNOWN
from asyncjit.profiler.slices import Slices, slices_of
from tests.profiler.handmade import handmade

Row = tuple[object, ...]


def slices(tasks: list[Row], strands: list[Row], ranges: list[Row], *, duration_ns: int = 100) -> Slices:
    records = handmade(tasks, strands, ranges=ranges, duration_ns=duration_ns)
    return slices_of(records, arrows_of(records))


def test_strands_are_cut_where_a_range_crosses_them_and_not_where_it_lies_within_or_around() -> None:
    found = slices(
        [("a", OUTSIDE, 0)],
        [(OUTSIDE, 0, 0, 20), (1, 0, 30, 50, 9), (OUTSIDE, 0, 60, 90)],
        [("across", OUTSIDE, 0, 10, 80), ("around", OUTSIDE, 0, 25, 55), ("within", OUTSIDE, 0, 65, 70)],
    )
    assert found.strands.tolist() == [
        (OUTSIDE, 0, 0, 10, UNKNOWN),
        (OUTSIDE, 0, 10, 20, UNKNOWN),
        (1, 0, 30, 50, 9),
        (OUTSIDE, 0, 60, 80, UNKNOWN),
        (OUTSIDE, 0, 80, 90, UNKNOWN),
    ]
    assert found.is_pair.tolist() == [False] * 5 + [False, False, True]


def test_a_strand_is_a_pair_where_a_flow_comes_before_its_lanes_next_strand() -> None:
    tasks: list[Row] = [("a", OUTSIDE, 0), ("b", OUTSIDE, 0), ("c", OUTSIDE, 30)]
    strands: list[Row] = [(1, 0, 0, 10), (2, 0, 15, 20), (3, 1, 40, 50)]
    assert slices(tasks, strands, []).is_pair.tolist() == [False, True, False]


def test_what_closes_comes_before_what_opens_and_the_outer_before_the_inner() -> None:
    found = slices(
        [("a", OUTSIDE, 0), ("b", OUTSIDE, 0), ("c", OUTSIDE, 0)],
        [(1, 0, 10, 20), (2, 0, 20, 30), (3, 0, 30, 30), (OUTSIDE, 0, 40, 50)],
        [("outer", 1, 0, 10, 20), ("inner", 1, 0, 10, 20), ("next", 2, 0, 20, 30), ("around", OUTSIDE, 0, 40, 60)],
    )
    order = list(zip(found.order.tolist(), found.closes.tolist(), strict=True))
    a, b, c, script, outer, inner, following, around = range(8)
    assert order == [
        (a, False),
        (outer, False),
        (inner, False),
        (inner, True),
        (outer, True),
        (b, False),
        (following, False),
        (following, True),
        (c, False),
        (around, False),
        (script, False),
    ]
