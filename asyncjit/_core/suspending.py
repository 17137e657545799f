"""How a task waits for a cell: `suspend`.

A task that awaits leaves a letter for its loop's inbox and holds no thread. If its loop runs inside a kernel, the
loop's thread holds that kernel's permit: it is lent while tasks of the loop wait, as a blocked thread lends its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from asyncjit._core.cell import FINISHED, Cell
from asyncjit._core.context import Scope, ThreadSlot, lock, this_thread
from asyncjit._core.loops import Inbox, inbox_of
from asyncjit._core.permits import Permits
from asyncjit._core.tasks import here, raise_no_loop
from asyncjit._core.waiting import clock_of, deadline_of, give_up, refuse_cancelled, refuse_deadlock


class SuspendedTask:
    """A task that awaits a cell: a letter to its loop."""

    __slots__ = ("future", "granted", "inbox", "kernel", "permits")

    def __init__(self, inbox: Inbox, future: asyncio.Future[None]) -> None:
        self.inbox = inbox
        self.future = future
        self.permits: Permits | None = None  # of the kernel that runs this loop
        self.kernel: Any = None
        self.granted = False  # the kernel that finished passed its permit to us

    def wake(self) -> None:
        """Let the task go on: here, if this is its loop's thread."""
        loop = asyncio._get_running_loop()
        if loop is not None and loop is self.inbox.loop:
            self.arrive()
        else:
            self.inbox.post(self)

    def arrive(self) -> None:
        """Let the task go on; on the loop's thread."""
        if not self.future.done():
            self.future.set_result(None)

    def strand(self) -> None:
        """Do nothing: the loop has closed, and its waiters with it."""


def suspend(cell: Cell) -> Generator[Any, None, None]:
    """Await in this task until `cell` is done."""
    loop = asyncio._get_running_loop()
    if loop is None:
        raise_no_loop(f"await {cell._describe()}", "asyncjit.sync.wait(fut)")
    scope = here(loop)
    slot = this_thread()
    source = cell._source
    if source is not None and _may_run_on_loop(source, loop):
        source.run_in_place(slot)
        if cell._state >= FINISHED:
            return
    refuse_cancelled(scope)
    owner = scope if scope is not None and scope.task is asyncio.current_task() else None
    before = owner.waits_for if owner is not None else None
    instruments = scope.instruments if scope is not None else ()
    for instrument in instruments:
        instrument.wait_started(scope, cell)
    try:
        if owner is not None:
            owner.waits_for = cell  # before it looks: of two that begin to wait for each other one sees the other
            refuse_deadlock(cell, owner)
        yield from suspend_until(cell, scope, slot, loop)
    finally:
        if owner is not None:
            owner.waits_for = before
        for instrument in instruments:
            instrument.wait_ended(scope, cell)


def suspend_until(
    cell: Cell, scope: Scope | None, slot: ThreadSlot, loop: asyncio.AbstractEventLoop
) -> Generator[Any, None, None]:
    waiter = SuspendedTask(inbox_of(loop), loop.create_future())
    deadline = deadline_of(scope, cell)
    timer = None
    if deadline is not None:
        timer = loop.call_later(max(0.0, deadline - clock_of(scope, cell)()), waiter.arrive)
    try:
        if cell._add_waiter(waiter):
            _lend(cell, waiter, slot)
            yield from waiter.future
    except asyncio.CancelledError:
        cell._discard_waiter(waiter)
        _cancel_target(cell, scope)
        raise
    finally:
        if timer is not None:
            timer.cancel()
        _take_back(cell, waiter, slot)
        cell._discard_waiter(waiter)
    if cell._state < FINISHED:
        give_up(cell, None, None, scope, clock_of(scope, cell))
        if cell._state < FINISHED:  # a coroutine fork past its deadline: it is done when its task ends
            yield from suspend_until(cell, scope, slot, loop)


def _lend(cell: Cell, waiter: SuspendedTask, slot: ThreadSlot) -> None:
    """Lend the permit of a kernel whose own loop now waits, or whoever completes the cell might never start."""
    with lock:
        permits: Permits | None = slot.permit if slot.loan is None else slot.loan
        if permits is None:
            return
        if slot.lender is None:
            slot.lender = slot.fork
        waiter.permits = permits
        waiter.kernel = slot.lender
        if cell._heir is None:
            cell._heir = waiter
        slot.num_awaiting += 1
    _lend_while_idle(slot)


def _lend_while_idle(slot: ThreadSlot) -> None:
    """Lend the permit of the loop's kernel, if tasks of the loop wait; a task that goes on has taken it back."""
    with lock:
        permits: Permits | None = slot.permit
        if permits is None or not slot.num_awaiting:
            return
        slot.loan = permits
        slot.permit = None
        permits.running -= 1
        permits.blocked += 1
    permits.replenish()


def _take_back(cell: Cell, waiter: SuspendedTask, slot: ThreadSlot) -> None:
    """Hold the permit again while tasks of the loop run, and lend it anew if others wait when it is idle."""
    permits = waiter.permits
    if permits is None:
        return
    surplus = others_wait = False
    with lock:
        waiter.permits = None
        if cell._heir is waiter:
            cell._heir = None
        is_here = slot.lender is waiter.kernel
        if is_here:
            slot.num_awaiting -= 1
            others_wait = slot.num_awaiting > 0
            if not others_wait:
                slot.lender = None
        if is_here and slot.loan is not None:
            slot.loan = None
            slot.permit = permits
            permits.blocked -= 1
            if not waiter.granted:
                permits.running += 1
        elif waiter.granted:  # two of its tasks inherited one each, or the kernel has left its loop to itself
            permits.running -= 1
            surplus = True
    if surplus:
        permits.replenish()
    loop = waiter.inbox.loop
    if others_wait and loop is not None and loop.is_running():
        loop.call_soon(_lend_while_idle, slot)


def _may_run_on_loop(source: Any, loop: asyncio.AbstractEventLoop) -> bool:
    """Whether an awaiting task may run its target in place: only what is cheap, but for the debugger's mode."""
    if source.is_inline:
        return True
    is_cheap = getattr(source, "is_cheap", None)
    return is_cheap is not None and is_cheap(inbox_of(loop))


def _cancel_target(cell: Cell, scope: Scope | None) -> None:
    """Cancel what a cancelled task waited for, if it belongs to the task and nobody else waits for it."""
    source: Any = cell._source
    if not hasattr(source, "parent") or cell._has_waiters():
        return
    ancestor = scope
    while ancestor is not None:
        if source.parent is ancestor:
            source.cancel(None)
            return
        ancestor = ancestor.parent
