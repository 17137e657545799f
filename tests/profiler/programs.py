"""Small programs to profile: kernels below kernels, coroutines that await kernels, and what fails or is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

import asyncjit
from asyncjit import sync


def tree(depth: int) -> int:
    if depth == 0:
        return 1
    return sum(sync.wait(future) for future in [sync.fork(tree, depth - 1) for _ in range(2)])


def forked_from_a_script() -> None:
    sync.call(tree, 3)
    sync.wait_all([sync.fork(np.negative, np.ones(3)) for _ in range(5)])


def awaited() -> None:
    async def branch(depth: int) -> int:
        if depth == 0:
            return await asyncjit.call(tree, 1)
        return sum(await asyncio.gather(*(asyncjit.fork(branch, depth - 1) for _ in range(2))))

    async def main() -> None:
        await asyncjit.call(branch, 2)

    with asyncio.Runner() as runner:
        runner.run(main())


def cancelled_and_failed() -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    futures: list[sync.Future[Any]] = [sync.fork(tree, 1) for _ in range(5)]
    failing: sync.Future[None] = sync.fork(fail)
    futures.append(failing)
    futures[-2].cancel()
    sync.wait_all(futures, return_exceptions=True)


PROGRAMS: list[Callable[[], None]] = [forked_from_a_script, awaited, cancelled_and_failed]
