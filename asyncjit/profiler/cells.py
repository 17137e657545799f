"""Boxes of a timeline, and cells that stand for them where there are too many to draw.

A box is a strand, a piece of the critical path or a `record_function` range, in a row of the picture. A cell is a
stretch of time of one row, the same width for all; each group of functions fills the share of its height that the group
took of its time, so the coloured height is how busy the lane was. Nothing is left out and nothing is sampled: the areas
add up to the time recorded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import Records, Table

RUNS, MARKS, RANGES = range(3)  # the bands of a row: what ran, whether the critical path passed, the outermost ranges
NUM_BANDS = 3
# Groups of functions with one colour; from FIRST_FUNCTION on each is one function.
ON_PATH, IN_RANGE, OUTSIDE_OF_FORKS, AWAITED, OTHERS, FIRST_FUNCTION = range(6)

BOX = np.dtype(
    [
        ("row", "<i4"),
        ("band", "<i4"),
        ("group", "<i4"),
        ("name", "<i4"),  # as `group_of_name` has them
        ("task", "<i4"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("cpu_ns", "<i8"),
    ]
)
CELL = np.dtype(
    [
        ("row", "<i4"),
        ("band", "<i4"),
        ("group", "<i4"),
        ("place", "<i4"),  # it begins at place * width
        ("low", "<f4"),  # the share of the cell's height below it ...
        ("high", "<f4"),  # ... and up to its upper edge
        ("num_boxes", "<i4"),  # that lie in it, if only in part
    ]
)
Ints = NDArray[np.int64]


def rows_of_lanes(records: Records, first_row: int) -> Ints:
    """Return each lane's row: the thread that opened the profile, the loops, then the lanes."""
    order = sorted(range(len(records.lanes)), key=lambda lane: (lane != 0, not records.lanes[lane].is_loop, lane))
    rows = np.empty(len(order), np.int64)
    rows[order] = np.arange(first_row, first_row + len(order))
    return rows


def boxes_of(records: Records, path: Table, rows: Ints, group_of_name: Ints) -> Table:
    """Return all boxes, outer before inner.

    Parameters
    ----------
    records : Records
        The profile.
    path : ndarray of RANGE
        The pieces of the critical path; they are drawn in row 0 and marked on the lanes.
    rows : ndarray of shape (lanes,), int64
        The row of each lane.
    group_of_name : ndarray of shape (names,), int64
        The group of each name.
    """
    strands, ranges = records.strands, records.ranges
    names = records.tasks["name"]
    runs = _boxes(strands, rows[strands["lane"]], RUNS, names[strands["task"]], group_of_name)
    runs["cpu_ns"] = strands["cpu_ns"]
    in_path = _boxes(path, np.zeros(len(path), np.int64), RUNS, path["name"], group_of_name)
    marks = _boxes(path, rows[path["lane"]], MARKS, path["name"], ON_PATH)
    named = _boxes(ranges, rows[ranges["lane"]], RANGES, ranges["name"], IN_RANGE)
    return np.concatenate((runs, in_path, marks, named))


def _boxes(table: Table, rows: Ints, band: int, names: NDArray[np.int32], groups: Ints | int) -> Table:
    boxes = np.empty(len(table), BOX)
    boxes["row"], boxes["band"], boxes["name"] = rows, band, names
    boxes["group"] = groups if isinstance(groups, int) else groups[names]
    for column in ("task", "start_ns", "end_ns"):
        boxes[column] = table[column]
    boxes["cpu_ns"] = -1
    return boxes


def without_inner(boxes: Table) -> Table:
    """Return the boxes without those inside another one of their row and band; each row's are in the order of time."""
    if not len(boxes):
        return boxes
    strip = boxes["row"].astype(np.int64) * NUM_BANDS + boxes["band"]
    order = np.lexsort((-boxes["end_ns"], boxes["start_ns"], strip))
    # Strips are laid one after another in time, so that one running maximum serves all.
    shift = strip[order] * (int(boxes["end_ns"].max()) + 1)
    ends = np.maximum.accumulate(boxes["end_ns"][order] + shift)
    is_outer = np.ones(len(boxes), bool)
    is_outer[1:] = boxes["start_ns"][order][1:] + shift[1:] >= ends[:-1]
    return boxes[np.sort(order[is_outer])]


def cells_of(boxes: Table, width_ns: int) -> Table:
    """Return the cells that stand for boxes of which none overlap in a row and band, by row, band, place and group."""
    if not len(boxes):
        return np.empty(0, CELL)
    first = boxes["start_ns"] // width_ns
    last = np.maximum(boxes["end_ns"] - 1, boxes["start_ns"]) // width_ns
    counts = last - first + 1
    box = np.repeat(np.arange(len(boxes)), counts)
    place = first[box] + np.arange(len(box)) - np.repeat(np.cumsum(counts) - counts, counts)
    took_ns = np.minimum(boxes["end_ns"][box], (place + 1) * width_ns)
    took_ns -= np.maximum(boxes["start_ns"][box], place * width_ns)
    num_places, num_groups = int(last.max()) + 1, int(boxes["group"].max()) + 1
    strip = boxes["row"].astype(np.int64) * NUM_BANDS + boxes["band"]
    keys, inverse = np.unique((strip[box] * num_places + place) * num_groups + boxes["group"][box], return_inverse=True)
    share = np.bincount(inverse, took_ns) / width_ns
    cell, group = np.divmod(keys, num_groups)
    strip, place = np.divmod(cell, num_places)
    cells = np.empty(len(keys), CELL)
    cells["row"], cells["band"] = np.divmod(strip, NUM_BANDS)
    cells["group"], cells["place"], cells["num_boxes"] = group, place, np.bincount(inverse)
    high = np.cumsum(share)
    is_first = np.ones(len(keys), bool)
    is_first[1:] = cell[1:] != cell[:-1]
    below = np.maximum.accumulate(np.where(is_first, high - share, 0.0))
    cells["low"], cells["high"] = high - share - below, high - below
    return cells
