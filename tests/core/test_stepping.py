"""Scripted functions as objects, called from scripts, kernels and loops, and found behind methods and modules."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit._core.stepping import ScriptFunction, run_blocking, script_of
from asyncjit.errors import WaitOnEventLoopError
from tests.at_rest import PATIENCE_S, until
from tests.core.scripted import recurse, run, scripted, wait_for


def plain(x: int, *, y: int = 2) -> int:
    """Stand for what the user wrote."""
    return x + y


async def steps(x: int, *, y: int = 2) -> Any:
    return await run(sync.wait, fork(int, x)) + y


def test_a_scripted_function_looks_like_the_one_that_was_written() -> None:
    fn = ScriptFunction(plain, steps, "the code")
    assert (fn.__name__, fn.__doc__, fn.__wrapped__) == ("plain", plain.__doc__, plain)
    assert (fn.original, fn.code) == (plain, "the code")
    assert repr(fn) == "<asyncjit.ScriptFunction plain>"


def test_a_call_from_a_script_or_a_kernel_returns_the_value(runtime: sync.Runtime) -> None:
    fn = ScriptFunction(plain, steps, "")
    assert fn(1, y=5) == 6
    assert fork(lambda: fn(1)).result(PATIENCE_S) == 3
    with pytest.raises(TypeError, match="positional argument"):
        fn()  # type: ignore[call-arg]


async def test_a_call_on_a_loops_thread_is_told_what_to_write(runtime: sync.Runtime) -> None:
    with pytest.raises(WaitOnEventLoopError, match=r"await asyncjit\.call\(recurse, \.\.\.\)"):
        recurse(3)
    assert await asyncjit.call(recurse, 3) == 3


def test_a_scripted_function_is_a_method_of_its_instances() -> None:
    class Model:
        factor = 3

        async def _forward(self, x: int) -> Any:
            return self.factor * await run(sync.wait, fork(int, x))

        forward = scripted(_forward)

    assert Model().forward(2) == 6
    assert isinstance(Model.forward, ScriptFunction)
    assert Model.forward(Model(), 2) == 6


# -- run_blocking


def test_an_error_of_a_wait_can_be_caught_in_the_body_and_one_of_the_body_ends_it() -> None:
    @scripted
    async def body() -> str:
        try:
            await run(sync.wait, Future(), timeout=0)
        except TimeoutError as error:
            frames = []
            traceback = error.__traceback__
            while traceback is not None:
                frames.append(traceback.tb_frame.f_code.co_name)
                traceback = traceback.tb_next
            assert "block" not in frames  # the body's own lines, not our machinery below them
        try:
            await run(sync.wait, Future(), timeout="1")
        except TypeError:
            raise KeyError("of the body") from None
        return "never"

    with sync.Runtime(1, blas_threads=None), pytest.raises(KeyError, match="of the body"):
        body()


def test_what_is_called_directly_blocks_its_thread_and_lends_the_permit() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        target: Future[int] = Future()
        waiting = fork(lambda: wait_for(target))
        until(lambda: runtime.statistics().blocked == 1)
        assert fork(lambda: 5).result(PATIENCE_S) == 5
        target.set_result(3)
        assert waiting.result(PATIENCE_S) == 3


def test_a_coroutine_that_never_waits_runs_to_its_end_at_once() -> None:
    async def at_once() -> int:
        return 3

    assert run_blocking(at_once()) == 3


def test_an_error_that_is_over_keeps_no_frame() -> None:
    class Thing:
        pass

    @scripted
    async def inner(thing: Thing) -> None:
        await run(sync.wait, Future(), timeout=0)

    thing = Thing()
    watched = weakref.ref(thing)
    with sync.Runtime(1, blas_threads=None):
        try:
            inner(thing)
        except TimeoutError:
            pass
    del thing
    assert watched() is None


# -- script_of


def test_the_steps_are_found_behind_functions_methods_and_callable_objects() -> None:
    class Model:
        async def _call(self, x: int) -> int:
            return x

        __call__ = scripted(_call)

        forward = scripted(_call)

    model = Model()
    assert script_of(recurse) is recurse.steps
    for fn in (model, model.forward):
        found = script_of(fn)
        assert found is not None
        assert run_blocking(found(3)) == 3


@pytest.mark.parametrize("fn", [plain, len, str.upper, "a".upper, int, object(), threading.Lock().acquire])
def test_what_is_not_scripted_has_no_steps(fn: Any) -> None:
    assert script_of(fn) is None


def test_a_partial_of_a_scripted_function_gives_its_thread_back(runtime: sync.Runtime) -> None:
    target: Future[int] = Future()
    future = fork(partial(wait_for, target))
    until(lambda: runtime.statistics().suspended)
    assert runtime.statistics().blocked == 0
    target.set_result(3)
    assert future.result(PATIENCE_S) == 3
