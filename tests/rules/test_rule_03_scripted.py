"""Rule 3 of scripted forks: they give their thread back at a wait, and no nesting of them gets stuck or is blocked."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from asyncjit import Future, fork, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until
from tests.core.scripted import recurse, run, scripted, tree, wait_for
from tests.rules.places import in_thread

me = threading.get_ident


@scripted
async def wait_and_tell(future: Future[Any]) -> tuple[Any, int]:
    """Wait for a future; return its value, and the thread that goes on."""
    value = await run(sync.wait, future)
    return value, me()


# -- depth and number


@pytest.mark.parametrize("timeout", [None, PATIENCE_S], ids=["in place", "on the pool"])
def test_a_thousand_deep_with_one_thread(timeout: float | None) -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        assert sync.wait(fork(recurse, 1_000), timeout) == 1_000
        assert runtime.statistics().threads <= (1 if timeout else 2)
        assert_at_rest(runtime)


def test_twenty_thousand_deep_without_recursion(runtime: sync.Runtime) -> None:
    assert sync.wait(fork(recurse, 20_000), PATIENCE_S) == 20_000
    assert runtime.statistics().threads <= 2 * runtime.num_interop_threads


def test_a_hundred_thousand_wide_with_one_thread() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        assert sync.wait(fork(tree, 100_000), PATIENCE_S) == 100_001
        assert runtime.statistics().threads == 1
        assert_at_rest(runtime)
        assert runtime.statistics().finished == 100_001


def test_a_tree_of_three_levels_blocks_no_thread(runtime: sync.Runtime) -> None:
    most_blocked = []

    @scripted
    async def watching(*widths: int) -> Any:
        most_blocked.append(runtime.statistics().blocked)
        if not widths:
            return 1
        return 1 + sum(await run(sync.wait_all, [fork(watching, *widths[1:]) for _ in range(widths[0])]))

    assert sync.wait(fork(watching, 10, 10, 10), PATIENCE_S) == 1_111
    assert max(most_blocked) == 0
    assert runtime.statistics().threads <= 2 * runtime.num_interop_threads  # some may be called in for nothing


def test_a_loop_of_waits_leaves_no_entry_behind_in_the_queue() -> None:
    @scripted
    async def many() -> int:
        longest = 0
        for _ in range(5_000):
            await run(sync.wait, fork(int))
            longest = max(longest, len(runtime.pool.queue))
        return longest

    with sync.Runtime(1, blas_threads=None) as runtime:
        assert sync.wait(fork(many), PATIENCE_S) < 2_500


# -- what a wait gives back


def test_a_thousand_suspended_forks_hold_no_thread(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()
    waiting = [fork(wait_for, future) for _ in range(1_000)]
    until(lambda: runtime.statistics().suspended == 1_000)
    until(lambda: runtime.statistics().running == 0)
    now = runtime.statistics()
    assert (now.queued, now.blocked) == (0, 0)
    assert now.threads <= 2 * runtime.num_interop_threads
    assert not any(fut.done() for fut in waiting)
    future.set_result(3)
    assert sync.wait_all(waiting, PATIENCE_S) == [3] * 1_000


def test_other_kernels_run_while_a_scripted_fork_waits() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        future: Future[int] = Future()
        waiting = fork(wait_for, future)
        until(lambda: runtime.statistics().suspended)
        assert fork(lambda: 5).result(PATIENCE_S) == 5
        assert runtime.statistics().threads == 1
        future.set_result(3)
        assert waiting.result(PATIENCE_S) == 3


def test_a_scripted_fork_run_in_place_by_a_script_gives_its_permit_back() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        future: Future[int] = Future()
        waiting = fork(wait_for, future)

        def complete() -> None:
            until(lambda: runtime.statistics().suspended)
            fork(future.set_result, 3).result(PATIENCE_S)

        completed = in_thread(complete)
        assert sync.wait(waiting) == 3
        completed()
        assert_at_rest(runtime)


# -- who goes on where


def test_the_thread_runs_the_unstarted_target_next_and_then_the_waiter_goes_on() -> None:
    @scripted
    async def parent() -> list[int]:
        others = [fork(order.append, n) for n in range(3)]
        threads = [me(), await run(sync.wait, fork(child)), me()]
        order.append(100)
        await run(sync.wait_all, others)
        return threads

    def child() -> int:
        order.append(99)
        return me()

    order: list[int] = []
    with sync.Runtime(1, blas_threads=None):
        assert len(set(fork(parent).result(PATIENCE_S))) == 1
    assert order == [99, 100, 0, 1, 2]


def test_the_finishing_thread_goes_on_with_the_waiter() -> None:
    with sync.Runtime(4, blas_threads=None) as runtime:
        gate = Gate()
        running = fork(lambda: (gate(), me())[1])
        gate.await_start()
        waiting = fork(wait_and_tell, running)
        until(lambda: runtime.statistics().suspended)
        gate.open()
        finisher, resumer = waiting.result(PATIENCE_S)
        assert finisher == resumer


def test_waiters_that_can_go_on_come_before_new_kernels_in_their_order() -> None:
    order: list[Any] = []

    @scripted
    async def waiter(n: int) -> None:
        await run(sync.wait, target)
        order.append(n)

    with sync.Runtime(1, blas_threads=None) as runtime:
        target: Future[int] = Future()
        waiting = [fork(waiter, n) for n in range(5)]
        until(lambda: runtime.statistics().suspended == 5)
        with all_threads_busy(runtime):
            new = [fork(order.append, "new") for _ in range(3)]
            target.set_result(1)
            assert runtime.statistics().queued == 8
        sync.wait_all([*waiting, *new], PATIENCE_S)
    assert order == [0, 1, 2, 3, 4, "new", "new", "new"]


def test_all_waiters_of_one_kernel_go_on(runtime: sync.Runtime) -> None:
    gate = Gate()
    running = fork(gate)
    gate.await_start()
    waiting = [fork(wait_for, running) for _ in range(20)]
    if runtime.num_interop_threads > 1:
        until(lambda: runtime.statistics().suspended == 20)
    gate.open()
    assert sync.wait_all(waiting, PATIENCE_S) == ["passed"] * 20
