"""Where the lanes' time went: what computed, and what each cause took of the rest. All of it adds up.

The account is the duration times the number of lanes. At each moment some strands run, of forks or of the code outside
of them, and count for a lane each, as far as there are lanes. The others are free: because a loop computes, because
what is queued has not got there yet, or because nothing is queued. And not all that runs computes: a thread waits for a
processor, for the GIL, or of its own accord.

What was lost so is given to the causes one after the other, to each what it can have taken at most: the wait for
processors, which the system counts; sleep and I/O, which are what a strand loses alone as well, or while nobody
computes, so that nobody has the GIL; the loop, what is lost while it computes; forking and waking up, so much for each
fork; threads that are not asyncjit's, as long as they computed. The GIL has what is left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asyncjit.profiler.analysis import first_starts_ns
from asyncjit.profiler.inflation import ALONE_SHARE, shared_time_ns
from asyncjit.profiler.moments import Floats, Moments, free_of, lost_of, moments_of
from asyncjit.profiler.records import UNKNOWN, Machine, Records

# Of a fork on a thread that slept, 60 µs, and of its waiter's going on there, 50 µs: measured, medians over profiles of
# fork trees and awaited bursts on a 2-core x86-64 machine. All lanes may be free meanwhile.
HANDOVER_NS = 110_000
# Of a strand that sleeps at all: Linux wakes a thread up to so much later than it asked (timer slack, prctl(2)). What
# shorter strands seem to lose is the reading of the clocks.
MIN_SLEEP_NS = 50_000


class Account(NamedTuple):
    """The lanes' time in nanoseconds; all but `all_ns`, from `computed_ns` to `asleep_ns`, add up to it."""

    all_ns: float  #: the duration times the number of lanes
    computed_ns: float
    outside_ns: float  #: lanes were idle while only the code outside of forks ran
    idle_ns: float  #: or while other kernels ran
    paused_ns: float  #: or while nothing ran
    handover_ns: float  #: forking, queueing, waking up
    gil_ns: float
    loop_ns: float  #: a loop ran while lanes were free, or computed while they waited
    foreign_ns: float  #: threads of this process that are not asyncjit's had the processors, or were waited for
    others_ns: float  #: other processes had the processors, or a limit kept this one from them
    crowd_ns: float  #: asyncjit's own threads had them, which were more
    asleep_ns: float  #: strands slept, or did I/O
    foreign_cpu_ns: int  #: CPU time of this process's threads without a lane
    to_gil: Floats  #: by name, as `gil_ns`, as far as strands lost it
    to_sleep: Floats  #: by name, as `asleep_ns`


class _Cores(NamedTuple):
    """What was lost to want of processors, by who had them."""

    foreign_ns: float
    others_ns: float
    crowd_ns: float


class _Left(NamedTuple):
    """What was left of the lost time, shared out."""

    woken_ns: float
    handed_ns: float
    awaited_ns: float
    gil_ns: float


def account_of(records: Records) -> Account:
    """Return where the lanes' time went; strands without CPU times are taken to compute all the time."""
    num_lanes = max(1, records.num_lanes)
    moments = moments_of(records)
    free, lost = free_of(moments, num_lanes), lost_of(moments, num_lanes)
    handover_ns = HANDOVER_NS * num_lanes * float((first_starts_ns(records)[1:] != UNKNOWN).sum())
    foreign_cpu_ns = _foreign_cpu_ns(records)

    lost_ns = float(lost.sum()) + free.late_ns + free.pause_ns
    cores = _cores(records, moments, lost_ns, foreign_cpu_ns, handover_ns)
    kept = 1 - sum(cores) / lost_ns if lost_ns else 1.0
    lost = lost * kept
    asleep = lost * _asleep_share(records, moments, sum(cores))
    to_loop = (lost - asleep) * _loop_share(moments)
    lost = lost - asleep - to_loop
    left_ns = float(lost.sum()) + free.late_ns * kept
    left = _shared_out(left_ns, free.wake_up_ns, handover_ns, foreign_cpu_ns - cores.foreign_ns)

    to_gil, to_sleep = (np.bincount(moments.strands.name, each, len(records.names)) for each in (lost, asleep))
    return Account(
        all_ns=float(records.duration_ns * num_lanes),
        computed_ns=moments.sum(np.minimum(moments.rate, num_lanes)),
        outside_ns=free.outside_ns,
        idle_ns=free.idle_ns,
        paused_ns=free.pause_ns * kept + free.wake_up_ns - left.woken_ns,
        handover_ns=left.woken_ns + left.handed_ns,
        gil_ns=left.gil_ns,
        loop_ns=free.loop_ns + float(to_loop.sum()),
        foreign_ns=cores.foreign_ns + left.awaited_ns,
        others_ns=cores.others_ns,
        crowd_ns=cores.crowd_ns,
        asleep_ns=float(asleep.sum()),
        foreign_cpu_ns=foreign_cpu_ns,
        to_gil=np.asarray(to_gil * (left.gil_ns / max(1.0, left_ns)), np.float64),
        to_sleep=np.asarray(to_sleep, np.float64),
    )


def _shared_out(left_ns: float, wake_up_ns: float, handover_ns: float, foreign_ns: float) -> _Left:
    """Share out what is left: to wake-ups and other handing over, then to threads that are not asyncjit's, the GIL."""
    woken_ns = min(wake_up_ns, handover_ns)
    handed_ns = min(left_ns, handover_ns - woken_ns)
    awaited_ns = min(left_ns - handed_ns, max(0.0, foreign_ns))
    return _Left(woken_ns, handed_ns, awaited_ns, left_ns - handed_ns - awaited_ns)


def _foreign_cpu_ns(records: Records) -> int:
    """Return the CPU time of this process's threads without a lane; 0 where it can't be told."""
    known = [records.machine.process_cpu_ns, *(lane.cpu_ns for lane in records.lanes)]
    return 0 if UNKNOWN in known else max(0, known[0] - sum(known[1:]))


def _cores(records: Records, moments: Moments, lost_ns: float, foreign_cpu_ns: int, handover_ns: float) -> _Cores:
    """Return what was lost to want of processors; it is shared out as the processors were.

    Handing over to a thread is waiting for a processor as well: where both could have taken all, each gets its part.
    """
    machine = records.machine
    crowd_ns = moments.sum(np.maximum(moments.running - machine.num_cpus, 0))
    others_ns = max(0, machine.others_cpu_ns)
    waited_ns = float(machine.core_wait_ns)
    if waited_ns == UNKNOWN:
        waited_ns = _guessed_wait_ns(machine, foreign_cpu_ns + others_ns + crowd_ns, records.duration_ns)
    taken_ns = min(lost_ns, waited_ns)
    taken_ns *= min(1.0, lost_ns / max(1.0, taken_ns + min(lost_ns, handover_ns)))
    took_ns = max(1.0, foreign_cpu_ns + others_ns + crowd_ns)
    foreign_ns = min(foreign_cpu_ns, taken_ns * foreign_cpu_ns / took_ns)
    crowd_ns = min(crowd_ns, taken_ns * crowd_ns / took_ns)
    # A limit on the process's CPU time shows nowhere else, and the system counts what others took in coarse ticks.
    return _Cores(foreign_ns, taken_ns - foreign_ns - crowd_ns, crowd_ns)


def _guessed_wait_ns(machine: Machine, took_ns: float, duration_ns: int) -> float:
    """Return how long threads waited for a processor at most: who takes one that is idle else keeps nobody waiting."""
    if machine.process_cpu_ns == UNKNOWN:
        return took_ns
    idle_ns = machine.num_cpus * duration_ns - machine.process_cpu_ns - max(0, machine.others_cpu_ns)
    return max(0.0, took_ns - max(0, idle_ns))


def _asleep_share(records: Records, moments: Moments, cores_ns: float) -> Floats:
    """Return which share of its loss each strand slept, or did I/O.

    Of a function with strands that ran alone: as much as those lost. Of others: while no thread of the process
    computed, or waited for a processor, inside of strands or between them.
    """
    strands = moments.strands
    lasting = records.strands[records.strands["end_ns"] > records.strands["start_ns"]]
    is_alone = shared_time_ns(lasting) <= ALONE_SHARE * strands.wall_ns

    def by_name(values: Floats) -> Floats:
        return np.bincount(strands.name, values, len(records.names)).astype(np.float64)

    lost_ns = strands.wall_ns - strands.cpu_ns
    wall, alone = by_name(strands.wall_ns), by_name(strands.wall_ns * is_alone)
    as_alone = by_name(lost_ns * is_alone) / np.maximum(1, alone) * wall / np.maximum(1, by_name(lost_ns))
    between_ns = max(0.0, records.machine.process_cpu_ns - float(strands.cpu_ns.sum()))
    told = min(1.0, (cores_ns + between_ns) / max(1.0, moments.sum(np.minimum(moments.running, 1))))
    stalled = np.clip(1 - moments.rate - told, 0, 1) / max(1e-9, 1 - told)
    is_known = alone >= ALONE_SHARE * np.maximum(1, wall)
    share = np.where(is_known[strands.name], as_alone[strands.name], moments.sums(stalled) / strands.wall_ns)
    return np.where(strands.wall_ns < MIN_SLEEP_NS, 0.0, np.minimum(1, share))


def _loop_share(moments: Moments) -> Floats:
    """Return which share of the computing beside each strand was a loop's; 0 for what runs on loops."""
    strands = moments.strands
    beside = moments.sums(moments.rate) - strands.cpu_ns
    share = moments.sums(moments.loop_rate) / np.maximum(1.0, beside)
    return np.where(strands.is_on_loop, 0.0, np.minimum(1, share))
