"""The arrows of a timeline: from a fork to its run, and from its run to who waited for it.

An arrow has its ends where something is drawn: on a strand, or on lane 0, whose whole length is the profile's block.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records, Table

Ints = NDArray[np.int64]


class Arrows(NamedTuple):
    """Each arrow's number (from 1, its own) and its ends; arrays of shape (N,)."""

    number: Ints
    is_wait: NDArray[np.bool_]  #: it leads from a run to a wait, not from a fork to a run
    from_ns: Ints
    from_lane: Ints
    to_ns: Ints
    to_lane: Ints


def arrows_of(records: Records) -> Arrows:
    """Return the arrows whose ends are both on a strand or on lane 0.

    An arrow to a wait leaves from where the last strand of the fork begins: at its end the lane may have gone on.
    """
    strands, tasks, waits = records.strands, records.tasks, records.waits
    first, last = first_and_last_strands(strands, len(tasks))
    forks = np.flatnonzero((first != UNKNOWN) & _is_drawn(records, tasks["lane"], tasks["forked_ns"]))
    forks = forks[forks != OUTSIDE]
    forks = forks[tasks["forked_ns"][forks] <= strands["start_ns"][first[forks]]]
    runs = strands[first[forks]]
    over = np.flatnonzero((waits["target"] > OUTSIDE) & _is_drawn(records, waits["lane"], waits["end_ns"]))
    over = over[last[waits["target"][over]] != UNKNOWN]
    over = over[strands["end_ns"][last[waits["target"][over]]] <= waits["end_ns"][over]]
    ran = strands[last[waits["target"][over]]]
    return Arrows(
        np.concatenate((forks, len(tasks) + over)),
        np.repeat((False, True), (len(forks), len(over))),
        np.concatenate((tasks["forked_ns"][forks], ran["start_ns"])),
        np.concatenate((tasks["lane"][forks], ran["lane"])),
        np.concatenate((runs["start_ns"], waits["end_ns"][over])),
        np.concatenate((runs["lane"], waits["lane"][over])),
    )


def first_and_last_strands(strands: Table, num_tasks: int) -> tuple[Ints, Ints]:
    """Return the rows of each task's first and last strand, UNKNOWN for one that never ran."""
    order = np.lexsort((strands["start_ns"], strands["task"]))
    of_task = strands["task"][order]
    numbers = np.arange(num_tasks)
    first, end = np.searchsorted(of_task, numbers), np.searchsorted(of_task, numbers, "right")
    rows = np.append(order, UNKNOWN)  # a place for those that never ran
    return np.where(first < end, rows[first], UNKNOWN), np.where(first < end, rows[end - 1], UNKNOWN)


def last_begun(strands: Table, lanes: Any, times_ns: Any) -> Ints:
    """Return the row of the last strand of each lane that has begun by then, UNKNOWN where there is none.

    Parameters
    ----------
    strands : ndarray of STRAND
        By lane and start.
    lanes, times_ns : ndarray of shape (N,), int
        The moments.
    """
    found = np.full(len(lanes), UNKNOWN)
    last_lane = int(strands["lane"][-1]) if len(strands) else -1
    for lane, (begin, end) in enumerate(pairwise(np.searchsorted(strands["lane"], np.arange(last_lane + 2)).tolist())):
        on_lane = np.flatnonzero(lanes == lane)
        place = np.searchsorted(strands["start_ns"][begin:end], times_ns[on_lane], "right")
        found[on_lane] = np.where(place > 0, begin + place - 1, UNKNOWN)
    return found


def is_on_strand(strands: Table, lanes: Any, times_ns: Any) -> NDArray[np.bool_]:
    """Say of each moment whether it lies on a strand of its lane; a strand's end is no more part of it."""
    row = last_begun(strands, lanes, times_ns)
    found: NDArray[np.bool_] = row != UNKNOWN
    strand = strands[row[found]]
    found[found] = (times_ns[found] < strand["end_ns"]) | (times_ns[found] == strand["start_ns"])
    return found


def _is_drawn(records: Records, lanes: Any, times_ns: Any) -> NDArray[np.bool_]:
    is_in_block: NDArray[np.bool_] = (lanes == 0) & (times_ns >= 0) & (times_ns < records.duration_ns)
    return is_in_block | is_on_strand(records.strands, lanes, times_ns)
