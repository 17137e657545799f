"""Many futures at once, by both doors: `wait_all`, `as_completed` and `collect_all`."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, collect_all, fork, sync
from asyncjit.errors import ForkCancelled, WaitOnEventLoopError
from tests.at_rest import Gate, until
from tests.core.doors import Door, listed
from tests.rules.places import in_threads


def fail(error: BaseException) -> None:
    raise error


# -- wait_all


def test_wait_all_returns_the_values_in_the_order_of_the_list(runtime: sync.Runtime, door: Door) -> None:
    assert door.wait_all([fork(pow, 2, n) for n in range(20)]) == [2**n for n in range(20)]


def test_wait_all_of_nothing_is_empty(door: Door) -> None:
    assert door.wait_all([]) == []


def test_wait_all_takes_a_generator(runtime: sync.Runtime, door: Door) -> None:
    assert door.wait_all(fork(pow, 2, n) for n in range(5)) == [1, 2, 4, 8, 16]


def test_wait_all_takes_the_same_future_twice(runtime: sync.Runtime, door: Door) -> None:
    future = fork(pow, 2, 3)
    assert door.wait_all([future, fork(pow, 2, 1), future]) == [8, 2, 8]


def test_wait_all_raises_the_first_error_in_time_while_the_others_go_on(door: Door) -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    error = KeyError("lost")

    def wait() -> BaseException:
        with pytest.raises(KeyError, match="lost") as caught:
            door.wait_all(futures)
        return caught.value

    def complete() -> BaseException:
        until(lambda: futures[2]._waiters)
        futures[2].set_exception(error)
        return error

    assert in_threads(wait, complete) == [error, error]
    assert not futures[0].done()
    assert not futures[1].done()


def test_wait_all_raises_an_error_that_is_there_although_an_earlier_future_is_not_done(door: Door) -> None:
    futures: list[Future[int]] = [Future(), Future(), Future()]
    futures[1].set_exception(KeyError("lost"))
    with pytest.raises(KeyError, match="lost"):
        door.wait_all(futures)


def test_wait_all_raises_for_a_cancelled_future(door: Door) -> None:
    futures: list[Future[int]] = [Future(), Future()]
    futures[1].cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        door.wait_all(futures)


def test_wait_all_cancels_nothing_when_it_raises(runtime: sync.Runtime, door: Door) -> None:
    gate = Gate()
    held = fork(gate)
    failed = fork(fail, KeyError("lost")) if runtime.num_interop_threads > 1 else Future[None]()
    if runtime.num_interop_threads == 1:
        gate.await_start()
        failed.set_exception(KeyError("lost"))
    with pytest.raises(KeyError, match="lost"):
        door.wait_all([failed, held])
    assert not held.done()
    gate.open()
    assert sync.wait(held) == "passed"


def test_return_exceptions_puts_errors_into_the_list(runtime: sync.Runtime, door: Door) -> None:
    error = KeyError("lost")
    cancelled: Future[int] = Future()
    cancelled.cancel()
    value, failed, gone, last = door.wait_all(
        [fork(pow, 2, 3), fork(fail, error), cancelled, fork(pow, 2, 1)], return_exceptions=True
    )
    assert (value, failed, last) == (8, error, 2)
    assert type(gone) is ForkCancelled


def test_return_exceptions_waits_for_all(door: Door) -> None:
    futures: list[Future[int]] = [Future(), Future()]
    error = KeyError("lost")
    futures[0].set_exception(error)

    def complete() -> list[Any]:
        until(lambda: futures[1]._waiters)
        futures[1].set_result(3)
        return []

    assert in_threads(lambda: door.wait_all(futures, return_exceptions=True), complete)[0] == [error, 3]


def test_a_timeout_of_wait_all_is_for_all_together() -> None:
    done: Future[int] = Future()
    done.set_result(3)
    with pytest.raises(TimeoutError, match="wait_all of 2 futures was not done within 0 s"):
        sync.wait_all([done, Future()], timeout=0)
    assert sync.wait_all([done, done], timeout=0) == [3, 3]


def test_wait_all_in_a_script_runs_what_has_not_started_in_place() -> None:
    """With no thread of its own to be had, the waiting one runs all of them."""
    with sync.Runtime(1, inline=True, blas_threads=None) as runtime:
        me = threading.get_ident()
        assert sync.wait_all([fork(threading.get_ident) for _ in range(3)]) == [me] * 3
        assert runtime.statistics().threads == 0


# -- as_completed


def test_as_completed_gives_each_future_once(runtime: sync.Runtime, door: Door) -> None:
    futures = [fork(pow, 2, n) for n in range(20)]
    completed = door.as_completed(iter(futures))
    assert {id(future) for future in completed} == {id(future) for future in futures}
    assert len(completed) == 20
    assert all(future.done() for future in completed)


def test_as_completed_of_nothing_is_empty(door: Door) -> None:
    assert door.as_completed([]) == []


def test_as_completed_gives_a_future_as_often_as_it_is_listed(door: Door) -> None:
    future: Future[int] = Future()
    future.set_result(3)
    assert door.as_completed([future, future]) == [future, future]


def test_as_completed_gives_futures_in_the_order_of_their_completion(door: Door) -> None:
    futures: list[Future[int]] = [Future() for _ in range(4)]
    for n in (2, 0, 3, 1):
        futures[n].set_result(n)
    first: list[Future[int]] = [Future() for _ in range(4)]

    def complete() -> list[Future[int]]:
        until(lambda: all(future._waiters for future in first))
        for n in (2, 0, 3, 1):
            first[n].set_result(n)
        return []

    assert [future.value() for future in in_threads(lambda: door.as_completed(first), complete)[0]] == [2, 0, 3, 1]
    assert door.as_completed(futures) == futures, "of those that were done before, the order of the list is as good"


def test_as_completed_gives_what_failed_or_was_cancelled_too(runtime: sync.Runtime, door: Door) -> None:
    cancelled: Future[None] = Future()
    cancelled.cancel()
    failed = fork(fail, KeyError("lost"))
    assert set(door.as_completed([failed, cancelled])) == {failed, cancelled}
    assert isinstance(failed.exception(), KeyError)


def test_as_completed_gives_the_first_before_the_second_is_done() -> None:
    futures: list[Future[int]] = [Future(), Future()]
    completed = sync.as_completed(futures)
    futures[1].set_result(1)
    assert next(completed) is futures[1]
    futures[0].set_result(0)
    assert list(completed) == [futures[0]]


async def test_as_completed_on_a_loop_lets_others_run_meanwhile() -> None:
    futures: list[Future[int]] = [Future(), Future()]
    asyncio.get_running_loop().call_soon(futures[1].set_result, 1)
    completed = asyncjit.as_completed(futures)
    assert await anext(completed) is futures[1]
    asyncio.get_running_loop().call_soon(futures[0].set_result, 0)
    assert await listed(completed) == [futures[0]]


def test_as_completed_never_runs_a_kernel_in_place() -> None:
    with sync.Runtime(1, blas_threads=None):
        futures = [fork(threading.get_ident) for _ in range(20)]
        assert threading.get_ident() not in [future.value() for future in sync.as_completed(futures)]


def test_as_completed_in_the_debuggers_mode_runs_all_here() -> None:
    with sync.Runtime(1, inline=True, blas_threads=None):
        futures = [fork(threading.get_ident) for _ in range(3)]
        assert [future.value() for future in sync.as_completed(futures)] == [threading.get_ident()] * 3


# -- collect_all


def test_collect_all_of_nothing_is_done_at_once() -> None:
    assert collect_all([]).value() == []


def test_collect_all_gives_the_same_futures_in_the_order_of_the_input() -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    collected = collect_all(iter(futures))
    for n in (2, 0, 1):
        assert not collected.done()
        futures[n].set_result(n)
    assert all(got is future for got, future in zip(collected.value(), futures, strict=True))


def test_collect_all_takes_the_same_future_twice() -> None:
    future: Future[int] = Future()
    collected = collect_all([future, future])
    future.set_result(3)
    assert collected.value() == [future, future]


def test_collect_all_completes_early_on_the_first_error_in_time() -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    collected = collect_all(futures)
    error = KeyError("lost")
    futures[2].set_exception(error)
    assert collected.exception() is error
    futures[0].set_exception(ValueError("later"))
    assert collected.exception() is error
    assert not futures[1].done()


def test_collect_all_completes_early_on_a_cancelled_future() -> None:
    futures: list[Future[int]] = [Future() for _ in range(2)]
    collected = collect_all(futures)
    futures[1].cancel()
    with pytest.raises(ForkCancelled, match="collect_all of 2 futures was cancelled"):
        collected.wait()


def test_collect_all_nests(runtime: sync.Runtime, door: Door) -> None:
    inner = [collect_all([fork(pow, 2, n), fork(pow, 3, n)]) for n in range(3)]
    (collected,) = door.wait_all([collect_all(inner)])
    assert [[future.value() for future in pair.value()] for pair in collected] == [[1, 1], [2, 3], [4, 9]]


def test_an_error_below_a_nest_of_collect_all_completes_all_of_it() -> None:
    future: Future[int] = Future()
    collected = collect_all([collect_all([collect_all([future]), Future()]), Future()])
    future.set_exception(KeyError("lost"))
    with pytest.raises(KeyError, match="lost"):
        collected.wait()


# -- what is no future


WAITS_ON_A_LOOP: list[Callable[[Any], object]] = [
    asyncjit.wait,
    lambda fut: asyncjit.wait_all([Future(), fut]),
    lambda fut: asyncjit.as_completed([Future(), fut]),
    lambda fut: collect_all([Future(), fut]),
]
WAITS: list[Callable[[Any], object]] = [
    sync.wait,
    lambda fut: sync.wait_all([Future(), fut]),
    lambda fut: sync.as_completed([Future(), fut]),
    lambda fut: collect_all([Future(), fut]),
]


@pytest.mark.parametrize("wait", WAITS)
def test_none_is_no_future(wait: Callable[[Any], object]) -> None:
    with pytest.raises(RuntimeError, match=r"^Future can't be None$"):
        wait(None)


@pytest.mark.parametrize("wait", WAITS_ON_A_LOOP)
async def test_none_is_no_future_on_a_loop(wait: Callable[[Any], object]) -> None:
    with pytest.raises(RuntimeError, match=r"^Future can't be None$"):
        wait(None)


@pytest.mark.parametrize("wait", WAITS)
def test_a_value_is_no_future(wait: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"needs a Future, got 3 of type int: fork\(fn, \*args\) makes one"):
        wait(3)


@pytest.mark.parametrize(
    ("blocking", "awaiting"),
    [
        (sync.wait_all, r"await asyncjit\.wait_all\(futs\)"),
        (sync.as_completed, r"async for fut in asyncjit\.as_completed\(futs\)"),
        (lambda futs: sync.map(abs, futs), r"async for value in asyncjit\.map\(fn, \.\.\.\)"),
    ],
)
async def test_on_a_loops_thread_the_scripts_door_shows_the_other(blocking: Callable[..., Any], awaiting: str) -> None:
    with pytest.raises(WaitOnEventLoopError, match=f"would block the event loop: write `{awaiting}`"):
        blocking([])


@pytest.mark.parametrize("wait", [asyncjit.wait_all, asyncjit.as_completed, lambda futs: asyncjit.map(abs, futs)])
def test_where_no_loop_runs_the_awaiting_door_shows_the_scripts(wait: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match=r"no event loop runs here\. In a script write asyncjit.sync"):
        wait([])
