"""Many futures at once: `collect_all`, and the futures behind `wait_all` and `as_completed`.

One counting waiter serves all the futures of a call: a list of ten thousand costs ten thousand registrations and one
wake-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, TypeVar

from asyncjit._core.cell import FAILED, FINISHED, Cell
from asyncjit._core.context import ThreadSlot, lock
from asyncjit._core.future import Derived, Future

T = TypeVar("T")


def checked(fut: Any) -> Future[Any]:
    """Return `fut` if it is a future; raise what it should be if not."""
    if fut is None:
        raise RuntimeError("Future can't be None")
    if not isinstance(fut, Future):
        raise TypeError(f"wait needs a Future, got {fut!r} of type {type(fut).__name__}: fork(fn, *args) makes one")
    return fut


def checked_all(futs: Iterable[Any]) -> tuple[Future[Any], ...]:
    """Return the futures as a tuple; raise if one is none."""
    return tuple(checked(fut) for fut in futs)


class Countdown:
    """The waiter that completes a future when the last of many is done, or the first has failed."""

    __slots__ = ("_futures", "_goal", "_missing", "_value")

    def __init__(self, futures: tuple[Future[Any], ...], goal: Future[Any], value: Any, *, stops_early: bool) -> None:
        self._goal = goal
        self._value = value
        self._futures = futures if stops_early else ()
        self._missing = len(futures)

    def told(self, future: Future[Any]) -> None:
        """Count one that is done."""
        with lock:
            self._missing -= 1
            is_last = self._missing == 0
        if future._state > FINISHED and self._futures:
            if future._state == FAILED:
                future._content.is_retrieved = True  # it surfaces in the goal
            self._goal._settle(future._state, future._content)
        elif is_last:
            self._goal._settle(FINISHED, self._value)


class Tally:
    """One future's entry in a countdown; counted once, however often it is woken."""

    __slots__ = ("_countdown", "_future")

    def __init__(self, countdown: Countdown, future: Future[Any]) -> None:
        self._countdown: Countdown | None = countdown
        self._future = future

    def wake(self) -> None:
        """Count."""
        countdown, self._countdown = self._countdown, None
        if countdown is not None:
            countdown.told(self._future)


def gather(futures: tuple[Future[Any], ...], value: Any, *, stops_early: bool, name: str) -> Future[Any]:
    """Return a future that finishes with `value` once all are done, or early with the first error."""
    goal: Future[Any] = Future(Derived(futures, name))
    if not futures:
        goal._settle(FINISHED, value)
        return goal
    countdown = Countdown(futures, goal, value, stops_early=stops_early)
    for future in futures:
        tally = Tally(countdown, future)
        if not future._add_waiter(tally):
            tally.wake()
    return goal


def collect_all(futs: Iterable[Future[T]]) -> Future[list[Future[T]]]:
    """Return a future of the same futures, in the same order, done when all are done or the first has failed.

    Parameters
    ----------
    futs : iterable of Future
        None of them may be None.
    """
    futures = checked_all(futs)
    return gather(futures, list(futures), stops_early=True, name=f"collect_all of {len(futures)} futures")


class Arrivals:
    """Futures in the order of their completion; what is missing is awaited through `next_cell`."""

    def __init__(self, futures: tuple[Future[Any], ...]) -> None:
        self.futures = futures
        self.missing = len(futures)
        self._done: deque[Future[Any]] = deque()
        self._next: Cell | None = None
        self._source = AnyOf(futures)
        for future in futures:
            entry = _Arrival(self, future)
            if not future._add_waiter(entry):
                entry.wake()

    def told(self, future: Future[Any]) -> None:
        """Append one that is done, and wake who waits for it."""
        with lock:
            self._done.append(future)
            cell, self._next = self._next, None
        if cell is not None:
            cell._settle(FINISHED, None)

    def take(self) -> Future[Any] | None:
        """Return the next that is done, None if there is none yet."""
        with lock:
            if not self._done:
                return None
            self.missing -= 1
            return self._done.popleft()

    def next_cell(self) -> Future[None]:
        """Return a future that is done when `take` has something."""
        cell: Future[None] = Future(self._source)
        with lock:
            if not self._done:
                self._next = cell
                return cell
        cell._settle(FINISHED, None)
        return cell


class AnyOf:
    """The source of a future that is done when one of many is: it claims none, but in the debugger's mode."""

    def __init__(self, futures: tuple[Future[Any], ...]) -> None:
        self._name = f"the next of {len(futures)} futures"
        self._inline = [f for f in futures if f._source is not None and f._source.is_inline]

    @property
    def is_inline(self) -> bool:
        """Whether every wait runs its target in place."""
        return bool(self._inline)

    def describe(self) -> str:
        """Name it."""
        return self._name

    def run_in_place(self, slot: ThreadSlot) -> None:
        """Run the first that has not started, if nobody else would."""
        for future in self._inline:
            if future._state < FINISHED and future._source is not None:
                future._source.run_in_place(slot)
                return


class _Arrival:
    __slots__ = ("_arrivals", "_future")

    def __init__(self, arrivals: Arrivals, future: Future[Any]) -> None:
        self._arrivals: Arrivals | None = arrivals
        self._future = future

    def wake(self) -> None:
        arrivals, self._arrivals = self._arrivals, None
        if arrivals is not None:
            arrivals.told(self._future)
