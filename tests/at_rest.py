"""What the tests of the tree share: bodies that are held or never end, and a runtime that must end idle."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asyncjit import Future, check_cancelled, sync

PATIENCE_S = 30.0  # a watchdog for what must happen; no test passes by its running out


class Gate:
    """A kernel that tells that it runs, and runs until it is opened."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.ended = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self._opened.wait(PATIENCE_S), "nobody opened the gate"
        self.ended.set()
        return "passed"

    def open(self) -> None:
        self._opened.set()

    def await_start(self) -> None:
        assert self.started.wait(PATIENCE_S), "the kernel did not start"


def explode(error: BaseException) -> None:
    """Stand for a kernel that fails."""
    raise error


async def explode_async(error: BaseException) -> None:
    """Stand for a coroutine that fails, though not in its first step."""
    await asyncio.sleep(0)
    raise error


def wait_for_ever() -> None:
    """Stand for a kernel that ends only when it is cancelled."""
    while True:
        check_cancelled()


async def sleep_for_ever() -> None:
    """Stand for a coroutine that ends only when it is cancelled."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("woken by nobody")


class Sleeper:
    """A coroutine function that sleeps until it is cancelled, and tells of its start and end."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.is_ended = False
        self.error: BaseException | None = None

    async def __call__(self) -> None:
        self.started.set()
        try:
            await sleep_for_ever()
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.is_ended = True


@contextlib.contextmanager
def all_threads_busy(runtime: sync.Runtime) -> Iterator[list[Gate]]:
    """Hold every permit of the runtime, so that what is forked in the block stays queued."""
    gates = [Gate() for _ in range(runtime.num_interop_threads)]
    for gate in gates:
        sync.fork(gate)
    for gate in gates:
        gate.await_start()
    try:
        yield gates
    finally:
        for gate in gates:
            gate.open()


def until(condition: Callable[[], object]) -> None:
    """Yield to the other threads until `condition` holds."""
    watchdog = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < watchdog, "what was waited for never came"
        time.sleep(0)


def when_idle(runtime: sync.Runtime) -> Future[None]:
    """Return a future that is done when the runtime is idle and its threads have left the bodies they ran."""
    idle: Future[None] = Future()
    runtime.pool.when_idle(idle)
    return idle


def assert_at_rest(runtime: sync.Runtime) -> None:
    """Close the runtime: nothing may still run, no count be off, and every fork have ended in one way."""
    assert runtime.close(timeout=PATIENCE_S) == []
    now = runtime.statistics()
    assert (now.running, now.queued, now.blocked, now.suspended, now.excess) == (0, 0, 0, 0, 0), now
    assert now.forked == now.finished + now.failed + now.cancelled, now


async def until_async(condition: Callable[[], object]) -> None:
    """Yield to the other tasks and threads until `condition` holds."""
    watchdog = time.monotonic() + PATIENCE_S
    while not condition():  # a thread's state, which no asyncio event tells
        assert time.monotonic() < watchdog, "what was waited for never came"
        await asyncio.sleep(0)


async def settle() -> None:
    """Let the loop run what is ready, with what follows from it."""
    for _ in range(10):
        await asyncio.sleep(0)


def errors_of(group: BaseExceptionGroup[Any]) -> list[tuple[type, str]]:
    """Tell the errors of a group by type and text."""
    return [(type(error), str(error)) for error in group.exceptions]


async def outcome_of(awaitable: Awaitable[Any]) -> Any:
    """Return what comes of `awaitable`: its value or its error."""
    try:
        return await awaitable
    except BaseException as error:
        return error
