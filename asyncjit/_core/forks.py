"""A fork: one forked call, from its making to the end of its body.

A `Fork` is what the queue holds, the node of the tree and the scope its body runs in; its `Future` is the value
alone, so that neither a queue entry claimed elsewhere nor a context kept somewhere pins arguments or a result.

How a kernel travels: `forking.start` makes it and queues it; a pool thread (`pool.py`) or a waiter (`run_in_place`)
*claims* it, which is PENDING → RUNNING in one section under the lock, together with the permit; `execute` runs it in
its own context; `finish` settles the future, passes the permit on and, with `nodes.py`, leaves the tree. `finish` may
be interrupted by Ctrl-C on the main thread anywhere between its sections, so each of its steps can be done twice;
`slot.fork` and `slot.ending` tell what is still to do.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from sys import modules
from types import CoroutineType, FrameType
from typing import Any

from numpy import ufunc

from asyncjit._core import driving, hosting
from asyncjit._core.blas import blas
from asyncjit._core.cell import CANCELLED, FINISHED, PENDING, RUNNING
from asyncjit._core.cheap import COSTS
from asyncjit._core.context import Environment, Scope, ThreadSlot, current, lock
from asyncjit._core.future import Future
from asyncjit._core.loops import Inbox
from asyncjit._core.nodes import STALE, Node, name_of
from asyncjit._core.stepping import ScriptBody
from asyncjit.errors import DeadlineExceeded, ForkCancelled

MAX_DEPTH = 32  # specified by the design: in-place runs nest at most so deep, then block; 245 met the recursion limit

NO_KWARGS: dict[str, Any] = {}


class Fork(Node):
    """One forked call; see the module's docstring."""

    __slots__ = ("outer",)

    def __init__(
        self,
        parent: Scope | None,
        runtime: Any,
        env: Environment,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        frame: FrameType,
    ) -> None:
        self.parent = parent
        self.runtime = runtime
        self.pool = runtime.pool
        self.env = env
        self.instruments = env.instruments
        self.children = self.cause = self.task = self.blocked = self.waits_for = None
        self.coroutine = self.name = None
        self.outer: Fork | None = None  # the kernel that waits for this one, which runs in place in its thread
        self.number = 0
        self.ended = self.is_async = False
        self.fn = fn
        self.args = args
        self.kwargs = kwargs or NO_KWARGS  # an empty dict for each of a million pending forks would be 64 MB
        self.code = frame.f_code
        self.instruction = frame.f_lasti
        self.context = contextvars.copy_context()
        self.future = Future(self)

    # -- what a waiter asks of its target's source

    @property
    def is_inline(self) -> bool:
        """Whether every wait runs its target in place."""
        return bool(self.runtime.inline)

    def is_cheap(self, inbox: Inbox) -> bool:
        """Whether a loop may run this kernel itself, in what is left of its turn's budget."""
        return self.runtime.loop_runs_cheap and COSTS.is_cheap(self.fn, self.args, self.kwargs, inbox)

    # -- running

    def run_in_place(self, slot: ThreadSlot) -> None:
        """Claim and run the kernel in the calling thread, if it has not started and a permit can be had."""
        pool, future, outer, before = self.pool, self.future, slot.fork, slot.permit
        is_nested = before is pool
        if self.is_async:
            self._run_coroutine_in_place()
            return
        if future is None or outer is self or (slot.depth >= MAX_DEPTH and not self.is_inline):
            return
        if not pool.has_wished or slot.blas_generation != blas.generation or len(modules) != blas.num_modules:
            pool.prepare(slot)
        try:
            with lock:
                if future._state == PENDING and (is_nested or pool.running < pool.limit):
                    future._state = RUNNING
                    pool.queued -= 1
                    if not is_nested:  # a script's thread, or one of another pool whose kernel waits meanwhile
                        pool.running += 1
                        slot.permit = pool
                        if before is not None:
                            before.running -= 1
                            before.blocked += 1
                    slot.depth += 1
                    self.outer = outer
                    slot.fork = self
            if slot.fork is self:
                if before is not None and not is_nested:
                    before.replenish()
                if pool.is_inline:
                    self._execute_beside_loop(slot, future, outer, before)
                else:
                    self.execute(slot, future, outer, before)
                if len(pool.queue) > STALE:
                    pool.sweep()
        finally:
            if slot.fork is self or slot.ending is self:  # Ctrl-C fell into the machinery
                try:
                    self.finish(slot, future, outer, before, CANCELLED, ForkCancelled)
                except BaseException:
                    self.finish(slot, future, outer, before, CANCELLED, ForkCancelled)
                    raise
            if slot.blas_generation and not is_nested:
                pool.unprepare(slot)

    def _execute_beside_loop(self, slot: ThreadSlot, future: Future[Any], outer: Fork | None, before: Any) -> None:
        """Run the kernel as if no loop ran in this thread: it may block, and run a loop of its own, as on the pool."""
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            self.execute(slot, future, outer, before)
        finally:
            asyncio._set_running_loop(loop)

    def _run_coroutine_in_place(self) -> None:
        """Run a coroutine fork on a loop of its own: only in the debugger's mode, and only if no loop has it."""
        if self.is_inline and self.future is not None and self.task is None and asyncio._get_running_loop() is None:
            hosting.run_to_end(self)

    def execute(self, slot: ThreadSlot, future: Future[Any], outer: Fork | None, before: Any) -> None:
        """Run the claimed kernel and finish it."""
        env = self.env
        fn, args, kwargs, context = self.fn, self.args, self.kwargs, self.context
        self.name = getattr(fn, "__qualname__", None) or name_of(fn)
        self.fn = self.args = self.kwargs = self.context = None  # they go with the body
        if env.deadline is not None and self.runtime.clock() >= env.deadline:
            self.finish(slot, future, outer, before, CANCELLED, DeadlineExceeded)
            return
        if self.instruments:
            for instrument in self.instruments:
                instrument.strand_started(self)
        interrupt = None
        state = FINISHED
        try:
            if type(fn) is ufunc and fn.ntypes > 1:  # it forks nothing, so it needs no scope of its own
                if env.inbox is not None and (slot.pool is None or COSTS.is_due()):
                    value = context.run(COSTS.run, fn, args, kwargs)  # type: ignore[union-attr]
                else:
                    value = context.run(fn, *args, **kwargs)  # type: ignore[union-attr]
            else:
                value = context.run(_enter, self, fn, args, kwargs)  # type: ignore[union-attr]
        except BaseException as error:
            state, value, interrupt = self.caught(error, slot)
        if type(value) is CoroutineType:
            args = kwargs = None  # the coroutine has them, and lets them go
            go_on = driving.begin if type(fn) is ScriptBody else Fork._become_coroutine
            go_on(self, slot, outer, before, value, context)  # type: ignore[arg-type]
        elif self.instruments or interrupt is not None:
            self.conclude(slot, future, outer, before, state, value, interrupt)
        else:
            self.finish(slot, future, outer, before, state, value)

    def caught(self, error: BaseException, slot: ThreadSlot) -> tuple[int, Any, BaseException | None]:
        """Return the state and content of a body that raised, and the interrupt that is to go on."""
        if isinstance(error, KeyboardInterrupt) and slot.pool is None and _is_main_thread():
            return CANCELLED, ForkCancelled, error
        return *self.outcome_of(error), None

    def conclude(
        self,
        slot: ThreadSlot,
        future: Future[Any],
        outer: Fork | None,
        before: Any,
        state: int,
        value: Any,
        interrupt: BaseException | None,
    ) -> None:
        """Finish a body that has ended, and let Ctrl-C go on."""
        for instrument in self.instruments:
            instrument.strand_ended(self)
        self.finish(slot, future, outer, before, state, value)
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                del interrupt

    def finish(
        self, slot: ThreadSlot, future: Future[Any], outer: Fork | None, before: Any, state: int, value: Any
    ) -> None:
        """Settle the future, pass the permit on, tell all concerned. If it is interrupted, call it again.

        `outer` and `before` are the kernel and the permit that a thread which ran it in place goes on with.
        """
        pool, is_leaf = self.pool, False
        with lock:
            if slot.fork is self:
                if slot.lender is self:
                    driving.recall_loan(slot)
                parent = self.parent
                slot.fork = outer
                slot.ending = self
                if state == FINISHED and future._state == RUNNING:
                    future._state = FINISHED
                    future._content = value
                    pool.finished += 1
                    if self.children is None and not self.instruments and (parent is None or not parent.counts):
                        self.ended = is_leaf = True  # nobody but its waiters wants to know
                else:
                    self.settle_locked(future, state, value)
                heir = future._heir
                if heir is not None and (heir.permits is not pool or heir.granted):
                    heir = None
                if slot.depth:
                    slot.depth -= 1
                    self.outer = None
                    if before is not pool:  # a thread that only lent itself gives the permit back
                        slot.permit = before
                        if heir is not None:
                            heir.granted = True
                        else:
                            pool.running -= 1
                        if before is not None:
                            before.running += 1
                            before.blocked -= 1
                elif heir is not None:  # a pool thread keeps its permit, unless a waiter inherits it
                    heir.granted = True
                    slot.permit = None
        if not is_leaf:
            self.end_body(future)
        elif future._waiters is not None:
            future._notify()
        self.future = None
        if pool.idle_cells:
            pool.tell_idle()
        if before is not pool and pool.queued:
            pool.replenish()
        slot.ending = None

    # -- coroutines

    def _become_coroutine(
        self, slot: ThreadSlot, outer: Fork | None, before: Any, coroutine: Any, context: contextvars.Context
    ) -> None:
        """Go on as a coroutine fork: the kernel's thread is free, the future stays unfinished."""
        for instrument in self.instruments:
            instrument.strand_ended(self)
        pool = self.pool
        with lock:
            self.is_async = True
            self.coroutine = coroutine
            self.context = context
            pool.suspended[self] = None
            slot.fork = outer
            if slot.depth:
                slot.depth -= 1
            if before is not pool:
                slot.permit = before
                pool.running -= 1
                if before is not None:
                    before.running += 1
                    before.blocked -= 1
        if before is not pool:
            pool.replenish()
        if self.is_inline and self.env.inbox is None:
            self._run_coroutine_in_place()
        else:
            hosting.send(self)

    def arrive(self) -> None:
        """Become a task of the loop whose thread this is."""
        hosting.host(self)

    def strand(self) -> None:
        """Take note that the loop this fork was sent to, or lived on, has closed."""
        hosting.strand(self)


def _enter(fork: Fork, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    current.set(fork)
    return fn(*args, **kwargs)


def _is_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident
