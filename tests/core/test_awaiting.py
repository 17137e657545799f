"""The door for async code: what is checked at the call, and what waits for the await."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit._core.awaiting import error_of, values
from asyncjit.errors import ForkCancelled
from tests.at_rest import PATIENCE_S, all_threads_busy, until_async


def failed(error: BaseException) -> Future[int]:
    future: Future[int] = Future()
    future.set_exception(error)
    return future


def cancelled() -> Future[int]:
    future: Future[int] = Future()
    future.cancel()
    return future


async def test_awaited_values_are_those_of_the_futures(runtime: sync.Runtime) -> None:
    assert await asyncjit.wait(fork(pow, 2, 3)) == 8
    assert await asyncjit.call(pow, 2, exp=3) == 8
    assert await asyncjit.wait_all([fork(pow, 2, n) for n in range(3)]) == [1, 2, 4]


async def test_a_call_forks_nothing_before_it_is_awaited(runtime: sync.Runtime) -> None:
    coroutine = asyncjit.call(pow, 2, 3)
    assert runtime.statistics().forked == 0
    assert await coroutine == 8
    assert runtime.statistics().forked == 1


async def test_a_call_forks_in_the_task_that_awaits_it(runtime: sync.Runtime) -> None:
    """Its parent is who would be cancelled with it."""
    with all_threads_busy(runtime):
        task = asyncio.create_task(asyncjit.call(int))
        await until_async(lambda: runtime.statistics().queued)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert runtime.statistics().queued == 0


async def test_what_cannot_be_called_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="call needs something to call, got 3 of type int"):
        asyncjit.call(3)  # type: ignore[call-overload]


async def test_the_door_gives_plain_coroutines_and_async_iterators(runtime: sync.Runtime) -> None:
    future = fork(int)
    for waited in (asyncjit.wait(future), asyncjit.call(int), asyncjit.wait_all([future])):
        assert inspect.iscoroutine(waited)
        await asyncio.create_task(waited)
    assert inspect.isasyncgen(asyncjit.as_completed([future]))
    assert inspect.isasyncgen(asyncjit.map(int, ["1"]))


async def test_waiting_for_many_at_once_lets_the_loop_go_on(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()
    asyncio.get_running_loop().call_soon(future.set_result, 3)
    assert await asyncio.wait_for(asyncjit.wait_all([future, fork(int)]), PATIENCE_S) == [3, 0]


def test_errors_stand_in_the_place_of_values_if_they_are_wanted() -> None:
    error = KeyError("lost")
    done: Future[int] = Future()
    done.set_result(3)
    got = values([done, failed(error), cancelled()], return_exceptions=True)
    assert got[:2] == [3, error]
    assert type(got[2]) is ForkCancelled
    with pytest.raises(KeyError, match="lost"):
        values([done, failed(error)], return_exceptions=False)


def test_an_error_that_is_returned_counts_as_retrieved(caplog: pytest.LogCaptureFixture) -> None:
    error_of(failed(KeyError("lost")))
    assert not caplog.records


@pytest.mark.parametrize(
    "wait",
    [asyncjit.wait, lambda f: asyncjit.wait_all([f]), lambda f: asyncjit.as_completed([f])],
    ids=["wait", "wait_all", "as_completed"],
)
async def test_what_is_no_future_is_refused_before_the_await(wait: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match="3"):
        wait(3)
