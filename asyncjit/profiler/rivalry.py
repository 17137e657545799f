"""A rival for the GIL: a thread that asks for it in short bursts, to learn what another busy lane would cost.

On one lane nothing shows how often the code inside of a strand lets the GIL go and needs it again: its wall time is its
CPU time. With a second thread at work, each time may cost a hand-over, some ten microseconds, so that two lanes of
short NumPy calls may be slower than one. So while a profile records, the rival works for a millisecond of ten: a NumPy
call of about ten microseconds without the GIL, again and again. What strands lose in those bursts is what they would
lose beside another lane; and how long the rival had to wait for its turns tells how much of the time the strands hold
the GIL. It takes a tenth of a processor that should be idle, and made fine-grained programs some 3 to 13 % slower.

Bare threads of thirteen kernels, from 1 us of `tanh` to batches of sentences, lost beside such a rival what they lost
beside their own kind, or up to 1.6 times that where they hold the GIL themselves (`OWN_KIND` in contention.py). Of the
memory that threads share, a rival tells nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import BURST, Table

BURST_S, PAUSE_S = 0.001, 0.009  # chosen: many turns in a burst, many bursts in a short program, a tenth of the time
TURN_NS = 10_000  # chosen: as long as the NumPy calls that suffer; threads hardly meet at longer ones
HANDOVER_NS = 7_000  # measured: what a turn took longer beside kernels that hold the GIL for next to no time


class Rivalry(NamedTuple):
    """What a rival did."""

    bursts: Table  #: ndarray of BURST, nanoseconds since the profile's start
    turn_ns: int  #: how long one turn takes without competition


class Rival:
    """A thread that asks for the GIL in bursts, from `start` to `stop`."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._stopped = threading.Event()
        self._bursts: list[tuple[int, int, int]] = []
        self._start_ns = 0
        self._values, self._turn_ns = _calibrated()
        self._thread = threading.Thread(target=self._work, name="asyncjit profiler's rival", daemon=True)

    def start(self, start_ns: int) -> None:
        """Begin; `start_ns` is the profile's start by the clock."""
        self._start_ns = start_ns
        self._thread.start()

    def stop(self) -> Rivalry:
        """End, and return what was done."""
        self._stopped.set()
        self._thread.join()
        return Rivalry(np.array(self._bursts, BURST), self._turn_ns)

    def _work(self) -> None:
        clock, values, turn = self._clock, self._values, np.arctan2
        result = np.empty_like(values)
        while True:
            begin_ns = now_ns = clock()
            num_turns = 0
            while now_ns < begin_ns + BURST_S * 1e9:
                turn(values, values, result)
                num_turns += 1
                now_ns = clock()
            self._bursts.append((begin_ns - self._start_ns, now_ns - self._start_ns, num_turns))
            if self._stopped.wait(PAUSE_S):
                return


def _calibrated() -> tuple[NDArray[np.float64], int]:
    """Return an array on which a turn takes about TURN_NS, and how long it takes."""
    num = 1000  # of fewer than 500 elements NumPy would keep the GIL
    values = np.linspace(0.1, 1, num)
    values = np.linspace(0.1, 1, max(num, num * TURN_NS // max(1, _fastest_ns(values))))
    return values, _fastest_ns(values)


def _fastest_ns(values: NDArray[np.float64]) -> int:
    result = np.empty_like(values)
    times = []
    for _ in range(9):
        start_ns = time.perf_counter_ns()
        np.arctan2(values, values, result)
        times.append(time.perf_counter_ns() - start_ns)
    return min(times)


class Felt(NamedTuple):
    """What strands felt of a rival: ndarrays of shape (strands,), float64."""

    burst_ns: NDArray[np.float64]  #: for how long the rival was at work beside each
    waited_ns: NDArray[np.float64]  #: how long it waited for the GIL in that time
    num_turns: NDArray[np.float64]


def felt_by(strands: Table, rivalry: Rivalry) -> Felt:
    """Tell what of a rival's bursts fell into each strand."""
    bursts = rivalry.bursts
    lengths_ns = (bursts["end_ns"] - bursts["start_ns"]).astype(np.float64)
    waited_ns = np.maximum(lengths_ns - bursts["num_turns"] * rivalry.turn_ns, 0)
    return Felt(*(_during(strands, bursts, total) for total in (lengths_ns, waited_ns, bursts["num_turns"])))


def _during(strands: Table, bursts: Table, total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the parts of the bursts' totals that fall into each strand, if they are spread evenly in each burst."""
    if not len(bursts):
        return np.zeros(len(strands))
    at_ns = np.column_stack((bursts["start_ns"], bursts["end_ns"])).ravel()
    done = np.repeat(np.concatenate(([0.0], np.cumsum(total))), 2)[1:-1]
    return np.asarray(np.interp(strands["end_ns"], at_ns, done) - np.interp(strands["start_ns"], at_ns, done))
