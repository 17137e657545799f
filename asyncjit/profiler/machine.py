"""What the processors did while a profile recorded: this process's CPU time, and that of others on the same CPUs.

Time that others took explains what a profile alone cannot: strands that last longer than they compute. The system
counts each CPU's time since it started (`/proc/stat`, proc_stat(5)), so two readings tell of the interval between them.
It counts in ticks, mostly of 10 ms: of a shorter interval they say little. What the others took matters as far as this
process's threads waited for it; the scheduler counts that for each thread, to the nanosecond (`schedstat`: time on a
CPU, time ready without one; Documentation/scheduler/sched-stats of the kernel).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from asyncjit.cpus import usable_cpus
from asyncjit.profiler.records import UNKNOWN, Machine

PROC_STAT = Path("/proc/stat")
THREADS = Path("/proc/self/task")
# The columns of a CPU in which it worked: user, nice, system, irq, softirq, steal. Between them stand idle and iowait;
# the last two, guest and guest_nice, are counted in user and nice already (proc_stat(5)). Steal is others' work too: of
# the other machines on a virtual machine's host.
BUSY_COLUMNS = (1, 2, 3, 6, 7, 8)
# Chosen: threads that ended meanwhile take their counts with them; where they computed more than a tenth, what is left
# does not tell of the whole.
LEAST_CPU_SHARE = 0.9


class Reading(NamedTuple):
    """What the counters said at one moment."""

    process_cpu_ns: int
    busy_ticks: dict[bytes, int]  # of each CPU that the process may use; empty where the system does not tell
    threads: dict[str, tuple[int, int]]  # by thread: its CPU time, and how long it was ready without a CPU


class Meter:
    """Reads the counters at the start and at the stop of an interval.

    Reading takes some 30 µs and 15 µs for each thread, and never fails.

    Parameters
    ----------
    path : Path
        Where the system tells what its CPUs did.
    threads : Path
        The folder that has one of each thread of this process, with its `schedstat`.
    process_clock : callable
        Returns the CPU time of this process in nanoseconds.
    """

    def __init__(
        self,
        path: Path = PROC_STAT,
        threads: Path = THREADS,
        *,
        process_clock: Callable[[], int] = time.process_time_ns,
    ) -> None:
        self._path = path
        self._threads = threads
        self._process_clock = process_clock
        self._start: Reading | None = None
        self._stop: Reading | None = None

    def start(self) -> None:
        """Begin an interval, and forget the one before."""
        self._start = self._read()
        self._stop = None

    def stop(self) -> None:
        """End the interval; after the first call it stays as it is."""
        if self._stop is None:
            self._stop = self._read()

    def machine(self) -> Machine:
        """Return what the processors did in the interval; up to now, if it has not ended.

        `num_cpus` is how many CPUs the process may use at the time of this call.
        """
        num_cpus = usable_cpus().count
        start = self._start
        if start is None:
            return Machine(num_cpus)
        stop = self._stop or self._read()
        process_cpu_ns = stop.process_cpu_ns - start.process_cpu_ns
        return Machine(
            num_cpus,
            process_cpu_ns,
            _others_cpu_ns(start, stop, process_cpu_ns),
            _core_wait_ns(start, stop, process_cpu_ns),
        )

    def _read(self) -> Reading:
        return Reading(self._process_clock(), _busy_ticks(self._path), _schedstats(self._threads))


def _others_cpu_ns(start: Reading, stop: Reading, process_cpu_ns: int) -> int:
    """Return what the CPUs worked for others, at least 0: the ticks are coarser than the process's own clock."""
    cpus = start.busy_ticks.keys() & stop.busy_ticks.keys()  # one may have been added, or taken away
    if not cpus:
        return UNKNOWN
    ticks = sum(stop.busy_ticks[cpu] - start.busy_ticks[cpu] for cpu in cpus)
    return max(0, ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK") - process_cpu_ns)


def _core_wait_ns(start: Reading, stop: Reading, process_cpu_ns: int) -> int:
    """Return for how long threads were ready without a CPU, those added up that are there at the stop."""
    waited_ns = cpu_ns = 0
    for thread, (thread_cpu_ns, thread_waited_ns) in stop.threads.items():
        before_cpu_ns, before_waited_ns = start.threads.get(thread, (0, 0))
        cpu_ns += thread_cpu_ns - before_cpu_ns
        waited_ns += thread_waited_ns - before_waited_ns
    is_whole = bool(stop.threads) and cpu_ns >= LEAST_CPU_SHARE * process_cpu_ns
    return max(0, waited_ns) if is_whole else UNKNOWN


def _schedstats(threads: Path) -> dict[str, tuple[int, int]]:
    """Return the CPU time of each thread and how long it waited for a CPU; nothing where that can't be read."""
    found = {}
    try:
        for thread in threads.iterdir():
            try:
                cpu_ns, waited_ns, _ = (thread / "schedstat").read_bytes().split()
            except (FileNotFoundError, ProcessLookupError):  # it has ended just now
                continue
            found[thread.name] = int(cpu_ns), int(waited_ns)
    except (OSError, ValueError):
        return {}
    return found


def _busy_ticks(path: Path) -> dict[bytes, int]:
    """Return how long each usable CPU has worked, in ticks; nothing where that can't be read."""
    found = {}
    try:
        usable = {b"cpu%d" % cpu for cpu in os.sched_getaffinity(0)}
        with path.open("rb") as lines:
            next(lines)  # the sum of all CPUs
            for line in lines:
                columns = line.split()
                if not columns or not columns[0].startswith(b"cpu"):
                    break  # the rest tells of interrupts and processes, and can be long
                if columns[0] in usable:
                    found[columns[0]] = sum(int(columns[column]) for column in BUSY_COLUMNS)
    except (AttributeError, OSError, ValueError, IndexError, StopIteration):  # AttributeError: no Linux, no affinity
        return {}
    return found
