"""Rule 5: a blocking call on a loop's thread, and an awaiting one where no loop runs, show what to write."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, collect_all, fork, sync
from asyncjit.errors import ForkCancelled, WaitOnEventLoopError
from tests.at_rest import PATIENCE_S, all_threads_busy
from tests.support import optional

# -- a blocking call where a loop runs


def enter_group(_: Future[int]) -> None:
    with sync.fork_group():
        pass


BLOCKING: dict[str, tuple[Callable[[Future[int]], Any], str]] = {
    "sync.wait": (sync.wait, r"sync\.wait\(fut\) .* write `await asyncjit\.wait\(fut\)`"),
    "sync.wait with a timeout": (lambda fut: sync.wait(fut, 0), r"write `await asyncjit\.wait\(fut\)`"),
    "sync.call": (lambda _: sync.call(int), r"sync\.call\(fn, .*\) .* write `await asyncjit\.call\(fn, .*\)`"),
    "sync.wait_all": (lambda fut: sync.wait_all([fut]), r"sync\.wait_all\(futs\) .* write `await asyncjit\.wait_all"),
    "sync.wait_all of none": (lambda _: sync.wait_all([]), r"write `await asyncjit\.wait_all\(futs\)`"),
    "sync.as_completed": (lambda fut: sync.as_completed([fut]), r"write `async for fut in asyncjit\.as_completed\("),
    "sync.map": (lambda _: sync.map(int, "12"), r"write `async for value in asyncjit\.map\(fn, .*\)`"),
    "sync.fork_group": (enter_group, r"`with fork_group\(\)` .* write `async with fork_group\(\)`"),
}


@pytest.fixture(params=["finished", "unfinished"])
def future(request: pytest.FixtureRequest) -> Future[int]:
    """Return a future that is done, and one that is not."""
    future: Future[int] = Future()
    if request.param == "finished":
        future.set_result(3)
    return future


@pytest.mark.parametrize("door", BLOCKING)
async def test_a_blocking_call_on_a_loops_thread_shows_the_await_to_write(
    runtime: sync.Runtime, future: Future[int], door: str
) -> None:
    blocking_call, message = BLOCKING[door]
    with pytest.raises(WaitOnEventLoopError, match=message):
        blocking_call(future)
    assert runtime.statistics().forked == 0


@pytest.mark.parametrize("door", BLOCKING)
def test_a_blocking_call_in_a_coroutine_fork_or_a_loops_callback_is_refused(runtime: sync.Runtime, door: str) -> None:
    """The coroutine lives on the facade's loop, the callback runs outside of every task."""
    future: Future[int] = Future()
    blocking_call, message = BLOCKING[door]

    async def model() -> None:
        blocking_call(future)

    with pytest.raises(WaitOnEventLoopError, match=message):
        sync.wait(fork(model), timeout=PATIENCE_S)

    async def main() -> BaseException:
        told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.set_result(context["exception"]))
        asyncio.get_running_loop().call_soon(blocking_call, future)
        return await told

    with pytest.raises(WaitOnEventLoopError, match=message):
        raise asyncio.run(main())


@pytest.mark.parametrize("make", [sync.as_completed, functools.partial(sync.map, sync.wait)])
def test_a_blocking_iterator_that_is_taken_to_a_loop_refuses_to_block_it(
    runtime: sync.Runtime, make: Callable[..., Any]
) -> None:
    future: Future[int] = Future()
    values = make([future])

    async def main() -> None:
        with pytest.raises(WaitOnEventLoopError, match="would block the event loop: write `await fut`"):
            next(values)

    asyncio.run(main())
    future.set_result(3)


METHODS: dict[str, Callable[[Future[Any]], Any]] = {
    "result": lambda fut: fut.result(),
    "result with a timeout": lambda fut: fut.result(0),
    "wait": lambda fut: fut.wait(),
    "exception": lambda fut: fut.exception(),
}


@pytest.mark.parametrize("method", METHODS)
async def test_a_future_that_is_not_done_can_not_be_asked_for_its_value_on_a_loops_thread(
    runtime: sync.Runtime, method: str
) -> None:
    with all_threads_busy(runtime):
        for future in (Future[int](), fork(int), collect_all([fork(int)]), fork(asyncio.sleep, 0)):
            with pytest.raises(WaitOnEventLoopError, match="would block the event loop: write `await fut`"):
                METHODS[method](future)
            with pytest.raises(RuntimeError, match="is not there yet: it is pending; wait for it first"):
                future.value()


async def test_a_future_that_is_done_can_be_asked_on_a_loops_thread(runtime: sync.Runtime) -> None:
    good, bad, gone = fork(int, "3"), fork(int, "x"), Future[int]()
    gone.cancel()
    await asyncjit.wait_all([good, bad, gone], return_exceptions=True)
    assert (good.result(), good.result(0), good.wait(), good.value(), good.exception()) == (3, 3, 3, 3, None)
    assert isinstance(bad.exception(), ValueError)
    for ask in (bad.result, bad.wait, bad.value):
        with pytest.raises(ValueError, match="invalid literal"):
            ask()
    for ask in (gone.result, gone.wait, gone.value):
        with pytest.raises(ForkCancelled, match="was cancelled"):
            ask()


# -- an awaiting call where none runs


def enter_async_group() -> Any:
    return asyncjit.fork_group().__aenter__().send(None)


AWAITING: dict[str, Callable[[], Any]] = {
    "wait": lambda: asyncjit.wait(Future()),
    "call": lambda: asyncjit.call(int),
    "wait_all": lambda: asyncjit.wait_all([]),
    "as_completed": lambda: asyncjit.as_completed([]),
    "map": lambda: asyncjit.map(int, "12"),
    "fork_group": enter_async_group,
}


@pytest.mark.parametrize("door", AWAITING)
def test_an_awaiting_call_where_no_loop_runs_names_the_blocking_one(runtime: sync.Runtime, door: str) -> None:
    with pytest.raises(RuntimeError, match=rf"no event loop runs here.*asyncjit\.sync\.{door}\("):
        AWAITING[door]()
    assert runtime.statistics().forked == 0


def test_a_future_awaited_where_no_loop_runs_names_the_blocking_wait(runtime: sync.Runtime) -> None:
    with pytest.raises(RuntimeError, match=r"no event loop runs here.*asyncjit\.sync\.wait\(fut\)"):
        next(Future[int]().__await__())


# -- trio


@pytest.mark.parametrize("door", BLOCKING)
def test_a_blocking_call_under_trio_names_the_way_out(runtime: sync.Runtime, future: Future[int], door: str) -> None:
    async def main() -> None:
        BLOCKING[door][0](future)

    with pytest.raises(
        WaitOnEventLoopError, match=r"would block the trio loop.*trio\.to_thread\.run_sync.*backend='asyncio'"
    ):
        optional("trio").run(main)
    assert runtime.statistics().forked == 0


@pytest.mark.parametrize("door", AWAITING)
def test_an_awaiting_call_under_trio_names_the_way_out(runtime: sync.Runtime, door: str) -> None:
    async def main() -> None:
        AWAITING[door]()

    with pytest.raises(RuntimeError, match=r"a trio loop runs here.*backend='asyncio'.*trio\.to_thread\.run_sync"):
        optional("trio").run(main)


def test_a_future_awaited_under_trio_names_the_way_out(runtime: sync.Runtime) -> None:
    async def main() -> int:
        return await Future[int]()

    with pytest.raises(RuntimeError, match=r"a trio loop runs here.*backend='asyncio'.*trio\.to_thread\.run_sync"):
        optional("trio").run(main)


def test_the_way_out_of_trio_works(runtime: sync.Runtime) -> None:
    trio = optional("trio")

    async def model() -> int:
        return await asyncjit.call(pow, 2, 4)

    async def main() -> tuple[int, int]:
        kernel, coroutine = fork(pow, 2, 3), fork(model)
        return await trio.to_thread.run_sync(sync.wait, kernel), await trio.to_thread.run_sync(sync.wait, coroutine)

    assert trio.run(main) == (8, 16)
