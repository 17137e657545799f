"""`fork_group` and `fail_after`: stretches of code that bound what is forked in them."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

import anyio
from numpy import ufunc

from asyncjit._core.cell import FINISHED
from asyncjit._core.context import ROOT, Scope, current, lock, this_thread
from asyncjit._core.forking import start
from asyncjit._core.future import Future
from asyncjit._core.process import current_runtime
from asyncjit._core.suspending import suspend_until
from asyncjit._core.tasks import here, refuse_loop, require_loop
from asyncjit._core.waiting import block, sleep
from asyncjit.errors import DeadlineExceeded, ForkCancelled, InvalidStateError

P = ParamSpec("P")
T = TypeVar("T")


class GroupScope(Scope):
    """The scope of a group: the parent of what is forked in it."""

    __slots__ = ("empty", "errors", "guests", "host", "is_interrupted", "is_overdue")
    counts = True

    def __init__(self, above: Scope | None) -> None:
        super().__init__(above, above.runtime if above is not None else None, above.env if above is not None else ROOT)
        self.task = above.task if above is not None else None
        self.open_below(above)
        self.errors: dict[Any, BaseException] = {}  # by fork; told twice if Ctrl-C falls into the telling
        self.is_overdue = False  # a deadline has cut one of its forks short
        self.guests: set[Any] = set()  # forks that its block made by itself
        self.empty: Future[None] | None = None  # settled when the last child's body has ended
        self.host: asyncio.Task[Any] | None = None  # the task inside the body, to be interrupted by the first error
        self.is_interrupted = False

    def failed(self, fork: Any, error: BaseException) -> None:
        """Cancel the rest on the first error, and interrupt the body."""
        with lock:
            if fork in self.guests:
                return
            self.errors[fork] = error
            is_first = len(self.errors) == 1
            host = self.host
        if fork.future is not None:
            fork.future._content.is_retrieved = True
        if is_first and self.cause is None:
            self.cancel_below(ForkCancelled)
            if host is not None:
                host.get_loop().call_soon_threadsafe(self.interrupt)

    def interrupt(self) -> None:
        """Cancel the task inside the body: a callback of its loop, for a body that has been left is not to be hit."""
        if self.host is not None:
            self.is_interrupted = True
            self.host.cancel()

    def forks(self) -> list[Any]:
        """Return the forks in it whose body has not ended."""
        with lock:
            children = tuple(self.children or ())
        return [child for child in children if getattr(child, "future", None) is not None]

    def count(self, fork: Any) -> None:
        """Add a child."""
        if self.children is None:
            self.children = {}
        self.children[fork] = None

    def leave(self, fork: Any) -> None:
        """Take note that a child's body has ended; tell who waits for the last."""
        future = getattr(fork, "future", None)
        if future is not None and future._content is DeadlineExceeded and fork not in self.guests:
            self.is_overdue = True
        if self.children is not None:
            self.children.pop(fork, None)
        if not self.children and self.empty is not None:
            self.empty._settle(FINISHED, None)


class BlockScope(Scope):
    """The scope of the code in a group's block: cancelled with the group, which waits for what it forks by itself.

    But an error of such a fork is for whoever waits for it, and not the group's.
    """

    __slots__ = ()

    def __init__(self, group: GroupScope) -> None:
        super().__init__(group, group.runtime, group.env)
        self.task = group.task
        self.open_below(group)

    def end(self) -> None:
        """Hand the unfinished forks of the block to the group, as guests."""
        with lock:
            if isinstance(self.parent, GroupScope):
                self.parent.guests.update(self.children or ())
            super().end()


async def _run_inline(scope: GroupScope) -> None:
    """Run what nobody else would (the debugger's mode), and what that hands over to the group."""
    while forks := scope.forks():
        for fork in forks:
            if fork.task is None:
                fork.run_in_place(this_thread())
            else:
                await asyncio.wait({fork.task})


@types.coroutine
def _bodies_ended(empty: Future[None]) -> Generator[Any, None, None]:
    """Await the end of the bodies, whatever deadline has passed: only the task's own cancel interrupts this."""
    yield from suspend_until(empty, None, this_thread(), asyncio.get_running_loop())


class fork_group:  # noqa: N801  # used like a function, as anyio's and asyncio's scopes are
    """A group of forks that ends with its block: `with fork_group() as group: group.fork(fn, x)`.

    The block is left when the *bodies* of all forks in the group have ended. The first error cancels the rest, and is
    raised with all others in an `ExceptionGroup` (`BaseExceptionGroup`), as `asyncio.TaskGroup` does. An error in the
    block cancels all forks and is part of the group raised.

    Examples
    --------
    >>> from asyncjit import sync
    >>> with sync.fork_group() as group:
    ...     futures = [group.fork(pow, 2, n) for n in range(3)]
    >>> [future.value() for future in futures]
    [1, 2, 4]
    """

    def __init__(self) -> None:
        self._scope: GroupScope | None = None
        self._block: BlockScope | None = None
        self._token: contextvars.Token[Scope | None] | None = None

    @overload
    def fork(self, fn: ufunc, /, *args: Any, **kwargs: Any) -> Future[Any]: ...
    @overload
    def fork(  # a coroutine function is a callable too, and is meant first
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def fork(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def fork(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Fork `fn(*args, **kwargs)` in this group; see `asyncjit.fork`. `InvalidStateError` outside the block."""
        scope = self._scope
        if scope is None or scope.ended:
            raise InvalidStateError("this fork_group is not entered: fork inside its `with` block")
        loop = asyncio._get_running_loop()
        if loop is not None and scope.env.inbox is None:
            scope.env = here(loop).env  # type: ignore[union-attr]
        return start(fn, args, kwargs, scope, sys._getframe(1))

    def cancel(self) -> None:
        """Cancel all forks of the group."""
        if self._scope is not None:
            self._scope.cancel_below(ForkCancelled)

    def _enter(self, above: Scope | None) -> None:
        if self._scope is not None:
            raise InvalidStateError("this fork_group was entered before: make a new one for each block")
        self._scope = GroupScope(above)
        self._block = BlockScope(self._scope)
        self._token = current.set(self._block)

    def __enter__(self) -> fork_group:
        refuse_loop("`with fork_group()`", "async with fork_group()")
        self._enter(here(None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope = self._leave(error)
        empty = self._when_empty(scope)
        try:
            for fork in scope.forks():
                fork.run_in_place(this_thread())
            block(empty)
        except (ForkCancelled, DeadlineExceeded) as interruption:  # cancel the rest, and still wait for the bodies
            scope.cancel_below(type(interruption))
            sleep(empty, None, None, this_thread())
            error = error or interruption
            if error is interruption and not scope.errors:
                raise
        except BaseException:
            scope.cancel_below(ForkCancelled)
            raise
        finally:
            scope.close()
        self._raise(scope, error)

    async def __aenter__(self) -> fork_group:
        loop = require_loop("enter `async with asyncjit.fork_group()`", "with asyncjit.sync.fork_group()")
        self._enter(here(loop))
        self._scope.host = asyncio.current_task(loop) if loop is not None else None  # type: ignore[union-attr]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope = self._leave(error)
        host, scope.host = scope.host, None
        interrupted = None
        is_last = scope.is_interrupted and host is not None and host.cancelling() > 0 and host.uncancel() == 0
        if is_last and isinstance(error, asyncio.CancelledError):
            error = None
        empty = self._when_empty(scope)
        while not empty.done():
            try:
                if scope.runtime is not None and scope.runtime.inline:
                    await _run_inline(scope)
                await _bodies_ended(empty)
            except asyncio.CancelledError as cancelled:  # from outside: cancel the rest, and still wait for the bodies
                interrupted = cancelled
                scope.cancel_below(ForkCancelled)
        scope.close()
        if interrupted is not None and not scope.errors:
            raise interrupted
        if isinstance(error, asyncio.CancelledError) and not scope.errors:
            return False
        if scope.errors and host is not None and host.cancelling() and sys.version_info >= (3, 13):
            host.uncancel()  # as its TaskGroup does: the cancel from outside goes on after the group's own error
            host.cancel()
        self._raise(scope, None if isinstance(error, asyncio.CancelledError) else error)
        return error is None

    def _leave(self, error: BaseException | None) -> GroupScope:
        scope, block = self._scope, self._block
        if scope is None or block is None or self._token is None:
            raise InvalidStateError("this fork_group was left before it was entered")
        current.reset(self._token)
        if error is not None:
            scope.cancel_below(ForkCancelled)
        block.close()
        return scope

    @staticmethod
    def _when_empty(scope: GroupScope) -> Future[None]:
        empty: Future[None] = Future()
        with lock:
            scope.empty = empty
            is_empty = not scope.children
        if is_empty:
            empty.set_result(None) if not empty.done() else None
        return empty

    @staticmethod
    def _raise(scope: GroupScope, error: BaseException | None) -> None:
        errors = list(scope.errors.values())
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return  # it goes on by itself
        if error is not None and not (errors and isinstance(error, ForkCancelled)) and error not in errors:
            errors.append(error)
        for serious in errors:
            if isinstance(serious, (KeyboardInterrupt, SystemExit)):
                raise serious
        if errors:
            raise BaseExceptionGroup("errors in a fork_group", errors) from None
        if error is None and scope.is_overdue:
            raise DeadlineExceeded("the forks of a fork_group were not done in time")


class fail_after:  # noqa: N801  # used like a function, as anyio's is
    """A deadline for the block and every fork made in it: `with fail_after(2.0): ...`, in sync and async code.

    In async code any await is interrupted (it is anyio's `fail_after`); in sync code asyncjit's own waits and
    `check_cancelled` see the deadline. Either way the block is left with `DeadlineExceeded`, and what was forked in it
    and has not ended is cancelled. `fail_after(None)` sheds the deadlines around it.

    Parameters
    ----------
    seconds : float or None
        From now, in seconds of the runtime's clock.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not isinstance(seconds, (int, float)):
            raise TypeError(f"fail_after needs seconds or None, got {seconds!r} of type {type(seconds).__name__}")
        self._seconds = seconds
        self._scope: Scope | None = None
        self._anyio: anyio.CancelScope | None = None
        self._token: contextvars.Token[Scope | None] | None = None

    def __enter__(self) -> fail_after:
        loop = asyncio._get_running_loop()
        above = here(loop)
        env = above.env if above is not None else ROOT
        deadline = None
        if self._seconds is not None:
            deadline = current_runtime().clock() + self._seconds
            if env.deadline is not None:
                deadline = min(deadline, env.deadline)
        scope = Scope(above, above.runtime if above is not None else current_runtime(), replace(env, deadline=deadline))
        if above is not None:
            scope.task, scope.instruments = above.task, above.instruments
            scope.open_below(above)
        self._scope = scope
        self._token = current.set(scope)
        if loop is not None and asyncio.current_task() is not None:
            end = anyio.current_time() + self._seconds if self._seconds is not None else float("inf")
            self._anyio = anyio.CancelScope(deadline=end, shield=self._seconds is None)
            self._anyio.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope = self._scope
        assert scope is not None
        assert self._token is not None
        current.reset(self._token)
        is_caught = bool(self._anyio.__exit__(kind, error, traceback)) if self._anyio is not None else False
        if is_caught or isinstance(error, DeadlineExceeded):
            scope.cancel_below(DeadlineExceeded)
        scope.close()
        if is_caught:
            raise DeadlineExceeded(f"the block was not done within {self._seconds} s") from error
