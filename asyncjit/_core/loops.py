"""The way into an event loop from other threads, and the loop for those who have none.

Many completions, one wake-up: each loop has an `Inbox`; the first letter arms one `call_soon_threadsafe`, the rest are
only appended. An inbox also learns that its loop has closed: it leaves a timer there, which the loop drops when it
closes (asyncio and uvloop alike), and the timer's callback has a `__del__`. No polling and no patching.

Coroutine forks made where no loop runs live on the facade's loop: run by anyio, on uvloop where there is one, in a
daemon thread that is started on first need.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import deque
from typing import Any, Protocol

import anyio

from asyncjit._core.context import this_thread

NEVER_S = 1e8  # three years: the timer that tells of a loop's end must not fire before


class Letter(Protocol):
    """Something to be done on a loop's thread."""

    def arrive(self) -> None:
        """Do it; called on the loop's thread. Must not raise."""

    def strand(self) -> None:
        """Take note that the loop has closed instead; called on any thread."""


class _Epitaph:
    """The callback of a timer that never fires: it goes when its loop closes."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def __call__(self) -> None:
        self._inbox.leave_epitaph()

    def __del__(self) -> None:
        self._inbox.close()


class Inbox:
    """What other threads have to say to one event loop, in order, with one wake-up for many letters."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.hosted: set[Any] = set()  # the coroutine forks that live on this loop
        self.budget_s = 0.0  # what is left of this turn's budget for kernels run in place
        self._letters: deque[Letter] = deque()
        self._armed = False
        self._lock = threading.RLock()  # guards _armed: it is set exactly while a call of _drain is scheduled
        self.leave_epitaph()

    def leave_epitaph(self) -> None:
        """Arrange to be told when the loop closes; called on the loop's thread."""
        if self.loop is not None:
            self.loop.call_later(NEVER_S, _Epitaph(self))

    def new_turn(self, budget_s: float) -> None:
        """Give the turn that begins a budget for kernels that the loop runs itself."""
        self.budget_s = budget_s

    @property
    def is_open(self) -> bool:
        """Whether the loop runs, so that a coroutine can be sent to it."""
        loop = self.loop
        return loop is not None and loop.is_running()

    def post(self, letter: Letter) -> None:
        """Have `letter` arrive on the loop's thread; from any thread."""
        self._letters.append(letter)
        with self._lock:
            loop = self.loop
            if self._armed and loop is not None:
                return
            self._armed = True
            try:
                if loop is not None:
                    loop.call_soon_threadsafe(self._drain)
                    return
            except RuntimeError:  # closed, and nobody told us yet
                pass
            except BaseException:  # Ctrl-C at the call's entry; the poster posts again
                self._armed = False
                raise
        self.close()

    def _drain(self) -> None:
        with self._lock:
            self._armed = False
        letters = self._letters
        try:
            while letters:
                letters.popleft().arrive()
        finally:
            if letters and self.loop is not None:  # Ctrl-C on the loop's thread
                self.loop.call_soon(self._drain)

    def close(self) -> None:
        """Take note that the loop has closed."""
        loop, self.loop = self.loop, None
        if loop is not None:
            _inboxes.pop(loop, None)
        while True:
            try:
                self._letters.popleft().strand()
            except IndexError:
                break
        hosted, self.hosted = self.hosted, set()  # each is told once, though telling may post here again
        for fork in hosted:
            fork.strand()


_inboxes: dict[asyncio.AbstractEventLoop, Inbox] = {}  # an open loop's inbox; touched on the loop's own thread


def inbox_of(loop: asyncio.AbstractEventLoop) -> Inbox:
    """Return the inbox of the loop that runs in this thread."""
    slot = this_thread()
    inbox: Inbox | None = slot.inbox
    if inbox is None or inbox.loop is not loop:
        inbox = _inboxes.get(loop)
        if inbox is None:
            inbox = _inboxes[loop] = Inbox(loop)
        slot.inbox = inbox
    return inbox


def forget_loops() -> None:
    """Forget the loops of the parent process, after os.fork."""
    _inboxes.clear()


def trio_runs_here() -> bool:
    """Whether the calling thread runs a trio loop, which asyncjit can neither see nor wake."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


class Facade:
    """The event loop of those who have none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the start: one loop, however many ask at once
        self._inbox: Inbox | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def inbox(self) -> Inbox:
        """Return the inbox of the facade's loop, which is started if need be. RuntimeError if it can't be."""
        with self._lock:
            if self._inbox is None:
                ready = threading.Event()
                self._thread = threading.Thread(target=self._host, args=(ready,), name="asyncjit facade", daemon=True)
                self._thread.start()
                ready.wait()
            if self._inbox is None:
                raise RuntimeError("the event loop of asyncjit's facade could not be started; see the traceback above")
            return self._inbox

    def _host(self, ready: threading.Event) -> None:
        """Run the loop in this thread until it is told to stop.

        Not by anyio's `start_blocking_portal`: to stop, its portal waits for the loop, and its context manager joins
        the thread when it is collected, so a stuck loop would hang the interpreter's exit.
        """

        async def main() -> None:
            self._stop = asyncio.Event()
            self._inbox = inbox_of(asyncio.get_running_loop())
            ready.set()
            await self._stop.wait()

        try:
            anyio.run(main, backend="asyncio", backend_options={"use_uvloop": _has_uvloop()})
        finally:
            ready.set()

    def close(self, *, wait: bool = True) -> None:
        """Stop the loop; its unfinished coroutine forks end cancelled. `wait=False` leaves the thread to itself."""
        with self._lock:
            inbox, self._inbox = self._inbox, None
            stop, self._stop = self._stop, None
            thread, self._thread = self._thread, None
        loop = inbox.loop if inbox is not None else None
        if loop is None or stop is None or thread is None:
            return
        with contextlib.suppress(RuntimeError):  # it has closed by itself
            loop.call_soon_threadsafe(stop.set)
        if wait and thread is not threading.current_thread():
            thread.join()


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401  # absent on Windows, and not needed until a facade is
    except ImportError:
        return False
    return True
