"""What threads take from each other: how much longer a strand lasts for each other thread that is busy beside it.

A strand lasts longer than its thread computes where it waits: for the GIL, for a processor, or of its own accord, as
sleep does. The last it does alone as well. So of the time that a function's strands lost, what they lose alone is left
to them, and so is, evenly, what other processes took; what is due to more busy threads than processors is taken off;
and the rest is put down to the threads beside them, each in equal parts, but never more than those computed meanwhile,
for nobody takes what he does not use. Acar, Charguéraud and Rainey (Parallel Work Inflation, Memory Effects, and their
Empirical Analysis, 2017) tell work inflation from idle time likewise. Memory's share of it, which makes threads compute
longer and not wait, is not seen.

Where hardly anything ran side by side, as on one lane, nothing of that is seen. What is known then is how often a
function's strands end and begin: each time the thread needs the GIL. How often the code inside of a strand lets it go
and needs it again, and how long it holds it, is known if a rival took part (`rivalry.py`); if none did, what is
foretold of functions whose strands are many short NumPy calls, or Python code, is too good.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.analysis import lengths_ns, running
from asyncjit.profiler.inflation import ALONE_SHARE
from asyncjit.profiler.program import Ints
from asyncjit.profiler.records import UNKNOWN, Records, Table
from asyncjit.profiler.rivalry import HANDOVER_NS, Rivalry, felt_by
from asyncjit.profiler.simulation import Overheads

Floats = NDArray[np.float64]

# Measured (2-core x86-64, CPython 3.11): threads that wait for the GIL compute more too, for the switching. Of the time
# by which strands of fork trees and of read sentences grew on two lanes, 1 / 1.2 to 1 / 2.1 was lost.
GROWTH_BY_LOSS = 1.4
# Chosen: of the processors' time. What others computed is told in ticks of 10 ms, so less may be none; and threads wait
# for a processor beside a free one too, where the system puts two that pass the GIL to each other on one.
NEIGHBOURS_SHARE = 0.1
MAX_SHARE = 0.9  # chosen: at least a tenth of a strand is its own
# Measured, likewise: beside a busy lane fork trees of 20 to 200 us took 5 to 10 us longer for each strand, in which a
# claim took 2 to 3.5 us; both are the runtime's own code, so one stands for the machine's share in the other.
CLAIMS_BY_STRAND = 2.5
# Measured, on bare threads: by so much of the GIL's share that a kernel holds, two of it lost more than one to a rival.
OWN_KIND = 1.5
# Measured, with leaves of 20 us: where somebody always holds the GIL, the ends of strands cost so much more.
MEETINGS = 2.0
MAX_INNER = 3.0  # measured: 2.7 at most, of `tanh` of 2,000 elements; more is the work of chance
MIN_FELT_NS = 2_000_000  # chosen: two bursts; of functions that met less what all met together is taken
MIN_SHARED = 0.05  # chosen: of a function's time; of less than that nothing is concluded


class Contention(NamedTuple):
    """For each name in the records: what its strands would take alone, and what they take beside others."""

    alone: Floats  #: the share of its recorded time that a strand would last alone, 0 to 1
    slope: Floats  #: for each other busy thread, a strand lasts longer by this share of its time alone
    inner: Floats  #: or by this, if that is more: what it lost beside a rival
    held: Floats  #: the share of its time in which nobody else gets the GIL
    num_others: float  #: how many threads were busy beside a busy one, if that is how most was seen; or 0

    def factors(self, num_others: float) -> Floats:
        """Return by what to multiply recorded times, for each name, beside so many other busy threads."""
        apart = 1 + np.maximum(self.slope, self.inner) * num_others
        in_turn = self.held * (1 + (1 + MEETINGS * self.slope) * num_others)
        return self.alone * np.maximum(apart, in_turn)

    @property
    def largest_slope(self) -> float:
        """How much what suffers most suffers, for each other busy thread."""
        in_turn = self.held * (1 + MEETINGS * self.slope)
        return float(np.maximum(np.maximum(self.slope, self.inner), in_turn).max(initial=0.0))


def contention_of(records: Records, overheads: Overheads, rivalry: Rivalry | None = None) -> Contention:
    """Estimate the contention, for each name in the records.

    Parameters
    ----------
    overheads : Overheads
        Those that the records show.
    rivalry : Rivalry, optional
        What a rival did meanwhile.
    """
    strands, num_names = records.strands, len(records.names)
    name = records.tasks["name"][strands["task"]]
    wall_ns = lengths_ns(strands).astype(np.float64)
    beside = _beside(records)
    is_known = strands["cpu_ns"] != UNKNOWN
    lost_ns = np.where(is_known, np.maximum(wall_ns - strands["cpu_ns"], 0), 0.0)
    has_neighbours = _has_neighbours(records)
    if has_neighbours:
        kept_ns = max(0, min(records.machine.core_wait_ns, records.machine.others_cpu_ns))
        lost_ns *= 1 - min(1.0, kept_ns / max(1.0, lost_ns.sum()))

    def sums(values: Floats) -> Floats:
        return np.bincount(name, values, num_names).astype(np.float64)

    is_alone = is_known & (beside.shared_ns <= ALONE_SHARE * wall_ns)
    own_share = sums(lost_ns * is_alone) / np.maximum(1, sums(wall_ns * is_alone))
    taken_ns = np.clip(lost_ns - own_share[name] * wall_ns, 0, beside.cpu_ns)
    wall, others, taken = sums(wall_ns), sums(beside.others_ns), sums(taken_ns)
    crowded = np.minimum(sums(beside.crowded_ns * is_known), taken)
    grown = np.minimum(GROWTH_BY_LOSS * (taken - crowded), MAX_SHARE * (wall - crowded))
    alone = wall - crowded - grown
    is_seen = sums(beside.shared_ns * is_known) > MIN_SHARED * wall
    seen_slope = grown / np.maximum(1, alone / np.maximum(1, wall) * others)
    unseen_slope = CLAIMS_BY_STRAND * overheads.claim_ns * np.bincount(name, minlength=num_names) / np.maximum(1, wall)
    inner, held = np.zeros(num_names), np.zeros(num_names)
    if rivalry is not None and not has_neighbours:  # between processes a rival's turns tell nothing of the GIL
        inner, held = _felt(records, rivalry, lost_ns, is_known)
    return Contention(
        alone=np.where(is_seen, alone / np.maximum(1, wall), 1.0),
        slope=np.where(is_seen, seen_slope, unseen_slope),
        inner=np.where(is_seen, 0.0, inner),
        held=np.where(is_seen, 0.0, held),
        num_others=float(others.sum() / max(1, wall.sum())) if wall[is_seen].sum() > wall.sum() / 2 else 0.0,
    )


def _felt(records: Records, rivalry: Rivalry, lost_ns: Floats, is_known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return what the strands of each name lose to each thread that asks for the GIL, and the GIL's share they hold."""
    strands, num_names = records.strands, len(records.names)
    name = records.tasks["name"][strands["task"]]
    felt = felt_by(strands, rivalry)
    wall_ns = lengths_ns(strands).astype(np.float64)

    def sums(values: Floats) -> Floats:
        return np.bincount(name, values * is_known, num_names).astype(np.float64)

    is_apart = felt.burst_ns == 0
    own_share = sums(lost_ns * is_apart) / np.maximum(1, sums(wall_ns * is_apart))
    lost_ns = np.minimum(lost_ns - own_share[name] * wall_ns, felt.burst_ns)  # a rival takes no more than its time
    seen = np.stack([sums(values) for values in (felt.burst_ns, lost_ns, felt.waited_ns, felt.num_turns)])
    seen = np.where(seen[0] > MIN_FELT_NS, seen, seen.sum(axis=1, keepdims=True))
    burst_ns, lost, waited_ns, num_turns = seen
    grown = np.clip(GROWTH_BY_LOSS * lost, 0, MAX_SHARE * burst_ns)
    in_vain_ns = np.maximum(waited_ns / np.maximum(1, num_turns) - HANDOVER_NS, 0)
    held = in_vain_ns / (in_vain_ns + rivalry.turn_ns)
    inner = grown / np.maximum(1, burst_ns - grown) * (1 + OWN_KIND * held)
    return np.minimum(inner, MAX_INNER), held


def _has_neighbours(records: Records) -> bool:
    """Whether other processes computed so much that threads may have waited for them."""
    machine = records.machine
    return machine.others_cpu_ns > NEIGHBOURS_SHARE * machine.num_cpus * records.duration_ns


class _Beside(NamedTuple):
    """What there was beside each strand."""

    shared_ns: Floats  #: for how long another thread was busy
    others_ns: Floats  #: the time of other busy threads, added up
    cpu_ns: Floats  #: what these computed in it
    crowded_ns: Floats  #: what each thread lost because they were more than the processors


def _beside(records: Records) -> _Beside:
    strands = records.strands
    at_ns, counts = running(strands)
    if not len(at_ns):
        return _Beside(*np.zeros((4, len(strands))))
    place = [np.searchsorted(at_ns, strands[field]).clip(max=len(at_ns) - 1) for field in ("start_ns", "end_ns")]
    between_ns = np.diff(at_ns)

    def during(value: Floats | Ints) -> Floats:
        total = np.concatenate(([0.0], np.cumsum(value[:-1] * between_ns)))
        return np.asarray(total[place[1]] - total[place[0]], np.float64)

    num_busy = np.maximum(counts, 1)
    computing = _computing(strands)
    return _Beside(
        shared_ns=during((counts > 1).astype(np.int64)),
        others_ns=during(num_busy - 1),
        cpu_ns=np.maximum(during(computing) - np.maximum(strands["cpu_ns"], 0), 0),
        crowded_ns=during(np.maximum(1 - records.machine.num_cpus / num_busy, 0)),
    )


def _computing(strands: Table) -> Floats:
    """Return how many threads compute from each of the times on that `running` returns."""
    strands = strands[strands["end_ns"] > strands["start_ns"]]
    wall_ns = strands["end_ns"] - strands["start_ns"]
    share = np.where(strands["cpu_ns"] == UNKNOWN, 1.0, strands["cpu_ns"] / wall_ns)
    order = np.argsort(np.concatenate((strands["end_ns"], strands["start_ns"])), kind="stable")
    return np.cumsum(np.concatenate((-share, share))[order])
