"""Intra-op parallelism: one call split over threads whose permits are free.

How a call is cut into blocks is a function of its size alone; how many threads are free decides only who runs the
blocks. So the same input gives the same bits, split or not. What is free is taken at the moment of the call (`teams`),
never more than `get_num_threads()`, and never while kernels are queued: inter-op parallelism goes first.

A script's thread that calls a split kernel holds a permit meanwhile, as if it ran a fork in place. On an event loop's
thread nothing is split: what is called there runs there.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable

from asyncjit._core.context import current, this_thread
from asyncjit._core.process import current_runtime
from asyncjit._core.teams import ALONE, Body, Member, Team
from asyncjit._core.waiting import refuse_cancelled
from asyncjit.cpus import checked_count

NUM_BLOCKS = 64  # chosen: of a loop whose grain is not given; many enough for 32 threads of uneven speed


def together(body: Body, most: int) -> None:
    """Call `body(member)` on up to `most` threads at once, this one among them, and return when all have.

    Every member must `meet` the others at least once, or do without those who have not come when this thread has ended:
    work that is divided by rank is done by all only if they meet.

    Parameters
    ----------
    body : callable
        Takes a `Member`, whose `rank` and `size` tell its share, and whose `meet()` waits for all.
    most : int
        How many members there are work for; 1 is this thread alone.

    Raises
    ------
    BaseException
        What the first member raised.
    """
    if threads_at_hand(most) == 1:
        body(ALONE)
        return
    slot = this_thread()
    fork = slot.fork
    runtime = current_runtime() if fork is None else fork.runtime
    is_script = slot.permit is None
    try:
        if is_script:
            runtime.pool.prepare(slot)
        if not Team(runtime.pool, fork, body).run(slot, min(most, runtime.num_threads)):
            body(ALONE)
    finally:
        if is_script and slot.blas_generation:
            runtime.pool.unprepare(slot)


def threads_at_hand(most: int) -> int:
    """Return on how many threads a call could run now, this one among them, at most `most`.

    It is a hint, for cuts that no bits depend on: who is free now may not be in a moment.
    """
    if most <= 1 or asyncio._get_running_loop() is not None:
        return 1
    slot = this_thread()
    runtime = current_runtime() if slot.fork is None else slot.fork.runtime
    pool, permit = runtime.pool, slot.permit
    if pool.is_inline or pool.queued or permit not in (None, pool):
        return 1
    num_free = pool.limit - pool.running + (permit is pool)
    return max(1, min(most, num_free, runtime.num_threads))


def parallel_for(fn: Callable[[int, int], object], n: int, *, grain: int | None = None) -> None:
    """Call `fn(start, stop)` for consecutive blocks of `range(n)`, on threads that are free; return when all are done.

    For kernels and scripts: it computes in the calling thread too, and on an event loop's thread nowhere else. Blocks
    are taken in order; which thread takes one is chance, so `fn` must not care, and write only to places of its own.

    Parameters
    ----------
    fn : callable
        Called with the bounds of each block, in a copy of the caller's context. It should release the GIL, and take
        some 100 µs a block or longer: coming to help costs a thread some 50 µs.
    n : int
        How many there are; with 0 nothing is called.
    grain : int, optional
        How many make a block; the last may be shorter. By default a 64th of `n`, at least one.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer or negative, or `grain` no positive integer.
    ForkCancelled, DeadlineExceeded
        If the calling fork was cancelled or its deadline has passed; seen between blocks.
    BaseException
        What `fn` raised; of several errors that of the lowest block, as if they ran one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import parallel_for
    >>> x, y = np.arange(6.0), np.empty(6)
    >>> parallel_for(lambda start, stop: np.sqrt(x[start:stop], out=y[start:stop]), 6, grain=2)
    >>> y.round(2)
    array([0.  , 1.  , 1.41, 1.73, 2.  , 2.24])
    """
    n = checked_count(n, "n", 0)
    step = max(1, -(-n // NUM_BLOCKS)) if grain is None else checked_count(grain, "grain")
    if n <= step:
        if n:
            refuse_cancelled(current.get())
            contextvars.copy_context().run(fn, 0, n)
        return
    blocks = Blocks(fn, n, step)
    together(lambda member: contextvars.copy_context().run(blocks.run, member), len(blocks.starts))
    blocks.raise_first()


class Blocks:
    """The blocks of one loop, and the errors of those that failed."""

    def __init__(self, fn: Callable[[int, int], object], n: int, step: int) -> None:
        self.fn = fn
        self.n = n
        self.step = step
        self.starts = deque(range(0, n, step))  # a deque's popleft is atomic by contract
        self.errors: dict[int, BaseException] = {}

    def run(self, member: Member) -> None:
        """Run blocks until there are no more; one that fails ends it for all, but those before it are run still."""
        scope = current.get()
        while not self.errors and not member.is_stopped:
            try:
                start = self.starts.popleft()
            except IndexError:
                return
            try:
                refuse_cancelled(scope)
                self.fn(start, min(start + self.step, self.n))
            except Exception as error:
                self.errors[start] = error

    def raise_first(self) -> None:
        """Raise the error of the lowest block, if any failed."""
        if self.errors:
            error = self.errors[min(self.errors)]
            self.errors.clear()
            try:
                raise error
            finally:
                del error
