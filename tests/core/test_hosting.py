import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjit import fork, sync
from asyncjit.errors import ForkCancelled
from tests.at_rest import Gate, assert_at_rest, until_async


@pytest.fixture
def runtime() -> Iterator[sync.Runtime]:
    with sync.Runtime(1, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)


async def model() -> int:
    await asyncio.sleep(0)
    return 1


def maker() -> Any:
    """Return a coroutine, as a decorated coroutine function does."""
    return model()


def cancel_all_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others
    for task in others:
        task.cancel()


async def test_a_fork_whose_task_somebody_cancels_before_its_first_step_is_cancelled(runtime: sync.Runtime) -> None:
    future = fork(model)
    cancel_all_others()
    with pytest.raises(ForkCancelled, match=r"fork of model .* was cancelled"):
        await asyncio.wait_for(asyncio.shield(future), 5)


async def test_a_coroutine_made_by_a_kernel_can_be_cancelled_before_its_first_step(runtime: sync.Runtime) -> None:
    future = fork(maker)
    await until_async(lambda: len(asyncio.all_tasks()) == 2)
    cancel_all_others()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await asyncio.wait_for(asyncio.shield(future), 5)


async def test_a_coroutine_can_be_cancelled_on_its_way_to_the_loop(runtime: sync.Runtime) -> None:
    future = fork(maker)
    while runtime.statistics().suspended == 0:  # the loop does not turn meanwhile
        pass
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await asyncio.wait_for(asyncio.shield(future), 5)


async def test_a_coroutine_that_a_cancelled_kernel_returns_is_closed(runtime: sync.Runtime) -> None:
    """A coroutine that goes without it warns that it was never awaited, which fails the test."""
    gate = Gate()

    def slow_maker() -> Any:
        gate()
        return model()

    future = fork(slow_maker)
    gate.await_start()
    assert future.cancel()
    gate.open()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    await until_async(lambda: runtime.pool.is_idle)


async def test_the_task_of_a_fork_bears_its_name_and_runs_in_its_context(runtime: sync.Runtime) -> None:
    async def named() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    assert (await fork(functools.partial(named))).endswith("named")


async def test_system_exit_in_a_coroutine_fork_does_not_reach_the_loop(runtime: sync.Runtime) -> None:
    async def leaving() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await fork(leaving)
