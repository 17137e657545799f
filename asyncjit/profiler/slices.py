"""What stands on the lanes of a timeline, in an order in which it nests.

A trace viewer keeps a stack for each lane. Traps, checked against Perfetto's own engine: at equal times the outer slice
must come first; and a flow binds to what its lane opened last and has not closed, where a complete event (one with its
duration) is not closed by its end but by the next slice of its lane. So where a flow may come before that, a slice is a
pair of a beginning and an end: the ranges within strands, and some strands. But at equal times the engine takes ends
first, then complete events, then beginnings, so no complete event lies within a pair, but those that take no time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.arrows import Arrows, is_on_strand, last_begun
from asyncjit.profiler.records import UNKNOWN, Records, Table

Ints = NDArray[np.int64]


class Slices(NamedTuple):
    """Slices by their numbers: first the strands, then the ranges of the records."""

    strands: Table  #: cut where a range crosses them
    is_pair: NDArray[np.bool_]  #: of each slice: it opens and closes, and is no complete event
    order: Ints  #: which slice opens or closes, in the order of time
    closes: NDArray[np.bool_]  #: of each in that order


def slices_of(records: Records, arrows: Arrows) -> Slices:
    """Return what to draw of strands and ranges, given the arrows between them."""
    ranges = records.ranges
    strands = _cut(records.strands, ranges)
    is_pair = np.concatenate((_precede_flows(strands, arrows), _lie_within(strands, ranges)))
    return Slices(strands, is_pair, *_nesting_order(strands, ranges, is_pair))


def _cut(strands: Table, ranges: Table) -> Table:
    """Return the strands, cut where a range crosses them: one of a script lies across its waits."""
    lanes = np.tile(ranges["lane"], 2)
    ends, other_ends = (
        np.concatenate((ranges[a], ranges[b])) for a, b in (("start_ns", "end_ns"), ("end_ns", "start_ns"))
    )
    rows = last_begun(strands, lanes, ends)
    found = rows != UNKNOWN
    rows, ends, other_ends = rows[found], ends[found], other_ends[found]
    start, end = strands["start_ns"][rows], strands["end_ns"][rows]
    crosses = (start < ends) & (ends < end) & ((other_ends < start) | (other_ends > end))
    cuts = np.unique(np.column_stack((rows[crosses], ends[crosses])), axis=0)
    pieces = np.repeat(strands, 1 + np.bincount(cuts[:, 0], minlength=len(strands)))
    after = cuts[:, 0] + np.arange(1, len(cuts) + 1)
    pieces["start_ns"][after] = pieces["end_ns"][after - 1] = cuts[:, 1]
    pieces["cpu_ns"][after] = pieces["cpu_ns"][after - 1] = UNKNOWN
    return pieces


def _precede_flows(strands: Table, arrows: Arrows) -> NDArray[np.bool_]:
    """Say of each strand whether, after its end, a flow comes before the lane's next strand."""
    found = np.zeros(len(strands), bool)
    for lanes, times_ns in ((arrows.from_lane, arrows.from_ns), (arrows.to_lane, arrows.to_ns)):
        is_free = ~is_on_strand(strands, lanes, times_ns)
        rows = last_begun(strands, lanes[is_free], times_ns[is_free])
        found[rows[rows != UNKNOWN]] = True
    found &= strands["start_ns"] < strands["end_ns"]
    return found


def _lie_within(strands: Table, ranges: Table) -> NDArray[np.bool_]:
    """Say of each range whether it lies within a strand, and takes time."""
    rows = last_begun(strands, ranges["lane"], ranges["start_ns"])
    found: NDArray[np.bool_] = (rows != UNKNOWN) & (ranges["start_ns"] < ranges["end_ns"])
    found[found] = ranges["end_ns"][found] <= strands["end_ns"][rows[found]]
    return found


def _nesting_order(strands: Table, ranges: Table, is_pair: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.bool_]]:
    """Return what opens and closes: which slice, and whether it closes.

    At equal times what closes comes first, from the inner to the outer, then what opens, from the outer to the inner,
    then what takes no time at all.
    """
    start_ns = np.concatenate((strands["start_ns"], ranges["start_ns"]))
    end_ns = np.concatenate((strands["end_ns"], ranges["end_ns"]))
    slices = np.concatenate((np.arange(len(start_ns)), np.flatnonzero(is_pair)))
    closes = np.arange(len(slices)) >= len(start_ns)
    start_ns, end_ns = start_ns[slices], end_ns[slices]
    inner = np.where(closes, -slices, slices), np.where(closes, -start_ns, -end_ns)
    step = np.where(closes, 0, np.where(start_ns < end_ns, 1, 2))
    order = np.lexsort((*inner, step, np.where(closes, end_ns, start_ns)))
    return slices[order], closes[order]
