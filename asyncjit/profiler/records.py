"""What a profile tells: tables of strands, tasks, waits and ranges, and the same as plain records, one by one.

A million strands as objects would take longer to make than to record, so what computes reads the tables: structured
arrays, a row each. Times are nanoseconds of the profile's clock since its start; -1 stands for what is not known. A
task is named by its row. Row 0 is no fork: it is the code outside of all forks (the block itself, and the plain asyncio
tasks below it), so it has strands and waits like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

UNFINISHED, FINISHED, FAILED, CANCELLED = range(4)
STATES = ("unfinished", "finished", "failed", "cancelled")

OUTSIDE = 0  #: the row of the code outside of all forks
UNKNOWN = -1

STRAND = np.dtype(
    [
        ("task", "<i4"),
        ("lane", "<i4"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("cpu_ns", "<i8"),  # of its thread
    ]
)
TASK = np.dtype(
    [
        ("name", "<i4"),  # in `Records.names`
        ("site", "<i4"),  # in `Records.sites`
        ("shapes", "<i4"),  # in `Records.shapes`
        ("parent", "<i4"),
        ("lane", "<i4"),  # where it was forked
        ("state", "<i4"),  # in STATES
        ("is_async", "<i4"),  # 1 for a coroutine, whose strands run on a loop's lane
        ("forked_ns", "<i8"),  # it is queued in the same moment
        ("ended_ns", "<i8"),
    ]
)
WAIT = np.dtype(
    [
        ("task", "<i4"),  # that waits
        ("target", "<i4"),  # the fork waited for; UNKNOWN for any other future, as that of `wait_all`
        ("lane", "<i4"),  # where the waiting code goes on
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),  # UNKNOWN if the profile ended first
    ]
)
RANGE = np.dtype(
    [
        ("name", "<i4"),
        ("task", "<i4"),
        ("lane", "<i4"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
    ]
)

BURST = np.dtype([("start_ns", "<i8"), ("end_ns", "<i8"), ("num_turns", "<i8")])  # of a rival for the GIL

Table = NDArray[np.void]


def _no_bursts() -> Table:
    return np.empty(0, BURST)


@dataclass(frozen=True)
class Lane:
    """A thread's row in a timeline."""

    name: str  #: "main", "loop", "lane 1"
    is_loop: bool = False  #: an event loop ran there
    cpu_ns: int = UNKNOWN  #: of the thread, from its first note to its last


@dataclass(frozen=True)
class Machine:
    """What the processors did while the profile recorded; UNKNOWN where the system does not tell."""

    num_cpus: int = 1  #: that the process may use
    process_cpu_ns: int = UNKNOWN  #: of all threads of this process
    others_cpu_ns: int = UNKNOWN  #: of other processes on those CPUs
    core_wait_ns: int = UNKNOWN  #: in which threads of this process were ready to run, and no CPU was free for them


@dataclass(frozen=True)
class Records:
    """All that a profile recorded.

    Attributes
    ----------
    strands : ndarray of STRAND
        By lane and start; those of one lane do not overlap.
    tasks : ndarray of TASK
        Row 0 is the code outside of all forks, then the forks in the order of their making.
    waits : ndarray of WAIT
        By their ends; those that are not over come last.
    ranges : ndarray of RANGE
        Pieces of `record_function` blocks, by lane and start, outer before inner; they nest with the strands of forks.
    names, sites, shapes : tuples of str
        What the tables' numbers mean.
    lanes : tuple of Lane
        Lane 0 is the thread that opened the profile.
    duration_ns : int
        How long the profile recorded.
    num_lanes : int
        The inter-op threads at its start.
    num_dropped : int
        How many events came after the buffer was full; the records end where it was.
    machine : Machine
        What the processors did meanwhile.
    bursts : ndarray of BURST
        When a rival for the GIL was at work (`rivalry.py`), and how many turns it had; empty where there was none.
    turn_ns : int
        How long one turn of the rival takes without competition.
    """

    strands: Table
    tasks: Table
    waits: Table
    ranges: Table
    names: tuple[str, ...]
    sites: tuple[str, ...]
    lanes: tuple[Lane, ...]
    duration_ns: int
    num_lanes: int
    shapes: tuple[str, ...] = ()
    num_dropped: int = 0
    machine: Machine = field(default_factory=Machine)
    bursts: Table = field(default_factory=_no_bursts)
    turn_ns: int = UNKNOWN

    def name_of(self, task: int) -> str:
        """Return the name of a task."""
        return self.names[int(self.tasks["name"][task])]

    def site_of(self, task: int) -> str:
        """Return where a task was forked."""
        return self.sites[int(self.tasks["site"][task])]


@dataclass(frozen=True, slots=True)
class Strand:
    """One uninterrupted stretch of execution of a fork, or of a `record_function` range."""

    name: str
    lane: int  #: the index of its thread, 0 for the one that opened the profile
    start_ns: int
    end_ns: int
    fork: int | None  #: the number of its fork, None for a range
    cpu_ns: int | None = None  #: the thread's CPU time in it, where that was measured


@dataclass(frozen=True, slots=True)
class Task:
    """One fork, as a profile saw it; None is what had not happened yet when the profile ended."""

    number: int
    name: str
    site: str
    parent: int | None  #: the number of the fork that forked it, if the profile saw that
    lane: int  #: where it was forked
    forked_ns: int  #: when it was made and queued
    started_ns: int | None  #: when its first strand began
    ended_ns: int | None  #: when its body had ended, or when it was clear that it never starts
    state: str


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait, from its beginning to the moment at which the waiting code goes on."""

    task: int | None  #: the number of the fork that waits, None for code outside of forks
    fork: int | None  #: the number of the fork waited for; None for another future, as that of `wait_all`
    lane: int  #: where the waiting code goes on
    start_ns: int
    end_ns: int | None  #: None if it was not over
