"""Rule 8, deadlines in sync code: `fail_after` is inherited by every fork below, and shed by `fail_after(None)`."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjit import Future, check_cancelled, fail_after, fork, sync
from asyncjit.errors import DeadlineExceeded
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until, wait_for_ever, when_idle


@pytest.fixture
def clock() -> ManualClock:
    """Return the runtime's clock, which stands until it is moved."""
    return ManualClock(start_s=100.0)


@pytest.fixture
def runtime(num_interop_threads: int, clock: ManualClock) -> Iterator[sync.Runtime]:
    """Return a runtime on the manual clock; it must end idle, with counts that add up."""
    with sync.Runtime(num_interop_threads, blas_threads=None, clock=clock) as runtime:
        yield runtime
        assert_at_rest(runtime)


def advance_when_asleep(clock: ManualClock, seconds: float) -> None:
    """Move the clock in another thread's time: once somebody sleeps on it."""
    until(lambda: clock._sleepers)
    clock.advance(seconds)


def test_a_deadline_ends_a_wait(runtime: sync.Runtime, clock: ManualClock) -> None:
    never: Future[None] = Future()
    mover = threading.Thread(target=advance_when_asleep, args=(clock, 5.0))
    with pytest.raises(DeadlineExceeded, match="the deadline passed in the wait for Future"):
        with fail_after(5.0):
            mover.start()
            never.result()
    mover.join()
    assert not never.done()


def test_a_deadline_is_a_timeout_error(runtime: sync.Runtime, clock: ManualClock) -> None:
    with pytest.raises(TimeoutError, match="passed its deadline"):
        with fail_after(5.0):
            clock.advance(5.0)
            check_cancelled()


def test_before_the_deadline_nothing_is_said(runtime: sync.Runtime, clock: ManualClock) -> None:
    with fail_after(5.0):
        clock.advance(4.999)
        check_cancelled()
        assert sync.wait(fork(pow, 2, 3)) == 8


def test_a_wait_that_begins_after_the_deadline_raises_at_once(runtime: sync.Runtime, clock: ManualClock) -> None:
    ran: list[int] = []
    with pytest.raises(DeadlineExceeded, match="the waiting code passed its deadline"):
        with fail_after(5.0):
            with all_threads_busy(runtime):
                future = fork(ran.append, 1)
                clock.advance(6.0)
                sync.wait(future)
    when_idle(runtime).result(PATIENCE_S)
    assert ran == []


def test_a_deadline_in_the_past_is_seen_by_the_first_wait(runtime: sync.Runtime) -> None:
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        with fail_after(0):
            Future[None]().result()


def test_after_the_block_its_deadline_is_gone(runtime: sync.Runtime, clock: ManualClock) -> None:
    with fail_after(5.0):
        pass
    clock.advance(6.0)
    check_cancelled()
    assert sync.wait(fork(pow, 2, 3)) == 8


def test_every_fork_below_inherits_the_deadline(runtime: sync.Runtime, clock: ManualClock) -> None:
    told: list[str] = []
    reached = threading.Event()

    def descend(depth: int) -> None:
        if depth == 0:
            reached.set()
            try:
                wait_for_ever()
            except DeadlineExceeded as error:
                told.append(str(error))
                raise
        sync.wait(fork(descend, depth - 1))

    def move() -> None:
        assert reached.wait(PATIENCE_S)
        clock.advance(5.0)

    mover = threading.Thread(target=move)
    mover.start()
    with pytest.raises(DeadlineExceeded, match="deadline"):
        with fail_after(5.0):
            sync.wait(fork(descend, 4))
    mover.join()
    when_idle(runtime).result(PATIENCE_S)
    assert told == ["the waiting code passed its deadline"]


def test_a_kernel_whose_deadline_passed_in_the_queue_never_starts(runtime: sync.Runtime, clock: ManualClock) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        with fail_after(5.0):
            futures = [fork(ran.append, n) for n in range(10)]
        clock.advance(6.0)
    for future in futures:  # waited for outside of the block, by a script without a deadline
        with pytest.raises(DeadlineExceeded, match=r"fork of .*append \(forked at .* passed its deadline"):
            future.result()
    assert all(future.cancelled() for future in futures)
    when_idle(runtime).result(PATIENCE_S)
    assert ran == []
    assert runtime.statistics().cancelled == 10


def test_who_waits_without_a_deadline_for_one_that_has_is_told_of_it(runtime: sync.Runtime, clock: ManualClock) -> None:
    gate = Gate()
    with fail_after(5.0):
        future = fork(gate)
    gate.await_start()
    mover = threading.Thread(target=clock.advance, args=(6.0,))
    mover.start()
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        future.result()
    mover.join()
    assert future.cancelled()
    gate.open()


def test_two_waiters_of_a_fork_past_its_deadline_are_both_told(runtime: sync.Runtime, clock: ManualClock) -> None:
    gate = Gate()
    with fail_after(5.0):
        future = fork(gate)
    gate.await_start()
    told: list[BaseException] = []

    def waiter() -> None:
        try:
            future.result()
        except BaseException as error:
            told.append(error)

    threads = [threading.Thread(target=waiter) for _ in range(2)]
    for thread in threads:
        thread.start()
    clock.advance(6.0)
    for thread in threads:
        thread.join(PATIENCE_S)
    gate.open()
    assert [type(error) for error in told] == [DeadlineExceeded] * 2


def test_what_was_forked_in_a_block_that_missed_its_deadline_is_cancelled(
    runtime: sync.Runtime, clock: ManualClock
) -> None:
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        with fail_after(5.0):
            future = fork(wait_for_ever)
            until(future.running)
            clock.advance(5.0)
            check_cancelled()
    assert future.cancelled()


def test_what_was_forked_in_a_block_that_was_left_in_time_goes_on(runtime: sync.Runtime) -> None:
    gate = Gate()
    with fail_after(5.0):
        future = fork(gate)
    gate.open()
    assert future.result(PATIENCE_S) == "passed"


def test_the_nearer_of_two_deadlines_holds(runtime: sync.Runtime, clock: ManualClock) -> None:
    with fail_after(10.0):
        with pytest.raises(DeadlineExceeded, match="passed its deadline"):
            with fail_after(1.0):
                clock.advance(2.0)
                check_cancelled()
        check_cancelled()
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        with fail_after(1.0):
            with fail_after(10.0):
                clock.advance(2.0)
                check_cancelled()


def test_none_sheds_the_deadlines_around_it(runtime: sync.Runtime, clock: ManualClock) -> None:
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        with fail_after(5.0):
            with fail_after(None):
                clock.advance(6.0)
                check_cancelled()
                assert sync.wait(fork(pow, 2, 3)) == 8
            check_cancelled()


def test_a_kernel_can_shed_the_deadline_it_inherited(runtime: sync.Runtime, clock: ManualClock) -> None:
    def body() -> int:
        with fail_after(None):
            clock.advance(6.0)
            return sync.wait(fork(len, "eight..."))

    with fail_after(5.0):
        future = fork(body)
        until(future.done)
    assert future.value() == 8


def test_a_timeout_is_no_deadline(runtime: sync.Runtime, clock: ManualClock) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            clock.advance(0.5)

    mover = threading.Thread(target=move)
    mover.start()
    with pytest.raises(TimeoutError, match=r"was not done within 1\.0 s") as caught:
        future.result(timeout=1.0)
    over.set()
    mover.join()
    assert not isinstance(caught.value, DeadlineExceeded)
    assert not future.cancelled()
    gate.open()
    assert future.result() == "passed"


def test_a_group_under_a_deadline_is_left_when_its_bodies_have_ended(runtime: sync.Runtime, clock: ManualClock) -> None:
    ended: list[int] = []

    def member(n: int) -> None:
        try:
            wait_for_ever()
        finally:
            ended.append(n)

    with pytest.raises((DeadlineExceeded, ExceptionGroup), match=r"deadline|fork_group") as caught:
        with fail_after(5.0):
            with sync.fork_group() as group:
                futures = [group.fork(member, n) for n in range(runtime.num_interop_threads)]
                until(lambda: all(future.running() for future in futures))
                clock.advance(6.0)
    assert sorted(ended) == list(range(runtime.num_interop_threads))
    assert all(future.done() for future in futures)
    if isinstance(caught.value, ExceptionGroup):
        assert all(isinstance(error, DeadlineExceeded) for error in caught.value.exceptions)


@pytest.mark.parametrize("seconds", ["1", [1], 1j], ids=["str", "list", "complex"])
def test_what_is_no_number_of_seconds_is_refused(seconds: Any) -> None:
    with pytest.raises(TypeError, match="fail_after needs seconds or None, got"):
        fail_after(seconds)
