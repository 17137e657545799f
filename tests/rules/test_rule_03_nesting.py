"""Rule 3, in depth: whatever nests in whatever, however deep and wide, with however few threads, nothing gets stuck."""

import asyncio
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

import asyncjit
from asyncjit import Future, call, fork, sync
from tests.at_rest import PATIENCE_S, Gate
from tests.rules.trees import tree, tree_async, tree_mixed, tree_mixed_async


def test_three_levels_of_kernels(runtime: sync.Runtime) -> None:
    assert sync.wait(fork(tree, 100, 100)) == 10101


def test_three_levels_waited_for_from_the_last_to_the_first(runtime: sync.Runtime) -> None:
    def backwards(*widths: int) -> int:
        if not widths:
            return 1
        futures = [fork(backwards, *widths[1:]) for _ in range(widths[0])]
        return 1 + sum(future.result() for future in reversed(futures))

    assert sync.wait(fork(backwards, 100, 30)) == 3101


async def test_three_levels_of_coroutines(runtime: sync.Runtime) -> None:
    assert await fork(tree_async, 100, 30) == 3101


def test_three_levels_of_coroutines_on_the_facade(runtime: sync.Runtime) -> None:
    assert sync.wait(fork(tree_async, 100, 30)) == 3101


async def test_three_levels_in_a_mixture(runtime: sync.Runtime) -> None:
    assert await fork(tree_mixed, 100, 30) == 3101
    assert await fork(tree_mixed_async, 100, 3) == 401  # a hundred kernels wait for coroutines, a thread each


def test_three_levels_in_a_mixture_on_the_facade(runtime: sync.Runtime) -> None:
    assert sync.wait(fork(tree_mixed, 100, 30)) == 3101
    assert sync.wait(fork(tree_mixed_async, 100, 3)) == 401


def alternate(depth: int) -> int:
    return 1 + sync.wait(fork(alternate_async, depth - 1)) if depth else 0


async def alternate_async(depth: int) -> int:
    return 1 + await fork(alternate, depth - 1) if depth else 0


@pytest.mark.parametrize("first", [alternate, alternate_async])
async def test_kernels_and_coroutines_in_turn_fifty_deep(runtime: sync.Runtime, first: Callable[..., Any]) -> None:
    assert await fork(first, 50) == 50


@pytest.mark.parametrize("first", [alternate, alternate_async])
def test_kernels_and_coroutines_in_turn_fifty_deep_on_the_facade(
    runtime: sync.Runtime, first: Callable[..., Any]
) -> None:
    assert sync.wait(fork(first, 50)) == 50


def test_ten_thousand_queued_forks(runtime: sync.Runtime) -> None:
    gate = Gate()

    def forks() -> int:
        futures = [fork(int, n) for n in range(10_000)]
        gate.open()
        return sum(sync.wait_all(futures))

    first = fork(gate)
    total = sync.wait(fork(forks)) if runtime.num_interop_threads > 1 else forks()
    assert total == sum(range(10_000))
    assert sync.wait(first) == "passed"


async def test_ten_thousand_queued_forks_on_a_loop(runtime: sync.Runtime) -> None:
    assert sum(await asyncjit.wait_all([fork(int, n) for n in range(10_000)])) == sum(range(10_000))


def recurse(depth: int) -> int:
    return 1 + sync.wait(fork(recurse, depth - 1)) if depth else 0


async def recurse_async(depth: int) -> int:
    return 1 + await call(recurse_async, depth - 1) if depth else 0


def test_recursion_two_hundred_deep(runtime: sync.Runtime) -> None:
    assert sync.wait(fork(recurse, 200)) == 200


def test_recursion_two_hundred_deep_with_a_thread_for_each_level(runtime: sync.Runtime) -> None:
    def without_in_place(depth: int) -> int:
        return 1 + fork(without_in_place, depth - 1).result(timeout=PATIENCE_S) if depth else 0

    assert sync.wait(fork(without_in_place, 200)) == 200
    assert runtime.statistics().threads >= 200


async def test_recursion_of_coroutines_two_hundred_deep(runtime: sync.Runtime) -> None:
    assert await fork(recurse_async, 200) == 200


async def test_recursion_of_kernels_two_hundred_deep_below_a_coroutine(runtime: sync.Runtime) -> None:
    assert await fork(recurse, 200) == 200


Node = tuple[str, list[Any]]
nodes: st.SearchStrategy[Node] = st.recursive(
    st.tuples(st.sampled_from(["kernel", "kernel with timeout", "coroutine", "made by a kernel"]), st.just([])),
    lambda below: st.tuples(
        st.sampled_from(["kernel", "kernel with timeout", "coroutine", "made by a kernel"]),
        st.lists(below, min_size=1, max_size=4),
    ),
    max_leaves=25,
)


def fork_node(node: Node) -> Future[int]:
    kind, below = node
    fns: dict[str, Callable[..., Any]] = {
        "kernel": run_node,
        "kernel with timeout": run_node,
        "coroutine": run_node_async,
        "made by a kernel": lambda *args: run_node_async(*args),
    }
    return fork(fns[kind], kind, below)


def run_node(kind: str, below: list[Node]) -> int:
    timeout = PATIENCE_S if "timeout" in kind else None
    return 1 + sum(future.result(timeout) for future in [fork_node(node) for node in below])


async def run_node_async(kind: str, below: list[Node]) -> int:
    total = 1
    for future in [fork_node(node) for node in below]:
        total += await future
    return total


def count(node: Node) -> int:
    return 1 + sum(count(below) for below in node[1])


@hypothesis.given(nodes)
@hypothesis.settings(max_examples=100)
def test_any_mixture_nests_with_one_thread(node: Node) -> None:
    with sync.Runtime(1, blas_threads=None, local=True):
        assert fork_node(node).result() == count(node)

        async def main() -> int:
            return await fork_node(node)

        assert asyncio.run(main()) == count(node)
