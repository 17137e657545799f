"""`profile`: what it sees, and what it tells of it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Callable

import pytest

import asyncjit
from asyncjit import sync
from asyncjit._core.context import current
from asyncjit.errors import ForkCancelled
from asyncjit.profiler import profile
from asyncjit.testing import deterministic
from tests.at_rest import PATIENCE_S, Gate, when_idle
from tests.profiler.programs import tree


def test_two_kernels_at_once_show_as_two_running() -> None:
    with sync.Runtime(2):
        barrier = threading.Barrier(2, timeout=30)
        with profile() as prof:
            futures = [sync.fork(barrier.wait) for _ in range(2)]
            for future in futures:
                future.result(30)
        assert prof.max_running() == 2


def test_a_profile_sees_the_forks_of_its_block_and_below_and_no_others(runtime: sync.Runtime) -> None:
    sync.call(tree, 1)
    with profile() as prof:
        sync.call(tree, 2)
    sync.call(tree, 1)
    assert [task.name for task in prof.tasks()] == ["tree"] * 7
    assert sorted(task.parent or 0 for task in prof.tasks()) == sorted(
        [0, 1, 1] + [task.number for task in prof.tasks() if task.parent == 1 for _ in range(2)]
    )


def test_cancelled_failed_and_running_forks_are_told_as_such() -> None:
    with sync.Runtime(1):
        gate, started = threading.Event(), threading.Event()

        def stuck() -> None:
            started.set()
            gate.wait(30)

        with profile() as prof:
            running = sync.fork(stuck)
            started.wait(30)
            pending = sync.fork(tree, 1)
            pending.cancel()
            with pytest.raises(ForkCancelled, match="was cancelled"):
                pending.result()
        gate.set()
        running.result(30)
    assert [task.state for task in prof.tasks()] == ["unfinished", "cancelled"]


def test_a_profile_is_used_once() -> None:
    prof = profile()
    with prof, pytest.raises(RuntimeError, match="not reentrant"):
        prof.__enter__()


def test_of_two_profiles_the_outer_sees_the_forks_of_the_inner_too(runtime: sync.Runtime) -> None:
    with profile() as outer:
        sync.call(abs, -1)
        with profile() as inner:
            sync.call(pow, 2, 3)
    assert [task.name for task in outer.tasks()] == ["abs", "pow"]
    assert [task.name for task in inner.tasks()] == ["pow"]


async def test_a_profile_of_one_task_sees_nothing_of_another(runtime: sync.Runtime) -> None:
    both = asyncio.Barrier(2)

    async def profiled(fn: Callable[[int], object]) -> list[str]:
        with profile() as prof:
            await both.wait()
            await asyncjit.call(fn, -1)
            await both.wait()
        return [task.name for task in prof.tasks()]

    names = await asyncio.gather(profiled(abs), profiled(bin))
    assert list(names) == [["abs"], ["bin"]]


class Thing:
    """Something that a weak reference can watch."""


def test_a_profile_keeps_no_argument_and_no_result_alive(runtime: sync.Runtime) -> None:
    argument = Thing()
    seen = [weakref.ref(argument)]
    with profile() as prof:
        seen.append(weakref.ref(sync.call(lambda _: Thing(), argument)))
        del argument
    when_idle(runtime).result(PATIENCE_S)
    gc.collect()
    assert [thing() for thing in seen] == [None, None]
    assert len(prof.tasks()) == 1


def test_a_fork_that_goes_on_after_the_block_is_heard_and_forgotten(runtime: sync.Runtime) -> None:
    gate = Gate()
    with profile() as prof:
        future = sync.fork(gate)
        gate.await_start()
    before = prof.events(), prof.tasks()
    num_notes = len(prof._marks)
    gate.open()
    assert future.result(PATIENCE_S) == "passed"
    when_idle(runtime).result(PATIENCE_S)
    assert (prof.events(), prof.tasks()) == before
    assert len(prof._marks) == num_notes
    assert [task.state for task in prof.tasks()] == ["unfinished"]


def test_the_utilisation_is_the_share_of_the_lanes_time_in_which_forks_executed() -> None:
    ticks = itertools.count()
    with deterministic(0), profile(clock=lambda: next(ticks)) as prof:  # 0
        sync.wait(sync.fork(abs, -1))  # forked 1, runs from 2 to 3, ended 4, waited 5
    assert (prof.span_ns, prof.num_lanes) == (6, 1)
    assert prof.utilisation() == pytest.approx(1 / 6)


def test_after_the_block_the_code_is_where_it_was() -> None:
    before = current.get()
    with pytest.raises(ValueError, match="lost"), profile():
        assert current.get() is not before
        raise ValueError("lost")
    assert current.get() is before
