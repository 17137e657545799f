"""`Runtime`: its arguments, its bounds, instruments and counts."""

import contextvars
import dataclasses
import threading
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import Future, Instrument, fork, sync
from asyncjit.errors import DeadlineExceeded, Overloaded
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until
from tests.rules.places import in_threads

COUNTS = ["num_interop_threads", "num_threads", "blas_threads", "max_queued"]


# -- arguments


def make_runtime(**settings: Any) -> sync.Runtime:
    return sync.Runtime(**settings)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one_is_refused(name: str, count: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {count}"):
        make_runtime(**{name: count})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("count", "kind"), [(True, "bool"), (1.5, "float"), ("2", "str")])
def test_a_count_that_is_no_integer_is_refused(name: str, count: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer, got {count!r} of type {kind}"):
        make_runtime(**{name: count})


def test_a_count_may_be_an_integer_of_numpy() -> None:
    counts: dict[str, Any] = dict.fromkeys(COUNTS, np.int64(3))
    with sync.Runtime(**counts) as runtime:
        assert (runtime.num_interop_threads, runtime.num_threads, runtime.max_queued) == (3, 3, 3)
        assert type(runtime.num_interop_threads) is int


def test_counts_can_be_set_later_and_bad_ones_leave_the_old() -> None:
    with sync.Runtime(1, 1, blas_threads=None) as runtime:
        runtime.num_interop_threads, runtime.num_threads = 2, 3
        for name in ("num_interop_threads", "num_threads"):
            with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
                setattr(runtime, name, 0)
        assert (runtime.num_interop_threads, runtime.num_threads) == (2, 3)
        barrier = threading.Barrier(2)
        sync.wait_all([fork(barrier.wait, PATIENCE_S) for _ in range(2)], timeout=PATIENCE_S)


@pytest.mark.parametrize(("value", "is_inline"), [("1", True), ("0", False), ("", False)])
def test_the_environment_may_ask_for_the_debuggers_mode(
    value: str, is_inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCJIT_INLINE", value)
    with sync.Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        gate.open()
        assert sync.wait_all([fork(gate)]) == ["passed"]
        assert runtime.inline is is_inline
        assert runtime.statistics().threads == (0 if is_inline else 1)


def test_making_a_runtime_starts_no_thread() -> None:
    before = set(threading.enumerate())
    with sync.Runtime(4) as runtime:
        assert set(threading.enumerate()) <= before
        assert runtime.statistics().threads == 0


def test_a_runtime_tells_its_state() -> None:
    runtime = sync.Runtime(2, blas_threads=None)
    with runtime:
        with all_threads_busy(runtime):
            fork(int)
            assert repr(runtime) == "<asyncjit.Runtime open: 2 of 2 running, 1 queued>"
    assert repr(runtime) == "<asyncjit.Runtime closed: 0 of 2 running, 0 queued>"


# -- max_queued


def test_a_fork_beyond_max_queued_is_refused_and_counted_nowhere() -> None:
    with sync.Runtime(2, blas_threads=None, max_queued=3) as runtime:
        with all_threads_busy(runtime):
            futures = [fork(pow, 2, n) for n in range(3)]
            with pytest.raises(Overloaded, match="3 forks are queued, and max_queued is 3: wait for some first"):
                fork(int)
            now = runtime.statistics()
            assert (now.forked, now.queued, now.cancelled) == (5, 3, 0)
            assert futures[0].cancel()
            futures[0] = fork(pow, 2, 5)
        assert sync.wait_all(futures) == [32, 2, 4]
        assert_at_rest(runtime)


def test_forks_that_find_a_free_thread_are_not_refused() -> None:
    with sync.Runtime(1, blas_threads=None, max_queued=1):
        for n in range(50):
            assert sync.wait(fork(pow, 2, n)) == 2**n


async def test_max_queued_does_not_count_coroutine_forks() -> None:
    async def model() -> int:
        return 3

    async with asyncjit.Runtime(1, blas_threads=None, max_queued=1) as runtime:
        gate = Gate()
        fork(gate)
        gate.await_start()
        fork(int)
        try:
            assert runtime.statistics().queued == 1
            assert await fork(model) == 3
        finally:
            gate.open()


def test_max_queued_holds_also_for_a_fork_that_comes_between() -> None:
    """An instrument forks in the middle of a fork, as another thread might."""

    class Meddler(Instrument):
        def forked(self, fork: Any) -> None:
            if fork.display_name() == "abs":
                sync.fork(int)

    with sync.Runtime(1, blas_threads=None, max_queued=1, instruments=[Meddler()]) as runtime:
        with all_threads_busy(runtime):
            with pytest.raises(Overloaded, match="1 forks are queued, and max_queued is 1"):
                fork(abs, -1)
            assert runtime.statistics().queued == 1


# -- instruments, clock and counts


class Diary(Instrument):
    """Notes what happens to which fork."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def forked(self, fork: Any) -> None:
        self.lines.append(("forked", fork.display_name()))

    def strand_started(self, fork: Any) -> None:
        self.lines.append(("started", fork.display_name()))

    def strand_ended(self, fork: Any) -> None:
        self.lines.append(("stopped", fork.display_name()))

    def ended(self, fork: Any) -> None:
        self.lines.append(("ended", fork.display_name()))


def test_an_instrument_sees_the_life_of_a_fork() -> None:
    diary = Diary()
    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        sync.wait(fork(pow, 2, 3))
    assert diary.lines == [("forked", "pow"), ("started", "pow"), ("stopped", "pow"), ("ended", "pow")]


def test_an_instrument_of_a_runtime_sees_forks_wherever_they_are_made() -> None:
    diary = Diary()

    async def model() -> int:
        return await fork(abs, -1)

    with sync.Runtime(1, blas_threads=None, instruments=iter([diary])):
        in_threads(lambda: sync.wait(fork(pow, 2, 3)))
        contextvars.Context().run(lambda: sync.wait(fork(divmod, 2, 3)))
        sync.wait(fork(model))
        cancelled = fork(fork, hash, 3)
        sync.wait(sync.wait(cancelled))
    names = [name.rpartition(".")[2] for event, name in diary.lines if event == "forked"]
    assert names == ["pow", "divmod", "model", "abs", "fork", "hash"]
    assert sorted(name for event, name in diary.lines if event == "ended") == sorted(
        name for event, name in diary.lines if event == "forked"
    )


def test_an_instrument_sees_nothing_of_another_runtime() -> None:
    diary = Diary()
    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        with sync.Runtime(1, blas_threads=None):
            sync.wait(fork(pow, 2, 3))
    assert diary.lines == []


def test_deadlines_are_told_in_the_runtimes_clock() -> None:
    clock = ManualClock(start_s=1e9)
    with sync.Runtime(1, blas_threads=None, clock=clock):
        with sync.fail_after(5):
            sync.check_cancelled()
            clock.advance(4.9)
            sync.check_cancelled()
            clock.advance(0.2)
            with pytest.raises(DeadlineExceeded, match="passed its deadline"):
                sync.check_cancelled()


def test_statistics_count_what_is_there() -> None:
    """At the end a waiter whose future a thread outside completes has no permit to inherit."""
    future: Future[int] = Future()

    async def model() -> int:
        return await future

    with sync.Runtime(2, blas_threads=None) as runtime:
        held = Gate()
        blocked: Future[Any] = fork(lambda: (sync.wait(future), held()))
        until(lambda: runtime.statistics().blocked == 1)
        suspended = fork(model)
        until(lambda: len(future._waiters or ()) == 2)
        with pytest.raises(ZeroDivisionError, match="division"):
            sync.wait(fork(divmod, 1, 0))
        with all_threads_busy(runtime):
            queued = fork(int)
            fork(int).cancel()
            now = runtime.statistics()
            assert (now.running, now.queued, now.blocked, now.suspended) == (2, 1, 1, 1)
            assert (now.threads, now.spares, now.excess) == (3, 1, 0)
            assert (now.forked, now.finished, now.failed, now.cancelled) == (7, 0, 1, 1)
            future.set_result(3)
            held.await_start()
            assert (runtime.statistics().running, runtime.statistics().excess) == (3, 1)
            held.open()
        assert sync.wait_all([blocked, suspended, queued]) == [(3, "passed"), 3, 0]
        assert_at_rest(runtime)


def test_statistics_are_a_snapshot() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        before = runtime.statistics()
        sync.wait(fork(int))
        assert before.forked == 0
        with pytest.raises(dataclasses.FrozenInstanceError, match="forked"):
            before.forked = 1  # type: ignore[misc]
