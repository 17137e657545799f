"""Kernels whose bodies run in a runtime's own executor."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

from asyncjit._core.context import this_thread
from asyncjit._core.forks import Fork


class Shipped:
    """A kernel whose body runs in the runtime's executor; its pool thread waits for it there.

    A thread of the executor stands for the pool thread meanwhile: it has the context, and lends the permit in its
    waits. Another process has neither.
    """

    def __init__(self, executor: Executor, fn: Callable[..., Any]) -> None:
        self.executor = executor
        self.func = fn  # as functools.partial calls it, so that the fork bears its name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the body there, unless the calling thread is the executor's already."""
        if not isinstance(self.executor, ThreadPoolExecutor):
            return self.executor.submit(self.func, *args, **kwargs).result()
        here = this_thread()
        if here.executor is self.executor:
            return self.func(*args, **kwargs)
        stand_in = partial(self._stand_in, here.fork, partial(self.func, *args, **kwargs))
        return self.executor.submit(contextvars.copy_context().run, stand_in).result()

    def _stand_in(self, fork: Fork, body: Callable[[], Any]) -> Any:
        slot = this_thread()
        slot.executor, slot.fork, slot.permit = self.executor, fork, fork.pool
        fork.pool.prepare(slot)
        try:
            return body()
        finally:
            slot.executor = slot.fork = slot.permit = None
            fork.pool.unprepare(slot)
