"""The public surface as a type checker sees it: `mypy --strict` checks these functions, nothing executes them."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import numpy.typing as npt

import asyncjit
from asyncjit import Future, sync
from asyncjit.graph import Graph, auto_fork
from asyncjit.graph.auto_forking import ForkedGraph
from asyncjit.graph.report import Report

Array = npt.NDArray[np.float32]


def kernel(x: int, /, scale: float = 1.0, *, name: str = "") -> str:
    return f"{name}{x * scale}"


async def coroutine(x: int) -> bytes:
    return bytes(x)


def nothing() -> None: ...


class Model:
    """A model with a forward of its own."""

    def __call__(self, x: Array) -> Array:
        return x

    def forward(self, x: Array) -> tuple[Array, int]:
        return x, 1


class AsyncModel:
    """A model whose forward is a coroutine."""

    async def __call__(self, x: Array) -> Array:
        return x

    async def forward(self, x: Array) -> int:
        return len(x)


def a_fork_is_the_future_of_its_callables_result(x: Array) -> None:
    assert_type(asyncjit.fork(kernel, 1), Future[str])
    assert_type(asyncjit.fork(kernel, 1, scale=2.0, name="a"), Future[str])
    assert_type(asyncjit.fork(nothing), Future[None])
    assert_type(asyncjit.fork(Model(), x), Future[Array])
    assert_type(asyncjit.fork(Model().forward, x), Future[tuple[Array, int]])
    assert_type(asyncjit.fork(lambda: 1), Future[int])
    assert_type(asyncjit.fork(partial(kernel, 1)), Future[str])
    assert_type(asyncjit.fork(len, "abc"), Future[int])
    assert_type(asyncjit.fork(Model), Future[Model])
    assert_type(sync.fork(kernel, 1), Future[str])


def a_fork_of_a_ufunc_can_be_used(x: Array) -> None:
    assert_type(asyncjit.fork(np.negative, x), Future[Any])
    assert_type(asyncjit.fork(np.add, x, x, out=x), Future[Any])
    assert_type(sync.wait(asyncjit.fork(np.negative, x)), Any)


def a_fork_of_a_coroutine_function_is_the_future_of_what_it_returns(x: Array) -> None:
    assert_type(asyncjit.fork(coroutine, 1), Future[bytes])
    assert_type(asyncjit.fork(partial(coroutine, 1)), Future[bytes])
    assert_type(asyncjit.fork(AsyncModel(), x), Future[Array])
    assert_type(asyncjit.fork(AsyncModel().forward, x), Future[int])
    assert_type(sync.fork(coroutine, 1), Future[bytes])


def a_fork_is_checked_against_its_callables_signature(x: Array) -> None:
    asyncjit.fork(kernel, "1")  # type: ignore[call-overload]
    asyncjit.fork(kernel)  # type: ignore[call-overload]
    asyncjit.fork(coroutine, "1")  # type: ignore[call-overload]
    asyncjit.fork(3)  # type: ignore[call-overload]
    sync.call(kernel, "1")  # type: ignore[call-overload]


async def awaiting_gives_the_value(future: Future[str], x: Array) -> None:
    assert_type(await future, str)
    assert_type(await asyncjit.wait(future), str)
    assert_type(await asyncjit.fork(kernel, 1), str)
    assert_type(await asyncjit.fork(coroutine, 1), bytes)
    assert_type(await asyncjit.call(kernel, 1), str)
    assert_type(await asyncjit.call(coroutine, 1), bytes)
    assert_type(await asyncjit.call(Model(), x), Array)
    assert_type(await asyncjit.call(np.negative, x), Any)


def blocking_gives_the_value(future: Future[str], x: Array) -> None:
    assert_type(sync.wait(future), str)
    assert_type(sync.wait(future, 1.0), str)
    assert_type(sync.wait(future, timeout=None), str)
    assert_type(sync.call(kernel, 1), str)
    assert_type(sync.call(coroutine, 1), bytes)
    assert_type(sync.call(Model(), x), Array)
    assert_type(sync.call(np.negative, x), Any)


async def awaiting_many_gives_a_list(futures: list[Future[str]], flag: bool) -> None:
    assert_type(await asyncjit.wait_all(futures), list[str])
    assert_type(await asyncjit.wait_all(futures, return_exceptions=False), list[str])
    assert_type(await asyncjit.wait_all(futures, return_exceptions=True), list[str | BaseException])
    assert_type(await asyncjit.wait_all(futures, return_exceptions=flag), list[str | BaseException])
    assert_type(await asyncjit.wait_all(asyncjit.fork(kernel, n) for n in range(3)), list[str])
    assert_type(asyncjit.as_completed(futures), AsyncIterator[Future[str]])
    async for future in asyncjit.as_completed(futures):
        assert_type(future, Future[str])


def blocking_for_many_gives_a_list(futures: list[Future[str]]) -> None:
    assert_type(sync.wait_all(futures), list[str])
    assert_type(sync.wait_all(futures, 1.0), list[str])
    assert_type(sync.wait_all(futures, timeout=1.0, return_exceptions=True), list[str | BaseException])
    assert_type(sync.as_completed(futures), Iterator[Future[str]])
    assert_type(sync.collect_all(futures), Future[list[Future[str]]])
    assert_type(asyncjit.collect_all(futures), Future[list[Future[str]]])
    assert_type(sync.wait(sync.collect_all(futures))[0].value(), str)


async def mapping_gives_values(numbers: list[int], arrays: list[Array]) -> None:
    assert_type(asyncjit.map(kernel, numbers), AsyncIterator[str])
    assert_type(asyncjit.map(kernel, numbers, [1.0], max_in_flight=2), AsyncIterator[str])
    assert_type(asyncjit.map(coroutine, numbers), AsyncIterator[bytes])
    assert_type(asyncjit.map(np.negative, arrays), AsyncIterator[Any])
    async for value in asyncjit.map(kernel, numbers):
        assert_type(value, str)


def mapping_in_a_script_gives_values(numbers: list[int], arrays: list[Array]) -> None:
    assert_type(sync.map(kernel, numbers), Iterator[str])
    assert_type(sync.map(coroutine, numbers), Iterator[bytes])
    assert_type(sync.map(np.negative, arrays), Iterator[Any])
    assert_type(list(sync.map(Model(), arrays)), list[Array])


async def a_groups_fork_is_like_any(x: Array) -> None:
    async with asyncjit.fork_group() as group:
        assert_type(group, asyncjit.fork_group)
        assert_type(group.fork(kernel, 1), Future[str])
        assert_type(group.fork(coroutine, 1), Future[bytes])
        assert_type(group.fork(Model().forward, x), Future[tuple[Array, int]])
        assert_type(group.fork(np.negative, x), Future[Any])
        group.fork(kernel, "1")  # type: ignore[call-overload]
    with sync.fork_group() as group:
        assert_type(group.fork(kernel, 1), Future[str])


def a_scope_does_not_hide_what_follows_it() -> int:
    with asyncjit.fail_after(1.0), sync.fork_group() as group:
        return group.fork(len, "abc").result()


def a_futures_methods_keep_its_type(future: Future[str]) -> None:
    assert_type(future.result(), str)
    assert_type(future.result(timeout=1.0), str)
    assert_type(future.wait(), str)
    assert_type(future.value(), str)
    assert_type(future.exception(), BaseException | None)
    assert_type(future.cancel(), bool)
    assert_type(future.cancelled(), bool)
    assert_type(future.done(), bool)
    assert_type(future.then(lambda done: len(done.value())), Future[int])
    assert_type(future.then(lambda done: None).then(lambda done: 1.0), Future[float])
    future.set_result("value")
    future.set_result(3)  # type: ignore[arg-type]
    future.set_exception("no error")  # type: ignore[arg-type]
    future.add_done_callback(print)
    assert_type(Future[int]().value(), int)


def the_rest_has_plain_types(runtime: asyncjit.Runtime) -> None:
    assert_type(asyncjit.current_runtime(), asyncjit.Runtime)
    assert_type(runtime.statistics(), asyncjit.Statistics)
    assert_type(runtime.statistics().forked, int)
    assert_type(runtime.close(cancel=True, timeout=1.0), list[str])
    assert_type(asyncjit.close(), list[str])
    assert_type(asyncjit.get_num_interop_threads(), int)
    assert_type(asyncjit.get_num_threads(), int)
    assert_type(asyncjit.parallel_info(), str)
    with runtime as entered:
        assert_type(entered, asyncjit.Runtime)


def forking_what_is_passed_on(fn: Callable[[int], str], made: Callable[[int], Coroutine[Any, Any, str]]) -> None:
    assert_type(asyncjit.fork(fn, 1), Future[str])
    assert_type(asyncjit.fork(made, 1), Future[str])


def test_both_doors_offer_the_same_objects() -> None:
    assert not TYPE_CHECKING
    own_to_a_door = {"as_completed", "call", "map", "wait", "wait_all"}
    assert set(asyncjit.__all__) == set(sync.__all__)
    for name in set(sync.__all__) - own_to_a_door:
        assert getattr(asyncjit, name) is getattr(sync, name), name
    for name in own_to_a_door:
        assert getattr(asyncjit, name) is not getattr(sync, name), name


@sync.script
def scripted(x: int, *, scale: float = 1.0) -> str:
    return f"{sync.wait(sync.fork(coroutine, x))!r}{scale}"


class Scriptable:
    """A module, as `script` sees one."""

    def forward(self, x: Array) -> Array:
        return x

    def named_children(self) -> list[tuple[str, Any]]:
        return []


def scripted_functions_keep_their_types(arrays: list[Array]) -> None:
    assert_type(scripted(1, scale=2.0), str)
    assert_type(sync.fork(scripted, 1), Future[str])
    assert_type(asyncjit.script(scripted)(2), str)
    assert_type(asyncjit.script(Scriptable()), Scriptable)
    assert_type(scripted.code, str)


def traced_functions_can_be_called_and_forked(arrays: list[Array]) -> None:
    traced = asyncjit.trace(kernel, (arrays[0],), parallel=True)
    assert_type(traced.graph, Graph)
    assert_type(traced.report(), Report)
    sync.fork(traced, arrays[0])
    assert_type(auto_fork(traced.graph, arrays[0]), ForkedGraph)
    assert_type(auto_fork(traced.graph, arrays[0]).report(), Report)
