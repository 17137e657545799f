"""How a forked scripted function runs: on the pool, as kernels do, giving its thread back at every unfinished wait.

A thread *advances* the body's coroutine until it ends or yields what it waits for. If that is not done, the fork leaves
the thread in one section under the lock, in which it also leaves a `Suspension` with the cell: from then on whoever
wakes that owns it, and the thread must not touch the fork again. If what it waits for is a kernel that has not started,
the thread claims it in the same section and runs it next: a trampoline, so a tree of any depth grows no stack and
blocks no thread.

What can go on queues in `pool.ready`, before every kernel that has not started. A pool thread that has just finished
what one suspended fork alone waits for calls nobody in: it goes on with that fork itself, at once.
"""

from __future__ import annotations

import contextvars
from types import CoroutineType
from typing import Any

from asyncjit._core.cell import FINISHED, PENDING, RUNNING, Cell, Waiter
from asyncjit._core.context import ThreadSlot, current, lock, this_thread
from asyncjit._core.waiting import clock_of, deadline_of, give_up, refuse_deadlock
from asyncjit.errors import DeadlockError


class Suspension:
    """A scripted fork that waits for a cell."""

    __slots__ = (
        "_clock",
        "_fork",
        "_is_awake",
        "_timer",
        "cell",
        "context",
        "coroutine",
        "limit",
        "refusal",
        "scope",
        "timeout",
        "until",
    )

    def __init__(
        self,
        fork: Any,
        coroutine: CoroutineType[Any, None, Any],
        context: contextvars.Context,
        pause: tuple[Cell, float | None],
    ) -> None:
        cell, timeout = pause
        self._fork = fork
        self.coroutine: Any = coroutine
        self.context: Any = context
        self.cell: Any = cell
        self.timeout = timeout
        self.scope: Any = context[current]  # a fork's code has one
        self._clock = clock_of(self.scope, cell)
        self.limit = None if timeout is None else self._clock() + timeout
        self.until: float | None = None
        self.refusal: DeadlockError | None = None  # seen when the fork had left
        self._is_awake = False
        self._timer: Any = None

    @property
    def is_awake(self) -> bool:
        """Whether it was woken: before it was left with its cell, if its time was over by then."""
        return self._is_awake

    def wake(self) -> None:
        """Let the fork go on; from any thread, and again if that was interrupted."""
        fork, slot, cell = self._fork, this_thread(), self.cell
        pool = fork.pool
        # Only the kernel that has just ended, and only if nobody else is told of it: a callback may keep the thread.
        goes_on_here = cell is not None and slot.pool is pool and slot.ending is cell._source and slot.fork is None
        goes_on_here = goes_on_here and cell._waiters is not None and len(cell._waiters) == 1
        with lock:
            is_first = not self._is_awake and fork.coroutine is self
            self._is_awake = True
            if is_first:
                del pool.suspended[fork]
                self.scope.blocked = None
                fork.waits_for = None
                pool.queued += 1
                if goes_on_here:
                    pool.ready.appendleft(fork)
                else:
                    pool.ready.append(fork)
        if not goes_on_here:
            pool.replenish()
        if self._timer is not None:
            _call_on_loop_of(self._timer)

    # -- the timer, where the wait has an end

    def arm(self) -> None:
        """Have the fork woken when the time is over."""
        if self.until is None:
            return
        call_at = getattr(self._clock, "call_at", None)
        if call_at is not None:
            call_at(self.until, self.wake)
        else:
            self._fork.runtime.facade.inbox().post(self)

    def arrive(self) -> None:
        """Start the timer, on the facade's loop."""
        if not self._is_awake and self.until is not None:
            remaining = max(0.0, self.until - self._clock())
            loop = this_thread().inbox.loop
            timer = self._timer = _Timer(loop, loop.call_later(remaining, self.wake))
            if self.is_awake:  # meanwhile
                timer.handle.cancel()

    def strand(self) -> None:
        """Go on: the loop has closed, and nobody would tell the time."""
        self.wake()

    # -- before and after

    def refuse(self) -> None:
        """Raise if the fork can't wait for the cell, or no longer."""
        cell, scope, fork = self.cell, self.scope, self._fork
        self.until = min((at for at in (self.limit, deadline_of(scope, cell)) if at is not None), default=None)
        if scope.cause is not None or (self.until is not None and self._clock() >= self.until):
            give_up(cell, self.timeout, self.limit, scope, self._clock)
        cell._refuse_inherited()
        if self.refusal is not None:
            raise self.refusal
        if fork.future._waiters is not None or fork.outer is not None or cell._source is fork:
            refuse_deadlock(cell, fork)  # else nobody waits for this fork, so it is in no circle

    def look_for_circle(self) -> None:
        """Wake the fork, to be refused, if all of a circle have begun to wait at once and none saw the others."""
        cell = self.cell
        if cell is None or getattr(cell._source, "waits_for", cell._source) is None:
            return
        try:
            refuse_deadlock(cell, self._fork)
        except DeadlockError as refusal:
            self.refusal = refusal.with_traceback(None)
            self.wake()

    def again(self) -> Suspension:
        """Return the same wait, to be begun anew."""
        new = Suspension(self._fork, self.coroutine, self.context, (self.cell, None))
        new.timeout, new.limit, new.refusal = self.timeout, self.limit, self.refusal
        self.end()
        return new

    def end(self) -> None:
        """Let go of all: a timer may keep this for long."""
        if self.cell is not None and self.cell._state < FINISHED:
            self.cell._discard_waiter(self)
        self.cell = self.coroutine = self.context = self.refusal = None


class _Timer:
    """A timer on a loop, to be cancelled from any thread."""

    __slots__ = ("handle", "loop")

    def __init__(self, loop: Any, handle: Any) -> None:
        self.loop = loop
        self.handle = handle


def _call_on_loop_of(timer: _Timer) -> None:
    try:
        timer.loop.call_soon_threadsafe(timer.handle.cancel)
    except RuntimeError:  # the loop has closed, and the timer with it
        pass


def begin(fork: Any, slot: ThreadSlot, outer: Any, before: Any, coroutine: Any, context: contextvars.Context) -> None:
    """Advance a scripted fork whose body is about to begin."""
    _advance(fork, slot, outer, before, coroutine, context, [])


def go_on(fork: Any, slot: ThreadSlot) -> None:
    """Advance a fork that was woken, in a pool thread that has claimed it."""
    waits: list[Suspension] = [fork.coroutine]
    fork.coroutine = None
    for instrument in fork.instruments:
        instrument.wait_ended(waits[0].scope, waits[0].cell)
        instrument.strand_started(fork)
    _advance(fork, slot, None, fork.pool, waits[0].coroutine, waits[0].context, waits)


def _advance(
    fork: Any,
    slot: ThreadSlot,
    outer: Any,
    before: Any,
    coroutine: CoroutineType[Any, None, Any],
    context: contextvars.Context,
    waits: list[Suspension],
) -> None:
    """Run the coroutine until it leaves the thread or ends, and finish it then; `waits` holds the wait it is in."""
    ended = _step(fork, slot, outer, before, coroutine, context, waits)
    if ended is not None:
        fork.conclude(slot, fork.future, outer, before, *ended)


def _step(
    fork: Any,
    slot: ThreadSlot,
    outer: Any,
    before: Any,
    coroutine: CoroutineType[Any, None, Any],
    context: contextvars.Context,
    waits: list[Suspension],
) -> tuple[int, Any, BaseException | None] | None:
    """Return how the body ended, or None if it has left the thread.

    This frame stands in the tracebacks of errors that the body keeps, and lives as long as the body runs: so no name
    in it holds an error or a cell.
    """
    errors: list[BaseException] = []  # to be raised in the body
    while True:
        try:
            if waits and _wait(fork, slot, outer, before, waits.pop()):
                return None
        except BaseException as refusal:
            if slot.fork is not fork:  # Ctrl-C, when the fork had left
                fork.pool.replenish()
                raise
            errors.append(refusal.with_traceback(None))
        try:
            if errors:
                waits.append(Suspension(fork, coroutine, context, context.run(coroutine.throw, errors.pop())))
            else:
                waits.append(Suspension(fork, coroutine, context, context.run(coroutine.send, None)))
        except StopIteration as stop:
            return FINISHED, stop.value, None
        except BaseException as raised:
            if not coroutine.cr_suspended:
                return fork.caught(raised, slot)  # type: ignore[no-any-return]
            errors.append(raised.with_traceback(None))  # Ctrl-C beside the body, or a timeout that is no number


def _wait(fork: Any, slot: ThreadSlot, outer: Any, before: Any, suspension: Suspension) -> bool:
    """Return True if the fork has left the thread to wait, False if it need not, or no longer; raise if it can't."""
    try:
        while suspension.cell._state < FINISHED:
            if suspension.is_awake:
                suspension = suspension.again()
            suspension.refuse()
            if _suspend(fork, slot, outer, before, suspension):
                return True
    except BaseException:
        if slot.fork is fork:
            suspension.end()
        raise
    suspension.end()
    return False


def _suspend(fork: Any, slot: ThreadSlot, outer: Any, before: Any, suspension: Suspension) -> bool:
    """Leave the thread until the cell is done; False if the fork need not."""
    pool, cell, scope = fork.pool, suspension.cell, suspension.scope
    target: Any = cell._source
    future = getattr(target, "future", None)  # of a kernel that this thread may run next
    if future is None or slot.depth or slot.pool is not pool or target.pool is not pool or target.is_async:
        future = None
    if target is not None and target.is_inline:  # nobody else would run it
        fork.waits_for = cell
        target.run_in_place(slot)
    entry: list[Waiter] = [suspension]
    for instrument in fork.instruments:
        instrument.strand_ended(fork)
        instrument.wait_started(scope, cell)
    suspension.arm()
    with lock:
        if cell._state >= FINISHED or scope.cause is not None or suspension._is_awake:
            has_left = False
        else:
            has_left = True
            if cell._waiters is None:
                cell._waiters = entry
            else:
                cell._waiters += entry
            scope.blocked = suspension
            fork.waits_for = cell
            fork.coroutine = suspension
            pool.suspended[fork] = None
            slot.fork = outer
            if slot.depth:  # it ran in place, and the waiter goes on to sleep
                slot.depth -= 1
                fork.outer = None
                if before is not pool:
                    slot.permit = before
                    pool.running -= 1
                    if before is not None:
                        before.running += 1
                        before.blocked -= 1
            elif future is not None and future._state == PENDING and pool.running <= pool.limit:
                future._state = RUNNING
                pool.queued -= 1
                slot.fork = slot.next = target
    if has_left:
        if before is not pool:
            pool.replenish()
        suspension.look_for_circle()
        return True
    fork.waits_for = None
    for instrument in fork.instruments:
        instrument.wait_ended(scope, cell)
        instrument.strand_started(fork)
    return False
