"""A fork as a node of the tree: its name and place, how its body ends, and how it is cancelled.

Whoever ends a body (a thread, a loop, a cancel) settles the future in one section under the lock, and then tells:
instruments, waiters, the tree. Telling may be interrupted by Ctrl-C, so all of it can be done twice.
"""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from types import CodeType
from typing import Any

from asyncjit._core import hosting
from asyncjit._core.cell import CANCELLED, FAILED, FINISHED, PENDING, RUNNING, Failure
from asyncjit._core.context import Scope, lock
from asyncjit.errors import DeadlineExceeded, ForkCancelled

STALE = 1000  # chosen: so many queue entries that nobody will claim are not worth the sweeping
TIMER_SLACK_S = 0.002  # measured: uvloop's timers count in milliseconds, and fire up to one early


class Node(Scope):
    """What a fork is before, after and apart from its running."""

    __slots__ = (
        "args",
        "code",
        "context",
        "coroutine",
        "fn",
        "future",
        "instruction",
        "is_async",
        "kwargs",
        "name",
        "number",
        "pool",
    )

    pool: Any
    future: Any  #: None once the body has ended
    fn: Any  #: gone with `args`, `kwargs` and `context` once the body has begun
    args: Any
    kwargs: Any
    context: contextvars.Context | None
    is_async: bool  #: it is, or has become, a coroutine fork
    coroutine: Any  #: that is driven, once it is; the `Suspension` of a scripted one that waits
    name: str | None  #: once the function is gone
    code: CodeType  #: of the code that forked it
    instruction: int  #: in that code
    number: int  #: for instruments, which may not keep the fork itself; 0 until the first of them gives one

    # -- for people

    def describe(self) -> str:
        """Name the call and the place of its fork."""
        return f"the fork of {self.display_name()} ({self.site()})"

    def display_name(self) -> str:
        """Name the call, for people."""
        return str(self.name or name_of(self.fn))

    def site(self) -> str:
        """Tell where it was forked: `forked at model.py:41 in forward`."""
        return site_of(self.code, self.instruction)

    # -- ending

    def outcome_of(self, error: BaseException) -> tuple[int, Any]:
        """Return the state and content of a body that raised: a note names the fork's site, once per site."""
        if isinstance(error, asyncio.CancelledError):
            return CANCELLED, self.cause or ForkCancelled
        if self.cause is not None and isinstance(error, (ForkCancelled, DeadlineExceeded)):
            return CANCELLED, self.cause  # what it waited for was cancelled with it, and that reached it first
        if type(error) is DeadlineExceeded and self._default_cause() is DeadlineExceeded:
            return CANCELLED, DeadlineExceeded  # it saw the end of its time by itself
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__:
            traceback = traceback.tb_next  # our own frames say nothing
        error.__traceback__ = traceback
        failure = Failure(error, self.describe())
        error = failure.error  # a RuntimeError in place of a StopIteration
        note = self.site()
        try:
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        except Exception:  # an error that takes no notes travels without
            pass
        return FAILED, failure

    def settle_locked(self, future: Any, state: int, value: Any) -> None:
        """Complete the future unless it was cancelled meanwhile, and count. Under the lock; nobody is told yet."""
        if future._state == RUNNING:
            future._state = state
            future._content = value
            if state == FINISHED:
                self.pool.finished += 1
            elif state == FAILED:
                self.pool.failed += 1
            else:
                self.pool.cancelled += 1
        elif state == FAILED:
            value.is_retrieved = True  # cancelled while it ran: nobody can ask for the error

    def end_body(self, future: Any) -> None:
        """Tell all concerned that the body has ended, or will never start; again, if it was interrupted."""
        for instrument in self.instruments:  # before the waiters, who may want to see what it tells
            instrument.ended(self)
        if future._waiters is not None:
            future._notify()
        self._leave_tree(future)
        self.future = None
        if self.pool.idle_cells:
            self.pool.tell_idle()

    def _leave_tree(self, future: Any) -> None:
        if future._state == FAILED and self.parent is not None:
            self.parent.failed(self, future._content.error)
        if future._state != FINISHED and self.children:
            self.cancel_below(self.cause or self._default_cause())
        with lock:
            if self.children:
                self.end()  # its unfinished forks go to its parent, before it leaves
            self.ended = True
            if self.parent is not None and self.parent.counts:
                self.parent.leave(self)
        if self.is_async:
            hosting.leave(self)

    # -- cancelling

    def cancel(self, cause: type[Exception] | None) -> bool:
        """Cancel this fork and all below; return whether it was not done. By default a passed deadline is the cause."""
        if cause is None:
            cause = self._default_cause()
        is_cancelled = self.cancel_body(cause)
        if is_cancelled:
            self.cancel_below(cause)
        return is_cancelled

    def _default_cause(self) -> type[Exception]:
        deadline = self.env.deadline
        passed = deadline is not None and self.runtime.clock() >= deadline - TIMER_SLACK_S
        return DeadlineExceeded if passed else ForkCancelled

    def cancel_unstarted(self, cause: type[Exception]) -> None:
        """Cancel this fork if its body has not started."""
        future = self.future
        if future is not None and future._state == PENDING:
            self.cancel_body(cause)

    def cancel_body(self, cause: type[Exception]) -> bool:
        """Cancel this fork alone; what is below is the caller's to cancel."""
        future = self.future
        if future is None:
            return False
        with lock:
            state = future._state
            if state >= FINISHED:
                return False
            self.cause = self.cause or cause
            is_hosted = state == RUNNING and self.is_async and self.coroutine is not None
            if not is_hosted:
                future._state = CANCELLED
                future._content = cause
                self.pool.cancelled += 1
                if state == PENDING and not self.is_async:
                    self.pool.queued -= 1
        if is_hosted:
            hosting.cancel_task(self)
        elif state == PENDING:
            self.name = name_of(self.fn)
            self.fn = self.args = self.kwargs = self.context = None
            self.end_body(future)
            if len(self.pool.queue) > STALE:
                self.pool.sweep()
        else:
            future._notify()
        return True

    def refuse(self) -> None:
        """Take note that the fork could not be made: nobody has its future, and only instruments know it."""
        self.future._state = CANCELLED
        for instrument in self.instruments:
            instrument.ended(self)


def site_of(code: CodeType, instruction: int) -> str:
    """Return the place of a fork for people."""
    line = next((n for a, b, n in code.co_lines() if a <= instruction < b), code.co_firstlineno)
    return f"forked at {Path(code.co_filename).name}:{line} in {code.co_name}"


def name_of(fn: Any) -> str:
    """Return the name of a callable for people."""
    while hasattr(fn, "func"):  # functools.partial
        fn = fn.func
    return getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__
