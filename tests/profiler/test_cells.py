"""Boxes and the cells that stand for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.cells import BOX, MARKS, RANGES, RUNS, boxes_of, cells_of, rows_of_lanes, without_inner
from asyncjit.profiler.records import RANGE, Lane, Table
from tests.profiler.handmade import handmade


def boxes(*rows: tuple[int, int, int, int, int]) -> Table:
    """Return boxes of (row, band, group, start_ns, end_ns)."""
    return np.array([(row, band, group, 0, 0, start, end, -1) for row, band, group, start, end in rows], BOX)


def test_a_cell_shows_the_share_of_each_group_one_above_the_other() -> None:
    cells = cells_of(boxes((0, RUNS, 1, 0, 5), (0, RUNS, 0, 6, 12), (0, RUNS, 1, 12, 14)), 10)
    assert cells[["row", "band", "group", "place", "num_boxes"]].tolist() == [
        (0, RUNS, 0, 0, 1),
        (0, RUNS, 1, 0, 1),
        (0, RUNS, 0, 1, 1),
        (0, RUNS, 1, 1, 1),
    ]
    assert cells["low"] == pytest.approx([0, 0.4, 0, 0.2])
    assert cells["high"] == pytest.approx([0.4, 0.9, 0.2, 0.4])


def test_a_box_of_no_length_is_counted_where_it_lies() -> None:
    cells = cells_of(boxes((3, RUNS, 0, 20, 20)), 10)
    assert cells.tolist() == [(3, RUNS, 0, 2, 0.0, 0.0, 1)]


def test_no_boxes_give_no_cells() -> None:
    assert len(cells_of(boxes(), 10)) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 50), st.integers(0, 50)), max_size=40),
    st.integers(1, 70),
)
def test_the_cells_areas_add_up_to_the_boxes_and_none_is_higher_than_full(
    steps: list[tuple[int, int, int, int]], width_ns: int
) -> None:
    at_ns = [0, 0, 0, 0]
    rows = []
    for row, group, idle, length in steps:
        rows.append((row, RUNS, group, at_ns[row] + idle, at_ns[row] + idle + length))
        at_ns[row] += idle + length
    cells = cells_of(boxes(*rows), width_ns)
    for row in range(4):
        for group in range(5):
            took_ns = sum(end - start for r, _, g, start, end in rows if (r, g) == (row, group))
            chosen = cells[(cells["row"] == row) & (cells["group"] == group)]
            assert (chosen["high"] - chosen["low"]).sum() * width_ns == pytest.approx(took_ns, abs=1e-3)
    assert (cells["high"] <= 1.00001).all()
    assert (cells["low"] >= -0.00001).all()


def test_inner_boxes_are_left_out_of_each_row_by_itself() -> None:
    outer = [(0, RANGES, 0, 0, 10), (1, RANGES, 0, 5, 20), (0, RANGES, 0, 10, 12)]
    inner = [(0, RANGES, 0, 0, 4), (0, RANGES, 0, 4, 10), (1, RANGES, 0, 6, 20)]
    assert without_inner(boxes(*outer, *inner)).tolist() == boxes(*outer).tolist()


def test_main_comes_first_then_the_loops_then_the_lanes() -> None:
    lanes = [Lane("main"), Lane("lane 1"), Lane("loop", is_loop=True), Lane("lane 2")]
    records = handmade([], [(0, 0, 0, 5)], lanes=lanes)
    assert rows_of_lanes(records, 1).tolist() == [1, 3, 2, 4]


def test_strands_path_and_ranges_become_boxes_with_their_groups() -> None:
    records = handmade([("f", 0, 1)], [(0, 0, 0, 5), (1, 1, 2, 9, 6)], ranges=[("step", 0, 0, 1, 4)])
    path = np.array([(1, 1, 1, 2, 9)], RANGE)
    found = boxes_of(records, path, np.array([1, 2]), np.array([7, 8, 9]))
    assert found.tolist() == [
        (1, RUNS, 7, 0, 0, 0, 5, 5),
        (2, RUNS, 8, 1, 1, 2, 9, 6),
        (0, RUNS, 8, 1, 1, 2, 9, -1),
        (2, MARKS, 0, 1, 1, 2, 9, -1),
        (1, RANGES, 1, 2, 0, 1, 4, -1),
    ]
