"""Where code may fork: a script's thread, a plain thread, a pool thread, a thread that runs a loop; and watching it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from asyncjit import Future, sync
from tests.at_rest import PATIENCE_S

T = TypeVar("T")


def in_script(fn: Callable[[], T]) -> T:
    """Call `fn` as a script does."""
    return fn()


def in_plain_thread(fn: Callable[[], T]) -> T:
    """Call `fn` in a thread that knows nothing of asyncjit, in an empty context."""
    return in_threads(fn)[0]


def in_pool_thread(fn: Callable[[], T]) -> T:
    """Call `fn` in a kernel."""
    return sync.wait(sync.fork(fn), timeout=PATIENCE_S)


def in_loop_thread(fn: Callable[[], T]) -> T:
    """Call `fn` in a task, on a loop that goes on until all its other tasks have ended."""

    async def main() -> T:
        value = fn()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        return value

    return asyncio.run(main())


PLACES: list[Callable[[Callable[[], Any]], Any]] = [in_script, in_plain_thread, in_pool_thread, in_loop_thread]


def in_threads(*fns: Callable[[], T]) -> list[T]:
    """Call all `fns` at once, each in a plain thread; return their values, or raise the first error."""
    values: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(index: int, fn: Callable[[], T]) -> None:
        try:
            values[index] = contextvars.Context().run(fn)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i, fn), daemon=True) for i, fn in enumerate(fns)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread did not end"
    if errors:
        raise errors[0]
    return [values[i] for i in range(len(fns))]


def in_thread(fn: Callable[[], Any]) -> Callable[[], Any]:
    """Call `fn` in a plain thread; the function returned gives its value, or raises its error."""
    future: Future[Any] = Future()

    def body() -> None:
        try:
            future.set_result(fn())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=body)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE_S)
        return future.result(PATIENCE_S)

    return result


def in_place(body: Callable[[], T]) -> T:
    """Call `body` in a kernel that the calling thread runs in place, however often a pool thread is faster."""
    me = threading.get_ident()

    def kernel() -> tuple[bool, T | None]:
        is_mine = threading.get_ident() == me
        return is_mine, body() if is_mine else None

    while True:
        is_mine, value = sync.wait(sync.fork(kernel))
        if is_mine:
            return value  # type: ignore[return-value]


@contextmanager
def pool_asleep(runtime: sync.Runtime) -> Iterator[None]:
    """Keep the pool's threads from what is forked in the block, so that its waiter runs it in place."""
    runtime.pool.searching += 1000
    yield
    runtime.pool.searching -= 1000
    runtime.pool.replenish()


class HighWater:
    """How many threads compute at once: now, and at most so far."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self._lock = threading.Lock()  # guards both

    @contextmanager
    def computing(self) -> Iterator[int]:
        """Count the calling thread in the block; yield how many computed before it came."""
        with self._lock:
            before = self.now
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield before
        finally:
            with self._lock:
                self.now -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Leave the calling thread out of the count in the block."""
        with self._lock:
            self.now -= 1
        try:
            yield
        finally:
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
