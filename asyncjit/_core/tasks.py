"""Plain asyncio tasks as parents: the scope of whoever runs on a loop's thread.

A plain task that forks is a parent like any fork: if it ends cancelled or failed, what it forked is cancelled. Its
scope is made at its first fork or wait and kept in the task's own context, where tasks that it starts find it as
their ancestor.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from dataclasses import replace
from typing import Any, NoReturn

from asyncjit._core.context import ROOT, Scope, current, current_handler
from asyncjit._core.loops import inbox_of, trio_runs_here
from asyncjit.errors import ForkCancelled, WaitOnEventLoopError

if sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:  # there it is Python code, three times as slow as the look-up that it makes
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]


class TaskScope(Scope):
    """A plain asyncio task that forks or waits."""

    __slots__ = ()

    def task_done(self, task: asyncio.Task[Any]) -> None:
        """Cancel what the task forked if it ended badly; else hand it to the task's parent."""
        self.task = None
        if task.cancelled() or task.exception() is not None:
            self.cancel_below(ForkCancelled)
        self.end()


def here(loop: asyncio.AbstractEventLoop | None) -> Scope | None:
    """Return the scope of the calling code; `loop` is the loop that runs in this thread, if one does."""
    scope = current.get()
    if loop is None:
        return scope
    task = current_task(loop)
    if task is None or (scope is not None and scope.task is task):
        return scope if scope is not None else Scope(None, None, replace(ROOT, inbox=inbox_of(loop)))
    return _scope_of_task(task, scope, loop)


def _scope_of_task(task: asyncio.Task[Any], above: Scope | None, loop: asyncio.AbstractEventLoop) -> Scope:
    while above is not None and above.ended:
        above = above.parent
    env = replace((ROOT if above is None else above.env), inbox=inbox_of(loop))
    scope = TaskScope(above, above.runtime if above is not None else None, env)
    scope.cause = above.cause if above is not None else None
    scope.task = task
    if above is not None:
        scope.instruments = above.instruments
    current.set(scope)
    # The copy of the current context would hold the scope until the callback has run; a fresh, empty one holds nothing.
    # One that all share could not be entered by two loops at once, and uvloop's loops die of that.
    task.add_done_callback(scope.task_done, context=contextvars.Context())
    return scope


def require_loop(what: str, blocking: str) -> asyncio.AbstractEventLoop | None:
    """Return the running asyncio loop, or raise what to do where there is none; a handler needs none."""
    loop = asyncio._get_running_loop()
    if loop is None and current_handler() is None:
        raise_no_loop(what, blocking)
    return loop


def raise_no_loop(what: str, blocking: str) -> NoReturn:
    """Raise what to do where no asyncio loop runs."""
    if trio_runs_here():
        raise RuntimeError(
            f"cannot {what}: a trio loop runs here, and asyncjit awaits on asyncio. Run the program with "
            "anyio.run(main, backend='asyncio'), or wait in a thread: "
            "await trio.to_thread.run_sync(asyncjit.sync.wait, fut)"
        )
    raise RuntimeError(f"cannot {what}: no event loop runs here. In a script write {blocking}")


def refuse_loop(blocking: str, awaiting: str) -> None:
    """Raise if a loop runs in this thread, which a blocking call would stop."""
    if asyncio._get_running_loop() is not None:
        raise WaitOnEventLoopError(f"{blocking} would block the event loop: write `{awaiting}`")
    if trio_runs_here():
        raise WaitOnEventLoopError(
            f"{blocking} would block the trio loop: write "
            f"`await trio.to_thread.run_sync(...)` around {blocking}, or run the program with "
            "anyio.run(main, backend='asyncio')"
        )
