"""What the runtime took between strands, measured from a profile's records.

Two strands that follow each other on one thread have a gap between them, and what the second is tells what the gap was
spent on. A kernel that begins there was claimed by a wait if its thread was in one (`claim`), was queued already when
the first strand ended (`next`), or was forked later, and then what counts is the time since (`hop`; only where a permit
was free at the fork, or it would have had to wait anyway). A strand that goes on behind a target that ran in place:
`resume`. Waits for a target that ran elsewhere: from the target's end to the wait's (`wake`). On a loop's thread the
time from what made a strand ready: `loop` if the loop slept then, `turn`, from the strand before, if it was busy.

Each is the mean of what was seen, without what lies far beyond the median: that is the system's or another process's
doing. A thread's first strand is no hop, as its birth is in that time. What was not seen counts nothing, but that a hop
and a wake-up, which both wake a thread, stand in for each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.program import Ints
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records, Table
from asyncjit.profiler.simulation import Overheads

FAR = 5  # chosen: so many medians; fork trees then take on one lane what was recorded, but for a few per cent


class _Pairs(NamedTuple):
    """Strands with the one before each on the same thread."""

    strand: Table
    before: Table
    is_first: NDArray[np.bool_]  # of its task
    is_last: NDArray[np.bool_]  # whether the one before was the last of its task
    is_waited: NDArray[np.bool_]  # the thread was in a wait when the strand began
    is_on_loop: NDArray[np.bool_]


def overheads_of(records: Records) -> Overheads:
    """Measure the runtime's overheads; see the module's docstring for how."""
    seen = {**_between(records), **_wake_ups(records)}
    seen["loop_ns"] = np.concatenate((seen["loop_ns"], seen["born_ns"]))
    found = {name: _usual_ns(seen[name]) for name in Overheads._fields if len(seen[name])}
    for name, like in (("hop_ns", "wake_ns"), ("wake_ns", "hop_ns")):
        if name not in found and like in found:
            found[name] = found[like]
    return Overheads(**found)


def _usual_ns(values: Ints) -> int:
    values = np.maximum(values, 0)
    return round(float(values[values <= FAR * np.median(values)].mean()))


def _between(records: Records) -> dict[str, Ints]:
    """Return what was seen in the gaps between strands."""
    tasks, pairs = records.tasks, _pairs(records)
    gap_ns = pairs.strand["start_ns"] - pairs.before["end_ns"]
    forked_ns = tasks["forked_ns"][pairs.strand["task"]]
    was_queued = forked_ns <= pairs.before["end_ns"]
    is_fork = pairs.strand["task"] != OUTSIDE
    is_async = tasks["is_async"][pairs.strand["task"]] == 1
    begins = pairs.is_first & is_fork & ~pairs.is_on_loop
    is_free = _num_running(records, forked_ns) < records.num_lanes
    is_hop = begins & ~pairs.is_waited & ~was_queued & is_free
    goes_on = ~pairs.is_first & ~pairs.is_on_loop
    starts = pairs.is_first & is_async & pairs.is_on_loop
    return {
        "claim_ns": gap_ns[begins & pairs.is_waited],
        "next_ns": gap_ns[begins & ~pairs.is_waited & was_queued & pairs.is_last],
        "hop_ns": (pairs.strand["start_ns"] - forked_ns)[is_hop],
        "resume_ns": gap_ns[goes_on & pairs.is_last],
        "turn_ns": gap_ns[starts & was_queued],
        "born_ns": (pairs.strand["start_ns"] - forked_ns)[starts & ~was_queued],
    }


def _pairs(records: Records) -> _Pairs:
    strands, waits = records.strands, records.waits
    first, last = _ends(strands, len(records.tasks))
    rows = np.arange(len(strands))
    after = np.flatnonzero(strands["lane"][1:] == strands["lane"][:-1]) + 1
    loops = np.array([lane.is_loop for lane in records.lanes], bool)
    num_waits = _num_open(strands, waits[waits["end_ns"] != UNKNOWN])
    is_waited = (num_waits > 0) & ~loops[strands["lane"]]
    return _Pairs(
        strand=strands[after],
        before=strands[after - 1],
        is_first=(first[strands["task"]] == rows)[after],
        is_last=(last[strands["task"]] == rows)[after - 1],
        is_waited=is_waited[after],
        is_on_loop=loops[strands["lane"]][after],
    )


def _ends(strands: Table, num_tasks: int) -> tuple[Ints, Ints]:
    """Return the rows of each task's first and last strand."""
    first, last = np.full(num_tasks, UNKNOWN), np.full(num_tasks, UNKNOWN)
    by_start, by_end = np.argsort(strands["start_ns"], kind="stable"), np.argsort(strands["end_ns"], kind="stable")
    first[strands["task"][by_start[::-1]]] = by_start[::-1]  # of several the one assigned last stays
    last[strands["task"][by_end]] = by_end
    return first, last


def _num_open(strands: Table, waits: Table) -> Ints:
    """Return in how many waits the thread of each strand was when it began."""
    found = np.zeros(len(strands), np.int64)
    for lane in np.unique(waits["lane"]):
        at, here = strands["lane"] == lane, waits["lane"] == lane
        began_ns = strands["start_ns"][at]
        opened = np.searchsorted(np.sort(waits["start_ns"][here]), began_ns, side="right")
        found[at] = opened - np.searchsorted(np.sort(waits["end_ns"][here]), began_ns, side="right")
    return found


def _num_running(records: Records, at_ns: Ints) -> Ints:
    """Return how many kernels ran at the given times."""
    strands, tasks = records.strands, records.tasks
    kernels = strands[(strands["task"] != OUTSIDE) & (tasks["is_async"][strands["task"]] == 0)]
    begun = np.searchsorted(np.sort(kernels["start_ns"]), at_ns, side="right")
    return np.asarray(begun - np.searchsorted(np.sort(kernels["end_ns"]), at_ns, side="right"))


def _wake_ups(records: Records) -> dict[str, Ints]:
    """Return what waits took beyond the ends of their targets, where these ran elsewhere."""
    strands, tasks = records.strands, records.tasks
    waits = records.waits[(records.waits["end_ns"] != UNKNOWN) & (records.waits["target"] > OUTSIDE)]
    _, last = _ends(strands, len(tasks))
    waits = waits[last[waits["target"]] != UNKNOWN]
    lane = strands["lane"][last[waits["target"]]]
    ended_ns = tasks["ended_ns"][waits["target"]]
    seen = (lane != waits["lane"]) & (waits["start_ns"] < ended_ns) & (ended_ns <= waits["end_ns"])
    waits, ended_ns = waits[seen], ended_ns[seen]
    loops = np.array([lane.is_loop for lane in records.lanes], bool)[waits["lane"]]
    return {
        "wake_ns": (waits["end_ns"] - ended_ns)[~loops],
        "loop_ns": _loop_ns(records, waits[loops], ended_ns[loops]),
    }


def _loop_ns(records: Records, waits: Table, ended_ns: Ints) -> Ints:
    """Return how long loops that slept took to go on with the waiting code."""
    strands, length = records.strands, records.duration_ns + 1  # lanes one after another on one axis
    if not len(strands):
        return ended_ns[:0]
    at = waits["lane"].astype(np.int64) * length + ended_ns
    place = np.searchsorted(strands["lane"].astype(np.int64) * length + strands["start_ns"], at, side="right")
    after, before = strands[place.clip(max=len(strands) - 1)], strands[(place - 1).clip(0)]
    slept = (before["lane"] != waits["lane"]) | (before["end_ns"] <= ended_ns) | (place == 0)
    seen = slept & (after["lane"] == waits["lane"]) & (after["task"] == waits["task"]) & (place < len(strands))
    return np.asarray((after["start_ns"] - ended_ns)[seen])
