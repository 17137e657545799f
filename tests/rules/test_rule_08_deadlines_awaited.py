"""Rule 8, deadlines in async code: `fail_after` interrupts any await, and every fork below inherits it."""

import asyncio
from typing import Any

import anyio
import pytest

import asyncjit
from asyncjit import Future, fail_after, fork, sync
from asyncjit.errors import DeadlineExceeded
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    sleep_for_ever,
    until_async,
    wait_for_ever,
    when_idle,
)

SOON_S = 0.005  # a deadline of the machine's clock: what awaits it would else wait for ever


async def test_any_await_is_interrupted_by_the_deadline(runtime: sync.Runtime) -> None:
    with pytest.raises(DeadlineExceeded, match=rf"the block was not done within {SOON_S} s"):
        with fail_after(SOON_S):
            await sleep_for_ever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_cancels_the_kernel_that_is_awaited(runtime: sync.Runtime) -> None:
    with pytest.raises(DeadlineExceeded, match=r"deadline|not done within"):
        with fail_after(SOON_S):
            future = fork(wait_for_ever)
            await future
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):  # its own check saw it first, or the await
        await future


async def test_a_deadline_cancels_the_coroutine_fork_that_is_awaited(runtime: sync.Runtime) -> None:
    told: list[BaseException] = []

    async def body() -> None:
        try:
            await sleep_for_ever()
        except BaseException as error:
            told.append(error)
            raise

    with pytest.raises(DeadlineExceeded, match=r"deadline|not done within"):
        with fail_after(SOON_S):
            future = fork(body)
            await future
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        await future
    assert [type(error) for error in told] == [asyncio.CancelledError]


async def test_a_coroutine_fork_has_the_deadline_of_its_fork_wherever_it_is_awaited(
    runtime: sync.Runtime,
) -> None:
    with fail_after(SOON_S):
        future = fork(sleep_for_ever)
    with pytest.raises(DeadlineExceeded, match=r"sleep_for_ever .* passed its deadline"):
        await future
    assert future.cancelled()


async def test_a_kernel_has_the_deadline_of_its_fork_wherever_it_is_awaited(runtime: sync.Runtime) -> None:
    gate = Gate()
    with fail_after(SOON_S):
        future = fork(gate)
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        await future
    gate.open()


async def test_all_waiters_of_a_fork_past_its_deadline_are_told_and_none_is_cancelled(
    runtime: sync.Runtime,
) -> None:
    async def waiter() -> BaseException | None:
        with pytest.raises(DeadlineExceeded, match="passed its deadline") as caught:
            await future
        return caught.value

    with fail_after(SOON_S):
        future = fork(sleep_for_ever)
    outcomes = await asyncio.gather(*(asyncio.create_task(waiter()) for _ in range(5)))
    assert all(isinstance(outcome, DeadlineExceeded) for outcome in outcomes)


async def test_forks_below_an_async_block_inherit_its_deadline(runtime: sync.Runtime) -> None:
    below: list[Future[None]] = []  # how far down it gets in time does not matter

    def kernel() -> None:
        below.append(fork(wait_for_ever))
        sync.wait(below[-1])

    async def coroutine() -> None:
        below.append(fork(kernel))
        await below[-1]

    with pytest.raises(DeadlineExceeded, match=r"deadline|not done within"):
        with fail_after(10 * SOON_S):
            below.append(fork(coroutine))
            await below[0]
    await when_idle(runtime)
    for future in below:
        with pytest.raises(DeadlineExceeded, match="deadline"):  # of the fork, or in its own wait
            future.value()


async def test_a_passed_deadline_starts_nothing(runtime: sync.Runtime) -> None:
    ran: list[int] = []

    async def body() -> None:
        ran.append(1)

    with pytest.raises(DeadlineExceeded, match=r"deadline|not done within"):
        with fail_after(0):
            futures: list[Future[Any]] = [fork(body), fork(ran.append, 2)]
            await futures[0]
    await when_idle(runtime)
    assert ran == []
    assert all(future.cancelled() for future in futures)


async def test_none_sheds_the_deadlines_around_an_await(runtime: sync.Runtime) -> None:
    order: list[str] = []
    with pytest.raises(DeadlineExceeded, match="not done within"):
        with fail_after(SOON_S):
            end = anyio.current_time() + SOON_S
            with fail_after(None):
                await until_async(lambda: anyio.current_time() > end)
                order.append("shielded")
                assert await fork(pow, 2, 3) == 8
                order.append("and its forks are not late")
            await sleep_for_ever()
    assert order == ["shielded", "and its forks are not late"]


async def test_a_block_that_is_done_in_time_changes_nothing(runtime: sync.Runtime) -> None:
    with fail_after(PATIENCE_S):
        assert await asyncjit.call(pow, 2, 3) == 8
    assert await asyncjit.call(pow, 2, 4) == 16


async def test_an_own_error_passes_through_the_block(runtime: sync.Runtime) -> None:
    with pytest.raises(ValueError, match="its own"):
        with fail_after(PATIENCE_S):
            await asyncio.sleep(0)
            raise ValueError("its own")


async def test_a_cancel_from_outside_passes_through_the_block(runtime: sync.Runtime) -> None:
    async def body() -> None:
        with fail_after(PATIENCE_S):
            await sleep_for_ever()

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_async_group_under_a_deadline_is_left_when_its_bodies_have_ended(runtime: sync.Runtime) -> None:
    started: list[str] = []
    ended: list[str] = []

    def kernel() -> None:
        started.append("kernel")
        try:
            wait_for_ever()
        finally:
            ended.append("kernel")

    async def coroutine() -> None:
        started.append("coroutine")
        try:
            await sleep_for_ever()
        finally:
            ended.append("coroutine")

    with pytest.raises((DeadlineExceeded, ExceptionGroup), match=r"deadline|not done within|fork_group"):
        with fail_after(10 * SOON_S):
            async with asyncjit.fork_group() as group:
                group.fork(kernel)
                group.fork(coroutine)
    assert sorted(ended) == sorted(started)


async def test_a_deadline_of_one_task_leaves_the_others_alone(runtime: sync.Runtime) -> None:
    gate = Gate()

    async def late() -> None:
        with fail_after(SOON_S):
            await sleep_for_ever()

    async def patient() -> str:
        return await fork(gate)

    other = asyncio.create_task(patient())
    with pytest.raises(DeadlineExceeded, match="not done within"):
        await asyncio.create_task(late())
    gate.open()
    assert await other == "passed"
