"""What the code of scripted functions calls: calls are recognised by what they are, tied managers refuse waits."""

from __future__ import annotations

import contextvars
import functools
import inspect
import logging
import multiprocessing
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import threadpoolctl

import asyncjit
from asyncjit import Future, fork, script, sync
from asyncjit._core.scripts import Begun, Block, begin, is_tied, managed, waits
from asyncjit.errors import ScriptError
from tests.core.scripted import run, scripted


@scripted
async def twice(x: Any, *, times: int = 2) -> Any:
    return await run(sync.wait, x) * times


class Model:
    """Is scripted where it is called, and in one of its methods."""

    @scripted
    async def __call__(self, x: Any) -> Any:
        return await run(sync.wait, x)

    @scripted
    async def method(self, x: Any) -> Any:
        return await run(sync.wait, x)

    def plain(self, x: Any) -> Any:
        return x.value()


WAITING: dict[str, Callable[[Future[int]], Any]] = {
    "sync.wait": lambda fut: (sync.wait, fut),
    "asyncjit.wait": lambda fut: (asyncjit.wait, fut),
    "sync.wait_all": lambda fut: (sync.wait_all, [fut]),
    "asyncjit.wait_all": lambda fut: (asyncjit.wait_all, [fut]),
    "sync.call": lambda fut: (sync.call, fut.value),
    "asyncjit.call": lambda fut: (asyncjit.call, fut.value),
    "wait": lambda fut: (fut.wait,),
    "result": lambda fut: (fut.result,),
    "exception": lambda fut: (fut.exception,),
    "Future.result": lambda fut: (Future.result, fut),
    "Future.exception": lambda fut: (Future.exception, fut),
    "a scripted function": lambda fut: (twice, fut),
    "a scripted method": lambda fut: (Model().method, fut),
    "a scripted method of the class": lambda fut: (Model.method, Model(), fut),
    "a scripted instance": lambda fut: (Model(), fut),
    "a partial of a wait": lambda fut: (functools.partial(sync.wait, fut),),
    "a partial of a scripted function": lambda fut: (functools.partial(twice, times=3), fut),
    "a partial of a partial of a method": lambda fut: (functools.partial(functools.partial(fut.wait), 60.0),),
}
PLAIN: dict[str, Callable[[Future[int]], Any]] = {
    "a function": lambda fut: (inspect.isroutine, fut),
    "a builtin": lambda fut: (callable, fut),
    "a method": lambda fut: (Model().plain, fut),
    "a builtin's method": lambda fut: ([].append, fut),
    "a class": lambda fut: (list, [fut]),
    "a future's other method": lambda fut: (fut.value,),
    "a partial": lambda fut: (functools.partial(callable), fut),
    "an instance": lambda fut: (functools.singledispatch(callable), fut),
    "fork": lambda fut: (fork, fut.value),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_begun(name: str) -> None:
    fn, *args = WAITING[name](Future())
    assert waits(fn)
    assert begin(fn) is not fn
    call = begin(fn)(*args)
    assert type(call) is Begun
    call.coroutine.close()


@pytest.mark.parametrize("name", PLAIN)
def test_what_does_not_is_itself(runtime: sync.Runtime, name: str) -> None:
    fn, *_ = PLAIN[name](fork(abs, -1))
    assert not waits(fn)
    assert begin(fn) is fn


@scripted
async def make(fn: Any, *args: Any) -> Any:
    return await run(fn, *args)


@pytest.mark.parametrize("name", WAITING)
def test_each_wait_gives_what_it_gives_in_plain_code(runtime: sync.Runtime, name: str) -> None:
    future = fork(abs, -7)
    assert sync.wait(future) == 7
    fn, *args = WAITING[name](future)
    expected = {"wait_all": [7], "exception": None, "function": 14 if "partial" not in name else 21}
    value = next((value for part, value in expected.items() if part in name), 7)
    assert make(fn, *args) == sync.wait(fork(make, fn, *args)) == value


def test_waits_take_what_they_take_in_plain_code(runtime: sync.Runtime) -> None:
    failed = fork(int, "x")
    assert isinstance(make(failed.exception), ValueError)
    assert isinstance(make(functools.partial(sync.wait_all, return_exceptions=True), [failed])[0], ValueError)
    with pytest.raises(ValueError, match="invalid literal"):
        make(sync.wait_all, iter([fork(abs, 1), failed]))
    with pytest.raises(TimeoutError, match=r"was not done within 0\.0 s"):
        make(functools.partial(sync.wait, timeout=0.0), Future())
    with pytest.raises(RuntimeError, match="Future can't be None"):
        make(sync.wait, None)
    with pytest.raises(TypeError, match=r"^wait\(\) missing 1 required positional argument: 'fut'$"):
        make(asyncjit.wait)


def test_a_plain_calls_value_is_never_awaited() -> None:
    async def coroutine_function() -> None: ...

    coroutine = make(coroutine_function)
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


# -- plain calls are made in the user's own frame


def test_a_fork_names_the_users_line(runtime: sync.Runtime) -> None:
    @script
    def fails() -> Any:
        with sync.fork_group() as group:
            return group.fork(int, "x")

    with pytest.raises(ExceptionGroup) as caught:
        fails()
    (note,) = caught.value.exceptions[0].__notes__
    assert "test_scripts.py:" in note
    assert "fails" in note


def test_a_call_names_the_users_line(runtime: sync.Runtime) -> None:
    @script
    def fails() -> Any:
        return sync.call(int, "x")

    with pytest.raises(ValueError, match="invalid literal") as caught:
        fails()
    (note,) = caught.value.__notes__
    assert "test_scripts.py:" in note
    assert "fails" in note


def test_what_looks_at_its_caller_sees_the_user(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.scripts")

    @script
    def fn(log: logging.Logger, warn: Any, frame: Any) -> Any:
        log.warning("a line")
        warn("a warning")
        return frame().f_code.co_name

    with pytest.warns(UserWarning, match="a warning") as warned:
        assert fn(logger, warnings.warn, sys._getframe) == "fn"
    assert warned[0].filename == __file__
    assert (caplog.records[0].pathname, caplog.records[0].funcName) == (__file__, "fn")


def test_stop_iteration_is_just_an_error() -> None:
    @script
    def fn(step: Any) -> Any:
        try:
            return step()
        except StopIteration as stop:
            return stop.value

    assert fn(iter([]).__next__) is None
    assert fn(iter([3]).__next__) == 3


# -- managers tied to their thread


@script
def under(manager: Any, future: Any) -> Any:
    with manager as entered:
        return future.wait(), entered  # the wait


LINE = inspect.getsourcelines(under.original)[1] + 2

FakeGrad = type(
    "no_grad",
    (),
    {"__module__": "torch.autograd.grad_mode", "__enter__": lambda self: self, "__exit__": lambda *_: None},
)
Loud = type("Loud", (threading.Condition,), {})

TIED: dict[str, Callable[[], Any]] = {
    "Lock": threading.Lock,
    "RLock": threading.RLock,
    "RLock in Python": threading._PyRLock,  # type: ignore[attr-defined]
    "Condition": threading.Condition,
    "Semaphore": threading.Semaphore,
    "BoundedSemaphore": threading.BoundedSemaphore,
    "a class derived from one": Loud,
    "a process's Lock": multiprocessing.Lock,
    "a process's RLock": multiprocessing.RLock,
    "a process's Semaphore": multiprocessing.Semaphore,
    "a process's Condition": multiprocessing.Condition,
    "threadpool_limits": lambda: threadpoolctl.threadpool_limits(limits={}),
    "no_grad": FakeGrad,
}


@pytest.mark.parametrize("is_done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("way", ["in a script", "forked"])
@pytest.mark.parametrize("name", TIED)
def test_a_wait_under_a_tied_manager_is_refused(runtime: sync.Runtime, name: str, way: str, is_done: bool) -> None:
    manager = TIED[name]()
    future: Future[int] = Future()
    if is_done:
        future.set_result(1)
    kind = type(manager).__qualname__
    message = (
        rf"test_scripts\.py:{LINE}: a wait inside of `with manager as entered:`, whose manager, a {kind}, belongs to "
        r"its thread, which a scripted function gives back at a wait: take the value before, or after, the block(\n|$)"
    )
    with pytest.raises(ScriptError, match=message):
        under(manager, future) if way == "in a script" else sync.wait(fork(under, manager, future))
    if hasattr(manager, "acquire"):
        assert manager.acquire(False)
        manager.release()


def test_every_wait_is_refused_there(runtime: sync.Runtime) -> None:
    lock = threading.Lock()

    @script
    def fn(wait: Any, *args: Any) -> Any:
        with lock:
            return wait(*args)

    future = fork(abs, -1)
    for wait, *args in (WAITING[name](future) for name in WAITING):
        with pytest.raises(ScriptError, match="whose manager, a lock, belongs to its thread"):
            fn(wait, *args)
    assert not lock.locked()


def test_other_managers_are_used_as_they_stand() -> None:
    manager = sync.fork_group()
    assert managed(manager) is manager
    assert managed(3) == 3
    assert not is_tied(type(manager))
    lock = threading.Lock()
    with Block():
        assert managed(lock) is lock


def test_before_and_after_and_around_what_waits_for_nothing_it_is_not_refused(runtime: sync.Runtime) -> None:
    lock, items = threading.Lock(), [1]

    @script
    def fn(future: Future[int]) -> Any:
        value = future.wait()
        with lock:
            items.append(value)
        with lock, lock if value < 0 else sync.fail_after(None):
            items.append(items.pop())
        return future.wait(), lock.locked()

    assert fn(fork(abs, -2)) == sync.wait(fork(fn, fork(abs, -2))) == (2, False)


def test_after_an_error_in_entering_or_in_the_block_it_is_not_refused(runtime: sync.Runtime) -> None:
    lock = threading.RLock()

    @script
    def fn(fail: Any, future: Future[int]) -> Any:
        for enters in (True, False):
            try:
                with lock, lock if enters else fail():
                    fail()
            except ZeroDivisionError:
                pass
        return future.wait()

    def fail() -> Any:
        raise ZeroDivisionError

    assert fn(fail, fork(abs, -2)) == 2


def test_a_scripted_function_called_under_a_lock_is_refused_its_waits(runtime: sync.Runtime) -> None:
    lock = threading.Lock()

    @script
    def inner(future: Future[int]) -> Any:
        return future.wait()

    @script
    def outer(fn: Any, future: Future[int]) -> Any:
        with lock:
            return fn(future)

    for fn in (inner, lambda future: inner(future)):
        with pytest.raises(ScriptError, match="a wait inside of `with lock:`"):
            outer(fn, fork(abs, -2))


def test_a_wait_in_a_group_or_under_a_deadline_under_a_lock_is_refused(runtime: sync.Runtime) -> None:
    lock = threading.Lock()

    @script
    def fn(future: Future[int], inner: Any) -> Any:
        with lock:
            with inner:
                return future.wait()

    with pytest.raises(BaseException, match=r"errors in a fork_group|a wait inside of `with lock:`") as caught:
        fn(fork(abs, -2), sync.fork_group())
    assert caught.group_contains(ScriptError) if isinstance(caught.value, ExceptionGroup) else True
    with pytest.raises(ScriptError, match="a wait inside of `with lock:`"):
        fn(fork(abs, -2), sync.fail_after(60.0))


def test_forks_made_under_a_lock_inherit_nothing(runtime: sync.Runtime) -> None:
    lock = threading.Lock()
    futures: list[Future[Any]] = []

    @script
    def inner(future: Future[int]) -> Any:
        return future.wait()

    @script
    def outer(do: Any, *args: Any) -> Any:
        with lock:
            return do(*args)

    def fork_and_wait(fn: Any, future: Future[int]) -> Any:
        return sync.wait(fork(fn, future))

    futures.append(outer(fork, inner, fork(abs, -2)))
    assert sync.wait(futures[0]) == 2
    assert outer(fork_and_wait, inner, fork(abs, -3)) == 3
    assert sync.wait(fork(outer, fork_and_wait, inner, fork(abs, -4))) == 4


def test_another_thread_that_was_given_the_context_holds_nothing(runtime: sync.Runtime) -> None:
    lock = threading.Lock()

    @script
    def inner(future: Future[int]) -> Any:
        return future.wait()

    @script
    def outer(do: Any, *args: Any) -> Any:
        with lock:
            return do(*args)

    def in_a_thread(fn: Any, future: Future[int]) -> Any:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(contextvars.copy_context().run, fn, future).result()

    assert outer(in_a_thread, inner, fork(abs, -2)) == 2


def test_plain_code_blocks_under_a_lock_as_ever(runtime: sync.Runtime) -> None:
    lock = threading.Lock()

    @script
    def fn(get: Any, future: Future[int]) -> Any:
        with lock:
            return get(future)

    assert fn(lambda future: sync.wait(future), fork(abs, -2)) == 2
