"""The door for async code: plain functions that check for a running loop and return something to await."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from numpy import ufunc

from asyncjit._core.cell import CANCELLED, FAILED
from asyncjit._core.forking import start
from asyncjit._core.future import Future
from asyncjit._core.gathering import Arrivals, checked, checked_all, gather
from asyncjit._core.process import current_runtime
from asyncjit._core.tasks import here, require_loop
from asyncjit.cpus import checked_count

P = ParamSpec("P")
T = TypeVar("T")

IN_FLIGHT_PER_THREAD = 4  # chosen: enough that a lane never waits for the loop, few enough to bound memory


def wait(fut: Future[T]) -> Coroutine[Any, Any, T]:
    """Await a future: its value, or its error.

    If the awaiting task is cancelled, so is the fork, unless somebody else waits for it or it belongs to another.

    Raises
    ------
    RuntimeError
        Where no asyncio loop runs (in a script: `sync.wait`), or if `fut` is None.
    ForkCancelled, DeadlineExceeded
        If the fork was cancelled; never `asyncio.CancelledError`, which means the waiter was.
    """
    require_loop("await asyncjit.wait(fut)", "asyncjit.sync.wait(fut)")
    return _value(checked(fut))


async def _value(fut: Future[T]) -> T:
    return await fut


@overload
def call(fn: ufunc, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]: ...
@overload
def call(  # a coroutine function is a callable too, and is meant first
    fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, T]: ...
@overload
def call(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]: ...
def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
    """Fork `fn(*args, **kwargs)` and await its value: `await call(model, x)`.

    Raises
    ------
    RuntimeError
        Where no asyncio loop runs.
    """
    loop = require_loop("await asyncjit.call(fn, ...)", "asyncjit.sync.call(fn, ...)")
    if not callable(fn):
        raise TypeError(f"call needs something to call, got {fn!r} of type {type(fn).__name__}")
    return _call(fn, args, kwargs, loop, sys._getframe(1))


async def _call(fn: Any, args: Any, kwargs: Any, loop: asyncio.AbstractEventLoop | None, frame: Any) -> Any:
    future = start(fn, args, kwargs, here(loop), frame)
    del fn, args, kwargs, frame
    return await future


@overload
def wait_all(
    futs: Iterable[Future[T]], *, return_exceptions: Literal[False] = False
) -> Coroutine[Any, Any, list[T]]: ...
@overload
def wait_all(futs: Iterable[Future[T]], *, return_exceptions: bool) -> Coroutine[Any, Any, list[T | BaseException]]: ...
def wait_all(futs: Iterable[Future[Any]], *, return_exceptions: bool = False) -> Coroutine[Any, Any, list[Any]]:
    """Await all futures: the list of their values, in order.

    Parameters
    ----------
    futs : iterable of Future
        None of them may be None.
    return_exceptions : bool
        Put errors into the list instead of raising the first in time. The others go on in any case.
    """
    require_loop("await asyncjit.wait_all(futs)", "asyncjit.sync.wait_all(futs)")
    return _wait_all(checked_all(futs), return_exceptions)


async def _wait_all(futures: tuple[Future[Any], ...], return_exceptions: bool) -> list[Any]:
    await gather(futures, None, stops_early=not return_exceptions, name=f"wait_all of {len(futures)} futures")
    return values(futures, return_exceptions=return_exceptions)


def values(futures: Iterable[Future[Any]], *, return_exceptions: bool) -> list[Any]:
    """Return the values of futures that are done."""
    return [error_of(f) if return_exceptions and f._state in (FAILED, CANCELLED) else f._outcome() for f in futures]


def error_of(future: Future[Any]) -> BaseException:
    """Return the error of a future that failed or was cancelled."""
    if future._state == FAILED:
        return future._content.retrieve()  # type: ignore[no-any-return]
    return future._cancellation()


def as_completed(futs: Iterable[Future[T]]) -> AsyncIterator[Future[T]]:
    """Iterate over the futures in the order of their completion: `async for fut in as_completed(futs)`."""
    require_loop("iterate over asyncjit.as_completed(futs)", "asyncjit.sync.as_completed(futs)")
    return _as_completed(Arrivals(checked_all(futs)))


async def _as_completed(arrivals: Arrivals) -> AsyncIterator[Future[Any]]:
    while arrivals.missing:
        future = arrivals.take()
        if future is None:
            await arrivals.next_cell()
        else:
            yield future


@overload
def map(fn: ufunc, *iterables: Iterable[Any], max_in_flight: int | None = None) -> AsyncIterator[Any]: ...
@overload
def map(  # a coroutine function is a callable too, and is meant first
    fn: Callable[..., Coroutine[Any, Any, T]], *iterables: Iterable[Any], max_in_flight: int | None = None
) -> AsyncIterator[T]: ...
@overload
def map(fn: Callable[..., T], *iterables: Iterable[Any], max_in_flight: int | None = None) -> AsyncIterator[T]: ...
def map(  # the field's word, and asyncio-style modules are used by their names
    fn: Callable[..., Any], *iterables: Iterable[Any], max_in_flight: int | None = None
) -> AsyncIterator[Any]:
    """Fork `fn` over the items: values in order, with at most `max_in_flight` forks unfinished or not yet taken.

    Leaving the iteration cancels what is in flight.

    Parameters
    ----------
    max_in_flight : int, optional
        By default four for each inter-op thread.
    """
    loop = require_loop("iterate over asyncjit.map(fn, ...)", "asyncjit.sync.map(fn, ...)")
    return _map(fn, iterables, in_flight(max_in_flight), loop, sys._getframe(1))


def in_flight(value: int | None) -> int:
    """Return the bound of a `map`; raise if it is none."""
    if value is None:
        return IN_FLIGHT_PER_THREAD * current_runtime().num_interop_threads
    return checked_count(value, "max_in_flight")


async def _map(
    fn: Any, iterables: Any, bound: int, loop: asyncio.AbstractEventLoop | None, frame: Any
) -> AsyncIterator[Any]:
    flying: deque[Future[Any]] = deque()
    try:
        for args in zip(*iterables, strict=False):
            flying.append(start(fn, args, {}, here(loop), frame))
            if len(flying) >= bound:
                yield await flying.popleft()
        while flying:
            yield await flying.popleft()
    finally:
        for future in flying:
            future.cancel()
