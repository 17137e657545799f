"""The process's runtimes: which one is the current, and the default one."""

import asyncio
import contextvars
from collections.abc import Iterator

import pytest

import asyncjit
from asyncjit import current_runtime, fork, sync
from asyncjit.errors import RuntimeClosed
from tests.at_rest import PATIENCE_S, Gate
from tests.rules.places import in_threads


@pytest.fixture(autouse=True)
def default_runtime() -> Iterator[None]:
    """Leave no default runtime behind."""
    yield
    assert asyncjit.close(timeout=PATIENCE_S) == []


def test_the_default_runtime_is_made_once() -> None:
    default = current_runtime()
    assert current_runtime() is default
    assert in_threads(current_runtime, current_runtime) == [default, default]


def test_the_innermost_runtime_is_the_current_one() -> None:
    with sync.Runtime(1, blas_threads=None) as outer:
        with sync.Runtime(1, blas_threads=None) as inner:
            assert current_runtime() is inner
            sync.wait(fork(int))
            assert (outer.statistics().forked, inner.statistics().forked) == (0, 1)
        assert current_runtime() is outer
        sync.wait(fork(int))
        assert (outer.statistics().forked, inner.statistics().forked) == (1, 1)
    assert current_runtime() not in (outer, inner)


def test_plain_threads_see_the_last_entered_that_is_still_open() -> None:
    first, second = sync.Runtime(1, blas_threads=None), sync.Runtime(1, blas_threads=None)
    in_threads(first.enter)
    in_threads(second.enter)
    assert in_threads(current_runtime) == [second]
    first.close()
    assert in_threads(current_runtime) == [second]
    third = sync.Runtime(1, blas_threads=None)
    in_threads(third.enter)
    second.close()
    assert in_threads(current_runtime) == [third]
    third.close()
    (default,) = in_threads(current_runtime)
    assert default not in (first, second, third)


async def test_tasks_of_a_service_see_the_runtime_of_its_lifespan() -> None:
    """A handler's context is no copy of the one that the lifespan's runtime was entered in."""
    is_up, may_end = asyncio.Event(), asyncio.Event()
    entered: list[asyncjit.Runtime] = []

    async def lifespan() -> None:
        async with asyncjit.Runtime(1, blas_threads=None) as runtime:
            entered.append(runtime)
            is_up.set()
            await may_end.wait()

    async def handler() -> bool:
        await fork(int)
        return current_runtime() is entered[0]

    task = asyncio.create_task(lifespan())
    await is_up.wait()
    assert await asyncio.create_task(handler())
    assert await asyncio.to_thread(current_runtime) is entered[0]
    may_end.set()
    await task


def test_what_a_fork_forks_stays_on_the_runtime_of_the_fork() -> None:
    with sync.Runtime(1, blas_threads=None) as outer:
        gate = Gate()
        future = fork(lambda: (gate(), current_runtime())[1])
        gate.await_start()
        with sync.Runtime(1, blas_threads=None):
            gate.open()
            assert sync.wait(future) is outer


def test_a_local_runtime_is_seen_in_its_context_alone() -> None:
    with sync.Runtime(1, blas_threads=None) as outer:
        with sync.Runtime(1, blas_threads=None, local=True) as local:
            assert current_runtime() is local
            assert sync.wait(fork(current_runtime)) is local
            assert in_threads(current_runtime) == [outer]
            assert contextvars.copy_context().run(current_runtime) is local
            assert contextvars.Context().run(current_runtime) is outer
        assert current_runtime() is outer


async def test_a_local_runtime_is_seen_by_the_tasks_started_in_it() -> None:
    async def task() -> list[asyncjit.Runtime]:
        return [current_runtime(), await fork(current_runtime), await fork(coroutine)]

    async def coroutine() -> asyncjit.Runtime:
        return current_runtime()

    started = asyncio.Event()

    async def outsider() -> asyncjit.Runtime:
        await started.wait()
        return current_runtime()

    other = asyncio.create_task(outsider())
    async with asyncjit.Runtime(1, blas_threads=None, local=True) as local:
        started.set()
        assert await asyncio.create_task(task()) == [local] * 3
        assert await other is not local


async def test_two_tasks_may_have_a_local_runtime_each() -> None:
    both_are_in = asyncio.Barrier(2)

    async def task() -> bool:
        async with asyncjit.Runtime(1, blas_threads=None, local=True) as local:
            await both_are_in.wait()
            return await fork(current_runtime) is local

    assert all(await asyncio.gather(task(), task()))


def test_a_closed_runtime_can_not_be_entered() -> None:
    runtime = sync.Runtime(1, blas_threads=None)
    runtime.close()
    with pytest.raises(RuntimeClosed, match=r"<asyncjit.Runtime closed.* takes no more forks: make a new Runtime"):
        runtime.enter()
