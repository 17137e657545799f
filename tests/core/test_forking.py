"""`fork`: what it takes for a coroutine function, and how a kernel is shipped to an executor."""

import contextvars
import functools
import multiprocessing
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import check_cancelled, fork, sync
from asyncjit._core.context import this_thread
from asyncjit._core.forking import is_async_callable
from tests.at_rest import PATIENCE_S, Gate, assert_at_rest, explode, when_idle
from tests.rules.places import HighWater

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class AsyncLayer:
    async def __call__(self) -> None: ...

    async def forward(self) -> None: ...

    @staticmethod
    async def static() -> None: ...


class Layer:
    def __call__(self) -> None: ...


async def coroutine() -> None: ...


async def async_generator() -> AsyncIterator[int]:
    yield 1


# -- kernels and coroutine functions


@pytest.mark.parametrize(
    "fn",
    [
        coroutine,
        AsyncLayer(),
        AsyncLayer().forward,
        AsyncLayer.static,
        AsyncLayer.forward,
        functools.partial(coroutine),
        functools.partial(functools.partial(AsyncLayer())),
    ],
)
def test_what_makes_a_coroutine_is_told_without_calling_it(fn: Callable[..., Any]) -> None:
    assert is_async_callable(fn)


@pytest.mark.parametrize(
    "fn",
    [
        explode,
        Layer(),
        Layer,
        AsyncLayer,
        functools.partial(explode),
        np.negative,
        len,
        [].append,
        lambda: coroutine(),
        async_generator,
    ],
)
def test_anything_else_is_a_kernel(fn: Callable[..., Any]) -> None:
    assert not is_async_callable(fn)


# -- below what is cancelled


@pytest.mark.parametrize("body", [int, coroutine], ids=["kernel", "coroutine"])
def test_below_a_cancelled_scope_a_fork_is_cancelled_from_its_start(
    runtime: sync.Runtime, body: Callable[[], Any]
) -> None:
    gate = Gate()

    def kernel() -> None:
        gate()
        below.append(fork(body).cancelled())

    below: list[bool] = []
    parent = fork(kernel)
    gate.await_start()
    parent.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    assert below == [True]


def test_check_cancelled_says_nothing_of_a_fork_that_nobody_cancelled(runtime: sync.Runtime) -> None:
    assert fork(check_cancelled).result(PATIENCE_S) is None


# -- executors


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Yield one process, started so that it inherits no thread's lock."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(4, thread_name_prefix="executor") as executor:
        yield executor


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Executor:
    executor: Executor = request.getfixturevalue(request.param)
    return executor


def test_an_executor_runs_the_bodies_of_kernels(executor: Executor) -> None:
    with sync.Runtime(2, blas_threads=None, executor=executor) as runtime:
        assert sync.wait_all([fork(pow, 2, n) for n in range(10)]) == [2**n for n in range(10)]
        assert sync.wait(fork(np.add, 1, 2)) == 3
        assert sync.wait(fork(sorted, [1, 2], reverse=True)) == [2, 1]
        assert_at_rest(runtime)


def test_the_bodies_run_on_the_executors_threads(threads: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=threads):
        assert sync.wait(fork(threading.current_thread)).name.startswith("executor")


async def test_an_executors_values_can_be_awaited(executor: Executor) -> None:
    async with asyncjit.Runtime(1, blas_threads=None, executor=executor):
        assert await fork(divmod, 7, 2) == (3, 1)


def test_an_error_in_an_executor_keeps_its_type_and_names_the_forks_site(executor: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=executor) as runtime:
        with pytest.raises(ZeroDivisionError, match="division") as caught:
            sync.wait(fork(divmod, 1, 0))
        assert "forked at test_forking.py:" in "".join(caught.value.__notes__)
        assert runtime.statistics().failed == 1
        assert sync.wait(fork(divmod, 7, 2)) == (3, 1), "the executor goes on"


def test_an_error_in_an_executors_thread_is_that_very_object(threads: Executor) -> None:
    error = KeyError("lost")

    def kernel() -> None:
        raise error

    with sync.Runtime(1, blas_threads=None, executor=threads):
        with pytest.raises(KeyError, match="lost") as caught:
            sync.wait(fork(kernel))
        assert caught.value is error


def test_the_context_travels_to_an_executors_thread(threads: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=threads):
        token = COLOUR.set("red")
        future = fork(COLOUR.get)
        COLOUR.reset(token)
        assert sync.wait(future) == "red"


def test_a_fork_in_an_executor_has_the_name_of_its_own_function(threads: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=threads):
        assert "the fork of pow (forked at" in repr(fork(pow, 2, 3))


def test_a_body_in_an_executors_thread_forks_and_waits_as_a_pool_thread_does(threads: Executor) -> None:
    def body() -> int:
        return sync.wait_all([fork(int, "2"), fork(int, "3")], timeout=PATIENCE_S)[1] + sync.call(int, "4")

    with sync.Runtime(1, blas_threads=None, executor=threads) as runtime:
        assert fork(body).result(PATIENCE_S) == 7
        assert_at_rest(runtime)


def test_an_executor_runs_no_more_than_n_at_once(threads: Executor) -> None:
    water = HighWater()
    barrier = threading.Barrier(2)

    def kernel() -> None:
        with water.computing():
            barrier.wait(PATIENCE_S)

    with sync.Runtime(2, blas_threads=None, executor=threads):
        sync.wait_all([fork(kernel) for _ in range(10)], timeout=PATIENCE_S)
    assert water.most == 2


def test_coroutine_forks_do_not_go_to_the_executor(executor: Executor) -> None:
    async def model() -> str:
        return threading.current_thread().name

    with sync.Runtime(1, blas_threads=None, executor=executor):
        assert sync.wait(fork(model)) == "asyncjit facade"


def test_an_executor_of_one_thread_runs_what_its_body_waits_for_in_place() -> None:
    def body(depth: int) -> int:
        return 1 + sync.wait(fork(body, depth - 1)) if depth else 0

    with ThreadPoolExecutor(1) as executor, sync.Runtime(1, blas_threads=None, executor=executor) as runtime:
        assert fork(body, 3).result(PATIENCE_S) == 3
        assert_at_rest(runtime)


def test_a_thread_of_an_executor_is_itself_again_after_a_body() -> None:
    with ThreadPoolExecutor(1) as executor:
        with sync.Runtime(1, blas_threads=None, executor=executor):
            with pytest.raises(ValueError, match="lost"):
                fork(explode, ValueError("lost")).result(PATIENCE_S)
            assert fork(abs, -1).result(PATIENCE_S) == 1
        slot = executor.submit(this_thread).result(PATIENCE_S)
        assert (slot.executor, slot.fork, slot.permit) == (None, None, None)
