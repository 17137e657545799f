"""Each cause that keeps lanes from computing, in a sentence, with its share of their time and what to do about it.

The account (`accounts.py`) says how much each cause took; a function for each puts it into words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from asyncjit.profiler.accounts import Account, account_of
from asyncjit.profiler.analysis import lengths_ns, work_ns
from asyncjit.profiler.critical import PathPiece, critical_path
from asyncjit.profiler.moments import Floats
from asyncjit.profiler.records import OUTSIDE, Records
from asyncjit.profiler.texts import duration_text, percent_text

LEAST_SHARE = 0.01  # chosen: what lost less of its time is not worth its name


class Cause(NamedTuple):
    """A sentence of the explanation; as text, with its share and the advice."""

    text: str
    share: float | None = None  #: of the lanes' time, 0 to 1; None for a sentence that gives none
    advice: str = ""  #: what to do
    name: str = ""  #: "GIL", "long path": which cause it is; empty for a sentence that names none

    def __str__(self) -> str:
        share = "" if self.share is None else f"{percent_text(self.share)} of the lanes' time: "
        return f"{share}{self.text} {self.advice}".rstrip()


class Evidence:
    """A profile's records, the account of its time, and what sentences want to know besides."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.account: Account = account_of(records)

    @cached_property
    def path(self) -> list[PathPiece]:
        """The critical path."""
        return critical_path(self.records)

    @cached_property
    def span_ns(self) -> int:
        """Its length."""
        return sum(piece.end_ns - piece.start_ns for piece in self.path)

    @cached_property
    def is_one_path(self) -> bool:
        """Whether the critical path explains most of the idle time, and is not the code outside of forks."""
        # No schedule takes less than the span, and in such a time so much of the lanes is idle at least.
        least_idle_ns = self.records.num_lanes * self.span_ns - work_ns(self.records)
        if least_idle_ns < (self.account.idle_ns + self.account.outside_ns) / 2:
            return False
        outside_ns = sum(piece.end_ns - piece.start_ns for piece in self.path if piece.task == OUTSIDE)
        return 2 * outside_ns < self.span_ns

    @property
    def of_duration(self) -> str:
        """The duration, behind a part of it."""
        return f"of {_seconds(self.records.duration_ns)}"

    def shown(self, name: str) -> str:
        """Return a function's name for a sentence."""
        return "the code outside of forks" if name == self.records.name_of(OUTSIDE) else f"`{name}`"


def lost_by_cause(evidence: Evidence) -> dict[Callable[[Evidence], Cause], float]:
    """Return what each cause took of the lanes' time, in nanoseconds."""
    account = evidence.account
    is_one_path = account.idle_ns > 0 and evidence.is_one_path
    return {
        few_forks: account.outside_ns + (0.0 if is_one_path else account.idle_ns),
        long_path: account.idle_ns if is_one_path else 0.0,
        short_kernels: account.handover_ns,
        gil: account.gil_ns,
        loop: account.loop_ns,
        blas_threads: account.foreign_ns,
        other_processes: account.others_ns,
        too_many_lanes: account.crowd_ns,
        sleep: account.asleep_ns,
        pauses: account.paused_ns,
    }


def few_forks(evidence: Evidence) -> Cause:
    """Tell that lanes were idle as nothing was queued, and that no single path explains it."""
    records, account = evidence.records, evidence.account
    if account.outside_ns >= account.idle_ns:
        alone_ns = account.outside_ns / max(1, records.num_lanes - 1)
        return Cause(
            f"Only the code outside of forks ran for {_seconds(alone_ns)} {evidence.of_duration}: it forks too little.",
            advice="Fork what it calls, and wait only when all is forked.",
            name="few forks",
        )
    return Cause(
        f"Lanes had nothing to do while others ran: {_plural(len(records.tasks) - 1, 'fork')}, too few, too unlike in "
        "length, or made too late.",
        advice="Fork more and smaller pieces, the longest first, and wait only when all are forked.",
        name="few forks",
    )


def long_path(evidence: Evidence) -> Cause:
    """Tell that lanes were idle as nothing was queued, and that one path explains it."""
    took_ns: dict[tuple[str, str], int] = {}
    for piece in evidence.path:
        where = piece.name, piece.site
        took_ns[where] = took_ns.get(where, 0) + piece.end_ns - piece.start_ns
    name, site = max(took_ns, key=lambda where: took_ns[where])
    shown = evidence.shown(name)
    gain = evidence.records.duration_ns / max(1, evidence.span_ns)
    return Cause(
        f"One long path through {shown}{site and f', {site},'} which takes {_seconds(took_ns[name, site])} "
        f"{evidence.of_duration}: any number of lanes makes the whole {gain:.2f} × as fast at most.",
        advice=f"Cut {shown} into parts that can run side by side, or let its calls not wait for one another.",
        name="long path",
    )


def short_kernels(evidence: Evidence) -> Cause:
    """Tell that forking, queueing and waking up took the time."""
    strands = evidence.records.strands[evidence.records.strands["task"] != OUTSIDE]
    median_ns = float(np.median(lengths_ns(strands))) if len(strands) else 0.0
    return Cause(
        f"Kernels of {_seconds(median_ns)}, the median of {len(strands):,}: forking, queueing and waking threads for "
        "them takes the time.",
        advice="Fork fewer, larger pieces: several of these calls in one function.",
        name="short kernels",
    )


def gil(evidence: Evidence) -> Cause:
    """Tell that strands lost time beside others, though processors were idle."""
    name, share = _loser(evidence, evidence.account.to_gil)
    lost = f"{_capital(name)} lost {percent_text(share)} of its time to the GIL"
    if share < LEAST_SHARE:
        lost = "Lanes could not take up what was queued, for want of the GIL"
    return Cause(
        f"{lost}: while one thread runs Python code, the others wait.",
        advice="Do the work of Python loops in few NumPy calls on large arrays, which let the GIL go.",
        name="GIL",
    )


def loop(evidence: Evidence) -> Cause:
    """Tell that the thread of a loop computed while lanes were idle or waited for it."""
    records = evidence.records
    is_loop = np.array([lane.is_loop for lane in records.lanes], bool)
    strands = records.strands[is_loop[records.strands["lane"]]]
    lasts_ns = lengths_ns(strands)
    by_name = np.bincount(records.tasks["name"][strands["task"]], lasts_ns, len(records.names))
    name = evidence.shown(records.names[int(by_name.argmax())])
    return Cause(
        f"Glue on the loop: the event loop's thread ran for {_seconds(int(lasts_ns.sum()))} {evidence.of_duration}, "
        f"most of it in {name}, and lanes waited.",
        advice="Move what computes there into functions that you fork; coroutines should only fork and await.",
        name="loop",
    )


def blas_threads(evidence: Evidence) -> Cause:
    """Tell that threads of this process that are not asyncjit's had the processors."""
    machine, foreign_cpu_ns = evidence.records.machine, evidence.account.foreign_cpu_ns
    return Cause(
        f"Threads that are not asyncjit's, as of BLAS or OpenMP, used {_cpus(evidence, foreign_cpu_ns)} beside the "
        f"lanes: {_cpus(evidence, machine.process_cpu_ns)} in all, where there are {machine.num_cpus}.",
        advice="Leave blas_threads at 1; print(asyncjit.parallel_info()) tells how many threads each library has.",
        name="BLAS threads",
    )


def other_processes(evidence: Evidence) -> Cause:
    """Tell that other processes had the processors, or a limit kept this one from them."""
    machine = evidence.records.machine
    if 2 * machine.others_cpu_ns < evidence.account.others_ns:
        text = "Lanes waited for CPUs: other processes had them, or a limit on this one's CPU time kept it from them."
    else:
        text = f"Other processes used {_cpus(evidence, machine.others_cpu_ns)} of {machine.num_cpus}, and lanes waited."
    advice = "Stop them, or give this program CPUs of its own (taskset), and measure again."
    return Cause(text, advice=advice, name="other processes")


def too_many_lanes(evidence: Evidence) -> Cause:
    """Tell that asyncjit's own threads were more than the processors."""
    num_lanes, num_cpus = evidence.records.num_lanes, evidence.records.machine.num_cpus
    return Cause(
        f"More threads ran than there are CPUs: {_plural(num_lanes, 'lane')}, and what computes beside them, on "
        f"{_plural(num_cpus, 'CPU')}.",
        advice=f"Set no more lanes than CPUs: asyncjit.set_num_interop_threads({num_cpus}).",
        name="too many lanes",
    )


def sleep(evidence: Evidence) -> Cause:
    """Tell that strands neither computed nor waited for the GIL or a processor."""
    name, share = _loser(evidence, evidence.account.to_sleep)
    return Cause(
        f"{_capital(name)} spent {percent_text(share)} of its time asleep or in I/O, on a lane that could compute.",
        advice="Await that in a coroutine, or have more lanes than CPUs.",
        name="sleep",
    )


def pauses(evidence: Evidence) -> Cause:
    """Tell that nothing ran and nothing was queued."""
    paused_ns = evidence.account.paused_ns / max(1, evidence.records.num_lanes)
    return Cause(
        f"Nothing ran and nothing was queued for {_seconds(paused_ns)} {evidence.of_duration}: the program awaited "
        "something else, as I/O or a sleep.",
        advice="Fork, before such an await, what can go on meanwhile.",
        name="pauses",
    )


def all_well(evidence: Evidence) -> Cause:
    """Return the sentence of a profile in which no cause stands out."""
    records = evidence.records
    work, took = work_ns(records), records.duration_ns
    return Cause(
        f"No cause stands out: {_seconds(work)} of work took {_seconds(took)} on {_plural(records.num_lanes, 'lane')}, "
        f"{work / max(1, took):.2f} × as fast as one after the other."
    )


def _seconds(time_ns: float) -> str:
    return duration_text(time_ns / 1e9)


def _loser(evidence: Evidence, lost_ns: Floats) -> tuple[str, float]:
    """Return the function that lost most, as a sentence shows it, and the lost share of its time."""
    records = evidence.records
    name = int(lost_ns.argmax())
    is_its = records.tasks["name"][records.strands["task"]] == name
    wall_ns = int(lengths_ns(records.strands[is_its]).sum())
    return evidence.shown(records.names[name]), float(lost_ns[name]) / max(1, wall_ns)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _cpus(evidence: Evidence, cpu_ns: int) -> str:
    number = f"{cpu_ns / max(1, evidence.records.duration_ns):.1f}"
    return f"{number} CPU" if number == "1.0" else f"{number} CPUs"


def _plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
