"""The inter-op pool: threads that claim queued kernels while permits are free.

A pool thread is running (it holds a permit), searching (woken, and has not looked yet), parked, or blocked in a wait.
A submitter wakes one only if `searching + running < limit`, so a burst of forks wakes N threads, not one per fork; it
starts one if none is parked. So there are as many threads as were ever needed at once; a thread beyond the limit that
finds nothing to do for a while ends.

A thread keeps its permit from kernel to kernel. It parks, under the lock, only after it saw an empty queue in the same
section, and a submitter queues in the section in which it looks for somebody to wake: so no kernel is overlooked.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from sys import modules
from typing import Any

from asyncjit._core import driving
from asyncjit._core.blas import blas
from asyncjit._core.cell import FINISHED, PENDING, RUNNING, Cell, new_bell, ring
from asyncjit._core.context import ThreadSlot, all_slots, lock, this_thread
from asyncjit._core.forks import Fork
from asyncjit._core.nodes import STALE
from asyncjit._core.permits import Permits

IDLE_S = 10.0  # chosen: how long a thread beyond the limit is kept for the next blocking wait


class Pool(Permits):
    """A queue of kernels and the threads that run them; see the module's docstring."""

    is_inline = False

    def __init__(self, limit: int, *, blas_threads: int | None = 1) -> None:
        super().__init__(limit)
        self.forked = 0
        self.num_threads = 0
        self.suspended: dict[Fork, None] = {}  #: coroutine forks whose body has not ended; scripted ones that wait
        self.is_closed = False
        self.blas_threads = blas_threads  #: to how many threads BLAS is held; None leaves it alone
        self.has_wished = blas_threads is None  #: and whether it has told so
        self.queue: deque[Fork] = deque()  #: of forks; those that were claimed elsewhere or cancelled are passed over
        self.ready: deque[Fork] = deque()  #: scripted forks that can go on
        self.seats: deque[Any] = deque()  #: of teams (`teams.py`) that wait for threads to come
        self.pick: Callable[[], Fork] | None = None  #: takes the next entry, where that is not the oldest
        self._parked: list[ThreadSlot] = []
        self.idle_cells: list[Cell] = []  # to be settled when the pool is idle
        self._names = 0

    def replenish(self) -> None:
        """Wake or start threads while a kernel is queued and may start."""
        while self.call_in():
            pass

    def call_in(self, *, anyway: bool = False) -> bool:
        """Wake or start a thread, if a kernel is queued and may start, or `anyway`; tell whether one comes."""
        bell, birth, fresh = None, None, Birth()
        try:
            with lock:
                if not anyway and (self.searching >= self.queued or self.running + self.searching >= self.limit):
                    return False
                self.searching += 1
                if self._parked:
                    slot = self._parked[-1]
                    del self._parked[-1]
                    slot.searching = True
                    bell = slot.bell
                else:
                    birth = fresh
                    self.num_threads += 1
            if bell is None:
                return self._start_thread(fresh)
            ring(bell)
        except BaseException:  # Ctrl-C: who is counted as searching must be told, or taken back
            if bell is not None:
                ring(bell)
            elif birth is not None:
                self._void(birth)
            raise
        return True

    def _start_thread(self, birth: Birth) -> bool:
        """Start a pool thread that is counted already; if no more are to be had, let those there are go on."""
        self._names += 1
        try:
            threading.Thread(target=self._work, args=(birth,), name=f"asyncjit {self._names}", daemon=True).start()
        except RuntimeError:
            self._void(birth)
            if self.num_threads:
                return False
            raise
        return True

    def _void(self, birth: Birth) -> None:
        """Take back the count of a thread that was not started, or does not run yet."""
        with lock:
            if not birth.is_alive and not birth.is_void:
                birth.is_void = True
                self.searching -= 1
                self.num_threads -= 1

    # -- the threads

    def _work(self, birth: Birth) -> None:
        slot = this_thread()
        with lock:
            if birth.is_void:
                return
            birth.is_alive = True
        slot.pool = self
        slot.searching = True
        slot.bell = new_bell()
        while self._run_one(slot):
            pass
        self.tell_idle()
        blas.settle()

    def _run_one(self, slot: ThreadSlot) -> bool:
        """Run one kernel, or sleep; False when the thread shall end. A frame of its own frees all of it."""
        with lock:
            if slot.searching:
                slot.searching = False
                self.searching -= 1
            seat, fork = None, slot.fork  # claimed by the scripted fork that has just left this thread
            if fork is None:
                if slot.permit is self and self.running > self.limit:  # the excess, or a lowered limit, is paid here
                    slot.permit = None
                    self.running -= 1
                if self.seats:
                    seat = self._take_seat(slot)
                if seat is None and (slot.permit is self or self.running < self.limit):
                    fork = self._claim(slot)
        if seat is not None:
            self.prepare(slot)
            seat.serve(slot)
            return True
        if fork is None:
            return self._park(slot)
        if not self.has_wished or slot.blas_generation != blas.generation or len(modules) != blas.num_modules:
            self.prepare(slot)
        if fork.coroutine is None:
            fork.execute(slot, fork.future, None, self)
        else:
            driving.go_on(fork, slot)
        if len(self.queue) > STALE:  # of kernels that scripted forks claimed
            self.sweep()
        return True

    def _claim(self, slot: ThreadSlot) -> Fork | None:
        """Claim a fork that can go on, or the first kernel nobody took or cancelled, with a permit. Under the lock."""
        fork = self.ready.popleft() if self.ready else self._first_pending()
        if fork is not None:
            self.queued -= 1
            if slot.permit is not self:
                self.running += 1
                slot.permit = self
            slot.fork = fork
        return fork

    def _first_pending(self) -> Fork | None:
        while self.queue:
            fork = self.queue.popleft() if self.pick is None else self.pick()
            future = fork.future
            if future is not None and future._state == PENDING:
                future._state = RUNNING
                return fork
        return None

    def _take_seat(self, slot: ThreadSlot) -> Any:
        """Take an open seat of a team, if there is one, and its permit instead of an own one. Under the lock."""
        while self.seats:
            seat = self.seats.popleft().take_seat()
            if seat is not None:
                if slot.permit is self:
                    self.running -= 1
                slot.permit = self
                return seat
        return None

    def sweep(self) -> None:
        """Drop the entries that nobody will claim, if they are many: no thread may come to pass over them for long."""
        if len(self.queue) > 2 * self.queued + STALE:
            with lock:
                self.queue = deque(self._pending())

    def _park(self, slot: ThreadSlot) -> bool:
        """Sleep until woken; False when the thread shall end instead."""
        with lock:
            if slot.permit is not self and self.running < self.limit and self.queued:
                return True  # a kernel or a permit came between the sections
            if slot.permit is self:
                if self.queued:
                    return True
                slot.permit = None
                self.running -= 1
            if self.is_closed and not self.queued:
                self.num_threads -= 1
                return False
            slot.bell = new_bell()
            self._parked.append(slot)
            patience = IDLE_S if self.num_threads > self.limit else -1
        self.tell_idle()
        if slot.bell.acquire(timeout=patience):
            return True
        with lock:
            if slot in self._parked:
                self._parked.remove(slot)
                if self.num_threads > self.limit:  # others may have ended meanwhile
                    self.num_threads -= 1
                    return False
        return True

    # -- other libraries' threads

    def wish(self) -> None:
        """Have BLAS and OpenMP held from the next kernel on, of whatever pool."""
        if self.blas_threads is not None:
            blas.wish(id(self), self.blas_threads)
            self.has_wished = True

    def prepare(self, slot: ThreadSlot) -> None:
        """Hold BLAS and OpenMP before a kernel starts: for the process when the pool gets busy, and for this thread."""
        if self.blas_threads is None:
            return
        if not self.has_wished:
            self.wish()
        if self.running <= 1 or blas.num_modules < 0:  # a scan for what was imported meanwhile takes milliseconds
            blas.hold()
        if slot.blas_generation != blas.generation:
            blas.enter_thread(slot, is_own=slot.pool is self)

    def unprepare(self, slot: ThreadSlot) -> None:
        """Give a thread that only lent itself its own OpenMP limit back."""
        if slot.permit is None or slot.permit.blas_threads is None:
            blas.leave_thread(slot)

    # -- settings and the end

    def set_limit(self, limit: int) -> None:
        """Let `limit` kernels run at once; fewer than before show as kernels end."""
        self.limit = limit
        for _ in range(len(self._parked)):  # those now beyond the limit shall not sleep for ever
            self.call_in(anyway=True)
        self.replenish()

    @property
    def is_idle(self) -> bool:
        """Whether no kernel is queued, running or blocked and none is suspended."""
        return not (self.queued or self.running or self.blocked or self.suspended)

    def when_idle(self, cell: Cell) -> None:
        """Settle `cell` when the pool is idle, or now if it is."""
        with lock:
            self.idle_cells.append(cell)
        self.tell_idle()

    def tell_idle(self) -> None:
        """Settle the cells of those who wait for the pool to be idle, if it is."""
        if self.idle_cells:
            with lock:
                cells, self.idle_cells = (self.idle_cells, []) if self.is_idle else ([], self.idle_cells)
            for cell in cells:
                cell._settle(FINISHED, None)

    def pending(self) -> list[Fork]:
        """Return the kernels that are queued and not started."""
        with lock:
            return self._pending()

    def _pending(self) -> list[Fork]:
        return [fork for fork in self.queue if is_pending(fork)]

    def started(self) -> list[Fork]:
        """Return the kernels that have started and neither ended nor wait suspended: those that can go on are there."""
        with lock:
            return self._started()

    def _started(self) -> list[Fork]:
        forks = dict.fromkeys(self.ready)  # in order, and each once: an executor's thread may stand for a pool thread
        for slot in all_slots:
            fork = slot.fork
            while fork is not None:
                if fork.pool is self:
                    forks[fork] = None
                fork = fork.outer
        return list(forks)

    def close(self) -> None:
        """Let the threads end once the queue is empty."""
        self.is_closed = True
        self.set_limit(self.limit)


def is_pending(fork: Fork) -> bool:
    """Whether nobody has claimed or cancelled a kernel."""
    future = fork.future
    return future is not None and future._state == PENDING


class InlinePool(Pool):
    """No thread at all: what is queued runs in the waits (the debugger's mode)."""

    is_inline = True

    def __init__(self, limit: int, *, blas_threads: int | None = 1) -> None:
        super().__init__(sys.maxsize, blas_threads=blas_threads)

    def replenish(self) -> None:
        """Start nothing."""

    def set_limit(self, limit: int) -> None:
        """Keep nothing from running: one thread waits, so one kernel runs."""


class Birth:
    """Whether a thread that was counted came to life before its starter was interrupted."""

    is_alive = False
    is_void = False
