"""How many forks execute at each moment, and how many wait for their start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.arrows import first_and_last_strands
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records

Ints = NDArray[np.int64]

MAX_STRETCHES = 25_000  #: of a counter, with up to four values each; chosen: several times the pixels of a screen


def counters_of(records: Records) -> dict[str, tuple[Ints, Ints]]:
    """Return for "queued" and "running" when the count changes, in nanoseconds, and its value from then on."""
    tasks, strands = records.tasks, records.strands
    first, _ = first_and_last_strands(strands, len(tasks))
    has_run = first != UNKNOWN
    leaves = tasks["ended_ns"].copy()  # a fork that never starts is queued until that is clear
    leaves[has_run] = strands["start_ns"][first[has_run]]
    is_fork = np.arange(len(tasks)) != OUTSIDE
    left = np.maximum(leaves, tasks["forked_ns"])[is_fork & (leaves != UNKNOWN)]
    of_forks = strands[strands["task"] != OUTSIDE]
    return {
        "queued": thinned(*_count(tasks["forked_ns"][is_fork], left)),
        "running": thinned(*_count(of_forks["start_ns"], of_forks["end_ns"])),
    }


def _count(up: Ints, down: Ints) -> tuple[Ints, Ints]:
    """Return when a count changes, and its value once all that happens in that moment has happened."""
    times_ns = np.concatenate((up, down))
    order = np.argsort(times_ns, kind="stable")
    times_ns, values = times_ns[order], np.cumsum(np.where(order < len(up), 1, -1))
    settled = np.diff(times_ns, append=UNKNOWN) != 0
    times_ns, values = times_ns[settled], values[settled]
    changes = np.diff(values, prepend=0) != 0
    return times_ns[changes], values[changes]


def thinned(times_ns: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Return the first, last, least and greatest value of each of `MAX_STRETCHES` stretches of time, if there are more.

    A line through these looks the same wherever a stretch is no wider than a pixel: M4 (Jugel, Jerzak, Hackenbroich,
    Markl, "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).
    """
    if len(values) <= 4 * MAX_STRETCHES:
        return times_ns, values
    stretch = times_ns // (int(times_ns[-1]) // MAX_STRETCHES + 1)
    by_value = np.lexsort((values, stretch))
    first = np.flatnonzero(np.diff(stretch, prepend=UNKNOWN))
    last = np.append(first[1:], len(values)) - 1
    kept = np.unique(np.concatenate((first, last, by_value[first], by_value[last])))
    return times_ns[kept], values[kept]
