"""`Suspension`: a scripted fork that waits for a cell, and the timer of a wait that has an end."""

from __future__ import annotations

import contextvars
import threading
from types import CoroutineType
from typing import Any

from asyncjit._core.cell import FINISHED, Cell
from asyncjit._core.context import current, lock, this_thread
from asyncjit._core.loops import Inbox
from asyncjit._core.waiting import clock_of, deadline_of, give_up, refuse_deadlock
from asyncjit.errors import DeadlockError


class Suspension:
    """A scripted fork that waits for a cell."""

    __slots__ = (
        "_clock",
        "_fork",
        "_timer",
        "cell",
        "context",
        "coroutine",
        "is_awake",
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
        self.limit = None if timeout is None else clock_of(self.scope, cell)() + timeout
        self.until: float | None = None
        self.refusal: DeadlockError | None = None  # seen when the fork had left
        self._clock: Any = None  # of its end, where it has one
        self.is_awake = False  #: it was woken; before it was left with its cell, if its time was over by then
        self._timer: Any = None

    def wake(self) -> None:
        """Let the fork go on; from any thread, and again if that was interrupted."""
        fork, slot, cell = self._fork, this_thread(), self.cell
        pool = fork.pool
        # Only the kernel that has just ended, and only if nobody else is told of it: a callback may keep the thread.
        # That of a fork which is cancelled by a failure in its group is called here too.
        goes_on_here = cell is not None and slot.pool is pool and slot.ending is cell._source and slot.fork is None
        goes_on_here = goes_on_here and cell._state == FINISHED
        goes_on_here = goes_on_here and cell._waiters is not None and len(cell._waiters) == 1
        with lock:
            is_first = not self.is_awake and fork.coroutine is self
            self.is_awake = True
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
            self._timer.cancel()

    # -- the timer, where the wait has an end

    def arm(self) -> None:
        """Have the fork woken when the time is over."""
        if self.until is None:
            return
        call_at = getattr(self._clock, "call_at", None)
        if call_at is not None:
            call_at(self.until, self.wake)
            return
        try:
            self._fork.runtime.facade.inbox().post(self)
        except RuntimeError:  # the runtime was closed, and this fork goes on in its own time
            remaining = max(0.0, self.until - self._clock())
            timer = threading.Timer(min(remaining, threading.TIMEOUT_MAX), self.wake)
            timer.daemon = True
            timer.start()

    def arrive(self) -> None:
        """Start the timer, on the facade's loop."""
        inbox, remaining = this_thread().inbox, max(0.0, self.until - self._clock())
        inbox.hosted.add(self)
        self._timer = _Timer(self, inbox, inbox.loop.call_later(remaining, self.wake))
        if self.is_awake:  # meanwhile
            self._timer.cancel()

    def strand(self) -> None:
        """Go on: the loop has closed, and nobody would tell the time."""
        self.wake()

    # -- before and after

    def refuse(self) -> None:
        """Raise if the fork can't wait for the cell, or no longer."""
        cell, scope, fork = self.cell, self.scope, self._fork
        deadline = deadline_of(scope, cell)
        if scope.cause is not None or deadline is not None or self.limit is not None:
            self._clock = clock_of(scope, cell)
            self.until = min((at for at in (self.limit, deadline) if at is not None), default=None)
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
        if not self.is_awake:  # it need not leave, and nobody has cancelled the timer
            self.is_awake = True
            if self._timer is not None:
                self._timer.cancel()
        self.cell = self.coroutine = self.context = self.refusal = None


class _Timer:
    """The timer of a suspension on a loop, which tells it if it closes before."""

    __slots__ = ("_handle", "_inbox", "_suspension")

    def __init__(self, suspension: Suspension, inbox: Inbox, handle: Any) -> None:
        self._suspension: Suspension | None = suspension
        self._inbox = inbox
        self._handle = handle

    def cancel(self) -> None:
        """Cancel it; from any thread, and again if that was interrupted."""
        self._inbox.hosted.discard(self._suspension)
        loop = self._inbox.loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._handle.cancel)
        except RuntimeError:  # the loop has closed, and the timer with it
            pass
        self._suspension = None
