"""Rule 8, cancelled awaits: who waits, who else waits, and whose fork it is decide what is cancelled with them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit.errors import ForkCancelled
from tests.at_rest import (
    Gate,
    Sleeper,
    all_threads_busy,
    outcome_of,
    settle,
    wait_for_ever,
    when_idle,
)


async def by_task_cancel(awaitable: Awaitable[Any]) -> None:
    async def plain() -> Any:
        return await awaitable

    task = asyncio.ensure_future(plain())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_anyio_scope(awaitable: Awaitable[Any]) -> None:
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await awaitable
    assert scope.cancelled_caught


async def by_anyio_deadline(awaitable: Awaitable[Any]) -> None:
    with anyio.move_on_after(0.001) as scope:
        await awaitable
    assert scope.cancelled_caught


async def by_timeout(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):  # asyncio's has no text
        async with asyncio.timeout(0.001):
            await awaitable


async def by_wait_for(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(awaitable, 0.001)


ways_to_cancel = pytest.mark.parametrize(
    "cancel_await", [by_task_cancel, by_anyio_scope, by_anyio_deadline, by_timeout, by_wait_for]
)


@ways_to_cancel
@pytest.mark.parametrize("wrap", [lambda future: future, asyncjit.wait], ids=["await fut", "await wait(fut)"])
async def test_a_cancelled_await_cancels_its_kernel(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]], wrap: Callable[[Any], Any]
) -> None:
    future = fork(wait_for_ever)
    await cancel_await(wrap(future))
    assert future.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@ways_to_cancel
async def test_a_cancelled_await_cancels_its_coroutine_fork(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    sleeper = Sleeper()
    future = fork(sleeper)
    await cancel_await(asyncjit.wait(future))
    assert isinstance(await outcome_of(future), ForkCancelled)
    assert isinstance(sleeper.error, asyncio.CancelledError)


@ways_to_cancel
async def test_a_cancelled_await_of_a_queued_kernel_lets_it_never_start(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        future = fork(ran.append, 1)
        await cancel_await(asyncjit.wait(future))
        assert future.cancelled()
    await when_idle(runtime)
    assert ran == []


@ways_to_cancel
async def test_a_cancelled_call_cancels_its_kernel(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    await cancel_await(asyncjit.call(wait_for_ever))
    await when_idle(runtime)
    assert runtime.statistics().cancelled == 1


@ways_to_cancel
async def test_a_cancelled_await_leaves_the_waiters_other_forks_alone(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    async def waiter() -> str:
        other = fork(Gate.__call__, gate)
        await cancel_await(asyncjit.wait(fork(Sleeper())))
        assert not other.cancelled()
        gate.open()
        return await other

    gate = Gate()
    assert await asyncio.create_task(waiter()) == "passed"


@ways_to_cancel
async def test_a_cancelled_await_leaves_a_fork_of_somebody_else_alone(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    gate = Gate()

    async def owner() -> str:
        future = fork(gate)
        futures.append(future)
        return await passed_on

    async def stranger() -> None:
        await cancel_await(asyncjit.wait(futures[0]))

    futures: list[Future[str]] = []
    passed_on: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    owning = asyncio.create_task(owner())
    await settle()
    await asyncio.create_task(stranger())
    assert not futures[0].cancelled()
    passed_on.set_result("the owner goes on")
    assert await owning == "the owner goes on"
    gate.open()
    assert await futures[0] == "passed"


@ways_to_cancel
async def test_one_of_two_waiters_that_is_cancelled_does_not_cancel_what_the_other_waits_for(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    gate = Gate()
    future = fork(gate)
    other = asyncio.create_task(outcome_of(future))
    await settle()
    await cancel_await(asyncjit.wait(future))
    assert not future.cancelled()
    gate.open()
    assert await other == "passed"


async def test_the_last_of_two_waiters_that_is_cancelled_cancels_the_fork(runtime: sync.Runtime) -> None:
    future = fork(wait_for_ever)
    waiters = [asyncio.ensure_future(asyncjit.wait(future)) for _ in range(2)]
    await settle()
    waiters[0].cancel()
    await settle()
    assert not future.cancelled()
    waiters[1].cancel()
    await settle()
    assert future.cancelled()


async def test_a_shielded_await_does_not_cancel_its_fork(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncjit.wait(future)), 0.001)
    assert not future.cancelled()
    gate.open()
    assert await future == "passed"


async def test_a_cancelled_await_of_a_users_future_leaves_it_alone(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()
    await by_task_cancel(future)
    assert not future.done()
    future.set_result(3)
    assert await future == 3


async def test_leaving_a_map_early_cancels_what_is_in_flight(runtime: sync.Runtime) -> None:
    def body(n: int) -> int:
        if n:
            wait_for_ever()
        return n

    values = asyncjit.map(body, range(100), max_in_flight=4)
    async for value in values:
        assert value == 0
        break
    await values.aclose()  # type: ignore[attr-defined]
    await when_idle(runtime)
    now = runtime.statistics()
    assert (now.finished, now.forked) == (1, now.cancelled + 1)
