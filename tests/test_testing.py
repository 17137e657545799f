"""The deterministic pool and the manual clock."""

from __future__ import annotations

import threading

import pytest

import asyncjit
from asyncjit import sync
from asyncjit.errors import DeadlineExceeded
from asyncjit.testing import ManualClock, deterministic


def order(seed: int) -> list[int]:
    started: list[int] = []
    with deterministic(seed):
        sync.wait_all([sync.fork(started.append, n) for n in range(6)], timeout=60)
    return started


def test_the_same_seed_gives_the_same_order_and_other_seeds_give_others() -> None:
    assert all(order(seed) == order(seed) for seed in range(5))
    assert len({tuple(order(seed)) for seed in range(20)}) > 5


def test_nothing_runs_beside_the_block_until_it_waits() -> None:
    with deterministic(0) as runtime:
        future = sync.fork(lambda: 1)
        assert runtime.statistics().queued == 1
        assert not future.done()
        assert sync.wait(future) == 1


def test_one_kernel_runs_at_a_time_whatever_is_nested() -> None:
    inside, most = 0, 0

    def tree(depth: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        inside -= 1
        if depth == 0:
            return 1
        return sum(sync.wait_all([sync.fork(tree, depth - 1) for _ in range(3)], timeout=60))

    for seed in range(5):
        with deterministic(seed) as runtime:
            assert sync.wait(sync.fork(tree, 4), timeout=60) == 81
        assert runtime.statistics().running == 0
    assert most == 1


def test_a_lock_held_across_a_wait_behaves_as_on_threads() -> None:
    for seed in range(10):
        with deterministic(seed):
            mutex = threading.Lock()

            def holder(mutex: threading.Lock = mutex) -> int:
                with mutex:
                    return sync.wait(sync.fork(lambda: 1))

            def other(mutex: threading.Lock = mutex) -> int:
                with mutex:
                    return 1

            assert sum(sync.wait_all([sync.fork(holder), *(sync.fork(other) for _ in range(5))], timeout=60)) == 6


async def test_async_code_runs_in_a_seeded_order_too() -> None:
    async def run(seed: int) -> list[int]:
        started: list[int] = []
        async with deterministic(seed):
            await asyncjit.wait_all([asyncjit.fork(started.append, n) for n in range(6)])
        return started

    assert await run(3) == await run(3)


def test_a_deadline_passes_only_when_the_clock_is_moved() -> None:
    clock = ManualClock()
    with sync.Runtime(2, clock=clock):
        gate = threading.Event()
        with sync.fail_after(10.0):
            asleep = sync.fork(gate.wait, 60)
            clock.advance(9.0)
            sync.check_cancelled()
            clock.advance(1.0)
            with pytest.raises(DeadlineExceeded, match="deadline"):
                sync.wait(asleep)
        gate.set()


def test_advancing_the_clock_wakes_a_wait_that_sleeps_towards_its_deadline() -> None:
    clock = ManualClock()
    with sync.Runtime(1, clock=clock):
        gate, started = threading.Event(), threading.Event()

        def kernel() -> None:
            started.set()
            gate.wait(60)

        future = sync.fork(kernel)
        started.wait(60)
        is_over = threading.Event()

        def move() -> None:
            while not is_over.wait(0.001):
                clock.advance(1.0)

        mover = threading.Thread(target=move)
        mover.start()
        with pytest.raises(TimeoutError, match=r"not done within 5.0 s"):
            sync.wait(future, timeout=5.0)
        is_over.set()
        mover.join()
        gate.set()


def test_a_clock_is_not_moved_back() -> None:
    with pytest.raises(ValueError, match=r"advance\(-1\)"):
        ManualClock().advance(-1)


def test_a_clock_calls_back_once_when_it_is_moved_so_far_in_the_order_of_the_times() -> None:
    clock = ManualClock(10.0)
    called: list[str] = []
    clock.call_at(12.0, lambda: called.append("second"))
    clock.call_at(11.0, lambda: called.append("first"))
    clock.call_at(12.0, lambda: called.append("third"))
    clock.advance(0.5)
    assert called == []
    clock.advance(1.5)
    assert called == ["first", "second", "third"]
    clock.advance(5.0)
    assert len(called) == 3


def test_a_clock_calls_at_once_what_is_due() -> None:
    clock = ManualClock(10.0)
    called: list[int] = []
    clock.call_at(10.0, lambda: called.append(1))
    assert called == [1]


def test_what_a_clock_calls_may_use_the_clock() -> None:
    clock = ManualClock()
    called: list[float] = []
    clock.call_at(1.0, lambda: clock.call_at(2.0, lambda: called.append(clock())))
    clock.advance(1.5)
    clock.advance(1.0)
    assert called == [2.5]
