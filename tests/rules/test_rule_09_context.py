"""Rule 9: every fork runs in a copy of its forker's context; nothing leaks back."""

import asyncio
import contextvars
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import Future, current_runtime, fork, fork_group, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, when_idle

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def _own_value() -> Iterator[None]:
    """Give each test its own value, and see that it is still there at the test's end."""
    token = variable.set("the test's")
    yield
    assert variable.get() == "the test's"
    variable.reset(token)


def set_variable(value: str) -> str:
    """Set the variable and return what it was."""
    before = variable.get()
    variable.set(value)
    return before


async def set_variable_async(value: str) -> str:
    before = variable.get()
    variable.set(value)
    await asyncio.sleep(0)
    assert variable.get() == value
    return before


in_both_places = pytest.mark.parametrize("timeout", [None, PATIENCE_S], ids=["in place", "on the pool"])


# -- np.errstate


@in_both_places
def test_errstate_holds_inside_a_kernel(runtime: sync.Runtime, timeout: float | None) -> None:
    with np.errstate(divide="raise"):
        future = fork(np.divide, np.ones(2), np.zeros(2))
    with pytest.raises(FloatingPointError, match="divide by zero"):
        sync.wait(future, timeout)
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        future = fork(np.divide, np.ones(2), np.zeros(2))
    assert np.isinf(sync.wait(future, timeout)).all()


async def test_errstate_holds_inside_awaited_forks(runtime: sync.Runtime) -> None:
    async def body() -> Any:
        return await asyncjit.call(np.divide, np.ones(2), np.zeros(2))

    for fn, args in ((np.divide, (np.ones(2), np.zeros(2))), (body, ())):
        with np.errstate(divide="raise"):
            raising: Future[Any] = fork(fn, *args)
        with np.errstate(divide="ignore"):
            silent: Future[Any] = fork(fn, *args)
        with pytest.raises(FloatingPointError, match="divide by zero"):
            await raising
        assert np.isinf(await silent).all()


async def test_errstate_holds_where_the_loop_runs_a_cheap_kernel_itself(runtime: sync.Runtime) -> None:
    ones, zeros = np.ones(2), np.zeros(2)
    with np.errstate(divide="ignore"):
        for _ in range(200):  # learns that it is cheap
            await asyncjit.call(np.divide, ones, zeros)
    with np.errstate(divide="raise"):
        for _ in range(20):
            with pytest.raises(FloatingPointError, match="divide by zero"):
                await asyncjit.call(np.divide, ones, zeros)


def test_errstate_set_in_a_kernel_does_not_leak(runtime: sync.Runtime) -> None:
    def body() -> list[object]:
        np.seterr(all="raise")
        return list(np.geterr().values())

    before = np.geterr()
    inside = sync.wait(fork(body))
    assert set(inside) == {"raise"}
    assert np.geterr() == before
    assert fork(np.geterr).result(PATIENCE_S) == before


# -- a variable, in kernels


@in_both_places
def test_a_kernel_sees_the_forkers_value_and_leaks_none(runtime: sync.Runtime, timeout: float | None) -> None:
    for n in range(20):
        assert sync.wait(fork(set_variable, f"the kernel's {n}"), timeout) == "the test's"
        assert variable.get() == "the test's"


def test_a_kernel_sees_the_value_of_its_fork_and_not_of_its_start(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        future = fork(variable.get)
        token = variable.set("changed after the fork")
    assert sync.wait(future, PATIENCE_S) == "the test's"
    variable.reset(token)


def test_forks_of_one_forker_do_not_see_each_others_values(runtime: sync.Runtime) -> None:
    futures = [fork(set_variable, str(n)) for n in range(100)]
    assert set(sync.wait_all(futures)) == {"the test's"}


def test_values_go_down_the_tree_and_not_up(runtime: sync.Runtime) -> None:
    def descend(depth: int) -> list[str]:
        seen = [variable.get()]
        variable.set(f"of depth {depth}")
        if depth:
            seen += sync.wait(fork(descend, depth - 1))
        assert variable.get() == f"of depth {depth}"
        return seen

    assert sync.wait(fork(descend, 3)) == ["the test's", "of depth 3", "of depth 2", "of depth 1"]


def test_each_way_to_fork_copies_the_context(runtime: sync.Runtime) -> None:
    assert sync.call(set_variable, "by call") == "the test's"
    assert list(sync.map(set_variable, ["by", "map"])) == ["the test's"] * 2
    with sync.fork_group() as group:
        future = group.fork(set_variable, "by group")
    assert future.value() == "the test's"


def test_a_plain_thread_forks_from_its_own_context(runtime: sync.Runtime) -> None:
    futures: list[Future[str]] = []

    def thread() -> None:
        variable.set("the thread's")
        futures.append(fork(variable.get))

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join(PATIENCE_S)
    assert sync.wait(futures[0]) == "the thread's"


def test_a_kernel_of_any_kind_gets_the_context(runtime: sync.Runtime) -> None:
    class Model:
        def __call__(self) -> str:
            return set_variable("the model's")

        def forward(self) -> str:
            return self()

    assert [sync.wait(fork(fn)) for fn in (Model(), Model().forward, lambda: variable.get())] == ["the test's"] * 3


def test_a_token_of_the_forker_is_not_the_kernels(runtime: sync.Runtime) -> None:
    token = variable.set("outer")
    with pytest.raises(ValueError, match="different Context"):
        sync.wait(fork(variable.reset, token))
    variable.reset(token)


# -- in coroutines


async def test_a_coroutine_fork_sees_the_forkers_value_and_leaks_none(runtime: sync.Runtime) -> None:
    variable.set("the task's")
    futures = [fork(set_variable_async, str(n)) for n in range(20)]
    variable.set("changed after the fork")
    assert [await future for future in futures] == ["the task's"] * 20
    assert variable.get() == "changed after the fork"


async def test_awaited_kernels_see_the_tasks_value_and_leak_none(runtime: sync.Runtime) -> None:
    variable.set("the task's")
    assert await asyncjit.call(set_variable, "by call") == "the task's"
    assert [value async for value in asyncjit.map(set_variable, ["by", "map"])] == ["the task's"] * 2
    async with fork_group() as group:
        kernel = group.fork(set_variable, "by group")
        coroutine = group.fork(set_variable_async, "by group")
    assert (kernel.value(), coroutine.value()) == ("the task's", "the task's")
    assert variable.get() == "the task's"


async def test_values_go_down_a_mixed_tree(runtime: sync.Runtime) -> None:
    def kernel(depth: int) -> list[str]:
        seen = [variable.get()]
        variable.set(f"kernel {depth}")
        return seen + (sync.wait(fork(coroutine, depth - 1)) if depth else [])

    async def coroutine(depth: int) -> list[str]:
        seen = [variable.get()]
        variable.set(f"coroutine {depth}")
        return seen + (await fork(kernel, depth - 1) if depth else [])

    variable.set("the task's")
    assert await fork(kernel, 3) == ["the task's", "kernel 3", "coroutine 2", "kernel 1"]
    assert variable.get() == "the task's"


def test_a_script_s_coroutine_fork_sees_its_value(runtime: sync.Runtime) -> None:
    assert fork(set_variable_async, "the coroutine's").result(PATIENCE_S) == "the test's"
    assert fork(set_variable_async, "the coroutine's").result(PATIENCE_S) == "the test's"


async def test_tasks_of_one_loop_keep_their_values_apart(runtime: sync.Runtime) -> None:
    async def plain(name: str) -> str:
        variable.set(name)
        for _ in range(5):
            assert await fork(set_variable, "a kernel's") == name
            assert await fork(set_variable_async, "a coroutine's") == name
        return variable.get()

    names = [f"task {n}" for n in range(10)]
    assert await asyncio.gather(*(plain(name) for name in names)) == names


async def test_a_kernel_that_goes_on_as_a_coroutine_keeps_its_context(runtime: sync.Runtime) -> None:
    def decorated(value: str) -> Any:  # a plain function that returns a coroutine
        variable.set("set before the coroutine")
        return set_variable_async(value)

    variable.set("the task's")
    assert await fork(decorated, "the coroutine's") == "set before the coroutine"
    assert variable.get() == "the task's"


# -- callbacks


def test_a_done_callback_runs_in_the_context_of_its_registration(runtime: sync.Runtime) -> None:
    seen: list[str] = []
    gate = Gate()
    future = fork(gate)
    for name in ("first", "second"):
        token = variable.set(name)
        future.add_done_callback(lambda _: seen.append(set_variable("the callback's")))
        variable.reset(token)
    gate.open()
    sync.wait(future, PATIENCE_S)
    when_idle(runtime).result(PATIENCE_S)
    token = variable.set("when it was done")
    future.add_done_callback(lambda _: seen.append(set_variable("the callback's")))
    assert variable.get() == "when it was done"
    variable.reset(token)
    assert seen == ["first", "second", "when it was done"]


def test_then_runs_in_the_context_of_its_registration(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        future = fork(set_variable, "the kernel's")
        token = variable.set("at then")
        chained = future.then(lambda _: set_variable("the callback's"))
        variable.reset(token)
    assert sync.wait(chained, PATIENCE_S) == "at then"


async def test_a_callback_of_a_coroutine_fork_runs_in_the_context_of_its_registration(runtime: sync.Runtime) -> None:
    variable.set("at the fork")
    future = fork(set_variable_async, "the coroutine's")
    variable.set("at then")
    chained = future.then(lambda _: set_variable("the callback's"))
    variable.set("later")
    assert await chained == "at then"
    assert variable.get() == "later"


def test_a_fork_made_in_a_callback_has_the_callbacks_context(runtime: sync.Runtime) -> None:
    below: list[Future[str]] = []
    gate = Gate()
    future = fork(gate)
    token = variable.set("at the registration")
    future.add_done_callback(lambda _: below.append(fork(variable.get)))
    variable.reset(token)
    gate.open()
    sync.wait(future, PATIENCE_S)
    when_idle(runtime).result(PATIENCE_S)
    assert below[0].result(PATIENCE_S) == "at the registration"


# -- the runtime


def test_a_fork_sees_the_runtime_it_was_forked_on(runtime: sync.Runtime) -> None:
    with sync.Runtime(1, local=True, blas_threads=None) as local:
        assert sync.wait(fork(current_runtime)) is local
        below = sync.wait(fork(lambda: fork(current_runtime)))
        assert sync.wait(below) is local
    assert sync.wait(fork(current_runtime)) is runtime


async def test_a_coroutine_fork_sees_the_runtime_it_was_forked_on(runtime: sync.Runtime) -> None:
    async def body() -> list[Any]:
        return [current_runtime(), await fork(current_runtime)]

    async with asyncjit.Runtime(1, local=True, blas_threads=None) as local:
        assert await fork(body) == [local, local]
    assert await fork(body) == [runtime, runtime]


def test_a_thread_outside_a_local_runtime_does_not_see_it(runtime: sync.Runtime) -> None:
    seen: list[Any] = []
    with sync.Runtime(1, local=True, blas_threads=None):
        thread = threading.Thread(target=lambda: seen.append(current_runtime()))
        thread.start()
        thread.join(PATIENCE_S)
    assert seen == [runtime]
