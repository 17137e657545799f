"""How a forked scripted function runs: on the pool, as kernels do, giving its thread back at every unfinished wait.

A thread *advances* the body's coroutine until it ends or yields what it waits for. If that is not done, the fork leaves
the thread in one section under the lock, in which it also leaves a `Suspension` with the cell: from then on whoever
wakes that owns it, and the thread must not touch the fork again. If what it waits for is a kernel that has not started,
the thread claims it in the same section and runs it next: a trampoline, so a tree of any depth grows no stack and
blocks no thread.

What can go on queues in `pool.ready`, before every kernel that has not started. A pool thread that has just finished
what one suspended fork alone waits for calls nobody in: it goes on with that fork itself, at once.
"""

from __future__ import annotations

import contextvars
from types import CoroutineType
from typing import Any

from asyncjit._core.cell import FINISHED, PENDING, RUNNING, Waiter
from asyncjit._core.context import ThreadSlot, lock
from asyncjit._core.suspension import Suspension


def recall_loan(slot: ThreadSlot) -> None:
    """Take back what a loop has lent that its kernel leaves here with tasks that wait. Under the lock."""
    slot.lender = None
    slot.num_awaiting = 0
    if slot.loan is not None:
        slot.permit = slot.loan
        slot.permit.running += 1
        slot.permit.blocked -= 1
        slot.loan = None


def begin(fork: Any, slot: ThreadSlot, outer: Any, before: Any, coroutine: Any, context: contextvars.Context) -> None:
    """Advance a scripted fork whose body is about to begin."""
    Drive(fork, slot, outer, before, coroutine, context, []).advance()


def go_on(fork: Any, slot: ThreadSlot) -> None:
    """Advance a fork that was woken, in a pool thread that has claimed it."""
    waits: list[Suspension] = [fork.coroutine]
    fork.coroutine = None
    for instrument in fork.instruments:
        instrument.wait_ended(waits[0].scope, waits[0].cell)
        instrument.strand_started(fork)
    Drive(fork, slot, None, fork.pool, waits[0].coroutine, waits[0].context, waits).advance()


class Drive:
    """One stretch of a fork in one thread.

    Its frames stand in the tracebacks of errors that the body keeps, and live as long as the body runs: so no name in
    them holds an error or a cell. `waits` holds the wait that the fork is in, `errors` what is to be raised in the
    body; `outer` and `before` are the kernel and the permit that a thread which runs it in place goes on with.
    """

    __slots__ = ("before", "context", "coroutine", "errors", "fork", "outer", "slot", "waits")

    def __init__(
        self,
        fork: Any,
        slot: ThreadSlot,
        outer: Any,
        before: Any,
        coroutine: CoroutineType[Any, None, Any],
        context: contextvars.Context,
        waits: list[Suspension],
    ) -> None:
        self.fork = fork
        self.slot = slot
        self.outer = outer
        self.before = before
        self.coroutine = coroutine
        self.context = context
        self.waits = waits
        self.errors: list[BaseException] = []

    def advance(self) -> None:
        """Run the coroutine until it leaves the thread or ends, and finish the fork then."""
        fork = self.fork
        while True:
            try:
                ended = self._step()
                break
            except BaseException as error:  # a wait that can't be begun, or Ctrl-C beside the body
                if self.slot.fork is not fork or self.coroutine.cr_frame is None:  # it had left, or ended
                    fork.pool.replenish()
                    raise
                self.waits.clear()
                self.errors.append(error.with_traceback(None))
        if ended is not None:
            fork.conclude(self.slot, fork.future, self.outer, self.before, *ended)

    def _step(self) -> tuple[int, Any, BaseException | None] | None:
        """Return how the body ended, or None if it has left the thread."""
        fork, coroutine, context, waits, errors = self.fork, self.coroutine, self.context, self.waits, self.errors
        while True:
            if waits and self._wait(waits.pop()):
                return None
            try:
                if errors:
                    waits.append(Suspension(fork, coroutine, context, context.run(coroutine.throw, errors.pop())))
                else:
                    waits.append(Suspension(fork, coroutine, context, context.run(coroutine.send, None)))
            except StopIteration as stop:
                return FINISHED, stop.value, None
            except BaseException as raised:
                if coroutine.cr_suspended:
                    raise  # a timeout that is no number, or Ctrl-C
                return fork.caught(raised, self.slot)  # type: ignore[no-any-return]

    def _wait(self, suspension: Suspension) -> bool:
        """Return True if the fork has left to wait, False if it need not, or no longer; raise if it can't."""
        try:
            while suspension.cell._state < FINISHED:
                if suspension.is_awake:
                    suspension = suspension.again()
                suspension.refuse()
                if self._leave(suspension):
                    return True
        except BaseException:
            if self.slot.fork is self.fork:
                suspension.end()
            raise
        suspension.end()
        return False

    def _leave(self, suspension: Suspension) -> bool:
        """Leave the thread until the cell is done; False if the fork need not."""
        fork, slot, outer, before = self.fork, self.slot, self.outer, self.before
        pool, cell, scope = fork.pool, suspension.cell, suspension.scope
        target: Any = cell._source
        if target is not None and target.is_inline:  # nobody else would run it
            fork.waits_for = cell
            target.run_in_place(slot)
        future = self._runnable(target)
        entry: list[Waiter] = [suspension]
        suspension.arm()
        for instrument in fork.instruments:
            instrument.strand_ended(fork)
            instrument.wait_started(scope, cell)
        has_left = False
        with lock:
            if cell._state < FINISHED and scope.cause is None and not suspension.is_awake:
                if slot.lender is fork:
                    recall_loan(slot)
                has_left = True
                if cell._waiters is None:
                    cell._waiters = entry
                else:
                    cell._waiters += entry
                scope.blocked = suspension
                fork.waits_for = cell
                fork.coroutine = suspension
                pool.suspended[fork] = None
                slot.fork = outer
                if slot.depth:  # it ran in place, and the waiter goes on to sleep
                    slot.depth -= 1
                    fork.outer = None
                    if before is not pool:
                        slot.permit = before
                        pool.running -= 1
                        if before is not None:
                            before.running += 1
                            before.blocked -= 1
                elif future is not None and future._state == PENDING and pool.running <= pool.limit:
                    future._state = RUNNING
                    pool.queued -= 1
                    slot.fork = target
        if has_left:
            if before is not pool:
                pool.replenish()
            suspension.look_for_circle()
            return True
        fork.waits_for = None
        for instrument in fork.instruments:
            instrument.wait_ended(scope, cell)
            instrument.strand_started(fork)
        return False

    def _runnable(self, target: Any) -> Any:
        """Return the future of a kernel that this thread may run next."""
        future = getattr(target, "future", None)
        pool, slot = self.fork.pool, self.slot
        if future is None or slot.depth or slot.pool is not pool or target.pool is not pool or target.is_async:
            return None
        return future
