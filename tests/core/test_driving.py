"""How forked scripted functions are driven: what travels with them, and every kind of callable, runtime and profile."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import json
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import Future, check_cancelled, fork, nn, sync
from asyncjit._core.context import this_thread
from asyncjit.profiler import profile, record_function
from asyncjit.testing import deterministic
from tests.at_rest import PATIENCE_S, Gate, assert_at_rest, until, when_idle
from tests.core.scripted import recurse, run, scripted, tree, wait_for
from tests.rules.places import pool_asleep

variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="unset")


# -- what travels with it


def test_context_variables_survive_a_wait_and_do_not_leak(runtime: sync.Runtime) -> None:
    @scripted
    async def body(n: int) -> list[Any]:
        seen = [variable.get()]
        variable.set(n)
        await run(sync.wait, target)
        seen.append(variable.get())
        seen.append(await run(sync.wait, fork(variable.get)))
        return seen

    target: Future[None] = Future()
    variable.set("script")
    futures = [fork(body, n) for n in range(20)]
    until(lambda: runtime.statistics().suspended == 20)
    target.set_result(None)
    assert sync.wait_all(futures, PATIENCE_S) == [["script", n, n] for n in range(20)]
    assert variable.get() == "script"
    assert fork(variable.get).result(PATIENCE_S) == "script"


def test_errstate_lasts_across_waits_and_stays_inside(runtime: sync.Runtime) -> None:
    @scripted
    async def body() -> str:
        with np.errstate(divide="raise"):
            await run(sync.wait, target)
            try:
                np.divide(1.0, np.zeros(1))
            except FloatingPointError:
                return "raised"
        return "silent"

    def ask() -> str:
        return np.geterr()["divide"]

    target: Future[None] = Future()
    future = fork(body)
    until(lambda: runtime.statistics().suspended)
    assert fork(ask).result(PATIENCE_S) == ask()
    target.set_result(None)
    assert future.result(PATIENCE_S) == "raised"
    assert fork(ask).result(PATIENCE_S) == ask()


def test_what_is_forked_after_a_wait_is_a_child_of_the_scripted_fork(runtime: sync.Runtime) -> None:
    @scripted
    async def body() -> Future[Any]:
        await run(sync.wait, fork(int))
        child: Future[Any] = fork(check_cancelled)
        parents.append(child._source.parent)  # type: ignore[union-attr]
        await run(sync.wait, child)
        return child

    parents: list[Any] = []
    future = fork(body)
    fork_itself = future._source
    future.result(PATIENCE_S)
    assert parents == [fork_itself]


def test_an_error_of_a_wait_shows_the_bodys_own_lines_and_not_the_machinery_below(runtime: sync.Runtime) -> None:
    @scripted
    async def body() -> list[str]:
        try:
            await run(sync.wait, Future(), timeout=0)
        except TimeoutError as error:
            return [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return []

    names = fork(body).result(PATIENCE_S)
    assert "body" in names
    assert names[-1] == "pause"


def test_a_fork_that_has_left_the_kernel_it_ran_in_forgets_it() -> None:
    def kernel() -> Any:
        futures.append(fork(wait_for, target))
        return sync.wait(futures[0])

    futures: list[Future[int]] = []
    target: Future[int] = Future()
    with sync.Runtime(1, blas_threads=None) as runtime:
        waiting = fork(kernel)
        until(lambda: runtime.statistics().suspended)
        assert futures[0]._source.outer is None  # type: ignore[union-attr]
        target.set_result(3)
        assert waiting.result(PATIENCE_S) == 3


def test_a_loop_left_with_tasks_that_wait_lends_nothing_once_its_fork_has_left_the_thread() -> None:
    async def await_it(future: Future[None]) -> None:
        await future

    async def begin_to_await(future: Future[None]) -> None:
        tasks.append(asyncio.ensure_future(await_it(future)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    @scripted
    async def body() -> Any:
        with asyncio.Runner() as runner:
            runner.run(begin_to_await(awaited))
            await run(sync.wait, target)
            slot = this_thread()
            return slot.loan, slot.lender, slot.num_awaiting

    tasks: list[Any] = []
    awaited: Future[None] = Future()
    target: Future[None] = Future()
    with sync.Runtime(1, blas_threads=None) as runtime:
        future = fork(body)
        until(lambda: runtime.statistics().suspended and not runtime.statistics().running)
        assert runtime.statistics().blocked == 0
        target.set_result(None)
        assert future.result(PATIENCE_S) == (None, None, 0)
        assert_at_rest(runtime)


# -- kinds of scripted callables


class Doubler:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def _double(self, n: int) -> Any:
        return self.factor * await run(sync.wait, fork(int, n))

    double = scripted(_double)


class Model(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    async def _forward(self, n: int) -> Any:
        return self.factor * await run(sync.wait, fork(int, n))

    forward = scripted(_forward)


@pytest.mark.parametrize(
    "fn", [Doubler(2).double, Model(2), partial(Model(2), 3), partial(Doubler(2).double, 3), Model(2).forward]
)
def test_methods_modules_and_partials_hold_no_thread_while_they_wait(
    runtime: sync.Runtime, fn: Callable[..., int]
) -> None:
    args = () if isinstance(fn, partial) else (3,)
    assert sync.wait(fork(fn, *args)) == 6
    assert fork(fn, *args).result(PATIENCE_S) == 6
    assert fn(*args) == 6  # as a script calls it


def test_a_module_with_a_scripted_forward_suspends(runtime: sync.Runtime) -> None:
    class Waiting(nn.Module):
        async def _forward(self) -> int:
            return await run(sync.wait, target)

        forward = scripted(_forward)

    target: Future[int] = Future()
    waiting = [fork(Waiting()) for _ in range(10)]
    until(lambda: runtime.statistics().suspended == 10)
    assert runtime.statistics().blocked == 0
    target.set_result(4)
    assert sync.wait_all(waiting, PATIENCE_S) == [4] * 10


# -- kinds of runtimes


@pytest.mark.parametrize("fn", [recurse, tree])
def test_inline_runs_it_whole_in_its_wait(fn: Callable[[int], int]) -> None:
    with sync.Runtime(1, blas_threads=None, inline=True) as runtime:
        assert sync.wait(fork(fn, 20)) == (20 if fn is recurse else 21)
        assert fork(fn, 20).result(timeout=PATIENCE_S) == (20 if fn is recurse else 21)
        assert runtime.statistics().threads == 0
        assert_at_rest(runtime)


async def test_inline_runs_it_whole_in_an_await() -> None:
    async with asyncjit.Runtime(1, blas_threads=None, inline=True):
        assert await fork(recurse, 20) == 20
        assert await asyncjit.call(tree, 20) == 21


@pytest.mark.parametrize("seed", range(10))
def test_deterministic_runs_end(seed: int) -> None:
    with deterministic(seed) as runtime:
        assert sync.wait(fork(tree, 5, 5)) == 31
        assert sync.wait(fork(recurse, 500), timeout=60) == 500
    assert runtime.statistics().threads <= 2


def test_deterministic_order_is_the_seeds() -> None:
    @scripted
    async def body(n: int) -> None:
        order.append(n)
        await run(sync.wait, fork(order.append, 10 + n))
        order.append(20 + n)

    orders = []
    for seed in (1, 1, *range(2, 8)):
        order: list[int] = []
        with deterministic(seed):
            sync.wait_all([fork(body, n) for n in range(5)], timeout=60)
        orders.append(tuple(order))
    assert orders[0] == orders[1]
    assert len(set(orders)) > 2


def test_with_an_executor_the_steps_run_on_the_pool_and_the_kernels_there() -> None:
    @scripted
    async def body() -> list[str]:
        names = [threading.current_thread().name, await run(sync.wait, fork(lambda: threading.current_thread().name))]
        return [*names, await run(sync.wait, fork(kernel))]

    def kernel() -> str:
        return sync.wait(fork(wait_for, fork(lambda: threading.current_thread().name)))

    with ThreadPoolExecutor(4, thread_name_prefix="executor") as executor:
        with sync.Runtime(1, blas_threads=None, executor=executor) as runtime:
            steps, leaf, nested = fork(body).result(PATIENCE_S)
            assert steps.startswith("asyncjit")
            assert leaf.startswith("executor")
            assert nested.startswith("executor")
            assert_at_rest(runtime)


# -- profiles


@scripted
async def marked(target: Callable[[], Any]) -> None:
    with record_function("across"):
        await run(sync.wait, fork(target))


def test_a_profile_shows_two_strands_and_a_range_that_is_cut_with_them() -> None:
    ticks = itertools.count()
    with deterministic(0), profile(clock=lambda: next(ticks)) as prof:
        sync.call(marked, int)
    steps, ranges, [leaf] = ([s for s in prof.events() if s.name == name] for name in ("marked", "across", "int"))
    for pieces in (steps, ranges):
        assert len(pieces) >= 2
        assert any(a.end_ns <= leaf.start_ns and leaf.end_ns <= b.start_ns for a, b in itertools.pairwise(pieces))
    assert len({strand.fork for strand in steps}) == 1
    [wait] = [wait for wait in prof.waits() if wait.fork == leaf.fork]
    assert wait.end_ns is not None
    assert wait.start_ns <= leaf.start_ns
    assert leaf.end_ns <= wait.end_ns <= ranges[-1].start_ns
    assert sorted(task.state for task in prof.tasks()) == ["finished", "finished"]


def test_a_profile_follows_a_scripted_fork_to_another_thread(tmp_path: Path) -> None:
    gate = Gate()
    with sync.Runtime(2, blas_threads=None) as runtime:
        with profile() as prof:
            future = fork(marked, gate)
            until(lambda: runtime.statistics().suspended)
            gate.await_start()
            gate.open()
            future.result(PATIENCE_S)
            sync.wait(when_idle(runtime), PATIENCE_S)
    lanes: dict[int, list[Any]] = {}
    for strand in sorted(prof.events(), key=lambda strand: (strand.start_ns, strand.end_ns)):
        if strand.fork is not None:
            lanes.setdefault(strand.lane, []).append(strand)
    for strands in lanes.values():
        assert all(before.end_ns <= after.start_ns for before, after in itertools.pairwise(strands))
    assert prof.max_running() <= 2
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(path)
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert sum(event["ph"] == "b" for event in events) == 2  # the lives of two forks
    assert sum(event["ph"] == "s" for event in events) == sum(event["ph"] == "f" for event in events) == 4


# -- permits


def test_a_scripted_fork_run_in_place_leaves_the_waiting_script_without_a_permit() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        target = Future[int]()
        with pool_asleep(runtime):
            waiting = fork(wait_for, target)
            waiting._source.run_in_place(this_thread())  # type: ignore[union-attr]
        assert runtime.statistics().running == 0
        assert runtime.statistics().suspended == 1
        other = fork(gate)
        gate.await_start()
        gate.open()
        assert other.result(PATIENCE_S) == "passed"
        target.set_result(3)
        assert waiting.result(PATIENCE_S) == 3
