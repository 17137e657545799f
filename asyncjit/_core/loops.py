"""The way into an event loop from other threads.

Many completions, one wake-up: each loop has an `Inbox`; the first letter arms one `call_soon_threadsafe`, the rest are
only appended. An inbox also learns that its loop has closed: it leaves a timer there, which the loop drops when it
closes (asyncio and uvloop alike), and the timer's callback has a `__del__`. No polling and no patching.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, Protocol

from asyncjit._core.context import lock, this_thread

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
        self.awaits_turn = False  # and whether the next turn will bring a new one
        self._letters: deque[Letter] = deque()
        self._armed = False  # whether a call of _drain is scheduled, or about to be
        self.leave_epitaph()

    def leave_epitaph(self) -> None:
        """Arrange to be told when the loop closes; called on the loop's thread."""
        if self.loop is not None:
            self.loop.call_later(NEVER_S, _Epitaph(self))

    def new_turn(self, budget_s: float) -> None:
        """Give the turn that begins a budget for kernels that the loop runs itself."""
        self.budget_s = budget_s
        self.awaits_turn = False

    @property
    def is_open(self) -> bool:
        """Whether the loop runs, so that a coroutine can be sent to it."""
        loop = self.loop
        return loop is not None and loop.is_running()

    def post(self, letter: Letter) -> None:
        """Have `letter` arrive on the loop's thread; from any thread."""
        self._letters.append(letter)
        is_first = False
        try:
            with lock:
                is_first = not self._armed
                self._armed = True
            if is_first:
                self._arm()
        except BaseException:  # Ctrl-C: others rely on the wake-up already
            if is_first:
                self._arm()
            raise
        if self.loop is None:
            self.close()

    def _arm(self) -> None:
        try:
            if self.loop is not None:
                self.loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # closed, and nobody told us yet
            self.close()

    def _drain(self) -> None:
        letters = self._letters
        try:
            with lock:
                self._armed = False
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
