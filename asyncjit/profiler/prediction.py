"""What a profiled program would take on other lanes, or with one of its functions made faster.

The program behind the records is run through a simulation (`simulation.py`) with the overheads that the records show
(`overheads.py`), and with what threads take from each other (`contention.py`). Each lane is taken to have a processor
of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from asyncjit._core.nodes import name_of
from asyncjit.profiler.analysis import work_ns
from asyncjit.profiler.contention import Floats, contention_of
from asyncjit.profiler.critical import span_ns
from asyncjit.profiler.overheads import overheads_of
from asyncjit.profiler.plan import plan_of
from asyncjit.profiler.records import Records
from asyncjit.profiler.rivalry import Rivalry
from asyncjit.profiler.simulation import Outcome, simulate

LANES = (1, 2, 4, 8, 16, 32, 64, 128)
MANY = 200_000  # chosen: a schedule of a million forks takes some seconds to simulate, on each number of lanes
NUM_NAMES = 10  # chosen: so many names a message may list
NUM_ROUNDS = 5  # chosen: each makes what error remains some times smaller, and costs a simulation
TOLERANCE = 0.005  # chosen: of a strand's time; the predictions are not that good


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a program would take."""

    num_lanes: int
    time_s: float
    speedup: float  #: over what it is compared with: the same on one lane, or the program as it is
    is_bound: bool = False  #: not simulated: what it takes at most, if nothing but work and span counted


def predict(records: Records, num_lanes: int) -> Prediction:
    """Predict what the profiled block would take on `num_lanes` lanes.

    The time is that of all that the profile saw, from its start to the end of the last fork; the speed-up is over the
    prediction for one lane.

    Parameters
    ----------
    num_lanes : int
        Positive.

    Raises
    ------
    ValueError
        If `num_lanes` is not positive.
    """
    return Predictor(records).predict(num_lanes)


def curve(records: Records, lanes: Iterable[int] = LANES) -> list[Prediction]:
    """Predict the times on several numbers of lanes, as `predict` does for one.

    More than `MANY` forks are not simulated: the times are then those that any greedy schedule keeps (Graham 1966,
    Brent 1974), from work and span alone.
    """
    if len(records.tasks) <= MANY:
        predictor = Predictor(records)
        return [predictor.predict(num_lanes) for num_lanes in lanes]
    all_ns, longest_ns = work_ns(records), span_ns(records)
    times = [(num_lanes, all_ns / num_lanes + longest_ns * (num_lanes - 1) / num_lanes) for num_lanes in lanes]
    return [Prediction(num_lanes, ns / 1e9, all_ns / max(1, ns), is_bound=True) for num_lanes, ns in times]


def what_if(
    records: Records,
    fn: str | Callable[..., Any],
    factor: float,
    num_lanes: int | None = None,
) -> Prediction:
    """Predict what the profiled block would take if the code of `fn` itself ran `factor` times faster.

    Its strands are shortened; what it forks and waits for is not.

    Parameters
    ----------
    fn : str or callable
        A name as the profile shows it, or the function that was forked.
    factor : float
        Above 0; 2 stands for half the time, `math.inf` for none.
    num_lanes : int, optional
        By default as many as the profile was recorded with.

    Returns
    -------
    Prediction
        Its speed-up is over the prediction for the program as it is, on the same number of lanes.

    Raises
    ------
    ValueError
        If no fork has that name, or `factor` or `num_lanes` is not positive.
    """
    if not factor > 0:
        raise ValueError(f"factor must be above 0, not {factor}: 2 stands for twice as fast, 0.5 for half as fast")
    num_lanes = records.num_lanes if num_lanes is None else num_lanes
    name = _row_of(records, fn if isinstance(fn, str) else name_of(fn))
    predictor = Predictor(records)
    after_ns = predictor.changed_ns(num_lanes, name, 1 / factor)
    return Prediction(num_lanes, after_ns / 1e9, _speedup(predictor.time_ns(num_lanes), after_ns))


class Predictor:
    """A program ready to be simulated: it is laid out once for any number of questions."""

    def __init__(self, records: Records) -> None:
        self._plan = plan_of(records)
        self._overheads = overheads_of(records)
        rivalry = Rivalry(records.bursts, records.turn_ns) if len(records.bursts) else None
        self._contention = contention_of(records, self._overheads, rivalry)
        self._names = records.tasks["name"]
        # Threads that wake up count as busy in a simulation, and not in the records that the contention was seen in.
        self._share = 1.0
        if self._contention.num_others:
            simulated = simulate(self._plan, records.num_lanes, self._overheads).num_others
            self._share = min(1.0, self._contention.num_others / simulated) if simulated else 1.0
        self._one_ns = self.time_ns(1)

    def predict(self, num_lanes: int) -> Prediction:
        """Predict the time on `num_lanes` lanes, and its speed-up over one."""
        time_ns = self.time_ns(num_lanes)
        return Prediction(num_lanes, time_ns / 1e9, _speedup(self._one_ns, time_ns))

    def time_ns(self, num_lanes: int) -> int:
        """Return the predicted time."""
        return self._outcome(num_lanes, 1.0).time_ns

    def changed_ns(self, num_lanes: int, name: int, factor: float) -> int:
        """Return the predicted time if the strands of one name took `factor` times what they took."""
        return self._outcome(num_lanes, np.where(self._names == name, factor, 1.0)).time_ns

    def _outcome(self, num_lanes: int, scale: Floats | float) -> Outcome:
        """Simulate, again and again until the contention is that of the schedule to which it leads."""
        num_others = num_lanes - 1.0  # so it is where there is work for all, and a first simulation is enough
        for _ in range(NUM_ROUNDS):
            factors = self._contention.factors(num_others)[self._names] * scale
            outcome = simulate(self._plan.scaled(factors), num_lanes, self._overheads)
            change, num_others = abs(outcome.num_others * self._share - num_others), outcome.num_others * self._share
            if change * self._contention.largest_slope < TOLERANCE:
                break
        return outcome


def _speedup(before_ns: int, after_ns: int) -> float:
    return before_ns / after_ns if after_ns else 1.0 if not before_ns else math.inf


def _row_of(records: Records, name: str) -> int:
    """Return the row of a name that some fork has."""
    known: dict[str, int] = {records.names[row]: row for row in np.unique(records.tasks["name"]).tolist()}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=NUM_NAMES, cutoff=0.0)
    more = f", and {len(known) - len(near)} more" if len(known) > len(near) else ""
    raise ValueError(f"no fork is called {name!r}; the profile has {', '.join(map(repr, near))}{more}")
