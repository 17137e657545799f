"""Coroutine forks: where they live, and the task that drives each.

A coroutine fork is a real, named `asyncio.Task`, made by the class itself and not by the loop's task factory: an eager
factory would run the first step inside `fork`. It lives on the loop of the code that forked it; from a kernel, on the
loop at the root of its context; else, or if that loop is gone, on the facade's. Its driver never lets an error reach
the loop: `SystemExit` there would stop a loop that is somebody else's.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from asyncjit._core.cell import CANCELLED, FAILED, FINISHED, PENDING, RUNNING, Failure
from asyncjit._core.context import current, lock
from asyncjit._core.loops import Inbox, inbox_of
from asyncjit.errors import DeadlineExceeded, ForkCancelled, RuntimeClosed


def send(fork: Any) -> None:
    """Have the coroutine fork `fork` become a task: at once if its loop runs here, else by that loop's inbox."""
    loop = asyncio._get_running_loop()
    inbox: Inbox | None = fork.env.inbox
    if loop is not None:
        inbox = inbox_of(loop)
    if inbox is None or not inbox.is_open:
        try:
            inbox = fork.runtime.facade.inbox()
        except RuntimeError:  # the interpreter ends, or no thread can be started
            fork.cancel(RuntimeClosed)
            return
    if loop is not None and inbox.loop is loop:
        host(fork)
    else:
        inbox.post(fork)


def host(fork: Any) -> None:
    """Make the task of `fork`, on the running loop."""
    future = fork.future
    if future is None:
        return
    if future._state >= FINISHED:  # the kernel was cancelled before it returned this coroutine
        _close_unstarted(fork)
        fork.end_body(future)
        return
    loop = asyncio.get_running_loop()
    inbox_of(loop).hosted.add(fork)
    driver = _drive(fork)
    driver.send(None)  # into its first await, so that a cancel before its first step finds it there
    task = asyncio.Task(driver, loop=loop, name=fork.display_name(), context=fork.context)
    fork.task = task
    if fork.cause is not None:
        task.cancel()


def _close_unstarted(fork: Any) -> None:
    """Close the coroutine that a kernel returned, and that will not go on."""
    coroutine = fork.coroutine
    if coroutine is not None and coroutine is not fork:
        coroutine.close()


@types.coroutine
def _first_step() -> Generator[None, None, None]:
    yield


async def _drive(fork: Any) -> None:
    """Run the body as a step-by-step guest of the loop, and settle the fork with what becomes of it."""
    future = fork.future
    if future is None:
        return
    try:
        await _first_step()
    except asyncio.CancelledError:
        _close_unstarted(fork)
        with lock:
            if future._state == PENDING:
                future._state = RUNNING
        _settle(fork, future, CANCELLED, fork.cause or ForkCancelled)
        return
    coroutine = fork.coroutine
    fork.context = None  # it has begun
    with lock:
        if coroutine is None:
            if future._state != PENDING:
                return
            future._state = RUNNING
            fork.coroutine = fork  # no coroutine to show yet, but from here on a cancel is the task's
    current.set(fork)
    timer, state, value = None, FINISHED, None
    try:
        deadline = fork.env.deadline
        if deadline is not None:
            remaining = deadline - fork.runtime.clock()
            if remaining <= 0:
                fork.cause = DeadlineExceeded
                raise asyncio.CancelledError
            timer = asyncio.get_running_loop().call_later(remaining, fork.cancel, DeadlineExceeded)
        if coroutine is None:
            fork.name = fork.display_name()
            fn, args, kwargs = fork.fn, fork.args, fork.kwargs
            fork.fn = fork.args = fork.kwargs = None
            coroutine = fn(*args, **kwargs)
            del fn, args, kwargs
        value = await (_stepped(coroutine, fork) if fork.instruments else coroutine)
    except BaseException as error:
        state, value = fork.outcome_of(error)
    finally:
        if timer is not None:
            timer.cancel()
    _settle(fork, future, state, value)


def _settle(fork: Any, future: Any, state: int, value: Any) -> None:
    with lock:
        fork.settle_locked(future, state, value)
    fork.end_body(future)


def leave(fork: Any) -> None:
    """Forget a coroutine fork whose body has ended, or will never start."""
    with lock:
        fork.pool.suspended.pop(fork, None)
    task, fork.task, fork.coroutine = fork.task, None, None
    if task is not None:
        inbox = inbox_of(task.get_loop()) if asyncio._get_running_loop() is task.get_loop() else fork.env.inbox
        if inbox is not None:
            inbox.hosted.discard(fork)


def cancel_task(fork: Any) -> None:
    """Have asyncio cancel the task of `fork`, from any thread."""
    task = fork.task
    if task is None:  # its letter is under way; `host` will look at the cause
        return
    loop = task.get_loop()
    if asyncio._get_running_loop() is loop:
        task.cancel()
        return
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:  # the loop has closed, and `strand` tells the fork's end
        pass


def strand(fork: Any) -> None:
    """Send a fork whose loop has closed to the facade's loop if it has not started; else fail it."""
    future = fork.future
    if future is None:
        return
    if fork.context is not None:
        task, fork.task = fork.task, None
        if task is not None:
            task.get_coro().close()
            task._log_destroy_pending = False  # as asyncio.gather does: what it had to do is done elsewhere
        send(fork)
        return
    _close_blocks(fork)
    error = RuntimeClosed(f"the event loop of {fork.describe()} has closed while it was running")
    _settle(fork, future, FAILED, Failure(error, fork.describe()))


def _close_blocks(scope: Any) -> None:
    """Close the blocks that a body was in and will never leave: who waits for all below it would wait for ever."""
    with lock:
        children = tuple(scope.children or ())
    for child in children:
        if not hasattr(child, "future"):  # a stretch of code, no fork
            _close_blocks(child)
            child.close()


@types.coroutine
def _stepped(coroutine: Coroutine[Any, Any, Any], fork: Any) -> Generator[Any, Any, Any]:
    """Drive `coroutine`, telling the instruments of each step: a strand is what runs between two suspensions."""
    step: Any = coroutine.send
    argument: Any = None
    while True:
        for instrument in fork.instruments:
            instrument.strand_started(fork)
        try:
            awaited = step(argument)
        except StopIteration as stop:
            return stop.value
        finally:
            for instrument in fork.instruments:
                instrument.strand_ended(fork)
        try:
            argument = yield awaited
            step = coroutine.send
        except BaseException as error:
            step, argument = coroutine.throw, error


def run_to_end(fork: Any) -> None:
    """Run a coroutine fork that has not started on a loop of its own, in this thread (the debugger's mode)."""
    with asyncio.Runner() as runner:
        runner.run(_drive(fork), context=fork.context)
