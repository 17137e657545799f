"""Deterministic runs: one kernel at a time, in an order drawn from a seed, with a clock that is moved by hand.

The code between `with deterministic(seed)` holds the only permit, as a kernel does. So nothing runs beside it; when
it waits, its permit goes to a queued kernel, drawn by the seed; when what it waits for is done, the permit comes
back. The same seed gives the same order, another seed another: a test that loops over seeds explores the orders that
threads could have chosen. It is the real pool with real threads, only with N = 1 and another choice of the next
kernel, so a deadlock found here is one, and a caller's lock held across a wait behaves as it does in production.

In async code the loop's thread holds the permit and lends it while it awaits.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from asyncjit._core.cell import ring
from asyncjit._core.context import lock, this_thread
from asyncjit._core.forks import Fork
from asyncjit._core.runtime import Runtime

__all__ = ["ManualClock", "deterministic"]


class ManualClock:
    """A clock that stands still until it is moved; for `Runtime(clock=)`.

    Examples
    --------
    >>> clock = ManualClock()
    >>> clock.advance(1.5)
    >>> clock()
    1.5
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._sleepers: list[tuple[float, int, Callable[[], object]]] = []
        self._lock = threading.Lock()  # guards both
        self._count = 0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move the clock on, and wake the waits whose deadline has come.

        Raises
        ------
        ValueError
            If `seconds` is negative: time does not run back.
        """
        if seconds < 0:
            raise ValueError(f"a clock can't be moved back: advance({seconds})")
        due = []
        with self._lock:
            self._now_s += seconds
            while self._sleepers and self._sleepers[0][0] <= self._now_s:
                due.append(heapq.heappop(self._sleepers)[2])
        for callback in due:
            callback()

    def call_at(self, deadline: float, callback: Callable[[], object]) -> None:
        """Have `callback` called when the clock is moved to `deadline`; now, if it is there."""
        with self._lock:
            is_due = self._now_s >= deadline
            if not is_due:
                self._count += 1
                heapq.heappush(self._sleepers, (deadline, self._count, callback))
        if is_due:
            callback()

    def sleep_until(self, bell: threading.Lock, deadline: float) -> None:
        """Sleep on `bell` until it rings, or until the clock is moved to `deadline`; the runtime's waits call this."""
        self.call_at(deadline, partial(ring, bell))
        bell.acquire()


class deterministic:  # noqa: N801  # used like a function
    """Run the block, and all it forks, one piece at a time in an order drawn from `seed`.

    A blocking wait without a timeout runs its target in place, as on threads: what is only waited for so has one order.

    The block's target is a `Runtime` with one inter-op thread and a `ManualClock`, current inside the block.

    Parameters
    ----------
    seed : int
        Of the order in which queued kernels start.
    **settings
        Passed to `Runtime`.

    Examples
    --------
    >>> from asyncjit import sync
    >>> def order(seed):
    ...     started = []
    ...     with deterministic(seed):
    ...         sync.wait_all([sync.fork(started.append, n) for n in range(4)], timeout=60)
    ...     return started
    >>> order(1) == order(1)
    True
    >>> len({tuple(order(seed)) for seed in range(20)}) > 1
    True
    """

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        self.clock = ManualClock()
        fixed: dict[str, Any] = {"clock": self.clock, "local": True, "loop_runs_cheap": False}
        self.runtime = Runtime(1, **(fixed | settings))
        self._random = random.Random(seed)
        self.runtime.pool.pick = self._pick

    def _pick(self) -> Fork:
        """Take any queued kernel, drawn by the seed; called under the lock."""
        queue = self.runtime.pool.queue
        queue.rotate(-self._random.randrange(len(queue)))
        return queue.popleft()

    def __enter__(self) -> Runtime:
        """Take the only permit."""
        runtime = self.runtime.enter()
        with lock:
            runtime.pool.running += 1
            this_thread().permit = runtime.pool
        return runtime

    def _give_back(self) -> None:
        pool = self.runtime.pool
        slot = this_thread()
        with lock:
            if slot.permit is pool:
                slot.permit = None
                pool.running -= 1
        pool.replenish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the permit back and drain the runtime, or cancel what is left if the block raised."""
        self._give_back()
        self.runtime.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Runtime:
        """Take the only permit, for the loop's thread."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the permit back and drain the runtime, or cancel what is left if the block raised."""
        self._give_back()
        await self.runtime.__aexit__(kind, error, traceback)
