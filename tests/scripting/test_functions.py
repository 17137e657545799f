"""`script` of functions, methods and of what decorators make of them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import pytest

import asyncjit
from asyncjit import fork, sync
from asyncjit._core.stepping import ScriptFunction
from asyncjit.errors import ScriptError, WaitOnEventLoopError
from asyncjit.scripting import script
from tests.scripting.importing import imported
from tests.scripting.running import is_suspended

seen: list[Any] = []


def loud(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Tell of the calls of a function."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return fn(*args, **kwargs)

    return wrapper


def doubled(times: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a decorator with an argument, whose wrapper waits itself."""

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            return sync.wait(fork(fn, *args)) * times

        return wrapper

    return decorate


def get(future: asyncjit.Future[Any]) -> Any:
    return sync.wait(future)


# -- functions


def test_a_scripted_function_suspends_where_its_future_is_not_done() -> None:
    future: asyncjit.Future[int] = asyncjit.Future()
    assert is_suspended(script(get), future)
    future.set_result(3)
    assert not is_suspended(script(get), future)
    assert script(get)(future) == 3


def test_what_calls_a_scripted_function_suspends_with_it() -> None:
    inner = script(get)

    def outer(fns: list[Any], future: Any) -> Any:
        return [fn(future) for fn in fns], inner(future)

    for fn in (inner, functools.partial(inner), functools.partial(sync.wait), Methods().get, asyncjit.Future.result):
        assert is_suspended(script(outer), [fn], asyncjit.Future())
    assert script(outer)([inner, get], fork(abs, -1)) == ([1, 1], 1)


def test_a_plain_function_that_waits_blocks_as_a_kernel_does(runtime: sync.Runtime) -> None:
    def outer(fn: Any, x: int) -> Any:
        return fn(fork(abs, x))

    assert script(outer)(get, -3) == 3
    assert sync.wait(fork(script(outer), get, -3)) == 3


def test_on_a_loop_it_raises_and_shows_the_await() -> None:
    scripted = script(get)

    async def main() -> Any:
        with pytest.raises(
            WaitOnEventLoopError, match=r"^get\(...\) would block .*: write `await asyncjit.call\(get, ...\)`"
        ):
            scripted(fork(abs, -1))
        return await asyncjit.call(scripted, fork(abs, -1))

    assert asyncio.run(main()) == 1


def test_what_is_scripted_or_async_is_returned_unchanged() -> None:
    async def coroutine_function() -> None: ...

    async def generator_function() -> Any:
        yield

    scripted = script(get)
    for fn in (scripted, coroutine_function, generator_function, functools.partial(coroutine_function)):
        result: Any = script(fn)
        assert result is fn or (result.func, result.args) == (fn.func, fn.args)  # type: ignore[union-attr]


def test_a_function_without_calls_is_scripted_all_the_same() -> None:
    @script
    def fn(x: int) -> int:
        """Return it."""
        return x

    assert fn(3) == sync.wait(fork(fn, 3)) == 3
    assert fn.code == 'async def fn(x: int) -> int:\n    """Return it."""\n    return x'


def test_a_partial_is_scripted_inside() -> None:
    def fn(a: int, b: Any, *, c: int) -> Any:
        return a, b.wait(), c

    scripted: Any = script(functools.partial(fn, 1, c=3))
    assert scripted(fork(abs, -2)) == (1, 2, 3)
    assert isinstance(scripted.func, ScriptFunction)


# -- recursion


@script
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + sync.wait(fork(fib, n - 2))


@script
def is_even(n: int) -> bool:
    return n == 0 or is_odd(n - 1)


@script
def is_odd(n: int) -> bool:
    return n > 0 and sync.wait(fork(is_even, n - 1))


def test_recursion(runtime: sync.Runtime) -> None:
    assert fib(12) == sync.wait(fork(fib, 12)) == 144
    assert is_even(60)
    assert not sync.wait(fork(is_even, 61))


def test_recursion_that_forks_nothing_nests_as_deep_as_in_plain_python() -> None:
    @script
    def down(n: int, future: asyncjit.Future[int]) -> int:
        return down(n - 1, future) if n else future.wait()

    assert down(400, fork(abs, -5)) == 5


# -- methods


class Methods:
    """Has methods of all kinds, scripted in all orders."""

    factor = 10

    @script
    def get(self, future: Any) -> Any:
        return sync.wait(future) * self.factor

    @script
    @staticmethod
    def static_below(future: Any) -> Any:
        return sync.wait(future)

    @staticmethod
    @script
    def static_above(future: Any) -> Any:
        return sync.wait(future)

    @script
    @classmethod
    def class_below(cls, future: Any) -> Any:
        return sync.wait(future) * cls.factor

    @classmethod
    @script
    def class_above(cls, future: Any) -> Any:
        return sync.wait(future) * cls.factor

    @property
    @script
    def value(self) -> Any:
        return sync.wait(fork(abs, -self.factor))

    def plain(self, future: Any) -> Any:
        return sync.wait(future) * self.factor


class Derived(Methods):
    factor = 100

    @script
    def get(self, future: Any) -> Any:
        return super().get(future) + super().get(future) + 1


def test_methods_of_all_kinds(runtime: sync.Runtime) -> None:
    future = fork(abs, -2)
    for instance in (Methods(), Derived()):
        factor = instance.factor
        assert instance.static_below(future) == instance.static_above(future) == 2
        assert instance.class_below(future) == instance.class_above(future) == 2 * factor
        assert type(instance).class_below(future) == sync.wait(fork(instance.class_above, future)) == 2 * factor
        assert instance.value == factor
    assert Methods().get(future) == Methods.get(Methods(), future) == 20
    assert Derived().get(future) == sync.wait(fork(Derived().get, future)) == 401


@pytest.mark.parametrize("name", ["get", "static_below", "static_above", "class_below", "class_above"])
@pytest.mark.parametrize("kind", [Methods, Derived])
def test_methods_of_all_kinds_suspend(kind: type, name: str) -> None:
    assert is_suspended(getattr(kind(), name), asyncjit.Future())


def test_a_bound_method_is_scripted_and_bound_again() -> None:
    instance = Methods()
    bound: Any = script(instance.plain)
    assert type(bound) is MethodType
    assert bound.__self__ is instance
    assert bound(fork(abs, -2)) == 20
    assert is_suspended(bound, asyncjit.Future())
    assert vars(bound.__func__)["original"] is Methods.plain
    again: Any = script(bound)
    assert again.__func__ is bound.__func__


# -- decorators


def test_a_decorator_above() -> None:
    @loud
    @script
    def fn(x: int) -> Any:
        return sync.wait(fork(abs, x))

    seen.clear()
    assert fn(-2) == 2
    assert seen == [((-2,), {})]
    assert isinstance(inspect.unwrap(fn, stop=lambda each: isinstance(each, ScriptFunction)), ScriptFunction)


def test_below_another_decorator_the_wrapper_and_what_it_wraps_are_scripted(runtime: sync.Runtime) -> None:
    @script
    @loud
    @doubled(times=3)
    @loud
    def fn(x: int, get: Any = sync.wait) -> Any:
        return get(fork(abs, x))

    seen.clear()
    assert fn(-2) == sync.wait(fork(fn, -2)) == 6
    assert seen == [((-2,), {})] * 4
    assert fn.__name__ == "fn"
    assert fn.original(-2) == 6
    assert fn.code.count("async def wrapper(") == 3
    assert fn.code.endswith("return await _finish(_begin(get)(fork(abs, x)))")


def test_below_another_decorator_waits_suspend() -> None:
    plain = loud(loud(get))
    scripted = script(plain)
    assert is_suspended(scripted, asyncjit.Future())
    assert inspect.getclosurevars(plain).nonlocals["fn"] is plain.__wrapped__  # type: ignore[attr-defined]
    assert is_suspended(script(loud(script(get))), asyncjit.Future())


@pytest.mark.parametrize("make", [functools.lru_cache, functools.singledispatch], ids=["lru_cache", "singledispatch"])
def test_a_wrapper_that_is_no_plain_function(make: Callable[..., Any]) -> None:
    wrapped = make(get)
    if make is functools.lru_cache:
        with pytest.raises(ScriptError, match="put @script below the decorator that made it, next to the function"):
            script(wrapped)
    assert make(script(get))(fork(abs, -2)) == 2


def test_wrappers_of_what_need_not_be_scripted_are() -> None:
    async def coroutine_function() -> int:
        return 3

    def generator_function() -> Any:
        yield 4

    assert asyncio.run(script(loud(coroutine_function))()) == 3
    assert list(script(loud(generator_function))()) == [4]
    assert script(loud(len))("ab") == 2


# -- nested functions


def test_nested_functions_that_wait_are_scripted() -> None:
    @script
    def outer(future: Any) -> Any:
        def inner(*, factor: int = 2) -> Any:
            """Wait."""
            return future.wait() * factor

        @functools.lru_cache
        def plain() -> int:
            return 4

        return inner, plain

    future: asyncjit.Future[int] = asyncjit.Future()
    inner, plain = outer(future)
    assert is_suspended(inner)
    future.set_result(3)
    assert inner() == inner.original() == sync.wait(fork(inner)) == 6
    assert inner(factor=3) == inner.original(factor=3) == 9
    assert inner.__name__ == inner.original.__name__ == "inner"
    assert inner.__qualname__ == inner.original.__qualname__
    assert inner.__doc__ == inner.original.__doc__ == "Wait."
    assert inner.original.__annotations__ == {"factor": "int", "return": "Any"}
    assert inner.code == (
        'async def inner(*, factor: int=2) -> Any:\n    """Wait."""\n'
        "    return await _finish(_begin(future.wait)()) * factor"
    )
    assert not isinstance(plain.__wrapped__, ScriptFunction)


def test_nested_functions_may_be_decorated_by_script() -> None:
    @script
    def outer(x: int) -> Any:
        @script
        def waits() -> Any:
            return sync.wait(fork(abs, x))

        @script
        def plain() -> int:
            return x

        return waits, plain, waits() + plain()

    waits, plain, total = outer(-2)
    assert isinstance(waits, ScriptFunction)
    assert isinstance(plain, ScriptFunction)
    assert (waits(), plain(), total) == (2, -2, 0)


def test_a_nested_function_in_dead_code_does_not_matter(tmp_path: Path) -> None:
    source = "def outer():\n    return 1\n    def inner(future): return future.wait()\n"
    assert script(imported(source, tmp_path).outer)() == 1


@script
def named(x: int) -> int:
    """Stand for a function of a module."""
    return x + sync.wait(fork(int, 1))


def test_a_scripted_function_of_a_module_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(named)) is named


async def test_a_nested_function_may_ask_a_finished_future_on_a_loops_thread() -> None:
    @script
    def adding(future: asyncjit.Future[int]) -> asyncjit.Future[int]:
        def add(done: asyncjit.Future[int]) -> int:
            return done.result() + 1

        return future.then(add)

    future: asyncjit.Future[int] = asyncjit.Future()
    added = await asyncjit.call(adding, future)
    future.set_result(1)  # here, so that the callback runs on the loop's thread
    assert added.value() == 2
