"""One value that arrives once, and those who wait for it.

A `Cell` goes from PENDING (perhaps over RUNNING) to FINISHED, FAILED or CANCELLED, once. Who wants to know leaves a
waiter, an object with `wake()`; whoever completes the cell wakes them, in the order of their coming. `wake` may be
called twice, so that a completion which Ctrl-C interrupted is simply told again: the list stays in the cell until all
are told.

A waiter that finds the cell unfinished, under the lock, and leaves itself there, in the same section, cannot be missed:
the completer changes the state under the same lock and reads the list afterwards.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from asyncjit._core.context import Process, ThreadSlot, lock, this_thread
from asyncjit.errors import DeadlineExceeded, ForkCancelled, RuntimeClosed

PENDING, RUNNING, FINISHED, FAILED, CANCELLED = range(5)
STATE_NAMES = ("pending", "running", "finished", "failed", "cancelled")

logger = logging.getLogger("asyncjit")


class Waiter(Protocol):
    """Somebody to tell when a cell is done."""

    def wake(self) -> None:
        """Tell it; telling twice does no harm."""


class Source(Protocol):
    """What completes a cell, where that is not the user."""

    def run_in_place(self, slot: ThreadSlot) -> None:
        """Run what has not started, in the calling thread, if that may be done now."""

    @property
    def is_inline(self) -> bool:
        """Whether every wait runs its target in place (the debugger's mode)."""

    def describe(self) -> str:
        """Name it, and where it was made."""


def surfacing(error: BaseException) -> BaseException:
    """Return what surfaces at a wait: a StopIteration would end the generator or coroutine that waits."""
    if not isinstance(error, StopIteration):
        return error
    told = RuntimeError("a fork raised StopIteration")
    told.__cause__ = error
    return told.with_traceback(error.__traceback__)


class Failure:
    """An error with its own traceback, to be raised at every wait without growing.

    It tells the log, once, when it goes and nobody ever retrieved it.
    """

    __slots__ = ("__weakref__", "_origin", "error", "is_retrieved", "traceback")

    def __init__(self, error: BaseException, origin: str) -> None:
        self.error = error = surfacing(error)
        self.traceback = error.__traceback__
        self.is_retrieved = False
        self._origin = origin

    def retrieve(self) -> BaseException:
        """Return the error as it was when it was raised first."""
        self.is_retrieved = True
        return self.error.with_traceback(self.traceback)

    def __del__(self) -> None:
        if not self.is_retrieved:
            error = self.error
            logger.error(
                "the error of %s was never retrieved",
                self._origin,
                exc_info=(type(error), error, self.traceback),
            )


class Callback:
    """A function to call with the cell when it is done, once, in the context of its registration."""

    __slots__ = ("_cell", "_context", "_fn", "_is_called")

    def __init__(self, cell: Cell, fn: Callable[[Any], object]) -> None:
        self._cell = cell
        self._fn = fn
        self._context = contextvars.copy_context()
        self._is_called = False

    def wake(self) -> None:
        """Call the function; log its error."""
        if self._is_called:
            return
        self._is_called = True
        try:
            self._context.run(self._fn, self._cell)
        except BaseException as error:
            if not isinstance(error, Exception) and this_thread().pool is None:
                raise
            logger.exception("a done-callback of %s raised", self._cell._describe())


class Cell:
    """A value that arrives once. `context.lock` guards the state, the content that belongs to it, and the waiters."""

    __slots__ = ("__weakref__", "_born", "_content", "_heir", "_source", "_state", "_waiters")

    def __init__(self, source: Source | None = None) -> None:
        self._state = PENDING
        self._born = Process.generation
        self._content: Any = None  # the value; a Failure; for CANCELLED, the exception class that tells why
        self._waiters: list[Waiter] | None = None
        self._heir: Any = None  # the first blocked thread that gave a permit back to wait for this cell
        self._source = source

    def _describe(self) -> str:
        """Name the cell for an error message."""
        return self._source.describe() if self._source is not None else f"{type(self).__name__} at {id(self):#x}"

    def _settle(self, state: int, value: Any) -> bool:
        """Complete the cell and tell its waiters; False if it was complete already."""
        is_ours = False
        try:
            with lock:
                if self._state >= FINISHED:
                    return False
                is_ours = True
                self._state = state
                self._content = value
            self._notify()
        except BaseException:  # Ctrl-C before a waiter was told, or between two: all must be before it goes on
            if is_ours:
                self._notify()
            raise
        return True

    def _refuse_inherited(self) -> None:
        """Raise if the cell was made before an `os.fork` and is not done: in this process nobody completes it."""
        if self._born != Process.generation and self._state < FINISHED:
            raise RuntimeClosed(
                f"{self._describe()} was made in the parent process and is not done: fork it anew after os.fork()"
            )

    def _notify(self) -> None:
        """Wake all waiters; again, if it was interrupted."""
        waiters = self._waiters
        if waiters is not None:
            for waiter in waiters:
                waiter.wake()
            self._waiters = None

    def _add_waiter(self, waiter: Waiter) -> bool:
        """Leave `waiter` to be woken; False if the cell is done already, and nothing was left."""
        self._refuse_inherited()
        entry = [waiter]  # made outside: under the lock nothing may be allocated that could start a collection
        with lock:
            if self._state >= FINISHED:
                return False
            if self._waiters is None:
                self._waiters = entry
            else:
                self._waiters += entry
        return True

    def _discard_waiter(self, waiter: Waiter) -> None:
        """Take back a waiter that no longer waits. Once the cell is done the list is the completer's."""
        with lock:
            if self._state < FINISHED and self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)

    def _has_waiters(self) -> bool:
        """Whether anybody waits; a plain done-callback does not count."""
        with lock:
            return any(type(waiter) is not Callback for waiter in self._waiters or ())

    def _outcome(self) -> Any:
        """Return the value of a done cell, or raise its error."""
        if self._state == FINISHED:
            return self._content
        try:
            self._raise_error()
        finally:
            del self  # or the error's traceback would hold the cell, and the cell the error

    def _raise_error(self) -> NoReturn:
        """Raise the error of a failed or cancelled cell."""
        error = self._content.retrieve() if self._state == FAILED else self._cancellation()
        try:
            raise error
        finally:
            del self, error

    def _cancellation(self) -> Exception:
        """Return a new exception that tells who cancelled the cell: a deadline, a closing, or a cancel."""
        if self._content is DeadlineExceeded:
            return DeadlineExceeded(f"{self._describe()} passed its deadline")
        return (self._content or ForkCancelled)(f"{self._describe()} was cancelled")


def new_bell() -> threading.Lock:
    """Return a lock to sleep on: acquired, so that the next `acquire` waits for somebody's `release`."""
    bell = threading.Lock()
    bell.acquire()
    return bell


def ring(bell: threading.Lock) -> None:
    """Wake who sleeps on `bell`; ringing twice does no harm."""
    try:
        bell.release()
    except RuntimeError:
        pass
