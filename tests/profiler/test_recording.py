"""`profile`: what it sees, and what it tells of it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import asyncjit
from asyncjit import sync
from asyncjit._core.context import current
from asyncjit.errors import ForkCancelled
from asyncjit.profiler import profile, recording, schedule
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
    num_notes = [len(columns.marks) for _, columns in prof._notes.by_track()]
    gate.open()
    assert future.result(PATIENCE_S) == "passed"
    when_idle(runtime).result(PATIENCE_S)
    assert (prof.events(), prof.tasks()) == before
    assert [len(columns.marks) for _, columns in prof._notes.by_track()] == num_notes
    assert [(task.name, task.state) for task in prof.tasks()] == [("Gate", "unfinished")]


def test_what_is_forked_below_after_the_block_is_not_kept(runtime: sync.Runtime) -> None:
    gate = Gate()

    def outlives() -> int:
        gate()
        return sync.call(abs, -1)

    with profile() as prof:
        future = sync.fork(outlives)
        gate.await_start()
    gate.open()
    assert future.result(PATIENCE_S) == 1
    assert len(prof.tasks()) == 1


def test_the_utilisation_is_the_share_of_the_lanes_time_in_which_forks_executed() -> None:
    ticks = itertools.count()
    with deterministic(0), profile(clock=lambda: next(ticks)) as prof:  # 0
        sync.wait(sync.fork(abs, -1))  # forked 1, waits 2, runs from 3 to 4, waited 5
    assert (prof.duration_ns, prof.records.num_lanes) == (6, 1)
    assert prof.utilisation() == pytest.approx(1 / 6)


def test_the_cpu_time_of_a_strand_is_its_threads(runtime: sync.Runtime) -> None:
    def kernel() -> None:
        clock.now += 5

    class Clock:
        now = 0

        def __call__(self) -> int:
            return self.now

    clock = Clock()
    with profile(cpu_clock=clock) as prof:
        sync.call(kernel)
    assert [strand.cpu_ns for strand in prof.events()] == [5]
    with profile(cpu_times=False) as prof:
        sync.call(kernel)
    assert [strand.cpu_ns for strand in prof.events()] == [None]


def test_a_full_buffer_ends_the_recording_and_counts_what_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK", 40)
    ticks = itertools.count()
    with sync.Runtime(1), profile(max_events=100, clock=lambda: next(ticks)) as prof:
        for _ in range(100):
            sync.call(abs, -1)
    records = prof.records
    assert 10 < len(prof.tasks()) < 40
    assert prof.duration_ns < next(ticks) - 100
    assert records.num_dropped > 200
    assert prof.records.num_dropped == records.num_dropped
    assert {task.state for task in prof.tasks()[:-1]} == {"finished"}


def test_a_profile_wants_a_count_of_events() -> None:
    with pytest.raises(ValueError, match="max_events must be at least 1, got 0"):
        profile(max_events=0)


def test_notes_that_were_packed_say_the_same(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> None:
        sync.call(tree, 3)
        sync.wait_all([sync.fork(abs, -1) for _ in range(30)])

    def told() -> list[tuple[object, ...]]:
        with profile() as prof:
            program()
        return [(task.name, task.site, task.parent, task.state) for task in prof.tasks() if task.name == "abs"]

    expected = told()
    monkeypatch.setattr(recording, "CHUNK", 20)
    assert told() == expected


def test_the_shapes_of_arguments_are_noted_if_asked_for(runtime: sync.Runtime) -> None:
    with profile(record_shapes=True) as prof:
        sync.call(np.add, np.ones((2, 3)), np.ones(3))
        sync.call(abs, -1)
    records = prof.records
    assert [records.shapes[number] for number in records.tasks["shapes"][1:]] == ["[[2, 3], [3]]", "[[]]"]


def test_a_coroutine_forks_waits_are_its_own_and_so_are_those_of_the_tasks_that_it_gathers() -> None:
    gate = Gate()

    async def gathers() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, gate.open)  # when both wait
        await asyncio.gather(asyncjit.fork(gate), asyncjit.fork(gate))

    async def main() -> None:
        await asyncjit.call(gathers)

    with profile() as prof:
        asyncio.run(main())
    assert sorted((wait.task, wait.fork) for wait in prof.waits() if wait.task) == [(1, 2), (1, 3)]
    assert [(wait.task, wait.fork) for wait in prof.waits() if not wait.task] == [(None, 1)]


def test_a_fork_that_waits_as_the_block_ends_is_seen_to_wait(runtime: sync.Runtime) -> None:
    gate = Gate()
    with sync.Runtime(2):

        def waiter() -> None:
            sync.wait(sync.fork(gate), timeout=PATIENCE_S)

        with profile() as prof:
            future = sync.fork(waiter)
            gate.await_start()
            while not prof.waits():
                pass
        gate.open()
        future.result(PATIENCE_S)
    assert [(wait.task, wait.fork, wait.end_ns) for wait in prof.waits()] == [(1, 2, None)]


def test_a_rival_works_while_the_profile_records_and_its_bursts_are_told() -> None:
    def is_there() -> bool:
        return any(thread.name == "asyncjit profiler's rival" for thread in threading.enumerate())

    with sync.Runtime(1):
        with profile(rival=True) as prof:
            sync.call(abs, -1)
            assert is_there()
        assert not is_there()
    assert len(prof.records.bursts) >= 1
    assert prof.records.turn_ns > 0
    with profile() as prof:
        assert not is_there()
    assert (len(prof.records.bursts), prof.records.turn_ns) == (0, -1)


# -- steps

FUNCTIONS: list[Callable[[int], object]] = [abs, bin, hex, oct, bool, complex]


def steps(num_steps: int, **settings: int) -> list[tuple[int, list[str]]]:
    """Run steps of one fork each under a schedule; return what is told when a trace is ready."""
    told: list[tuple[int, list[str]]] = []

    def ready(prof: profile) -> None:
        told.append((prof.step_num, [task.name for task in prof.tasks()]))

    with sync.Runtime(1), profile(schedule=schedule(**settings), on_trace_ready=ready) as prof:
        for number in range(num_steps):
            sync.call(FUNCTIONS[number % len(FUNCTIONS)], 1)
            prof.step()
    return told


def test_a_schedule_records_its_active_steps_and_tells_after_each_cycle() -> None:
    assert steps(12, wait=1, warmup=1, active=2, skip_first=1) == [
        (5, ["oct", "bool"]),
        (9, ["bin", "hex"]),
        (12, ["complex"]),
    ]


def test_a_schedule_that_is_left_while_it_records_tells_what_there_is() -> None:
    assert steps(2, wait=0, warmup=1, active=3) == [(2, ["bin"])]
    assert steps(1, wait=3, warmup=1, active=3) == []


def test_without_a_schedule_the_whole_block_is_told_at_its_end() -> None:
    told: list[int] = []
    with sync.Runtime(1), profile(on_trace_ready=lambda prof: told.append(len(prof.tasks()))):
        sync.call(abs, -1)
        assert told == []
    assert told == [1]


def test_each_step_is_a_range() -> None:
    with sync.Runtime(1), profile(schedule=schedule(wait=0, warmup=0, active=3)) as prof:
        prof.step()
        sync.call(abs, -1)
        prof.step()
    assert [strand.name for strand in prof.events() if strand.fork is None][:2] == ["ProfilerStep#0", "ProfilerStep#1"]


def test_a_step_outside_of_the_block_is_refused() -> None:
    prof = profile()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"step\(\) has no meaning outside"):
            prof.step()
        if prof._scope is None:
            with prof:
                pass


def test_after_the_block_the_code_is_where_it_was() -> None:
    before = current.get()
    with pytest.raises(ValueError, match="lost"), profile():
        assert current.get() is not before
        raise ValueError("lost")
    assert current.get() is before
