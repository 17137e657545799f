"""What each function cost, and what it lost: alone on the machine, and while other lanes ran too.

A strand takes longer than its thread computes where it sleeps, and where it waits for the GIL or for a core. The first
it does alone as well, the others only beside other strands. So each function's strands are told apart by how much of
their time another lane executed, and compared. Work inflation is the ratio of the two means: above 1, the same kernels
take longer under load (Acar, Charguéraud, Rainey: Parallel Work Inflation, Memory Effects, and their Empirical
Analysis, 2017, of lanes that share memory and caches; here the GIL and the cores are in it as well).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asyncjit.profiler.analysis import Bools, first_starts_ns, lengths_ns, running
from asyncjit.profiler.program import Ints
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records, Table

# Chosen: what a tenth of the time lies beside others can be slowed in that tenth only, and hardly a strand of a program
# that forks is quite alone; in a strand between the two bounds neither prevails.
ALONE_SHARE = 0.1  #: a strand is alone if another lane executed in no more of its time
LOADED_SHARE = 0.5  #: and under load if one did in more than that


@dataclass(frozen=True, slots=True)
class Stretches:
    """Strands of one function, added up."""

    num_strands: int
    wall_ns: int
    num_measured: int  #: strands with known CPU time
    measured_ns: int  #: their wall time
    cpu_ns: int  #: their threads' CPU time

    @property
    def mean_ns(self) -> float | None:
        """The mean wall time of a strand."""
        return self.wall_ns / self.num_strands if self.num_strands else None

    @property
    def mean_cpu_ns(self) -> float | None:
        """The mean CPU time of a strand."""
        return self.cpu_ns / self.num_measured if self.num_measured else None

    @property
    def lost_ns(self) -> int | None:
        """The time in which its thread did not compute."""
        return max(0, self.measured_ns - self.cpu_ns) if self.num_measured else None

    @property
    def lost_share(self) -> float | None:
        """The lost time's share of the wall time, 0 to 1."""
        return max(0, self.measured_ns - self.cpu_ns) / max(1, self.measured_ns) if self.num_measured else None


@dataclass(frozen=True, slots=True)
class FunctionLoad:
    """All forks of one name."""

    name: str
    calls: int
    num_started: int
    queue_ns: int  #: from the fork to the first strand, of all that started
    all: Stretches  #: all strands
    alone: Stretches  #: those beside which hardly another executed
    loaded: Stretches  #: those beside which another executed most of the time

    @property
    def inflation(self) -> float | None:
        """How much longer a strand takes under load, as a factor; None without strands of both kinds."""
        alone, loaded = self.alone.mean_ns, self.loaded.mean_ns
        return loaded / alone if alone and loaded is not None else None


def function_loads(records: Records) -> list[FunctionLoad]:
    """Return what the forks of each name cost, the most wall time first.

    Strands of one function differ where it waits, so an inflation is worth as much as the two kinds are alike.
    """
    shared_ns = shared_time_ns(records.strands)
    of_forks = records.strands["task"] != OUTSIDE
    strands, shared_ns = records.strands[of_forks], shared_ns[of_forks]
    wall_ns = lengths_ns(strands)
    everything = _stretches(records, strands, np.ones(len(strands), bool))
    alone = _stretches(records, strands, shared_ns <= ALONE_SHARE * wall_ns)
    loaded = _stretches(records, strands, shared_ns > LOADED_SHARE * wall_ns)
    calls, num_started, queue_ns = _queued(records)
    loads = [
        FunctionLoad(name, calls[row], num_started[row], queue_ns[row], everything[row], alone[row], loaded[row])
        for row, name in enumerate(records.names)
        if calls[row]
    ]
    return sorted(loads, key=lambda load: (-load.all.wall_ns, load.name))


def shared_time_ns(strands: Table) -> Ints:
    """Return for how long of each strand another lane executed one too: ndarray of shape (strands,), nanoseconds."""
    at_ns, counts = running(strands)
    if not len(at_ns):
        return np.zeros(len(strands), np.int64)
    total_ns = np.zeros(len(at_ns), np.int64)  # up to each of the times
    np.cumsum(np.where(counts[:-1] > 1, np.diff(at_ns), 0), out=total_ns[1:])
    places = [np.searchsorted(at_ns, strands[field]).clip(max=len(at_ns) - 1) for field in ("start_ns", "end_ns")]
    return np.asarray(total_ns[places[1]] - total_ns[places[0]])


def _stretches(records: Records, strands: Table, kept: Bools) -> list[Stretches]:
    """Return the sums of the strands that are kept, for each of the records' names."""
    strands = strands[kept]
    name = records.tasks["name"][strands["task"]]
    wall_ns = lengths_ns(strands)
    is_measured = strands["cpu_ns"] != UNKNOWN
    weights = (None, wall_ns, is_measured, wall_ns * is_measured, strands["cpu_ns"] * is_measured)
    sums = [np.bincount(name, weight, len(records.names)).astype(np.int64).tolist() for weight in weights]
    return [Stretches(*row) for row in zip(*sums, strict=True)]


def _queued(records: Records) -> tuple[list[int], list[int], list[int]]:
    """Return the forks, those that started, and how long these were queued, for each of the records' names."""
    tasks = records.tasks[1:]
    first_ns = first_starts_ns(records)[1:]
    started = first_ns != UNKNOWN
    weights = (None, started, np.where(started, first_ns - tasks["forked_ns"], 0))
    sums = [np.bincount(tasks["name"], weight, len(records.names)).astype(np.int64).tolist() for weight in weights]
    return sums[0], sums[1], sums[2]
