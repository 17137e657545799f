"""The door for scripts: the same words as in `awaiting.py`, blocking the thread."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Literal, ParamSpec, TypeVar, overload

from numpy import ufunc

from asyncjit._core.awaiting import in_flight, values
from asyncjit._core.cell import FINISHED
from asyncjit._core.forking import start
from asyncjit._core.future import Future
from asyncjit._core.gathering import Arrivals, checked, checked_all, gather
from asyncjit._core.tasks import here, refuse_loop
from asyncjit._core.waiting import block

P = ParamSpec("P")
T = TypeVar("T")


def wait(fut: Future[T], timeout: float | None = None) -> T:
    """Block until the future is done and return its value, or raise its error.

    A fork that has not started is run in the calling thread, if there is no timeout and a permit is free.

    Raises
    ------
    WaitOnEventLoopError
        Always on an event loop's thread, finished or not: write `await wait(fut)`.
    TimeoutError
        If it is not done within `timeout` seconds; it goes on all the same.
    ForkCancelled, DeadlineExceeded
        If it was cancelled, or if the waiting fork was.
    """
    if asyncio._get_running_loop() is not None or "trio" in sys.modules:
        refuse_loop("sync.wait(fut)", "await asyncjit.wait(fut)")
    if type(fut) is not Future:
        return checked(fut).result(timeout)  # type: ignore[no-any-return]
    if fut._state < FINISHED:
        block(fut, timeout)
    if fut._state == FINISHED:
        return fut._content  # type: ignore[no-any-return]
    try:
        fut._raise_error()
    finally:
        del fut


@overload
def call(fn: ufunc, /, *args: Any, **kwargs: Any) -> Any: ...
@overload
def call(  # a coroutine function is a callable too, and is meant first
    fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
) -> T: ...
@overload
def call(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Fork `fn(*args, **kwargs)` and wait for its value."""
    refuse_loop("sync.call(fn, ...)", "await asyncjit.call(fn, ...)")
    fut = start(fn, args, kwargs, here(None), sys._getframe(1))
    del fn, args, kwargs
    return fut.result()


@overload
def wait_all(
    futs: Iterable[Future[T]], timeout: float | None = None, *, return_exceptions: Literal[False] = False
) -> list[T]: ...
@overload
def wait_all(
    futs: Iterable[Future[T]], timeout: float | None = None, *, return_exceptions: bool
) -> list[T | BaseException]: ...
def wait_all(
    futs: Iterable[Future[Any]], timeout: float | None = None, *, return_exceptions: bool = False
) -> list[Any]:
    """Block until all futures are done and return the list of their values, in order.

    Parameters
    ----------
    futs : iterable of Future
        None of them may be None.
    timeout : float, optional
        Seconds to wait at most, for all together.
    return_exceptions : bool
        Put errors into the list instead of raising the first in time. The others go on in any case.
    """
    refuse_loop("sync.wait_all(futs)", "await asyncjit.wait_all(futs)")
    futures = checked_all(futs)
    goal = gather(futures, None, stops_early=not return_exceptions, name=f"wait_all of {len(futures)} futures")
    goal.result(timeout)
    return values(futures, return_exceptions=return_exceptions)


def as_completed(futs: Iterable[Future[T]]) -> Iterator[Future[T]]:
    """Iterate over the futures in the order of their completion."""
    refuse_loop("sync.as_completed(futs)", "async for fut in asyncjit.as_completed(futs)")
    return _as_completed(Arrivals(checked_all(futs)))


def _as_completed(arrivals: Arrivals) -> Iterator[Future[Any]]:
    while arrivals.missing:
        future = arrivals.take()
        if future is None:
            arrivals.next_cell().result()
        else:
            yield future


@overload
def map(fn: ufunc, *iterables: Iterable[Any], max_in_flight: int | None = None) -> Iterator[Any]: ...
@overload
def map(  # a coroutine function is a callable too, and is meant first
    fn: Callable[..., Coroutine[Any, Any, T]], *iterables: Iterable[Any], max_in_flight: int | None = None
) -> Iterator[T]: ...
@overload
def map(fn: Callable[..., T], *iterables: Iterable[Any], max_in_flight: int | None = None) -> Iterator[T]: ...
def map(  # the field's word
    fn: Callable[..., Any], *iterables: Iterable[Any], max_in_flight: int | None = None
) -> Iterator[Any]:
    """Fork `fn` over the items: values in order, with at most `max_in_flight` forks unfinished or not yet taken.

    Leaving the iteration cancels what is in flight.

    Parameters
    ----------
    max_in_flight : int, optional
        By default four for each inter-op thread.
    """
    refuse_loop("sync.map(fn, ...)", "async for value in asyncjit.map(fn, ...)")
    return _map(fn, iterables, in_flight(max_in_flight), sys._getframe(1))


def _map(fn: Any, iterables: Any, bound: int, frame: Any) -> Iterator[Any]:
    flying: deque[Future[Any]] = deque()
    try:
        for args in zip(*iterables, strict=False):
            flying.append(start(fn, args, {}, here(asyncio._get_running_loop()), frame))
            if len(flying) >= bound:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        for future in flying:
            future.cancel()
