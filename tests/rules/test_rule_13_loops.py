"""Rule 13, a loop that closes before its kernels finish takes only its own waiters with it."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncjit import Future, Runtime, fork, fork_group, sync, wait
from asyncjit.errors import RuntimeClosed
from tests.at_rest import PATIENCE_S, Gate
from tests.rules.places import in_thread
from tests.support import optional


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that the test closes itself, without `asyncio.run`'s cancelling of tasks."""
    loop = asyncio.new_event_loop() if request.param == "asyncio" else optional("uvloop").new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!"
    yield loop
    loop.close()


def close_in_the_middle(loop: asyncio.AbstractEventLoop, main: Callable[[], Any]) -> None:
    """Run `main` as a task until it stops the loop; then close the loop."""
    task = loop.create_task(main())
    loop.run_forever()
    assert not task.done()
    loop.close()
    del task
    gc.collect()


async def awaited(future: Future[Any]) -> Any:
    return await wait(future)


def test_a_loop_closed_mid_kernel_takes_only_its_own_waiters(loop: asyncio.AbstractEventLoop) -> None:
    gate = Gate()
    futures: list[Future[str]] = []

    async def main() -> None:
        futures.append(fork(gate))
        loop.call_later(0, loop.stop)
        await futures[0]

    with Runtime(1, blas_threads=None) as runtime:
        close_in_the_middle(loop, main)
        (future,) = futures
        other = in_thread(future.result)
        gate.open()
        assert future.result() == "passed"
        assert other() == "passed"
        assert asyncio.run(awaited(future)) == "passed"
        assert asyncio.run(awaited(fork(int, "1"))) == 1
        assert runtime.statistics().cancelled == 0


def test_a_coroutine_fork_meant_for_a_loop_that_is_gone_runs_on_the_facades(loop: asyncio.AbstractEventLoop) -> None:
    gate = Gate()
    futures: list[Future[str]] = []

    async def thread_name() -> str:
        return threading.current_thread().name

    def kernel() -> str:
        gate()
        return sync.wait(fork(thread_name))

    async def main() -> None:
        futures.append(fork(kernel))
        loop.call_later(0, loop.stop)
        await futures[0]

    with Runtime(1, blas_threads=None):
        close_in_the_middle(loop, main)
        gate.open()
        assert futures[0].result() == "asyncjit facade"


def test_a_coroutine_fork_on_its_way_to_a_loop_that_closes_runs_on_the_facades(loop: asyncio.AbstractEventLoop) -> None:
    futures: list[Future[str]] = []
    forked = threading.Event()

    async def thread_name() -> str:
        return threading.current_thread().name

    def kernel() -> str:
        future = fork(thread_name)
        forked.set()
        return sync.wait(future)

    async def main() -> None:
        futures.append(fork(kernel))
        assert forked.wait(PATIENCE_S)  # its letter has come, and is not read
        loop.stop()
        await futures[0]

    with Runtime(1, blas_threads=None):
        task = loop.create_task(main())
        loop.run_forever()
        loop.close()
        del task
        gc.collect()
        assert futures[0].result() == "asyncjit facade"


def test_a_coroutine_fork_that_ran_on_a_loop_that_closes_fails(loop: asyncio.AbstractEventLoop) -> None:
    never: Future[None] = Future()
    futures: list[Future[None]] = []

    async def model() -> None:
        loop.call_soon(loop.stop)
        await never

    async def main() -> None:
        futures.append(fork(model))
        await futures[0]

    with Runtime(1, blas_threads=None) as runtime:
        close_in_the_middle(loop, main)
        with pytest.raises(RuntimeClosed, match=r"the event loop of the fork of .*model.* has closed while it was run"):
            futures[0].result(PATIENCE_S)
        assert runtime.close(timeout=PATIENCE_S) == []
        assert runtime.statistics().failed == 1


def test_a_kernel_that_waits_for_a_coroutine_fork_of_a_loop_that_closes_is_told(
    loop: asyncio.AbstractEventLoop,
) -> None:
    never: Future[None] = Future()
    futures: list[Future[None]] = []

    async def model() -> None:
        loop.call_soon(loop.stop)
        await never

    def kernel() -> None:
        sync.wait(fork(model))

    async def main() -> None:
        futures.append(fork(kernel))
        await futures[0]

    with Runtime(1, blas_threads=None):
        close_in_the_middle(loop, main)
        with pytest.raises(RuntimeClosed, match="has closed while it was running"):
            futures[0].result(PATIENCE_S)


def test_a_group_does_not_wait_for_a_block_that_its_coroutine_can_never_leave(loop: asyncio.AbstractEventLoop) -> None:
    futures: list[Future[None]] = []

    async def model() -> None:
        async with fork_group(), fork_group():
            loop.call_soon(loop.stop)
            await Future()

    def kernel() -> None:
        with sync.fork_group() as group:
            group.fork(model)

    async def main() -> None:
        futures.append(fork(kernel))
        await futures[0]

    with Runtime(1, blas_threads=None) as runtime:
        close_in_the_middle(loop, main)
        with pytest.raises(ExceptionGroup) as error:
            futures[0].result(PATIENCE_S)
        assert [type(each) for each in error.value.exceptions] == [RuntimeClosed]
        assert runtime.close(timeout=PATIENCE_S) == []
