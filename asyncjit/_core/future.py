"""`Future`: torch.futures' methods and the standard library's, thread-safe, and awaitable."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, NoReturn, TypeVar

from asyncjit._core.cell import (
    CANCELLED,
    FAILED,
    FINISHED,
    RUNNING,
    STATE_NAMES,
    Callback,
    Cell,
    Failure,
    Source,
)
from asyncjit._core.context import ThreadSlot
from asyncjit._core.suspending import suspend
from asyncjit._core.tasks import refuse_loop
from asyncjit._core.waiting import block
from asyncjit.errors import CallbackError, ForkCancelled, InvalidStateError

T = TypeVar("T")
S = TypeVar("S")

_ONCE = "Future can only be marked completed once: this one is already {}"


class Future(Cell, Generic[T]):
    """A value that will be there: of a fork, or of whoever calls `set_result`.

    `await fut` suspends the task; `fut.wait()` and `fut.result()` block the thread. Futures are made by `fork`,
    `then` and `collect_all`, or by hand, to be completed from any thread.

    Examples
    --------
    >>> fut = Future()
    >>> fut.set_result(3)
    >>> fut.value()
    3
    """

    __slots__ = ()

    def __repr__(self) -> str:
        origin = f" of {self._source.describe()}" if self._source is not None else ""
        return f"<asyncjit.Future {STATE_NAMES[self._state]}{origin}>"

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("Can not pickle asyncjit.Future: send its value instead")

    def __await__(self) -> Generator[Any, None, T]:
        if self._state < FINISHED:
            yield from suspend(self)
        try:
            return self._outcome()  # type: ignore[no-any-return]
        finally:
            del self

    def done(self) -> bool:
        """Return whether the value, an error or a cancellation is there."""
        return self._state >= FINISHED

    def running(self) -> bool:
        """Return whether the body has started and the future is not done."""
        return self._state == RUNNING

    def cancelled(self) -> bool:
        """Return whether the future was cancelled."""
        return self._state == CANCELLED

    def result(self, timeout: float | None = None) -> T:
        """Block until the future is done and return its value, or raise its error.

        Without a timeout, a fork that has not started is run in place. On an event loop's thread only a future that is
        done may be asked.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        WaitOnEventLoopError
            On an event loop's thread, if the future is not done.
        TimeoutError
            If it is not done in time; it goes on all the same.
        ForkCancelled, DeadlineExceeded
            If it was cancelled, or if the waiting fork was.
        """
        self._block(timeout)
        try:
            return self._outcome()  # type: ignore[no-any-return]
        finally:
            del self

    wait = result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Block until the future is done and return its error, None if it has a value; raise if it was cancelled."""
        self._block(timeout)
        if self._state == CANCELLED:
            self._raise_error()
        error: BaseException | None = self._content.retrieve() if self._state == FAILED else None
        return error

    def _block(self, timeout: float | None) -> None:
        if self._state < FINISHED:
            refuse_loop("the wait for a future that is not done", "await fut")
            block(self, timeout)

    def value(self) -> T:
        """Return the value of a future that is done, without waiting; raise its error, or RuntimeError if it is not."""
        if self._state < FINISHED:
            raise RuntimeError(
                f"the value of {self._describe()} is not there yet: it is {STATE_NAMES[self._state]}; wait for it first"
            )
        return self.result()

    def set_result(self, value: T) -> None:
        """Complete the future with `value`; RuntimeError if it is done, InvalidStateError if it belongs to a fork."""
        self._complete(FINISHED, value)

    def set_exception(self, error: BaseException) -> None:
        """Complete the future with an error; RuntimeError if it is done, AssertionError if `error` is no exception."""
        if not isinstance(error, BaseException):
            raise AssertionError(f"{error!r} is of type {type(error).__name__}, not an Exception.")
        failure = Failure(error, self._describe())
        try:
            self._complete(FAILED, failure)
        except RuntimeError:
            failure.is_retrieved = True
            raise

    def _complete(self, state: int, content: Any) -> None:
        if self._source is not None and self._state < FINISHED:
            raise InvalidStateError(f"{self._describe()} completes its own future: make one with Future() to set it")
        if not self._settle(state, content):
            raise RuntimeError(_ONCE.format(STATE_NAMES[self._state]))

    def cancel(self) -> bool:
        """Cancel the future and, if it is a fork's, all that was forked below; return whether it was not done yet.

        What has not started never starts. A running kernel can't be stopped: its future is cancelled at once, and its
        waits and `check_cancelled()` raise. A coroutine fork gets asyncio's cancel and is done when its task ends.
        """
        cancel = getattr(self._source, "cancel", None)
        if cancel is not None:
            return bool(cancel(None))
        return self._settle(CANCELLED, ForkCancelled)

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Have `callback(self)` called when the future is done, or now if it is.

        It is called in the completing thread, after the callbacks added before it, in a copy of the context of this
        call. Its error is logged and swallowed.
        """
        entry = Callback(self, callback)
        if not self._add_waiter(entry):
            entry.wake()

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """Return a future of `callback(self)`, called when this future is done, or now if it is.

        An error of the callback completes the new future with a `CallbackError` that has it as its cause.
        """
        link: Link[T, S] = Link(self, callback)
        if not self._add_waiter(link):
            link.wake()
        return link.future


class Derived:
    """The source of a future that follows from others: waiting for it runs them in place."""

    def __init__(self, futures: tuple[Future[Any], ...], name: str) -> None:
        self.futures = futures
        self.name = name

    @property
    def is_inline(self) -> bool:
        """Whether every wait runs its target in place."""
        return any(f._source is not None and f._source.is_inline for f in self.futures)

    def describe(self) -> str:
        """Name the future."""
        return self.name

    def run_in_place(self, slot: ThreadSlot) -> None:
        """Run those that have not started, until one has failed."""
        for future in self.futures:
            source: Source | None = future._source
            if future._state < FINISHED and source is not None:
                source.run_in_place(slot)
            if future._state > FINISHED:
                return


class Link(Generic[T, S]):
    """The waiter behind `then`."""

    def __init__(self, future: Future[T], callback: Callable[[Future[T]], S]) -> None:
        name = f"then({getattr(callback, '__qualname__', callback)})"
        self.future: Future[S] = Future(Derived((future,), name))
        self._run = Callback(future, self._complete)
        self._callback = callback

    def wake(self) -> None:
        """Call the callback, once, in the context of its registration."""
        self._run.wake()

    def _complete(self, future: Future[T]) -> None:
        try:
            value = self._callback(future)
        except BaseException as error:
            told = CallbackError(f"Got the following error when running the callback: {type(error).__name__}: {error}")
            told.__cause__ = error
            failure = Failure(told, self.future._describe())
            if not self.future._settle(FAILED, failure):
                failure.is_retrieved = True  # it was cancelled: nobody can ask for the error
            if not isinstance(error, Exception):
                raise
        else:
            self.future._settle(FINISHED, value)
