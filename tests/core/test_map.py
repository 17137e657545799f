"""`map` by both doors: values in order, in bounded memory."""

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import fork, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, until, until_async
from tests.core.doors import Door


def test_map_gives_the_values_in_order(runtime: sync.Runtime, door: Door) -> None:
    first_may_end = threading.Event()

    def kernel(n: int) -> int:
        if n == 0 and runtime.num_interop_threads > 1:
            assert first_may_end.wait(PATIENCE_S)
        if n == 1:
            first_may_end.set()
        return n * n

    assert door.map(kernel, range(20)) == [n * n for n in range(20)]


def test_map_zips_its_iterables(runtime: sync.Runtime, door: Door) -> None:
    assert door.map(pow, [2, 3, 4], (n for n in (3, 2))) == [8, 9]
    assert door.map(np.add, [1, 2], [3, 4]) == [4, 6]


def test_map_of_nothing_is_empty(door: Door) -> None:
    with sync.Runtime(1, blas_threads=None):
        assert door.map(pow, [], []) == []


def test_map_forks_coroutine_functions_too(runtime: sync.Runtime, door: Door) -> None:
    async def model(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    assert door.map(model, range(5), max_in_flight=2) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("bound", [1, 3])
def test_map_has_at_most_max_in_flight_forked_and_not_taken(runtime: sync.Runtime, door: Door, bound: int) -> None:
    pulled = itertools.count()
    most_ahead = 0
    taken = 0

    def items() -> Iterator[int]:
        nonlocal most_ahead
        for n in range(30):
            most_ahead = max(most_ahead, next(pulled) + 1 - taken)
            yield n

    async def main() -> None:
        nonlocal taken
        async for _ in asyncjit.map(abs, items(), max_in_flight=bound):
            taken += 1

    if door.awaits:
        asyncio.run(main())
    else:
        for _ in sync.map(abs, items(), max_in_flight=bound):
            taken += 1
    assert taken == 30
    assert most_ahead <= bound + 1, "the value being taken counts until the next is asked for"


def test_map_is_bounded_by_four_forks_for_each_thread_by_default(runtime: sync.Runtime, door: Door) -> None:
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for n in itertools.count():
            pulled.append(n)
            yield n

    assert door.map(abs, items(), num=1) == [0]
    assert len(pulled) == 4 * runtime.num_interop_threads


def test_map_takes_an_infinite_iterable(runtime: sync.Runtime, door: Door) -> None:
    assert door.map(abs, itertools.count(), num=50) == list(range(50))


def test_map_keeps_no_value_that_was_taken(runtime: sync.Runtime) -> None:
    class Value:
        pass

    alive: weakref.WeakSet[Value] = weakref.WeakSet()
    for value in sync.map(lambda _: Value(), range(20), max_in_flight=2):
        alive.add(value)
        del value
        gc.collect()
        assert not alive


def test_leaving_a_map_early_cancels_what_is_in_flight(runtime: sync.Runtime, door: Door) -> None:
    ran: list[int] = []

    def kernel(n: int) -> int:
        ran.append(n)
        return n

    gates: list[Gate] = []

    def items() -> Iterator[int]:
        for n in range(100):
            if n == 1:  # from the second on, all stay queued
                until(lambda: ran == [0])
                gates.extend(Gate() for _ in range(runtime.num_interop_threads))
                for gate in gates:
                    fork(gate)
                for gate in gates:
                    gate.await_start()
            yield n

    try:
        assert door.map(kernel, items(), num=1, max_in_flight=10) == [0]
        assert runtime.statistics().cancelled == 9
    finally:
        for gate in gates:
            gate.open()
    sync.wait(fork(int))
    assert ran == [0]


def test_an_error_in_a_map_surfaces_in_its_turn_and_cancels_the_rest(runtime: sync.Runtime, door: Door) -> None:
    def kernel(n: int) -> int:
        if n == 2:
            raise KeyError("lost")
        return n

    taken: list[int] = []

    async def main() -> None:
        async for value in asyncjit.map(kernel, itertools.count(), max_in_flight=3):
            taken.append(value)

    with pytest.raises(KeyError, match="lost"):
        if door.awaits:
            asyncio.run(main())
        else:
            for value in sync.map(kernel, itertools.count(), max_in_flight=3):
                taken.append(value)
    assert taken == [0, 1]


def test_an_error_of_the_iterable_surfaces_and_cancels_what_is_in_flight(runtime: sync.Runtime, door: Door) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    with all_threads_busy(runtime):
        with pytest.raises(KeyError, match="lost"):
            door.map(abs, items(), max_in_flight=5)
        assert runtime.statistics().cancelled == 1


# -- its bound


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_of_map_below_one_is_refused(door: Door, bound: int) -> None:
    with pytest.raises(ValueError, match=f"max_in_flight must be at least 1, got {bound}"):
        door.map(abs, [1], max_in_flight=bound)


@pytest.mark.parametrize("bound", [True, 1.5, "2"])
def test_a_bound_of_map_that_is_no_integer_is_refused(door: Door, bound: Any) -> None:
    with pytest.raises(TypeError, match=f"max_in_flight must be an integer, got {bound!r}"):
        door.map(abs, [1], max_in_flight=bound)


def test_a_bound_of_map_may_be_an_integer_of_numpy(runtime: sync.Runtime, door: Door) -> None:
    assert door.map(abs, [-1, 2], max_in_flight=np.int64(1)) == [1, 2]


def test_a_bad_call_of_map_raises_before_the_first_value_is_asked_for() -> None:
    with pytest.raises(ValueError, match="max_in_flight"):
        sync.map(abs, [1], max_in_flight=0)


async def test_a_cancelled_task_cancels_what_its_map_has_in_flight(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):

        async def consumer() -> None:
            async for _ in asyncjit.map(abs, itertools.count(), max_in_flight=5):
                raise AssertionError("nothing could run")

        task = asyncio.create_task(consumer())
        await until_async(lambda: runtime.statistics().queued == 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_async(lambda: runtime.statistics().cancelled == 5)
