"""Trees of scripted forks: deep, wide, and mixed with plain and async functions; and models with many callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import asyncjit
from asyncjit import Future, fork, nn, script, sync
from tests.at_rest import PATIENCE_S, assert_at_rest, until
from tests.rules.places import in_threads

Array = NDArray[np.float32]


@pytest.fixture
def one_thread() -> Iterator[sync.Runtime]:
    """Return a runtime of one thread, which must have made no other."""
    with sync.Runtime(1, blas_threads=None) as runtime:
        yield runtime
        assert runtime.statistics().threads <= 1
        assert_at_rest(runtime)


@script
def deep(depth: int) -> int:
    if depth == 0:
        return 0
    future = fork(deep, depth - 1)
    return 1 + asyncjit.wait(future)  # type: ignore[operator]  # in a script it gives the value


@script
def wide(width: int) -> int:
    futures = [fork(int, n) for n in range(width)]
    return sum([sync.wait(future) for future in futures])


@script
def widest(width: int) -> int:
    return sum(sync.wait_all([fork(leaf, n) for n in range(width)]))


@script
def leaf(n: int) -> int:
    return n + 1


@script
def levels(*widths: int) -> int:
    """Count the nodes of a tree."""
    if not widths:
        return 1
    return 1 + sum([sync.wait(future) for future in [fork(levels, *widths[1:]) for _ in range(widths[0])]])


@pytest.mark.parametrize("timeout", [None, PATIENCE_S], ids=["in place", "on the pool"])
def test_a_thousand_deep(one_thread: sync.Runtime, timeout: float | None) -> None:
    assert sync.wait(fork(deep, 1_000), timeout) == 1_000
    assert one_thread.statistics().forked == 1_001


def test_a_thousand_deep_called(one_thread: sync.Runtime) -> None:
    assert deep(1_000) == 1_000


def test_a_hundred_thousand_wide(one_thread: sync.Runtime) -> None:
    assert sync.wait(fork(widest, 100_000), PATIENCE_S) == 100_000 * 100_001 // 2
    assert one_thread.statistics().finished == 100_001


def test_a_hundred_thousand_wide_of_plain_functions_waited_for_one_by_one(one_thread: sync.Runtime) -> None:
    assert sync.wait(fork(wide, 100_000), PATIENCE_S) == 100_000 * 99_999 // 2


def test_a_thousand_deep_awaited_on_a_loop(one_thread: sync.Runtime) -> None:
    async def main() -> int:
        return await asyncjit.call(deep, 1_000)

    assert asyncio.run(main()) == 1_000


# -- mixed with plain and async functions


def plain(depth: int) -> int:
    """Fork a scripted function, and block."""
    return 1 + sync.wait(fork(mixed, depth - 1)) if depth else 0


async def coroutine(depth: int) -> int:
    """Fork a scripted function, and await it."""
    return 1 + await fork(mixed, depth - 1) if depth else 0


@script
def mixed(depth: int) -> int:
    """Fork a scripted, async or plain function, in turn, and suspend."""
    if depth == 0:
        return 0
    below: Any = (mixed, mixed, coroutine, mixed, coroutine, mixed)[depth % 6] if depth % 50 else plain
    below_this: int = sync.wait(fork(below, depth - 1))
    return 1 + below_this


def test_a_thousand_deep_mixed_with_plain_and_async_functions() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        assert sync.wait(fork(mixed, 1_000), PATIENCE_S) == 1_000
        now = runtime.statistics()
        assert now.threads <= 1 + 20, "each of the twenty plain functions may block one thread, and no other does"
        assert_at_rest(runtime)


def test_a_tree_of_levels_blocks_no_thread(runtime: sync.Runtime) -> None:
    blocked: list[int] = []

    def watch(n: int) -> int:
        blocked.append(runtime.statistics().blocked)
        return n

    @script
    def watched(*widths: int) -> int:
        below = [fork(watched, *widths[1:]) for _ in range(widths[0])] if widths else [fork(watch, 1)]
        return sum([sync.wait(future) for future in below])

    assert sync.wait(fork(watched, 10, 10, 10), PATIENCE_S) == 1_000
    assert max(blocked) == 0
    assert runtime.statistics().threads <= runtime.num_interop_threads
    assert sync.wait(fork(levels, 10, 10, 10), PATIENCE_S) == 1_111


def test_twenty_thousand_are_suspended_at_once(one_thread: sync.Runtime) -> None:
    gate: Future[int] = Future()

    @script
    def waits(n: int) -> int:
        return n + gate.wait()

    futures = [fork(waits, n) for n in range(20_000)]
    until(lambda: one_thread.statistics().suspended == 20_000)
    assert one_thread.statistics().blocked == 0
    gate.set_result(1)
    assert sum(sync.wait_all(futures, PATIENCE_S)) == 20_000 * 20_001 // 2


# -- a model of many modules, and many callers


class Leaf(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8, rng=rng)

    def forward(self, x: Array) -> Array:
        future = fork(np.negative, x)
        y: Array = self.linear(x)
        larger: Array = np.maximum(y, sync.wait(future))
        return larger


class Branch(nn.Module):
    """Forks all of its submodules, one of which it calls."""

    def __init__(self, rng: np.random.Generator, depth: int) -> None:
        super().__init__()
        self.children_ = nn.ModuleList([Branch(rng, depth - 1) if depth else Leaf(rng) for _ in range(3)])

    def forward(self, x: Array) -> Array:
        first, *others = self.children_
        futures = [fork(child, x) for child in others]
        mean: Array = np.stack([first(x), *sync.wait_all(futures)]).mean(axis=0)
        return mean


class WaitsInside(nn.Module):
    """Waits in a nested function alone, by the door for async code."""

    def forward(self, x: Array) -> Future[Any]:
        def inner(y: Array) -> Any:
            return asyncjit.wait(fork(np.negative, y))

        return fork(inner, x)


def test_a_model_is_scripted_for_its_nested_functions(one_thread: sync.Runtime) -> None:
    np.testing.assert_array_equal(sync.wait(script(WaitsInside())(np.ones(2, np.float32))), [-1, -1])


def serially(module: Any, x: Array) -> Array:
    """Return what a module computes, without forks."""
    if isinstance(module, Leaf):
        larger: Array = np.maximum(module.linear(x), np.negative(x))
        return larger
    mean: Array = np.stack([serially(child, x) for child in module.children_]).mean(axis=0)
    return mean


def call_with(model: nn.Module, xs: Array) -> list[Array]:
    return sync.wait_all([fork(model, x) for x in xs])


@pytest.fixture
def model() -> Branch:
    return Branch(np.random.default_rng(0), 2)


def test_a_scripted_model_is_forked_by_many_callers_at_once(runtime: sync.Runtime, model: Branch) -> None:
    scripted = script(model)
    xs = np.random.default_rng(1).random((40, 5, 8), dtype=np.float32)
    expected = sync.call(lambda: [serially(model, x) for x in xs])
    results = in_threads(*[partial(call_with, scripted, xs[caller::4]) for caller in range(4)])
    for caller, outputs in enumerate(results):
        np.testing.assert_array_equal(outputs, expected[caller::4], strict=True)
    assert runtime.statistics().threads <= runtime.num_interop_threads, "no thread was blocked"
    np.testing.assert_array_equal(sync.wait(fork(model, xs[0])), expected[0], strict=True)


async def test_a_scripted_model_is_awaited_by_many_tasks_at_once(num_interop_threads: int, model: Branch) -> None:
    scripted = script(model)
    xs = np.random.default_rng(1).random((40, 5, 8), dtype=np.float32)
    async with asyncjit.Runtime(num_interop_threads, blas_threads=None) as runtime:
        expected = await asyncjit.call(lambda: [serially(model, x) for x in xs])
        outputs = await asyncio.gather(*(asyncjit.call(scripted, x) for x in xs))
        np.testing.assert_array_equal(outputs, expected, strict=True)
        assert runtime.statistics().threads <= num_interop_threads
