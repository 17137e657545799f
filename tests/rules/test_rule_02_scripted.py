"""Rule 2 of scripted forks: no more run than may, whatever waits how, and however they go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import asyncjit
from asyncjit import fork, sync
from tests.at_rest import PATIENCE_S, until
from tests.core.scripted import run, scripted
from tests.rules.places import HighWater


def test_no_more_run_than_may_whatever_waits_how(runtime: sync.Runtime) -> None:
    """Each future has one waiter, and only who can queue for a permit waits for coroutines: so there is no excess."""
    high = HighWater()

    def kernel(depth: int) -> int:
        with high.computing():
            total = 1
            for future in [fork(fn, depth - 1) for fn in (kernel, script)] if depth else []:
                with high.waiting():
                    total += sync.wait(future)
        return total

    @scripted
    async def script(depth: int) -> int:
        with high.computing():
            futures = [fork(fn, depth - 1) for fn in fns] if depth else []
        total = 1
        for future in futures:
            total += await run(sync.wait, future)
            with high.computing():
                pass
        return total

    async def coroutine(depth: int) -> Any:
        futures = [fork(fn, depth - 1) for fn in fns] if depth else []
        return 1 + sum(await asyncjit.wait_all(futures))

    fns: list[Callable[[int], Any]] = [kernel, script, coroutine]
    assert fork(script, 5).result(PATIENCE_S) == 1 + sum(count(kind, 4) for kind in "ksc")
    assert 0 < high.most <= runtime.num_interop_threads


def count(kind: str, depth: int) -> int:
    """Count the forks below one of the given kind, and itself."""
    return 1 + (sum(count(below, depth - 1) for below in ("ks" if kind == "k" else "ksc")) if depth else 0)


def test_no_more_go_on_than_may(runtime: sync.Runtime) -> None:
    @scripted
    async def script() -> None:
        await run(sync.wait, target)
        with high.computing():
            for _ in range(100):
                pass

    high = HighWater()
    target: asyncjit.Future[None] = asyncjit.Future()
    forks = [fork(script) for _ in range(200)]
    until(lambda: runtime.statistics().suspended == 200)
    target.set_result(None)
    sync.wait_all(forks, PATIENCE_S)
    assert 0 < high.most <= runtime.num_interop_threads


def test_a_smaller_number_of_threads_shows_while_scripted_forks_go_on_and_on() -> None:
    @scripted
    async def loop() -> None:
        while not over.is_set():
            await run(sync.wait, fork(count_once))

    def count_once() -> None:
        with high.computing():
            pass

    over = threading.Event()
    with sync.Runtime(4, blas_threads=None) as runtime:
        high = HighWater()
        loops = [fork(loop) for _ in range(4)]
        until(lambda: high.most >= 1)
        sync.set_num_interop_threads(1)
        try:
            until(lambda: runtime.statistics().excess == 0)
        finally:
            over.set()
        sync.wait_all(loops, PATIENCE_S)
