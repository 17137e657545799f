"""Rule 8: cancelling goes down the tree, not sideways. Here: one fork, and closing."""

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, check_cancelled, fork, sync
from asyncjit.errors import ForkCancelled, RuntimeClosed
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    Sleeper,
    all_threads_busy,
    assert_at_rest,
    outcome_of,
    settle,
    until,
    wait_for_ever,
    when_idle,
)

# -- one fork


def test_a_fork_cancelled_before_its_start_never_starts(runtime: sync.Runtime) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        future = fork(ran.append, 1)
        assert future.cancel()
        assert future.cancelled()
        assert future.done()
        assert runtime.statistics().queued == 0
        with pytest.raises(ForkCancelled, match=r"fork of .*append \(forked at .* was cancelled"):
            sync.wait(future)
        assert not future.cancel()
    when_idle(runtime).result(PATIENCE_S)
    assert ran == []
    assert runtime.statistics().cancelled == 1


def test_a_fork_cancelled_while_it_runs_is_cancelled_at_once_and_keeps_its_permit(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.result(PATIENCE_S)
    assert not gate.ended.is_set()
    assert runtime.statistics().running == 1
    assert not future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    assert gate.ended.is_set()
    now = runtime.statistics()
    assert (now.running, now.finished, now.cancelled) == (0, 0, 1)


def test_what_a_cancelled_kernel_returns_is_dropped(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.value()


def test_a_done_fork_cannot_be_cancelled(runtime: sync.Runtime) -> None:
    future = fork(pow, 2, 3)
    assert future.result(PATIENCE_S) == 8
    assert not future.cancel()
    assert future.value() == 8


def test_check_cancelled_raises_in_a_cancelled_kernel(runtime: sync.Runtime) -> None:
    told: list[BaseException] = []
    gate = Gate()

    def body() -> None:
        check_cancelled()  # not yet
        gate()
        try:
            check_cancelled()
        except BaseException as error:
            told.append(error)

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    [error] = told
    assert isinstance(error, ForkCancelled)
    assert "the waiting code was cancelled" in str(error)


def test_check_cancelled_says_nothing_in_a_script() -> None:
    check_cancelled()


@pytest.mark.parametrize("timeout", [None, PATIENCE_S])
def test_a_cancel_ends_the_wait_that_the_kernel_sleeps_in(runtime: sync.Runtime, timeout: float | None) -> None:
    told: list[BaseException] = []
    never: Future[None] = Future()

    def body() -> None:
        try:
            never.result(timeout)
        except BaseException as error:
            told.append(error)

    future = fork(body)
    until(lambda: runtime.statistics().blocked == 1)
    future.cancel()
    when_idle(runtime).result(PATIENCE_S)
    [error] = told
    assert isinstance(error, ForkCancelled)
    assert "the waiting code was cancelled" in str(error)
    assert not never.done()


def test_a_cancelled_kernel_can_neither_wait_nor_start_anything(runtime: sync.Runtime) -> None:
    gate = Gate()
    ran: list[int] = []
    below: list[Future[None]] = []
    done: Future[int] = Future()

    def body() -> None:
        gate()
        below.append(fork(ran.append, 1))
        with pytest.raises(ForkCancelled, match="the waiting code was cancelled"):
            done.result()

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    assert below[0].cancelled()
    assert ran == []


def test_a_cancelled_wait_is_no_asyncio_cancel(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        future = fork(pow, 2, 3)
        future.cancel()
    with pytest.raises(concurrent.futures.CancelledError, match="was cancelled") as caught:
        future.result()
    assert not isinstance(caught.value, asyncio.CancelledError)
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.exception()


async def test_awaiting_a_cancelled_fork_raises_fork_cancelled_and_does_not_cancel_the_waiter(
    runtime: sync.Runtime,
) -> None:
    with all_threads_busy(runtime):
        for way in (fork(pow, 2, 3), fork(Sleeper())):
            waiter = asyncio.create_task(outcome_of(way))
            await settle()
            way.cancel()
            error = await waiter
            assert isinstance(error, ForkCancelled)
            assert not isinstance(error, asyncio.CancelledError)
            assert waiter.cancelling() == 0
            assert not waiter.cancelled()


async def test_a_coroutine_fork_gets_asyncios_cancel_and_is_done_when_its_task_ends(runtime: sync.Runtime) -> None:
    may_end = asyncio.Event()
    order: list[str] = []

    async def body() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            order.append("told")
            await may_end.wait()
            order.append("ended")
            raise

    future = fork(body)
    await settle()
    assert future.cancel()
    await settle()
    assert order == ["told"]
    assert not future.done()
    assert runtime.statistics().suspended == 1
    may_end.set()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    assert order == ["told", "ended"]
    assert future.cancelled()


async def test_a_coroutine_fork_that_ends_well_in_spite_of_its_cancel_has_a_value(runtime: sync.Runtime) -> None:
    async def body() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
        return "finished all the same"

    future = fork(body)
    await settle()
    future.cancel()
    assert await future == "finished all the same"


async def test_a_coroutine_fork_cancelled_before_its_first_step_never_starts(runtime: sync.Runtime) -> None:
    sleeper = Sleeper()
    future = fork(sleeper)
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    await settle()
    assert not sleeper.started.is_set()


async def test_a_coroutine_fork_can_be_cancelled_from_another_thread(runtime: sync.Runtime) -> None:
    sleeper = Sleeper()
    future = fork(sleeper)
    await sleeper.started.wait()
    await asyncjit.call(future.cancel)
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    assert isinstance(sleeper.error, asyncio.CancelledError)


def test_a_script_can_cancel_a_coroutine_fork(runtime: sync.Runtime) -> None:
    started = threading.Event()
    ended = threading.Event()

    async def body() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    future = fork(body)
    assert started.wait(PATIENCE_S)
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.result(PATIENCE_S)
    assert ended.is_set()


def test_a_callback_is_told_of_a_cancel(runtime: sync.Runtime) -> None:
    told: list[bool] = []
    with all_threads_busy(runtime):
        future = fork(pow, 2, 3)
        future.add_done_callback(lambda done: told.append(done.cancelled()))
        future.cancel()
        assert told == [True]


# -- closing


def test_closing_with_cancel_drops_what_is_queued_and_waits_for_the_bodies(runtime: sync.Runtime) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        queued = [fork(ran.append, n) for n in range(10)]
        closer = threading.Thread(target=runtime.close, kwargs={"cancel": True})
        closer.start()
        until(lambda: all(future.cancelled() for future in queued))
        assert closer.is_alive()
    closer.join(PATIENCE_S)
    assert not closer.is_alive()
    assert ran == []


def test_closing_with_cancel_tells_what_runs(runtime: sync.Runtime) -> None:
    futures = [fork(wait_for_ever) for _ in range(runtime.num_interop_threads)]
    until(lambda: all(future.running() for future in futures))
    assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
    assert all(future.cancelled() for future in futures)


def test_a_runtime_left_by_an_error_cancels_its_forks(num_interop_threads: int) -> None:
    futures: list[Future[Any]] = []
    with pytest.raises(ValueError, match="out of here"):
        with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
            futures += [fork(wait_for_ever) for _ in range(10)]
            raise ValueError("out of here")
    assert all(future.cancelled() for future in futures)
    assert_at_rest(runtime)
    assert runtime.statistics().cancelled == 10


async def test_closing_with_cancel_in_async_code_waits_for_cancelled_bodies(num_interop_threads: int) -> None:
    sleeper = Sleeper()
    runtime = asyncjit.Runtime(num_interop_threads, blas_threads=None)
    async with runtime:
        future = fork(sleeper)
        kernel = fork(wait_for_ever)
        await sleeper.started.wait()
        assert await runtime.aclose(cancel=True) == []
        assert sleeper.is_ended
        assert future.cancelled()
        assert kernel.cancelled()
        with pytest.raises(RuntimeClosed, match="takes no more forks"):
            fork(int)
    now = runtime.statistics()
    assert (now.forked, now.cancelled, now.running, now.suspended) == (2, 2, 0, 0)


def test_a_fork_cancelled_by_closing_raises_fork_cancelled(num_interop_threads: int) -> None:
    with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
        future = fork(wait_for_ever)
        runtime.close(cancel=True)
        with pytest.raises(ForkCancelled, match="was cancelled"):
            future.value()
