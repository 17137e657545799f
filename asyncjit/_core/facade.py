"""The facade: the event loop of those who have none.

Coroutine forks made where no loop runs live here: on a loop run by anyio, on uvloop where there is one, in a daemon
thread that is started on first need. It is not anyio's blocking portal: to stop, that waits for its loop, and is joined
when it is collected, so a stuck loop would hang the interpreter's exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

import anyio

from asyncjit._core.context import lock
from asyncjit._core.loops import Inbox, inbox_of


class Facade:
    """The loop of one runtime, once it is needed."""

    def __init__(self) -> None:
        self._loop: FacadeLoop | None = None
        self._is_closed = False

    def inbox(self) -> Inbox:
        """Return the inbox of the facade's loop, which is started if need be; RuntimeError if it can't be.

        Nothing is locked while a loop starts, for a signal handler that waited meanwhile would wait for ever. If
        several ask at once, several start, one is kept and the others are stopped.
        """
        loop = self._loop
        if loop is not None and loop.has_ended:
            loop = None
        if loop is None and not self._is_closed:
            started = FacadeLoop()
            try:
                started.start()
                with lock:
                    if (self._loop is None or self._loop.has_ended) and not self._is_closed:
                        self._loop = started
                    loop = self._loop
            finally:
                if self._loop is not started:
                    started.stop()
        if loop is None or loop.inbox is None:
            raise RuntimeError("the facade has no event loop: it is closed, or see the traceback above")
        return loop.inbox

    def close(self, *, wait: bool = True) -> None:
        """Stop the loop; its unfinished coroutine forks end cancelled. `wait=False` leaves the thread to itself."""
        with lock:
            self._is_closed = True
            loop = self._loop
            self._loop = None
        if loop is not None:
            loop.stop()
            if wait:
                loop.join()


class FacadeLoop:
    """A loop in a daemon thread of its own."""

    def __init__(self) -> None:
        self.inbox: Inbox | None = None
        self._stop: asyncio.Event | None = None
        self._is_stopped = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asyncjit facade", daemon=True)

    @property
    def has_ended(self) -> bool:
        """Whether its loop has closed: somebody's coroutine may have stopped it."""
        return self.inbox is not None and self.inbox.loop is None

    def start(self) -> None:
        """Return when the loop runs, or has failed to."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Have the loop stop, from any thread; also one that is still about to start."""
        self._is_stopped = True
        loop = self.inbox.loop if self.inbox is not None else None
        if loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it has closed by itself
                loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        """Wait until the loop has closed."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            anyio.run(self._live, backend="asyncio", backend_options={"use_uvloop": _has_uvloop()})
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        self.inbox = inbox_of(asyncio.get_running_loop())
        self._ready.set()
        if not self._is_stopped:  # asked after `inbox` was set: whoever stops it from now on finds the loop
            await self._stop.wait()


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401  # absent on Windows, and not needed until a facade is
    except ImportError:
        return False
    return True
