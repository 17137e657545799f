"""How a thread waits for a cell: `block`; and what every wait asks first.

A blocking wait first runs its target in place if that has not started. Else the thread gives its permit back, sleeps,
and goes on at once when the target is done. What a thread has given back is told by its waiter (`lent`), and taken
back in one section by a `finally`, twice if Ctrl-C falls into the first; so no permit is lost and none is made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from asyncjit._core.blas import blas
from asyncjit._core.cell import FINISHED, Cell, Waiter, new_bell, ring
from asyncjit._core.context import Scope, ThreadSlot, current, lock, this_thread
from asyncjit._core.permits import MAX_BLOCKED_THREADS, Permits
from asyncjit.errors import DeadlineExceeded, DeadlockError, ForkCancelled, InvalidStateError, Overloaded

Clock = Callable[[], float]

LOST_SIGNAL_S = 0.5  # chosen: CPython may begin to sleep with a signal at hand that came just before, and sees it after


def sleep_until(bell: threading.Lock, deadline: float | None, clock: Clock) -> None:
    """Sleep on `bell` until it rings or `clock` shows `deadline`; now and then return before, to be called again.

    A clock that is not the machine's own may have a method `sleep_until(bell, deadline)` to use instead.
    """
    if deadline is None:
        bell.acquire(timeout=LOST_SIGNAL_S)
        return
    special = getattr(clock, "sleep_until", None)
    if special is not None:
        special(bell, deadline)
        return
    remaining = deadline - clock()
    if remaining > 0:
        bell.acquire(timeout=min(remaining, LOST_SIGNAL_S))


def is_inside_machinery() -> bool:
    """Whether the caller is a signal handler or destructor that fell into a section: others wait for this thread."""
    return bool(lock._is_owned()) or blas.is_busy_here()  # type: ignore[attr-defined]


class BlockedThread:
    """A thread that sleeps until a cell is done, and the permit that it gave back for it."""

    __slots__ = ("bell", "granted", "lent", "permits")

    def __init__(self, permits: Permits | None) -> None:
        self.bell = new_bell()
        self.permits = permits
        self.lent = False
        self.granted = (
            False  # it counts as running again: the kernel that finished passed its permit on, or it was woken
        )

    def wake(self) -> None:
        """Ring; from here on the thread counts as running, so that whoever wakes it starts nothing in its place."""
        permits = self.permits
        if permits is not None:
            with lock:
                if self.lent and not self.granted:
                    self.granted = True
                    permits.running += 1
        ring(self.bell)


def block(cell: Cell, timeout: float | None = None) -> None:
    """Wait in this thread until `cell` is done; return when it is, raise when it can't be waited for any longer."""
    scope = current.get()
    if scope is None or not scope.instruments:
        _block(cell, timeout, scope)
    else:
        with Watched(scope, this_thread().fork, cell):
            _block(cell, timeout, scope)


def _block(cell: Cell, timeout: float | None, scope: Scope | None) -> None:
    if scope is not None and (scope.cause is not None or scope.env.deadline is not None):
        refuse_cancelled(scope)
    slot = this_thread()
    owner = slot.fork
    if owner is not None:
        before, owner.waits_for = owner.waits_for, cell
    try:
        source = cell._source
        if source is not None and (timeout is None or source.is_inline):
            source.run_in_place(slot)
            if scope is not None and scope.env.deadline is not None:  # it may have passed meanwhile
                refuse_cancelled(scope)
        if cell._state < FINISHED:
            if owner is not None:
                refuse_deadlock(cell, owner)
            sleep(cell, timeout, scope, slot)
    finally:
        if owner is not None:
            owner.waits_for = before


def sleep(cell: Cell, timeout: float | None, scope: Scope | None, slot: ThreadSlot) -> None:
    cell._refuse_inherited()
    if is_inside_machinery():
        raise InvalidStateError(
            f"cannot wait for {cell._describe()} here: a signal handler or destructor has interrupted asyncjit itself, "
            "which must go on first; wait outside of it"
        )
    clock, deadline = clock_of(scope, cell), deadline_of(scope, cell)
    limit = None if timeout is None else clock() + timeout
    permits: Permits | None = slot.permit
    if permits is not None and permits.blocked >= MAX_BLOCKED_THREADS:
        raise Overloaded(
            f"{permits.blocked} threads are blocked in waits, the most allowed: make the waiting functions "
            "coroutines (they hold no thread), or fork less deeply"
        )
    waiter = BlockedThread(permits)
    entry: list[Waiter] = [waiter]
    try:
        with lock:
            if cell._state >= FINISHED:
                return
            if cell._waiters is None:
                cell._waiters = entry
            else:
                cell._waiters += entry
            if scope is not None:
                scope.blocked = waiter
            if permits is not None:
                permits.running -= 1
                permits.blocked += 1
                slot.permit = None
                waiter.lent = True
                if cell._heir is None:
                    cell._heir = waiter
        if permits is not None:
            permits.replenish()
        until = min((at for at in (limit, deadline) if at is not None), default=None)
        _sleep_until_done(cell, waiter, scope, until, clock)
    finally:
        try:
            _go_on(cell, waiter, scope, slot)
        except BaseException:  # Ctrl-C while going on: once more, then let it through
            _go_on(cell, waiter, scope, slot)
            raise
    if cell._state < FINISHED:
        give_up(cell, timeout, limit, scope, clock)
        if cell._state < FINISHED:  # a coroutine fork past its deadline: it is done when its task ends
            sleep(cell, None if limit is None else max(0.0, limit - clock()), scope, slot)


def _sleep_until_done(
    cell: Cell, waiter: BlockedThread, scope: Scope | None, until: float | None, clock: Clock
) -> None:
    while cell._state < FINISHED and (scope is None or scope.cause is None):
        sleep_until(waiter.bell, until, clock)
        if until is not None and clock() >= until:
            return


def _go_on(cell: Cell, waiter: BlockedThread, scope: Scope | None, slot: ThreadSlot) -> None:
    """Take back what the waiter gave: at once, whatever the count (see `permits.py`)."""
    permits = waiter.permits
    with lock:
        if waiter.lent:
            waiter.lent = False
            permits.blocked -= 1  # type: ignore[union-attr]
            if not waiter.granted:
                permits.running += 1  # type: ignore[union-attr]
            slot.permit = permits
        if cell._heir is waiter:
            cell._heir = None
        if scope is not None and scope.blocked is waiter:
            scope.blocked = None
    if cell._state < FINISHED:
        cell._discard_waiter(waiter)


def give_up(cell: Cell, timeout: float | None, limit: float | None, scope: Scope | None, clock: Clock) -> None:
    """Raise why the wait ended before its cell was done, unless that was its cell's own deadline."""
    now = clock()
    if scope is not None and scope.cause is None and scope.env.deadline is not None and now >= scope.env.deadline:
        raise DeadlineExceeded(f"the deadline passed in the wait for {cell._describe()}")
    refuse_cancelled(scope)
    if limit is not None and now >= limit:
        raise TimeoutError(f"{cell._describe()} was not done within {timeout} s")
    expire(cell)


def expire(cell: Cell) -> None:
    """Cancel a cell whose own deadline has passed."""
    cancel = getattr(cell._source, "cancel", None)
    if cancel is not None:
        cancel(DeadlineExceeded)


def clock_of(scope: Scope | None, cell: Cell) -> Clock:
    """Return the clock that the deadlines of this wait are told in."""
    runtime = (scope.runtime if scope is not None else None) or getattr(cell._source, "runtime", None)
    return time.monotonic if runtime is None else runtime.clock


def deadline_of(scope: Scope | None, cell: Cell) -> float | None:
    """Return the earlier of the waiter's deadline and the target's own."""
    env = getattr(cell._source, "env", None)
    own = scope.env.deadline if scope is not None else None
    other = env.deadline if env is not None and cell._source.cause is None else None  # type: ignore[union-attr]
    return min((at for at in (own, other) if at is not None), default=None)


def refuse_cancelled(scope: Scope | None) -> None:
    """Raise if the code of `scope` was cancelled or its deadline has passed."""
    if scope is None:
        return
    if scope.cause is not None:
        reason = "passed its deadline" if scope.cause is DeadlineExceeded else "was cancelled"
        raise (DeadlineExceeded if scope.cause is DeadlineExceeded else ForkCancelled)(f"the waiting code {reason}")
    deadline = scope.env.deadline
    if deadline is not None and clock_of(scope, Cell())() >= deadline:
        raise DeadlineExceeded("the waiting code passed its deadline")


def refuse_deadlock(cell: Cell, owner: Any) -> None:
    """Raise if the fork `owner`, which is about to wait for `cell`, would wait for itself."""
    waiters: dict[int, Any] = {id(cell._source): None}  # of each source found, the one that waits for it
    found: list[Any] = [cell._source]
    for source in found:  # it grows; chains may be deeper than the stack
        if source is owner:
            raise DeadlockError(f"{_told(owner, waiters)}: nobody can go on; wait for it outside of it")
        targets = (source.waits_for,) if isinstance(source, Scope) else getattr(source, "futures", ())
        for target in targets:
            if target is not None and target._source is not None and id(target._source) not in waiters:
                waiters[id(target._source)] = source
                found.append(target._source)


def _told(owner: Any, waiters: dict[int, Any]) -> str:
    """Tell the circle that ends at `owner`: who waits for whom."""
    names = [owner.describe()]
    source = waiters[id(owner)]
    while source is not None:
        names.append(source.describe())
        source = waiters[id(source)]
    return " waits for ".join([owner.describe(), *reversed(names)])


class Watched:
    """A block that waits: tells the instruments of it, and that the waiting fork's strand is interrupted by it."""

    __slots__ = ("_cell", "_owner", "_scope")

    def __init__(self, scope: Scope, owner: Any, cell: Cell) -> None:
        self._scope = scope
        self._owner = owner
        self._cell = cell

    def __enter__(self) -> None:
        for instrument in self._scope.instruments:
            if self._owner is not None:
                instrument.strand_ended(self._owner)
            instrument.wait_started(self._scope, self._cell)

    def __exit__(self, *error: object) -> None:
        for instrument in self._scope.instruments:
            instrument.wait_ended(self._scope, self._cell)
            if self._owner is not None:
                instrument.strand_started(self._owner)
