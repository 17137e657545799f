"""`fork`, and `start` behind every door that forks; `check_cancelled`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar, overload

from numpy import ufunc

from asyncjit._core import hosting
from asyncjit._core.context import ROOT, Process, Scope, current, lock
from asyncjit._core.forks import Fork
from asyncjit._core.future import Future
from asyncjit._core.process import current_runtime
from asyncjit._core.shipping import Shipped
from asyncjit._core.splitting import NumpyFunction, Split, splits
from asyncjit._core.stepping import ScriptBody, script_of
from asyncjit._core.tasks import here
from asyncjit._core.waiting import refuse_cancelled
from asyncjit.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE


def start(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    scope: Scope | None,
    frame: FrameType,
) -> Future[Any]:
    """Fork `fn(*args, **kwargs)` below `scope`; `frame` is the place to name."""
    if not callable(fn):
        raise TypeError(
            f"fork needs something to call, got {fn!r} of type {type(fn).__name__}: fork(fn, *args, **kwargs)"
        )
    env = ROOT if scope is None else scope.env
    if env.handler is not None:
        return env.handler.fork(fn, args, kwargs, frame)  # type: ignore[no-any-return]
    runtime = Process.runtime if scope is None else scope.runtime
    if runtime is None:
        runtime = current_runtime()
    if not runtime.is_plain:
        runtime.refuse_closed(scope)
    is_async = False
    if runtime.executor is None and (type(fn) is ufunc or type(fn) is NumpyFunction):
        if splits(fn, args):
            fn = Split(fn)
    elif is_async_callable(fn):
        is_async = True
    elif type(fn) is not FunctionType:
        fn = _body_of(fn, runtime)
    elif runtime.executor is not None:
        fn = Shipped(runtime.executor, fn)
    fork = Fork(scope, runtime, env, fn, args, kwargs, frame)
    future: Future[Any] = fork.future
    if is_async:
        fork.is_async = True
    if runtime.instruments:
        fork.instruments += tuple(i for i in runtime.instruments if i not in fork.instruments)
    _launch(fork, scope, runtime)
    return future


def _body_of(fn: Any, runtime: Any) -> Any:
    """Return what a pool thread calls for a kernel that is no plain function."""
    steps = None if runtime.inline else script_of(fn)  # where there are no threads, it runs whole in its waiter's
    if steps is not None:
        return ScriptBody(fn, steps)
    return fn if runtime.executor is None else Shipped(runtime.executor, fn)


def _launch(fork: Fork, scope: Scope | None, runtime: Any) -> None:
    """Put a new fork into the tree and the queue, or send it to its loop."""
    pool, is_async = fork.pool, fork.is_async
    most = None if runtime.is_plain else runtime.max_queued
    cause, is_counted = None, False
    try:
        if fork.instruments:
            for instrument in fork.instruments:
                instrument.forked(fork)
        with lock:
            if most is not None and pool.queued >= most and not is_async:
                raise Overloaded(f"{pool.queued} forks are queued, and max_queued is {most}: wait for some first")
            is_counted = True
            pool.forked += 1
            if is_async:
                pool.suspended[fork] = None
            else:
                pool.queued += 1
            if scope is not None:
                parent = fork.parent = scope.adopt(fork)
                cause = parent.cause if parent is not None else None
            if cause is None and not is_async:
                pool.queue.append(fork)
            is_short = pool.searching < pool.queued and pool.running + pool.searching < pool.limit
        if cause is not None:  # below a cancelled scope nothing starts
            fork.cancel(cause)
        elif is_async:
            if not runtime.inline or fork.env.inbox is not None:
                hosting.send(fork)
        elif is_short:
            pool.replenish()
    except BaseException:  # Ctrl-C inside, or no thread to be had: nobody will ever see this fork
        if is_counted:
            fork.cancel(None)
        else:
            fork.refuse()
        raise


@overload
def fork(fn: ufunc, /, *args: Any, **kwargs: Any) -> Future[Any]: ...
@overload
def fork(  # a coroutine function is a callable too, and is meant first
    fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
) -> Future[T]: ...
@overload
def fork(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
def fork(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """Start `fn(*args, **kwargs)` and return at once with a `Future` of its value.

    A coroutine function becomes a task of the running loop; anything else is a kernel, which runs whole on one thread
    of the inter-op pool, in a copy of the caller's context. `fn` is never run by this call itself.

    Parameters
    ----------
    fn : callable
        A function, method, ufunc, `Module`, or coroutine function; it should release the GIL while it computes.
    *args, **kwargs
        Passed on as they are: not copied, and kept until the body has ended.

    Raises
    ------
    TypeError
        If `fn` can't be called.
    Overloaded
        If the runtime has a `max_queued` and it is reached.
    RuntimeClosed
        If the runtime takes no more forks.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import sync
    >>> future = sync.fork(np.negative, np.ones(2))
    >>> sync.wait(future)
    array([-1., -1.])
    """
    loop = asyncio._get_running_loop()
    return start(fn, args, kwargs, current.get() if loop is None else here(loop), sys._getframe(1))


def is_async_callable(fn: Any) -> bool:
    """Whether calling `fn` makes a coroutine, as far as that can be seen without calling it."""
    kind = type(fn)
    if kind is FunctionType:
        return bool(fn.__code__.co_flags & _CO_COROUTINE)
    if kind is ufunc or kind is BuiltinFunctionType or kind is type:
        return False
    if kind is MethodType:
        return is_async_callable(fn.__func__)
    if kind is partial:
        return is_async_callable(fn.func)
    call = getattr(kind, "__call__", None)  # noqa: B004  # not whether it is callable: what it calls
    return type(call) is FunctionType and bool(call.__code__.co_flags & _CO_COROUTINE)


def check_cancelled() -> None:
    """Raise if the code that calls this was cancelled or its deadline has passed; for long kernels.

    Raises
    ------
    ForkCancelled, DeadlineExceeded
        Which of the two it is.
    """
    refuse_cancelled(current.get())
