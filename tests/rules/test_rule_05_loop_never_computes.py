"""Rule 5: the event loop never computes and never blocks."""

import asyncio
import functools
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import anyio
import numpy as np
import pytest

import asyncjit
from asyncjit import collect_all, fork, sync
from asyncjit._core.cheap import BUDGET_S, HOP_S, Costs
from asyncjit.errors import DeadlineExceeded, WaitOnEventLoopError
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until_async
from tests.support import optional

me = threading.get_ident

# -- what a loop computes


class Witness(asyncjit.Instrument):
    """Notes the threads in which kernels run, and the turn of the loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.threads: list[int] = []
        self.turns: list[int] = []

    def strand_started(self, fork: Any) -> None:
        self.threads.append(me())
        self.turns.append(self.turn)

    @property
    def num_here(self) -> int:
        """How many ran in the calling thread."""
        return self.threads.count(me())


class Clock:
    """Shows every measured call to cost `step_s`."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.costs = Costs(self)
        self._now_s = 0.0

    def __call__(self) -> float:
        self._now_s += self.step_s
        return self._now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put costs told by this clock in the place of the process's own; at first all is cheap."""
    clock = Clock(HOP_S / 10)
    monkeypatch.setattr("asyncjit._core.forks.COSTS", clock.costs)
    return clock


@pytest.fixture
async def witness() -> AsyncIterator[Witness]:
    """Return what sees all kernels of the current runtime."""
    witness = Witness()
    async with asyncjit.Runtime(1, blas_threads=None, instruments=[witness]) as runtime:
        yield witness
    await asyncio.to_thread(assert_at_rest, runtime)


async def negate_until(condition: Callable[[], object]) -> None:
    """Fork and await a ufunc until `condition` holds: a pool thread may be faster than the loop many times."""
    for _ in range(100_000):
        if condition():
            return
        await fork(np.negative, 1.0)
    raise AssertionError("what was waited for never came")


async def test_a_ufunc_runs_on_the_loop_only_when_it_was_measured_as_cheap(clock: Clock, witness: Witness) -> None:
    clock.step_s = HOP_S * 10
    await negate_until(lambda: len(witness.threads) == 100)
    assert witness.num_here == 0


async def test_a_cheap_ufunc_may_run_on_the_loop_until_it_overruns_once(clock: Clock, witness: Witness) -> None:
    await negate_until(lambda: witness.num_here >= 3)
    clock.step_s = HOP_S * 10
    clock.costs.run(np.negative, (1.0,), {})
    clock.step_s = HOP_S / 10
    before = witness.num_here
    for _ in range(100):
        await fork(np.negative, 1.0)
    assert witness.num_here == before


async def test_what_a_loop_runs_in_a_turn_has_a_budget_however_many_tasks_there_are(
    clock: Clock, witness: Witness
) -> None:
    async def count_turns() -> None:
        while True:
            witness.turn += 1
            await asyncio.sleep(0)

    async def model(index: int) -> None:
        for n in range(600):
            if (n + index) % 3 == 0:
                await asyncio.sleep(0)  # its next step stands between those that find the budget spent
            await fork(np.negative, 1.0)

    clock.step_s = HOP_S * 0.9
    await negate_until(lambda: witness.num_here == 1)
    task = asyncio.create_task(count_turns())
    await asyncio.gather(*[model(index) for index in range(60)])
    task.cancel()
    here = Counter(turn for turn, ident in zip(witness.turns, witness.threads, strict=True) if ident == me())
    assert 1 < max(here.values()) <= BUDGET_S / clock.step_s + 1


async def test_a_setting_keeps_every_ufunc_off_the_loop(clock: Clock) -> None:
    witness = Witness()
    async with asyncjit.Runtime(1, blas_threads=None, instruments=[witness], loop_runs_cheap=False):
        await negate_until(lambda: len(witness.threads) == 100)
    assert witness.num_here == 0


class Layer:
    """Something with a method, that can be called."""

    def __call__(self, x: float) -> float:
        return -x

    def forward(self, x: float) -> float:
        return -x


def negative(x: float) -> float:
    return -x


PYTHON: dict[str, tuple[Any, Any]] = {
    "function": (negative, 1.0),
    "lambda": (lambda x: -x, 1.0),
    "partial": (functools.partial(negative), 1.0),
    "method": (Layer().forward, 1.0),
    "object": (Layer(), 1.0),
    "class": (float, 1.0),
    "builtin": (abs, 1.0),
    "NumPy function": (np.sum, np.ones(3)),
    "ufunc's method": (np.multiply.reduce, np.ones(3)),
    "ufunc made of a function": (np.frompyfunc(negative, 1, 1), 1.0),
}


@pytest.mark.parametrize("kind", PYTHON)
async def test_a_function_never_runs_on_the_loop_however_cheap(clock: Clock, witness: Witness, kind: str) -> None:
    fn, x = PYTHON[kind]
    for _ in range(30):
        await fork(fn, x)
        await asyncjit.call(fn, x)
        await asyncjit.wait_all([fork(fn, x)])
        await collect_all([fork(fn, x)])
        async for _ in asyncjit.as_completed([fork(fn, x)]):
            pass
        async for _ in asyncjit.map(fn, [x]):
            pass
    assert len(witness.threads) == 180
    assert witness.num_here == 0


# -- a loop that nothing blocks


async def test_a_loop_turns_while_every_permit_is_taken(runtime: sync.Runtime) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    with all_threads_busy(runtime) as gates:
        waiting = [asyncio.create_task(asyncjit.call(int, n)) for n in range(20)]
        leaving = asyncio.create_task(leave_group(gates))
        await until_async(lambda: turns > 100)
        assert not any(waiter.done() for waiter in (*waiting, leaving))
    assert await asyncio.gather(*waiting) == list(range(20))
    await leaving
    task.cancel()


async def leave_group(gates: list[Gate]) -> None:
    async with asyncjit.fork_group() as group:
        for gate in gates:
            group.fork(gate)


def after_two_waits(n: int) -> int:
    return sync.call(lambda: sync.call(int, n))


async def numbers() -> list[int]:
    """Await in every way, kernels that wait and coroutines in between."""
    values = [await asyncjit.call(after_two_waits, n) for n in range(3)]
    values += await asyncjit.wait_all([fork(pow, n, 1) for n in range(3, 20)])
    values += [value async for value in asyncjit.map(int, range(20, 30))]
    async with asyncjit.fork_group() as group:
        futures = [group.fork(int, n) for n in range(30, 40)]
    values += [future.value() for future in futures]
    return sorted(values)


def sleep() -> None:
    time.sleep(0)


async def test_blockbuster_finds_nothing_that_blocks(runtime: sync.Runtime) -> None:
    blockbuster = optional("blockbuster")
    with blockbuster.blockbuster_ctx():
        with pytest.raises(blockbuster.BlockingError, match=r"time\.sleep"):
            sleep()
        assert await asyncjit.wait_all([fork(numbers) for _ in range(10)]) == [list(range(40))] * 10
        gate = Gate()
        with pytest.raises(DeadlineExceeded), asyncjit.fail_after(0.0):
            await fork(gate)
        gate.open()
        runtime.num_interop_threads += 1
        fork(numbers).cancel()


# -- a loop in a kernel


async def in_turn() -> int:
    total = 0
    async for future in asyncjit.as_completed([fork(int, n) for n in range(10)]):
        total += future.value()
    return total


async def in_group() -> int:
    async with asyncjit.fork_group() as group:
        futures = [group.fork(int, n) for n in range(10)]
    return sum(future.value() for future in futures)


async def in_tasks() -> int:
    return sum(await asyncio.gather(*[asyncjit.call(int, n) for n in range(10)]))


async def in_coroutines() -> int:
    async def model(n: int) -> int:
        return await fork(int, n)

    return sum(await asyncjit.wait_all([fork(model, n) for n in range(10)]))


async def in_kernels_that_wait() -> int:
    return sum(await asyncjit.wait_all([fork(after_two_waits, n) for n in range(10)]))


async def in_loops_below() -> int:
    total: int = await fork(lambda: asyncio.run(in_turn()))
    return total


@pytest.mark.parametrize("main", [in_turn, in_group, in_tasks, in_coroutines, in_kernels_that_wait, in_loops_below])
async def test_a_loop_in_a_kernel_is_not_stuck_for_want_of_a_permit(
    runtime: sync.Runtime, main: Callable[[], Coroutine[Any, Any, int]]
) -> None:
    def kernel() -> int:
        return asyncio.run(main())

    assert (
        await asyncjit.wait_all([fork(kernel) for _ in range(2 * runtime.num_interop_threads)])
        == [45] * 2 * runtime.num_interop_threads
    )


def test_a_loop_in_a_kernel_lends_the_only_permit_while_it_waits() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:

        async def main() -> sync.Statistics:
            return await asyncjit.call(runtime.statistics)

        inside = sync.wait(fork(lambda: asyncio.run(main())), timeout=PATIENCE_S)
        assert_at_rest(runtime)
    assert (inside.running, inside.blocked) == (1, 1)


def test_a_blocking_wait_on_the_loop_of_a_kernel_is_refused(runtime: sync.Runtime) -> None:
    async def main() -> None:
        sync.call(int)

    with pytest.raises(WaitOnEventLoopError, match=r"write `await asyncjit\.call\(fn, \.\.\.\)`"):
        sync.wait(fork(lambda: asyncio.run(main())), timeout=PATIENCE_S)


# -- whoever runs the loop, and whatever awaits on it


def run_anyio(main: Callable[[], Awaitable[Any]], *, use_uvloop: bool) -> Any:
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": use_uvloop})


@pytest.mark.parametrize("use_uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_models_run_under_anyio_and_in_its_task_groups(runtime: sync.Runtime, use_uvloop: bool) -> None:
    totals: list[list[int]] = []

    async def model() -> None:
        totals.append(await fork(numbers))

    async def main() -> list[int]:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(model)
        return await numbers()

    assert run_anyio(main, use_uvloop=use_uvloop) == list(range(40))
    assert totals == [list(range(40))] * 3


@pytest.mark.parametrize("use_uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_a_scope_of_anyio_interrupts_an_await_and_nothing_else(runtime: sync.Runtime, use_uvloop: bool) -> None:
    gate = Gate()

    async def main() -> int:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(asyncjit.wait, fork(gate))
                await until_async(gate.started.is_set)
                scope.cancel()
        assert scope.cancelled_caught
        gate.open()
        return await asyncjit.call(int, "3")

    assert run_anyio(main, use_uvloop=use_uvloop) == 3


async def gathered() -> list[int]:
    return [*await asyncio.gather(fork(int, 1), asyncjit.wait(fork(int, 2)), asyncjit.call(int, 3))]


async def waited_for() -> list[int]:
    return [
        await asyncio.wait_for(fork(int, 1), PATIENCE_S),
        await asyncio.wait_for(asyncjit.wait(fork(int, 2)), PATIENCE_S),
        await asyncio.wait_for(asyncjit.call(int, 3), PATIENCE_S),
    ]


async def shielded() -> list[int]:
    return [
        await asyncio.shield(fork(int, 1)),
        await asyncio.shield(asyncjit.wait(fork(int, 2))),
        await asyncio.shield(asyncjit.call(int, 3)),
    ]


async def in_task_group() -> list[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncjit.call(int, n)) for n in (1, 2, 3)]
    return [task.result() for task in tasks]


async def as_asyncio_completes() -> list[int]:
    return sorted([await done for done in asyncio.as_completed([fork(int, n) for n in (1, 2, 3)])])


async def in_timeout() -> list[int]:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncjit.wait_all([fork(int, n) for n in (1, 2, 3)])


ASYNCIO: list[Callable[[], Any]] = [gathered, waited_for, shielded, in_task_group, as_asyncio_completes, in_timeout]


@pytest.mark.parametrize("model", ASYNCIO)
async def test_futures_and_calls_are_awaited_by_all_of_asyncio(runtime: sync.Runtime, model: Callable[[], Any]) -> None:
    assert await model() == [1, 2, 3]
    assert await fork(model) == [1, 2, 3]


def eager(loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> asyncio.Task[Any]:
    """Do what asyncio's own factory does; that of Python 3.13.0 does not know all that uvloop passes."""
    return asyncio.Task(coroutine, loop=loop, **(settings | {"eager_start": True}))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@pytest.mark.parametrize("model", [*ASYNCIO, numbers])
async def test_models_run_under_an_eager_task_factory(runtime: sync.Runtime, model: Callable[[], Any]) -> None:
    asyncio.get_running_loop().set_task_factory(eager)
    forking = False

    async def outer() -> Any:
        assert not forking, "a fork ran the coroutine"
        return await model()

    forking = True
    future = fork(outer)
    forking = False
    expected = await model()
    assert await future == expected
    assert await asyncio.create_task(asyncjit.call(outer)) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_an_eager_task_may_not_block_either(runtime: sync.Runtime) -> None:
    asyncio.get_running_loop().set_task_factory(eager)

    async def blocking() -> int:
        return sync.wait(fork(int))

    with pytest.raises(WaitOnEventLoopError, match=r"write `await asyncjit\.wait\(fut\)`"):
        await asyncio.create_task(blocking())


def test_a_ufunc_run_on_the_loop_of_a_kernel_whose_permit_is_lent_loses_none() -> None:
    gate = Gate()

    async def main() -> None:
        waiting = asyncio.ensure_future(asyncjit.call(gate))
        await asyncio.sleep(0)
        for _ in range(100):
            await fork(np.negative, 1.0)
        gate.open()
        assert await waiting == "passed"

    with sync.Runtime(2, blas_threads=None) as runtime:  # the gate has one permit, and the ufuncs the other
        sync.wait(fork(lambda: asyncio.run(main())), timeout=PATIENCE_S)
        assert_at_rest(runtime)
