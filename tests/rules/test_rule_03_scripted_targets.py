"""Rule 3 of scripted waits: whatever is waited for, and whoever completes it, the fork goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, collect_all, fork, sync
from asyncjit._core.cell import Callback
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, until
from tests.core.scripted import run, scripted, wait_for
from tests.rules.places import in_threads

me = threading.get_ident


@scripted
async def wait_and_tell(future: Future[Any]) -> tuple[Any, int]:
    """Wait for a future; return its value, and the thread that goes on."""
    value = await run(sync.wait, future)
    return value, me()


# -- what may be waited for


def test_a_future_that_others_complete(runtime: sync.Runtime) -> None:
    def by_main(future: Future[int]) -> None:
        future.set_result(1)

    def by_thread(future: Future[int]) -> None:
        in_threads(lambda: future.set_result(1))

    def by_kernel(future: Future[int]) -> None:
        fork(future.set_result, 1)

    def by_callback(future: Future[int]) -> None:
        fork(int).add_done_callback(lambda _: future.set_result(1))

    def by_loop(future: Future[int]) -> None:
        async def main() -> None:
            future.set_result(1)

        asyncio.run(main())

    for complete in (by_main, by_thread, by_kernel, by_callback, by_loop):
        future: Future[int] = Future()
        waiting = fork(wait_for, future)
        until(lambda: runtime.statistics().suspended)
        complete(future)
        assert waiting.result(PATIENCE_S) == 1, complete.__name__


def test_a_coroutine_fork_on_the_facade(runtime: sync.Runtime) -> None:
    async def coroutine() -> int:
        await asyncio.sleep(0)
        return await asyncjit.call(int, 3)

    assert fork(wait_for, fork(coroutine)).result(PATIENCE_S) == 3
    assert sync.wait(fork(wait_for, fork(coroutine))) == 3


async def test_coroutines_of_a_loop_and_scripted_forks_wait_for_each_other(runtime: sync.Runtime) -> None:
    async def coroutine(depth: int) -> int:
        return 1 + await fork(script, depth - 1) if depth else 0

    @scripted
    async def script(depth: int) -> int:
        return 1 + await run(sync.wait, fork(coroutine, depth - 1)) if depth else 0

    assert await fork(coroutine, 50) == 50
    assert await asyncjit.call(script, 50) == 50


def test_scripted_forks_and_blocking_kernels_nest(runtime: sync.Runtime) -> None:
    def kernel(depth: int) -> int:
        return 1 + sync.wait(fork(script, depth - 1)) if depth else 0

    @scripted
    async def script(depth: int) -> int:
        return 1 + await run(sync.wait, fork(kernel, depth - 1)) if depth else 0

    assert sync.wait(fork(kernel, 100)) == 100
    assert fork(script, 100).result(PATIENCE_S) == 100


def test_futures_that_follow_from_others(runtime: sync.Runtime) -> None:
    @scripted
    async def script() -> list[Any]:
        futures = [fork(int, n) for n in range(3)]
        collected = await run(sync.wait, collect_all(futures))
        then = await run(sync.wait, fork(int, 3).then(lambda done: done.value() + 1))
        return [[fut.value() for fut in collected], then, await run(sync.wait_all, [futures[0], futures[0]])]

    assert sync.wait(fork(script)) == [[0, 1, 2], 4, [0, 0]]
    assert fork(script).result(PATIENCE_S) == [[0, 1, 2], 4, [0, 0]]


def test_one_future_twice_and_one_that_is_done(runtime: sync.Runtime) -> None:
    @scripted
    async def script() -> list[int]:
        future = fork(int, 1)
        done: Future[int] = Future()
        done.set_result(2)
        return [await run(sync.wait, fut) for fut in (future, future, done)]

    assert fork(script).result(PATIENCE_S) == [1, 1, 2]


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
def test_futures_of_another_runtime(runtime: sync.Runtime, inline: bool) -> None:
    with sync.Runtime(1, blas_threads=None, inline=inline, local=True) as other:
        theirs = [fork(int, n) for n in range(3)]
        with contextlib.nullcontext() if inline else all_threads_busy(other):
            theirs += [fork(int, n) for n in range(3)]
            [waiting] = in_threads(lambda: fork(_sum_of, theirs))  # on the process's current runtime
            assert runtime.statistics().forked == 1
            until(lambda: runtime.statistics().suspended or waiting.done())
        assert waiting.result(PATIENCE_S) == 6
        assert other.statistics().finished >= 6


@scripted
async def _sum_of(futures: list[Future[int]]) -> int:
    return sum([await run(sync.wait, fut) for fut in futures])


# -- callbacks in a thread that has somebody to go on with


def test_a_callback_that_waits_for_the_scripted_fork_itself(runtime: sync.Runtime) -> None:
    def after_waiter(done: Future[Any]) -> None:
        told.append(waiting.result(PATIENCE_S))

    told: list[int] = []
    gate = Gate()
    running = fork(lambda: (gate(), 7)[1])
    gate.await_start()
    waiting = fork(wait_for, running)
    if runtime.num_interop_threads > 1:
        until(lambda: runtime.statistics().suspended)
    running.add_done_callback(after_waiter)
    gate.open()
    until(lambda: told)
    assert told == [7]


def test_a_callback_whose_own_loop_awaits_the_scripted_fork() -> None:
    def after_waiter(done: Future[Any]) -> None:
        async def main() -> int:
            return await waiting

        told.append(asyncio.run(main()))

    told: list[int] = []
    with sync.Runtime(2, blas_threads=None) as runtime:
        gate = Gate()
        running = fork(lambda: (gate(), 7)[1])
        gate.await_start()
        waiting = fork(wait_for, running)
        until(lambda: runtime.statistics().suspended)
        running.add_done_callback(after_waiter)
        gate.open()
        waiting.result(PATIENCE_S)
        until(lambda: told)
    assert told == [7]


def test_a_callback_that_waits_for_an_event_of_the_scripted_fork() -> None:
    """The thread is held by the callback: what is told after goes on elsewhere."""

    @scripted
    async def script() -> None:
        await run(sync.wait, running)
        went_on.set()

    went_on = threading.Event()
    seen: list[bool] = []
    with sync.Runtime(2, blas_threads=None) as runtime:
        gate = Gate()
        running = fork(gate)
        gate.await_start()
        waiting = fork(script)
        until(lambda: runtime.statistics().suspended)
        running.add_done_callback(lambda _: seen.append(went_on.wait(5)))
        gate.open()
        waiting.result(PATIENCE_S)
        until(lambda: seen)
    assert seen == [True]


def test_a_callback_of_what_a_failure_cancels_waits_for_an_event_of_the_scripted_fork() -> None:
    @scripted
    async def body(failing: Future[Any]) -> None:
        with contextlib.suppress(ValueError):
            await run(sync.wait, failing)
        seen.set()

    def fail() -> None:
        gate()
        raise ValueError("on purpose")

    def see(_: Future[Any]) -> None:
        told.append(seen.wait(PATIENCE_S))

    seen, gate, other = threading.Event(), Gate(), Gate()
    told: list[bool] = []
    with sync.Runtime(3, blas_threads=None) as runtime:

        def script() -> None:
            with sync.fork_group() as group:
                failing = group.fork(fail)
                gate.await_start()
                waiting.append(sync.fork(body, failing))
                until(lambda: runtime.statistics().suspended)
                group.fork(other).add_done_callback(see)
                other.await_start()
                gate.open()
                until(lambda: told)
                other.open()

        waiting: list[Future[None]] = []
        with pytest.raises(ExceptionGroup, match="errors in a fork_group"):
            script()
        assert told == [True]
        waiting[0].result(PATIENCE_S)


def test_a_fork_about_to_go_on_keeps_the_runtime_busy_though_the_permit_has_gone_to_a_blocked_waiter() -> None:
    def blocked() -> None:
        running.result(PATIENCE_S)

    def watch(done: Future[Any]) -> None:
        until(blocker.done)
        until(lambda: blocker._source.future is None)  # type: ignore[union-attr]
        threads_idle = runtime.statistics().running == 0
        seen.append((threads_idle, runtime.pool.is_idle, waiting.done()))

    seen: list[tuple[bool, bool, bool]] = []
    with sync.Runtime(2, blas_threads=None) as runtime:
        gate = Gate()
        running = fork(gate)
        gate.await_start()
        blocker = fork(blocked)
        until(lambda: runtime.statistics().blocked)
        waiting = fork(wait_for, running)
        until(lambda: runtime.statistics().suspended)
        running.add_done_callback(watch)
        assert [type(waiter) for waiter in running._waiters or ()][-1] is Callback
        gate.open()
        until(lambda: seen)
        [(_, is_idle, is_done)] = seen
        assert is_done or not is_idle
        assert waiting.result(PATIENCE_S) == "passed"
