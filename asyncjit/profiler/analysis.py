"""What the records say of a run as a whole: its work, how busy the lanes were, and what a fork cost in it.

Pure functions of `Records`. The span and the critical path are in critical.py, what each function lost in inflation.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.critical import span_ns
from asyncjit.profiler.program import Ints
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records, Table

Bools = NDArray[np.bool_]


def work_ns(records: Records) -> int:
    """Return the work (T1): the wall time of all strands together, that of the code outside of forks included."""
    return int(lengths_ns(records.strands).sum())


def parallelism(records: Records) -> float:
    """Return work by span: how many lanes the program could keep busy; 0 where nothing ran."""
    return work_ns(records) / max(1, span_ns(records))


def utilisation(records: Records) -> NDArray[np.float64]:
    """Return the share of the profile's duration in which each lane ran strands: ndarray of shape (lanes,), 0 to 1."""
    strands = records.strands
    busy_ns = np.bincount(strands["lane"], lengths_ns(strands), len(records.lanes))
    return busy_ns / max(1, records.duration_ns)


def lanes_utilisation(records: Records) -> float:
    """Return the share of the inter-op threads' time in which kernels ran, 0 to 1.

    A kernel in the thread of a script counts, as it has a permit; one in a loop's thread does not.
    """
    strands = records.strands[is_kernel(records)]
    is_loop = np.array([lane.is_loop for lane in records.lanes], bool)
    busy_ns = int(lengths_ns(strands[~is_loop[strands["lane"]]]).sum())
    return min(1.0, busy_ns / max(1, records.duration_ns * records.num_lanes))


def max_running(records: Records) -> int:
    """Return how many forks executed at once, at most."""
    _, counts = running(records.strands[records.strands["task"] != OUTSIDE])
    return int(counts.max(initial=0))


def concurrency(records: Records) -> Ints:
    """Return how long exactly k strands ran: ndarray of shape (most + 1,), nanoseconds; they add up to the duration."""
    at_ns, counts = running(records.strands)
    edges = np.concatenate(([0], at_ns, [records.duration_ns])).clip(0, records.duration_ns)
    # The sums are floats, and exact below 2^53 ns, 104 days.
    return np.bincount(np.concatenate(([0], counts)), np.diff(edges)).astype(np.int64)


def burden_ns(records: Records) -> int:
    """Return what a fork and its wait cost beside the work: `start_burden_ns` and `wait_burden_ns` together."""
    return start_burden_ns(records) + wait_burden_ns(records)


def start_burden_ns(records: Records) -> int:
    """Return how long a fork is queued though a lane is free: the median in nanoseconds; 0 if there was none.

    Measured on the kernels that were forked while fewer of them executed or were queued than there are lanes: from
    the fork to the first strand.
    """
    strands = records.strands[is_kernel(records)]
    first_ns = first_starts_ns(records)
    started = np.unique(strands["task"])
    forked_ns, first_ns = records.tasks["forked_ns"][started], first_ns[started]
    order = np.argsort(forked_ns, kind="stable")
    forked_ns, first_ns = forked_ns[order], first_ns[order]
    queued = np.arange(len(order)) - _num_up_to(first_ns, forked_ns)
    executing = _num_up_to(strands["start_ns"], forked_ns) - _num_up_to(strands["end_ns"], forked_ns)
    return _median((first_ns - forked_ns)[queued + executing < records.num_lanes])


def wait_burden_ns(records: Records) -> int:
    """Return how long a waiter takes to go on after its target's end: the median in nanoseconds; 0 if there was none.

    Measured on the waits that were there before their target ended, and went on on a lane that executed nothing else
    from then on.
    """
    waits, strands = records.waits, records.strands
    waits = waits[(waits["target"] != UNKNOWN) & (waits["end_ns"] != UNKNOWN)]
    ended_ns = records.tasks["ended_ns"][waits["target"]]
    waited = (waits["start_ns"] < ended_ns) & (ended_ns <= waits["end_ns"])
    waits, ended_ns = waits[waited], ended_ns[waited]
    if not len(waits) or not len(strands):
        return 0
    # Lanes one after another on one axis; a lane's number times the duration stays far below 2^63.
    length = records.duration_ns + 1
    starts = strands["lane"].astype(np.int64) * length + strands["start_ns"]
    ends = waits["lane"].astype(np.int64) * length + waits["end_ns"]
    place = np.searchsorted(starts, ends) - 1
    before = strands[place.clip(0)]
    is_same_lane = (place >= 0) & (before["lane"] == waits["lane"])
    is_free = ~is_same_lane | (before["end_ns"] <= ended_ns) | (before["task"] == waits["target"])
    return _median((waits["end_ns"] - ended_ns)[is_free])


def lengths_ns(strands: Table) -> Ints:
    """Return how long each strand lasted."""
    return np.asarray(strands["end_ns"] - strands["start_ns"], np.int64)


def is_kernel(records: Records) -> Bools:
    """Return which strands are of kernels: of forks that are no coroutines."""
    task = records.strands["task"]
    return np.asarray((task != OUTSIDE) & (records.tasks["is_async"][task] == 0))


def first_starts_ns(records: Records) -> Ints:
    """Return when each task's first strand began, UNKNOWN where there is none."""
    never = np.iinfo(np.int64).max
    first_ns = np.full(len(records.tasks), never)
    np.minimum.at(first_ns, records.strands["task"], records.strands["start_ns"])
    return np.where(first_ns == never, UNKNOWN, first_ns)


def running(strands: Table) -> tuple[Ints, Ints]:
    """Return the times at which a strand starts or ends, in order, and how many run from each on."""
    strands = strands[strands["end_ns"] > strands["start_ns"]]
    # Ends first: what starts in the moment when another ends did not run beside it.
    at_ns = np.concatenate((strands["end_ns"], strands["start_ns"]))
    order = np.argsort(at_ns, kind="stable")
    return at_ns[order], np.cumsum(np.where(order < len(strands), -1, 1))


def _num_up_to(times_ns: Ints, at_ns: Ints) -> Ints:
    """Return how many of the times are not later than each of `at_ns`."""
    return np.searchsorted(np.sort(times_ns), at_ns, side="right")


def _median(values: Ints) -> int:
    return int(np.median(values)) if len(values) else 0
