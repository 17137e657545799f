"""How a thread waits: what it sleeps on, what it gives back, and that it takes that back whatever ends the wait."""

import threading
from typing import Any

import pytest

import asyncjit._core.waiting
from asyncjit import Future, Instrument, fail_after, fork, sync
from asyncjit._core.cell import new_bell, ring
from asyncjit._core.context import ROOT, Environment, Scope, lock, this_thread
from asyncjit._core.permits import Permits
from asyncjit._core.waiting import BlockedThread, block, clock_of, deadline_of, is_inside_machinery, sleep_until
from asyncjit.errors import DeadlineExceeded
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, Gate, sleep_for_ever, until
from tests.rules.places import in_thread, in_threads


class Interrupted(Exception):
    """Stands for Ctrl-C."""


class Lent(Permits):
    """Counts of which the waiting thread holds one permit; they note how they stood when they were replenished."""

    def __init__(self) -> None:
        super().__init__(1)
        self.running = 1
        self.seen: list[tuple[int, int]] = []

    def replenish(self) -> None:
        self.seen.append((self.running, self.blocked))


def waits_with(permits: Permits, future: Future[Any]) -> None:
    """Wait for `future` as a pool thread does that holds a permit."""
    slot = this_thread()
    slot.permit = permits
    try:
        block(future)
    finally:
        held, slot.permit = slot.permit, None
        assert held is permits


# -- sleeping


def test_a_bell_ends_the_sleep() -> None:
    bell = new_bell()
    ring(bell)
    sleep_until(bell, None, pytest.fail)
    ring(bell)
    sleep_until(bell, 5.0, lambda: 0.0)


def test_nobody_sleeps_past_a_deadline() -> None:
    sleep_until(new_bell(), 5.0, lambda: 5.0)
    sleep_until(new_bell(), 5.0, lambda: 7.0)


@pytest.mark.parametrize("deadline", [None, 1e9], ids=["for ever", "towards a far deadline"])
def test_a_sleep_returns_now_and_then_for_a_signal_that_was_missed(
    deadline: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncjit._core.waiting, "LOST_SIGNAL_S", 0.001)
    bell = new_bell()
    sleep_until(bell, deadline, lambda: 0.0)
    assert not bell.acquire(blocking=False), "it did not ring"


def test_a_clock_that_is_not_the_machines_sleeps_in_its_own_way() -> None:
    slept: list[tuple[Any, float]] = []

    class Clock:
        def __call__(self) -> float:
            return 0.0

        def sleep_until(self, bell: threading.Lock, deadline: float) -> None:
            slept.append((bell, deadline))

    bell = new_bell()
    sleep_until(bell, 5.0, Clock())
    assert slept == [(bell, 5.0)]


# -- the permit


def test_a_waiting_thread_lends_its_permit_and_takes_it_back_when_its_target_is_done() -> None:
    permits = Lent()
    future: Future[int] = Future()

    def complete() -> None:
        until(lambda: permits.seen)
        future.set_result(3)

    in_threads(lambda: waits_with(permits, future), complete)
    assert permits.seen == [(0, 1)]
    assert (permits.running, permits.blocked) == (1, 0)


def test_a_permit_that_was_passed_on_is_not_counted_again() -> None:
    permits = Lent()
    future: Future[int] = Future()

    def complete() -> None:
        until(lambda: permits.seen)
        with lock:
            future._heir.granted = True
            permits.running += 1  # the finished kernel's own, which it leaves behind
        future.set_result(3)

    in_threads(lambda: waits_with(permits, future), complete)
    assert (permits.running, permits.blocked) == (1, 0)
    assert future._heir is None


def test_a_waiter_goes_on_at_once_though_no_permit_is_free() -> None:
    permits = Lent()
    future: Future[int] = Future()

    def complete() -> None:
        until(lambda: permits.seen)
        with lock:
            permits.running += 1  # another kernel has started
        future.set_result(3)

    in_threads(lambda: waits_with(permits, future), complete)
    assert (permits.running, permits.excess) == (2, 1)


@pytest.mark.parametrize("interrupted", ["_sleep_until_done", "_go_on"])
def test_an_interrupted_wait_leaves_nothing_behind(interrupted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    permits = Lent()
    future: Future[int] = Future()
    original = getattr(asyncjit._core.waiting, interrupted)
    num_calls = 0

    def falls_into(*args: Any) -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 1:
            if interrupted == "_go_on":
                ring(args[1].bell)
            raise Interrupted
        original(*args)

    monkeypatch.setattr(asyncjit._core.waiting, interrupted, falls_into)
    if interrupted == "_go_on":
        monkeypatch.setattr(asyncjit._core.waiting, "_sleep_until_done", lambda *_: None)
    with pytest.raises(Interrupted):
        waits_with(permits, future)
    assert (permits.running, permits.blocked) == (1, 0)
    assert (future._waiters, future._heir) == ([], None)


def test_a_script_that_waits_lends_nothing() -> None:
    future: Future[int] = Future()
    waiter = in_thread(future.result)
    until(lambda: future._waiters)
    assert future._heir is None
    future.set_result(3)
    assert waiter() == 3


# -- clocks and deadlines


def test_a_wait_is_told_in_the_clock_of_its_runtime() -> None:
    clock, other = ManualClock(), ManualClock()
    with sync.Runtime(1, blas_threads=None, clock=clock) as runtime, sync.Runtime(1, blas_threads=None, clock=other):
        target = fork(int)
        target.result()
        assert clock_of(Scope(None, runtime, ROOT), target) is clock
        assert clock_of(None, target) is other


def test_the_earlier_deadline_of_the_waiter_and_its_target_counts() -> None:
    clock = ManualClock()
    waiter = Scope(None, None, Environment(deadline=3.0))
    nobody = Scope(None, None, ROOT)
    with sync.Runtime(1, blas_threads=None, clock=clock):
        gate = Gate()
        with fail_after(5.0):
            target = fork(gate)
            gate.await_start()
            assert (deadline_of(waiter, target), deadline_of(nobody, target), deadline_of(None, target)) == (3, 5, 5)
            assert deadline_of(waiter, Future()) == 3
            assert deadline_of(None, Future()) is None
            target.cancel()
            assert deadline_of(None, target) is None, "it has ended already, as far as waiters go"
            gate.open()


def test_a_coroutine_fork_past_its_deadline_is_waited_for_until_its_task_ends() -> None:
    clock, gate = ManualClock(), Gate()
    started = threading.Event()

    async def stubborn() -> None:
        started.set()
        try:
            await sleep_for_ever()
        finally:
            gate()

    with sync.Runtime(1, blas_threads=None, clock=clock):
        with fail_after(5.0):
            future = fork(stubborn)
        assert started.wait(PATIENCE_S)
        waiter = in_thread(future.result)
        until(lambda: clock._sleepers)
        clock.advance(5.0)
        gate.await_start()
        until(lambda: future._waiters)
        assert not future.done()
        gate.open()
        with pytest.raises(DeadlineExceeded, match=r"stubborn .* passed its deadline"):
            waiter()
        assert gate.ended.is_set()


def test_the_lock_tells_a_handler_that_it_fell_into_the_machinery() -> None:
    assert not is_inside_machinery()
    with lock:
        assert is_inside_machinery()
        assert in_threads(is_inside_machinery) == [False], "that is another thread's section"


# -- instruments


class Diary(Instrument):
    """Notes the waits and strands of forks."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def strand_started(self, fork: Any) -> None:
        self.lines.append("runs")

    def strand_ended(self, fork: Any) -> None:
        self.lines.append("stops")

    def wait_started(self, scope: Any, future: Any) -> None:
        self.lines.append("waits")

    def wait_ended(self, scope: Any, future: Any) -> None:
        self.lines.append("is told")


@pytest.mark.parametrize("ends_by", ["value", "timeout"])
def test_a_wait_interrupts_the_strand_of_its_fork_however_it_ends(ends_by: str) -> None:
    diary = Diary()
    future: Future[int] = Future()
    started = threading.Event()

    def kernel() -> None:
        started.set()
        if ends_by == "value":
            future.result()
        else:
            with pytest.raises(TimeoutError, match="was not done within 0 s"):
                future.result(timeout=0)

    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        waiter = fork(kernel)
        assert started.wait(PATIENCE_S)
        if ends_by == "value":
            until(lambda: future._waiters)
            future.set_result(3)
        waiter.result(PATIENCE_S)
    assert diary.lines == ["runs", "stops", "waits", "is told", "runs", "stops"]


def test_a_wait_for_what_is_done_is_none() -> None:
    diary = Diary()
    future: Future[int] = Future()
    future.set_result(3)
    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        fork(future.result).result(PATIENCE_S)
    assert diary.lines == ["runs", "stops"]


def test_a_deadline_that_passes_in_a_run_in_place_is_seen_after_it() -> None:
    clock = ManualClock()
    with sync.Runtime(1, blas_threads=None, clock=clock, inline=True):
        with pytest.raises(DeadlineExceeded, match="the waiting code passed its deadline"):
            with fail_after(5.0):
                fork(clock.advance, 6.0).result()


def test_a_woken_thread_counts_as_running_before_it_goes_on() -> None:
    permits = Permits(1)
    permits.running = 1  # of the kernel whose end wakes it
    waiter = BlockedThread(permits)
    waiter.lent = True
    waiter.wake()
    waiter.wake()
    assert (permits.running, permits.excess, waiter.granted) == (2, 1, True)


def test_a_woken_thread_that_lent_nothing_counts_for_nothing() -> None:
    permits = Permits(1)
    waiter = BlockedThread(permits)
    waiter.wake()
    assert (permits.running, waiter.granted) == (0, False)
