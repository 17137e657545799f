"""What ran side by side, moment by moment: how many strands, who computed, what was queued, which lanes were free.

A profile's time is cut wherever a strand begins or ends or a kernel joins or leaves the queue; between two cuts nothing
changes. A strand's CPU time is one number, so it is taken to be spread evenly over the strand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.analysis import Bools, first_starts_ns, is_kernel, lengths_ns
from asyncjit.profiler.program import Ints
from asyncjit.profiler.records import UNKNOWN, Records

Floats = NDArray[np.float64]

# Chosen: when nothing runs and nothing is queued for so long, the program awaits something else. Wake-ups take some
# 50 µs, and several in a row stay below it.
MIN_PAUSE_NS = 1_000_000


class Strands(NamedTuple):
    """The strands that last, a value each; `start` and `end` are the stretches from and before which they run."""

    name: Ints
    start: Ints
    end: Ints
    wall_ns: Floats
    cpu_ns: Floats  #: at most the wall time, and as much where it is not known
    is_kernel: Bools
    is_on_loop: Bools

    @property
    def rate(self) -> Floats:
        """The share of its time in which a strand's thread computed."""
        return self.cpu_ns / self.wall_ns


class Moments(NamedTuple):
    """The stretches of time between two cuts: ndarrays of shape (stretches,), and the strands in them."""

    strands: Strands
    lasts_ns: Floats
    kernels: Floats  #: how many ran, on threads without a loop
    outside: Floats  #: how much code outside of forks ran, on threads without a loop
    loops: Floats  #: how many threads with a loop ran something
    queued: Floats  #: how many kernels were forked and had not started
    rate: Floats  #: how many threads computed
    loop_rate: Floats  #: how many of those with a loop

    @property
    def running(self) -> Floats:
        """How many threads ran something."""
        return self.kernels + self.outside + self.loops

    def sum(self, level: Floats) -> float:
        """Return a level's sum over the time."""
        return float(level @ self.lasts_ns)

    def sums(self, level: Floats) -> Floats:
        """Return a level's sum over the time of each strand."""
        total = np.concatenate(([0.0], np.cumsum(level * self.lasts_ns)))
        return np.asarray(total[self.strands.end] - total[self.strands.start], np.float64)


class Free(NamedTuple):
    """For how long lanes were free, in nanoseconds, by what there was meanwhile."""

    loop_ns: float  #: a loop ran
    late_ns: float  #: something was queued
    outside_ns: float  #: only the code outside of forks ran
    idle_ns: float  #: other kernels ran
    pause_ns: float  #: nothing ran, for at least `MIN_PAUSE_NS`
    wake_up_ns: float  #: nor there, for less


def moments_of(records: Records) -> Moments:
    """Cut a profile's time into stretches."""
    lasts = records.strands["end_ns"] > records.strands["start_ns"]
    table = records.strands[lasts]
    joins_ns, leaves_ns = _queued(records)
    edges = (table["start_ns"], table["end_ns"], joins_ns, leaves_ns, np.array([0, records.duration_ns]))
    at_ns = np.sort(np.concatenate(edges))  # stretches of no length do no harm
    start, end, joins, leaves = (np.searchsorted(at_ns, times_ns) for times_ns in edges[:4])
    is_loop = np.array([lane.is_loop for lane in records.lanes], bool)[table["lane"]]
    wall_ns = lengths_ns(table).astype(np.float64)
    cpu_ns = np.where(table["cpu_ns"] == UNKNOWN, wall_ns, np.minimum(table["cpu_ns"], wall_ns))
    of_kernel = is_kernel(records)[lasts]
    name = records.tasks["name"][table["task"]].astype(np.int64)
    strands = Strands(name, start, end, wall_ns, cpu_ns, of_kernel, is_loop)

    def level(kept: Bools, weight: Floats) -> Floats:
        return _level(start[kept], end[kept], weight[kept], len(at_ns))

    ones = np.ones(len(table))
    return Moments(
        strands,
        lasts_ns=np.diff(at_ns).astype(np.float64),
        kernels=level(of_kernel & ~is_loop, ones),
        outside=level(~of_kernel & ~is_loop, ones),
        loops=level(is_loop, ones),
        queued=_level(joins, leaves, np.ones(len(joins)), len(at_ns)),
        rate=level(np.ones(len(table), bool), strands.rate),
        loop_rate=level(is_loop, strands.rate),
    )


def free_of(moments: Moments, num_lanes: int) -> Free:
    """Return for how long lanes were free."""
    nothing = moments.running == 0
    free = np.maximum(num_lanes - moments.running, 0)
    beside_loop = np.where(moments.loops > 0, free, 0)
    free = free - beside_loop
    # When nothing runs, one that is late makes all lanes wait for it.
    late = np.where(nothing & (moments.queued > 0), free, np.minimum(free, moments.queued))
    free = free - late
    pauses = np.where(nothing, free, 0)
    is_long = _lasting(pauses > 0, moments.lasts_ns) >= MIN_PAUSE_NS
    return Free(
        loop_ns=moments.sum(beside_loop),
        late_ns=moments.sum(late),
        outside_ns=moments.sum(np.where(moments.kernels == 0, free - pauses, 0)),
        idle_ns=moments.sum(np.where(moments.kernels > 0, free, 0)),
        pause_ns=moments.sum(np.where(is_long, pauses, 0)),
        wake_up_ns=moments.sum(np.where(is_long, 0, pauses)),
    )


def lost_of(moments: Moments, num_lanes: int) -> Floats:
    """Return what the lanes lost in each strand, in nanoseconds: where more run than there are lanes, less counts."""
    running, rate = moments.running, moments.rate
    counted = np.minimum(running, num_lanes)
    weight = np.maximum(counted - rate, 0) / np.maximum(running - rate, 1e-9)
    return (1 - moments.strands.rate) * moments.sums(np.minimum(weight, 1))


def _queued(records: Records) -> tuple[Ints, Ints]:
    """Return from when to when each kernel was queued."""
    tasks, first_ns = records.tasks[1:], first_starts_ns(records)[1:]
    ended_ns = np.where(tasks["ended_ns"] == UNKNOWN, records.duration_ns, tasks["ended_ns"])
    leaves_ns = np.where(first_ns == UNKNOWN, ended_ns, first_ns)
    kept = (tasks["is_async"] == 0) & (leaves_ns > tasks["forked_ns"])
    return tasks["forked_ns"][kept], leaves_ns[kept]


def _level(start: Ints, end: Ints, weight: Floats, size: int) -> Floats:
    """Return for each stretch the weight of those that last over it."""
    steps = np.bincount(start, weight, size) - np.bincount(end, weight, size)
    level = np.cumsum(steps)[:-1]
    return np.asarray(np.where(level > 1e-9, level, 0.0), np.float64)  # sums of shares miss 0 by a rounding


def _lasting(holds: Bools, lasts_ns: Floats) -> Floats:
    """Return for each stretch how long it and those next to it last together in which something holds."""
    group = np.cumsum(np.concatenate(([True], holds[1:] != holds[:-1]))) if len(holds) else np.zeros(0, np.int64)
    return np.asarray(np.bincount(group, lasts_ns)[group] if len(holds) else lasts_ns, np.float64)
