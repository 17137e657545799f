"""Teams: threads that run one kernel's pieces together, each with a permit of its own.

A split kernel takes, in one section, as many permits as are free at that moment and nobody queues for; the caller is
one of the team. So the permits are all held before the first piece starts, the bound holds, and no piece ever waits
for a permit while others wait for it at a barrier. A seat of the team lies in `pool.seats` until a pool thread comes
for it; with the seat it takes over the permit, and keeps it from then on as its own.

If Ctrl-C ends the caller, the seats that nobody took are void, their permits go back, and those at work leave at their
next barrier or piece; the caller does not wait for them.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from asyncjit._core.cell import new_bell, ring
from asyncjit._core.context import Process, ThreadSlot, lock
from asyncjit._core.pool import Pool
from asyncjit._core.waiting import LOST_SIGNAL_S

Body = Callable[["Member"], object]


class _BrokenError(BaseException):
    """Another member has failed, or the caller was interrupted: there is nothing to meet for."""


class Member:
    """One thread of a team: `rank` of `size`, the caller being 0."""

    __slots__ = ("_team", "rank", "size")

    def __init__(self, team: Team | None, rank: int, size: int) -> None:
        self._team = team
        self.rank = rank
        self.size = size

    @property
    def is_stopped(self) -> bool:
        """Whether another member has failed, so that nobody needs the rest."""
        return self._team is not None and self._team.is_broken

    def meet(self) -> None:
        """Wait until every member of the team has come here."""
        if self._team is not None:
            self._team.meet(self.rank)

    def serve(self, slot: ThreadSlot) -> None:
        """Take part, in a pool thread that holds the seat's permit."""
        if self._team is not None:
            self._team.serve(self, slot)


ALONE = Member(None, 0, 1)


class Team:
    """The caller and those who came to its help; see the module's docstring. `context.lock` guards the counts."""

    def __init__(self, pool: Pool, fork: Any, body: Body) -> None:
        self.pool = pool
        self.fork = fork
        self.body = body
        self.size = 1
        self.num_unseated = 0  # seats that no thread has taken, whose permits are the team's
        self.num_seated = 0
        self.num_left = 0
        self.num_met = 0
        self.is_done = False  # the caller's own part
        self.is_broken = False
        self.error: BaseException | None = None
        self.has_claimed = False  # the caller's own permit is the team's: it is a script's thread
        self.contexts: list[contextvars.Context] = []
        self.bells: list[threading.Lock] = []
        self.is_complete = new_bell()
        self.generation = Process.generation

    # -- the caller

    def run(self, slot: ThreadSlot, most: int) -> bool:
        """Run the body on up to `most` threads, this one among them; False, and nothing is done, if none is free."""
        try:
            has_run = self._attempt(slot, most)
        finally:
            try:
                self._settle(slot)
            except BaseException as error:  # Ctrl-C while settling: once more, waiting for nobody, then let it through
                self.fail(error)
                self._settle(slot)
                raise
        self._raise_error()
        return has_run

    def _attempt(self, slot: ThreadSlot, most: int) -> bool:
        # A function of its own: the handlers end in a jump back, and a signal that falls on it would skip a `finally`.
        try:
            self._take_permits(slot, most - 1)
            if not self.num_unseated:
                return False
            self._call_in()
            self.body(Member(self, 0, self.size))
            self.is_done = True
        except _BrokenError:
            pass
        except BaseException as error:
            self.fail(error)
        return True

    def _take_permits(self, slot: ThreadSlot, wanted: int) -> None:
        pool, is_script = self.pool, slot.permit is None
        with lock:
            free = pool.limit - pool.running - is_script  # who searches finds nothing queued, and may take a seat
            if free > 0 and wanted > 0 and not pool.queued and not pool.is_closed:
                self.num_unseated = free if free < wanted else wanted
                pool.running += self.num_unseated + is_script
                if is_script:
                    slot.permit = pool
                    self.has_claimed = True

    def _call_in(self) -> None:
        """Post the seats and wake or start a thread for each; then all know how many they are."""
        wanted, num_coming = self.num_unseated, 0
        self.contexts = [contextvars.copy_context() for _ in range(wanted)]
        self.bells = [new_bell() for _ in range(wanted + 1)]
        with lock:
            self.pool.seats += (self,) * wanted
        try:
            while num_coming < wanted and self.pool.call_in(anyway=True):
                num_coming += 1
        except RuntimeError:  # the system has no more threads: fewer come
            pass
        with lock:
            missing = wanted - num_coming
            if missing > self.num_unseated:  # one that searched has taken a seat meanwhile
                missing = self.num_unseated
            self.pool.running -= missing
            self.num_unseated -= missing
            self.size = 1 + wanted - missing
        self.is_complete.release()

    def _settle(self, slot: ThreadSlot) -> None:
        """Make the seats that nobody took void, wait for those who came, and give back what the team still holds."""
        pool = self.pool
        with lock:
            if not self.is_done:
                self.is_broken = True
            num_returned = self.num_unseated + self.has_claimed
            pool.running -= num_returned
            self.num_unseated = 0
            if self.has_claimed:
                self.has_claimed = False
                slot.permit = None
        if num_returned:
            pool.replenish()
            pool.tell_idle()
        if self.is_broken:
            self._ring_all()
        while self._waits_for_others():
            self.bells[0].acquire(timeout=LOST_SIGNAL_S)

    def _waits_for_others(self) -> bool:
        is_interrupted = self.error is not None and not isinstance(self.error, Exception)
        return self.num_left < self.num_seated and not is_interrupted and self.generation == Process.generation

    def _raise_error(self) -> None:
        error, self.error = self.error, None  # its traceback holds this frame
        if error is not None:
            try:
                raise error
            finally:
                del error

    # -- those who come

    def take_seat(self) -> Member | None:
        """Take over a seat with its permit; None if it is void. Under the lock."""
        if not self.num_unseated:
            return None
        self.num_unseated -= 1
        self.num_seated += 1
        return Member(self, self.num_seated, 0)

    def serve(self, member: Member, slot: ThreadSlot) -> None:
        """Run the body in a pool thread that has taken a seat."""
        fork = slot.fork = self.fork
        instruments = fork.instruments if fork is not None else ()
        for instrument in instruments:
            instrument.strand_started(fork)
        try:
            with self.is_complete:
                member.size = self.size
            if not self.is_broken:
                self.contexts[member.rank - 1].run(self.body, member)
        except _BrokenError:
            pass
        except BaseException as error:
            self.fail(error)
        finally:
            for instrument in instruments:
                instrument.strand_ended(fork)
            slot.fork = None
            with lock:
                self.num_left += 1
            ring(self.bells[0])

    # -- all

    def meet(self, rank: int) -> None:
        """Wait until all have come."""
        with lock:
            self.num_met += 1
            is_last = self.num_met == self.size
            if is_last:
                self.num_met = 0
        if is_last:
            for other in range(self.size):
                if other != rank:
                    ring(self.bells[other])
        elif not self.is_broken:
            _await(self.bells[rank])
        if self.is_broken:
            raise _BrokenError

    def fail(self, error: BaseException) -> None:
        """Keep the first error, and let nobody wait for the one who has it."""
        with lock:
            if self.error is None:
                self.error = error
            self.is_broken = True
        self._ring_all()

    def _ring_all(self) -> None:
        for bell in (*self.bells, self.is_complete):
            ring(bell)


def _await(bell: threading.Lock) -> None:
    """Wait until `bell` rings."""
    while not bell.acquire(timeout=LOST_SIGNAL_S):
        pass
