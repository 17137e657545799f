"""`Runtime`: one inter-op pool with its settings, from its first use to its end."""

from __future__ import annotations

import contextlib
import contextvars
import os
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any

import anyio

from asyncjit import cpus
from asyncjit._core.blas import blas
from asyncjit._core.context import ROOT, Instrument, Process, Scope, current, lock, this_thread
from asyncjit._core.facade import Facade
from asyncjit._core.future import Future
from asyncjit._core.pool import InlinePool, Pool
from asyncjit._core.tasks import here, refuse_loop
from asyncjit._core.waiting import block, is_inside_machinery
from asyncjit.errors import InvalidStateError, RuntimeClosed


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of a runtime's counts. At rest, `forked == finished + failed + cancelled`."""

    running: int  #: threads that execute kernels
    queued: int  #: kernels that have not started, and scripted ones that can go on
    blocked: int  #: threads that gave their permit back to wait
    suspended: int  #: coroutine forks whose body has not ended, and scripted ones that wait
    threads: int  #: pool threads
    spares: int  #: pool threads beyond the limit
    excess: int  #: kernels that run above the limit
    forked: int  #: forks made so far
    finished: int  #: of them, those that have a value
    failed: int  #: those that raised
    cancelled: int  #: those that were cancelled


class Runtime:
    """A pool that runs at most `num_interop_threads` kernels at once, and the settings of what runs there.

    Parameters
    ----------
    num_interop_threads : int, optional
        How many kernels run at once; by default ASYNCJIT_NUM_INTEROP_THREADS, else the usable CPUs.
    num_threads : int, optional
        How many threads one split kernel may use; by default MKL_NUM_THREADS, OMP_NUM_THREADS, else the usable CPUs.
    executor : concurrent.futures.Executor, optional
        Where the bodies of kernels run; their pool threads wait for it. Forks below a body that runs in another process
        belong to that process. An executor of threads needs one for each kernel that runs or waits: with fewer, kernels
        that wait for kernels it has queued would wait for ever.
    inline : bool
        The debugger's mode: no threads, every wait runs its target in place. Also by ASYNCJIT_INLINE=1.
    blas_threads : int or None
        To how many threads BLAS and OpenMP are held while the runtime is open; None leaves them alone.
    max_queued : int, optional
        A fork that would queue more kernels raises `Overloaded`.
    local : bool
        Entering the runtime makes it the current one of the context only, not of the process.
    clock : callable
        Returns the time in seconds that deadlines are told in.
    instruments : iterable of Instrument
        What sees every fork of this runtime.
    loop_runs_cheap : bool
        Whether an event loop may run a ufunc or builtin itself that was measured to cost less than a hop to the pool.
    """

    def __init__(
        self,
        num_interop_threads: int | None = None,
        num_threads: int | None = None,
        *,
        executor: Executor | None = None,
        inline: bool = False,
        blas_threads: int | None = 1,
        max_queued: int | None = None,
        local: bool = False,
        clock: Callable[[], float] = time.monotonic,
        instruments: Iterable[Instrument] = (),
        loop_runs_cheap: bool = True,
    ) -> None:
        if Process.is_exiting:
            raise RuntimeClosed("the interpreter is exiting: nothing can be forked any more")
        if num_interop_threads is None:
            limit = cpus.default_num_interop_threads(os.environ)
        else:
            limit = cpus.checked_count(num_interop_threads, "num_interop_threads")
        self._num_threads = None if num_threads is None else cpus.checked_count(num_threads, "num_threads")
        self.max_queued = None if max_queued is None else cpus.checked_count(max_queued, "max_queued")
        wish = None if blas_threads is None else cpus.checked_count(blas_threads, "blas_threads")
        self.executor = executor
        self.inline = bool(inline) or os.environ.get("ASYNCJIT_INLINE", "") not in ("", "0")
        self.clock = clock
        self.instruments = tuple(instruments)
        self.loop_runs_cheap = loop_runs_cheap
        self.facade = Facade()
        self._num_interop_threads = limit
        self.pool = self._make_pool(limit, wish)
        self._local = local
        self._token: contextvars.Token[Scope | None] | None = None
        self._generation = Process.generation
        self.is_closing = False
        self.is_closed = False
        self.is_plain = executor is None and max_queued is None  # open, and a fork needs no look at anything else
        self._abandonment = weakref.finalize(self, _abandon, self.pool, self.facade)
        self._abandonment.atexit = False
        Process.open.add(self)

    def _make_pool(self, limit: int, blas_threads: int | None) -> Pool:
        return (InlinePool if self.inline else Pool)(limit, blas_threads=blas_threads)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "closing" if self.is_closing else "open"
        pool = self.pool
        return f"<asyncjit.Runtime {state}: {pool.running} of {self.num_interop_threads} running, {pool.queued} queued>"

    @property
    def num_interop_threads(self) -> int:
        """How many kernels run at once."""
        return self._num_interop_threads

    @num_interop_threads.setter
    def num_interop_threads(self, value: int) -> None:
        self._num_interop_threads = cpus.checked_count(value, "num_interop_threads")
        self.pool.set_limit(self._num_interop_threads)

    @property
    def num_threads(self) -> int:
        """How many threads one split kernel may use."""
        return self._num_threads or cpus.default_num_threads(os.environ, self._num_cpus)

    @num_threads.setter
    def num_threads(self, value: int) -> None:
        self._num_threads = cpus.checked_count(value, "num_threads")

    @cached_property
    def _num_cpus(self) -> int:
        return cpus.usable_cpus().count  # reads files: too slow for every call that may be split

    def statistics(self) -> Statistics:
        """Return a snapshot of the counts, all of one moment."""
        pool = self.pool
        with lock:
            return Statistics(
                running=pool.running,
                queued=pool.queued,
                blocked=pool.blocked,
                suspended=len(pool.suspended),
                threads=pool.num_threads,
                spares=max(0, pool.num_threads - pool.limit),
                excess=pool.excess,
                forked=pool.forked,
                finished=pool.finished,
                failed=pool.failed,
                cancelled=pool.cancelled,
            )

    # -- entering

    def __enter__(self) -> Runtime:
        refuse_loop("`with Runtime()`", "async with Runtime(...)")
        return self.enter()

    async def __aenter__(self) -> Runtime:
        return self.enter()

    def enter(self) -> Runtime:
        """Make this the current runtime, here and, unless it is local, for the process."""
        self.refuse_closed(None)
        scope = here(None)
        inside = Scope(scope, self, scope.env if scope is not None else ROOT)
        inside.task = scope.task if scope is not None else None
        self._token = current.set(inside)
        self.pool.wish()
        if not self._local:
            with lock:
                Process.entered.append(self)
                Process.runtime = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._is_to_be_closed:
                self.close(cancel=kind is not None)
        finally:
            self._leave_context()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._is_to_be_closed:
                await self.aclose(cancel=kind is not None)
        finally:
            self._leave_context()

    @property
    def _is_to_be_closed(self) -> bool:
        return not self.is_closed and self._generation == Process.generation

    def _leave_context(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            with contextlib.suppress(ValueError):  # left in another context than entered: that one just sees it closed
                current.reset(token)

    # -- closing

    def close(self, *, cancel: bool = False, timeout: float | None = None) -> list[str]:
        """Drain the runtime, or cancel what is there, and end its threads.

        Closing again waits for what a timeout left running. In a signal handler or destructor that has interrupted
        asyncjit itself it can't wait, and returns as if the timeout were 0.

        Parameters
        ----------
        cancel : bool
            Cancel what has not started and tell the running ones, instead of letting all finish.
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        list of str
            What still runs (only after a timeout): such kernels can't be stopped, and end in their own time.

        Raises
        ------
        InvalidStateError
            From inside a fork of this runtime, which would wait for itself.
        WaitOnEventLoopError
            On an event loop's thread: write `await runtime.aclose()`.
        """
        refuse_loop("close()", "await runtime.aclose()")
        is_inside = is_inside_machinery()  # others would wait for us, and we for them
        idle = self._begin_close(cancel)
        if self.inline:
            for fork in (*self.pool.pending(), *self.pool.suspended):
                fork.run_in_place(this_thread())
        if not is_inside:
            with contextlib.suppress(TimeoutError):
                block(idle, timeout)
        return self._end_close(is_inside)

    async def aclose(self, *, cancel: bool = False, timeout: float | None = None) -> list[str]:
        """Close in async code; same as `close`, without blocking the loop."""
        idle = self._begin_close(cancel)
        if self.inline:
            for fork in self.pool.pending():
                fork.run_in_place(this_thread())
        with anyio.move_on_after(timeout):
            await idle
        return self._end_close()

    def _begin_close(self, cancel: bool) -> Future[None]:
        self._refuse_inherited()
        slot = this_thread()
        scope = current.get()
        if slot.permit is self.pool or (slot.fork is not None and slot.fork.runtime is self) or _is_inside(scope, self):
            raise InvalidStateError(f"{self!r} can't be closed from inside one of its forks: it would wait for itself")
        with lock:
            self.is_closing, self.is_plain = True, False
            if self in Process.entered:
                Process.entered.remove(self)
            Process.runtime = Process.entered[-1] if Process.entered else None
        if cancel:
            for fork in self.unfinished():
                fork.cancel(None)
        self.pool.replenish()
        idle: Future[None] = Future()
        self.pool.when_idle(idle)
        return idle

    def _end_close(self, is_inside: bool = False) -> list[str]:
        still = [] if self.pool.is_idle else [fork.describe() for fork in self.unfinished()]
        self.is_closed = True
        self.pool.close()
        self.facade.close(wait=not still and not is_inside)
        self._abandonment.detach()
        blas.forget(id(self.pool))
        blas.settle()
        return still

    def unfinished(self) -> list[Any]:
        """Return the forks whose bodies have not ended."""
        with lock:
            return [*self.pool.pending(), *self.pool.started(), *self.pool.suspended]

    def refuse_closed(self, scope: Scope | None) -> None:
        """Raise if nothing may be forked here any more; what drains may still fork."""
        self._refuse_inherited()
        if self.is_closed or (self.is_closing and not _is_inside(scope, self)):
            raise RuntimeClosed(f"{self!r} takes no more forks: make a new Runtime, or close it later")

    def _refuse_inherited(self) -> None:
        if self._generation != Process.generation:
            raise RuntimeClosed(f"{self!r} belongs to the parent process: make a new Runtime after os.fork()")

    def exit(self) -> int:
        """End with the interpreter: nothing new starts. Return how many queued forks were dropped."""
        self.is_closing, self.is_plain = True, False
        self.pool.limit = 0
        dropped = 0
        for fork in self.pool.pending():
            dropped += fork.cancel(RuntimeClosed)
        self.facade.close(wait=False)
        return dropped


def _abandon(pool: Pool, facade: Facade) -> None:
    """End the threads of a runtime that nobody closed and nobody has; the last of them gives BLAS back."""
    blas.forget(id(pool))
    pool.close()
    facade.close(wait=False)


def _is_inside(scope: Scope | None, runtime: Runtime) -> bool:
    """Whether `scope` is, or lies in, an unfinished fork of `runtime`."""
    while scope is not None:
        if scope.runtime is runtime and hasattr(scope, "future") and not scope.ended:
            return True
        scope = scope.parent
    return False
