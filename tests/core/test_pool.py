"""The pool's threads: how many are woken, started and kept, and what happens when none is to be had."""

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from asyncjit import Future, fork, sync
from asyncjit._core import pool as pool_module
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until


def parked(runtime: sync.Runtime) -> int:
    return len(runtime.pool._parked)


def until_all_are_parked(runtime: sync.Runtime) -> None:
    until(lambda: parked(runtime) == runtime.statistics().threads)


def block(runtime: sync.Runtime, num: int) -> Future[None]:
    """Have `num` pool threads wait for the future that is returned."""
    future: Future[None] = Future()
    for _ in range(num):
        fork(sync.wait, future)
    until(lambda: runtime.statistics().blocked == num)
    return future


class Starts:
    """Counts the threads that are started while it stands in for `Thread.start`, and lets only some succeed."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException | None] = lambda: None
    ) -> None:
        self.num = 0
        start = threading.Thread.start

        def counted_start(thread: threading.Thread) -> None:
            failure = error()
            if failure is not None:
                raise failure
            self.num += 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", counted_start)


def no_thread() -> RuntimeError:
    return RuntimeError("can't start new thread")


# -- waking and starting


def test_a_burst_starts_as_many_threads_as_may_run(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch)
    gate = Gate()
    futures = [fork(gate) for _ in range(100)]
    assert starts.num == runtime.num_interop_threads == runtime.statistics().threads
    gate.open()
    sync.wait_all(futures, timeout=PATIENCE_S)
    assert starts.num == runtime.num_interop_threads


def test_one_fork_at_a_time_needs_one_thread(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch)
    for n in range(20):
        assert fork(pow, 2, n).result(timeout=PATIENCE_S) == 2**n
        until_all_are_parked(runtime)
    assert starts.num == 1


def test_parked_threads_are_woken_before_any_is_started(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    with all_threads_busy(runtime):
        pass
    until_all_are_parked(runtime)
    starts = Starts(monkeypatch)
    for _ in range(5):
        with all_threads_busy(runtime):
            assert runtime.statistics().threads == runtime.num_interop_threads
            assert parked(runtime) == 0
        until_all_are_parked(runtime)
    assert starts.num == 0


def test_a_burst_wakes_no_more_threads_than_there_are_kernels(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        pass
    until_all_are_parked(runtime)
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    assert parked(runtime) == runtime.num_interop_threads - 1
    gate.open()
    sync.wait(future)


def test_a_thread_goes_from_kernel_to_kernel_without_parking() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        with all_threads_busy(runtime):
            futures = [fork(lambda: (threading.get_ident(), runtime.pool.running)) for _ in range(50)]
        assert len({future.result(timeout=PATIENCE_S) for future in futures}) == 1


def test_a_higher_limit_starts_threads_for_what_is_queued() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        barrier = threading.Barrier(3)
        futures = [fork(barrier.wait, PATIENCE_S) for _ in range(3)]
        until(lambda: barrier.n_waiting == 1)
        runtime.num_interop_threads = 3
        sync.wait_all(futures, timeout=PATIENCE_S)


def test_a_lower_limit_takes_hold_as_kernels_end() -> None:
    with sync.Runtime(3, blas_threads=None) as runtime:
        with all_threads_busy(runtime) as gates:
            runtime.num_interop_threads = 1
            queued = fork(int)
            assert runtime.statistics().excess == 2
            for gate in gates[1:]:
                gate.open()
            until(lambda: runtime.statistics().running == 1)
            assert not queued.done()
        assert sync.wait(queued, timeout=PATIENCE_S) == 0


# -- spares


class Bell:
    """What a pool thread parks on, with a patience that the test ends, for all threads at once."""

    sleepers: ClassVar[set[int]] = set()  # threads that sleep without a limit of time
    patience_ends: ClassVar[threading.Event]

    def __init__(self) -> None:
        self._rung = threading.Event()

    def acquire(self, timeout: float) -> bool:
        if timeout < 0:
            Bell.sleepers.add(threading.get_ident())
            assert self._rung.wait(PATIENCE_S)
            Bell.sleepers.discard(threading.get_ident())
        else:
            until(lambda: self._rung.is_set() or Bell.patience_ends.is_set())
        return self._rung.is_set()

    def release(self) -> None:
        self._rung.set()


def test_threads_beyond_the_limit_end_after_a_while(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_S", 0.001)
    block(runtime, 8).set_result(None)
    until(lambda: runtime.statistics().threads <= runtime.num_interop_threads)
    assert fork(pow, 2, 3).result(timeout=PATIENCE_S) == 8, "the pool goes on"


def test_of_the_threads_that_end_after_a_while_those_within_the_limit_are_left(
    runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bell.sleepers.clear()
    Bell.patience_ends = threading.Event()
    future = block(runtime, 8)
    monkeypatch.setattr(pool_module, "new_bell", Bell)
    future.set_result(None)
    until_all_are_parked(runtime)
    Bell.patience_ends.set()
    num = runtime.num_interop_threads
    until(lambda: runtime.statistics().threads == 0 or len(Bell.sleepers) == num)
    assert runtime.statistics().threads == num


def test_threads_within_the_limit_are_kept(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    Bell.sleepers.clear()
    monkeypatch.setattr(pool_module, "new_bell", Bell)
    with all_threads_busy(runtime):
        pass
    until(lambda: len(Bell.sleepers) == runtime.num_interop_threads)
    assert runtime.statistics().threads == runtime.num_interop_threads


def test_spares_are_kept_for_the_next_blocking_wait(runtime: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    block(runtime, 8).set_result(None)
    until_all_are_parked(runtime)
    starts = Starts(monkeypatch)
    block(runtime, 8).set_result(None)
    assert starts.num == 0


def test_a_lower_limit_lets_the_threads_beyond_it_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_S", 0.001)
    with sync.Runtime(4, blas_threads=None) as runtime:
        with all_threads_busy(runtime):
            pass
        until_all_are_parked(runtime)
        runtime.num_interop_threads = 2
        until(lambda: runtime.statistics().threads <= 2)


def test_a_spare_whose_patience_ends_while_it_is_woken_looks_for_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no patience at all, waking and ending race at every turn; no kernel may be overlooked."""
    monkeypatch.setattr(pool_module, "IDLE_S", 0.0)
    with sync.Runtime(2, blas_threads=None) as runtime:
        for _ in range(50):
            future = block(runtime, 3)
            fork(future.set_result, None)
            sync.wait_all([fork(pow, 2, n) for n in range(5)], timeout=PATIENCE_S)
        until(lambda: runtime.statistics().threads <= 2)
        assert_at_rest(runtime)


# -- threads that can't be had


def test_where_no_thread_can_be_started_those_there_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with sync.Runtime(4, blas_threads=None) as runtime:
        first = Gate()
        futures: list[Future[Any]] = [fork(first)]
        first.await_start()
        Starts(monkeypatch, no_thread)
        futures += [fork(pow, 2, n) for n in range(10)]
        now = runtime.statistics()
        assert (now.threads, now.running, now.queued, now.cancelled) == (1, 1, 10, 0)
        first.open()
        assert sync.wait_all(futures, timeout=PATIENCE_S) == ["passed", *(2**n for n in range(10))]
        assert_at_rest(runtime)


def test_where_no_thread_can_be_started_at_all_the_fork_raises_and_counts_as_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sync.Runtime(2, blas_threads=None) as runtime:
        with monkeypatch.context() as patched:
            Starts(patched, no_thread)
            for _ in range(3):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    fork(int)
            now = runtime.statistics()
            assert (now.threads, now.queued, now.forked, now.cancelled) == (0, 0, 3, 3)
        assert fork(pow, 2, 3).result(timeout=PATIENCE_S) == 8, "the next one finds a thread again"
        assert_at_rest(runtime)


def test_where_a_blocking_wait_finds_no_spare_it_goes_on_when_its_target_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        future: Future[int] = Future()
        gate = Gate()

        def kernel() -> int:
            gate()
            return sync.wait(future)

        waiter = fork(kernel)
        gate.await_start()
        queued = fork(pow, 2, 3)
        Starts(monkeypatch, no_thread)
        gate.open()
        until(lambda: runtime.statistics().blocked == 1)
        assert not queued.done()
        future.set_result(5)
        assert sync.wait_all([waiter, queued], timeout=PATIENCE_S) == [5, 8]
        assert_at_rest(runtime)


def test_an_interrupt_in_the_start_of_a_thread_reaches_the_forker(monkeypatch: pytest.MonkeyPatch) -> None:
    with sync.Runtime(2, blas_threads=None) as runtime:
        with monkeypatch.context() as patched:
            Starts(patched, KeyboardInterrupt)
            with pytest.raises(KeyboardInterrupt):
                fork(int)
        now = runtime.statistics()
        assert (now.threads, now.queued, now.forked, now.cancelled) == (0, 0, 1, 1)
        assert fork(pow, 2, 3).result(timeout=PATIENCE_S) == 8
        assert_at_rest(runtime)


# -- ending


def test_a_closed_pool_lets_its_threads_end(runtime: sync.Runtime) -> None:
    block(runtime, 5).set_result(None)
    assert_at_rest(runtime)
    until(lambda: runtime.statistics().threads == 0)


def test_when_idle_is_told_after_the_last_body_alone(runtime: sync.Runtime) -> None:
    idle: Future[None] = Future()
    with all_threads_busy(runtime) as gates:
        runtime.pool.when_idle(idle)
        for gate in gates[1:]:
            gate.open()
        until(lambda: runtime.statistics().running == 1)
        assert not idle.done()
    idle.result(timeout=PATIENCE_S)
    again: Future[None] = Future()
    runtime.pool.when_idle(again)
    assert again.done()


@pytest.mark.parametrize("inline", [False, True])
def test_what_was_run_in_place_or_cancelled_does_not_stay_in_the_queue(inline: bool) -> None:
    def body(runtime: sync.Runtime) -> int:
        for n in range(5000):
            future = fork(int, "1")
            if n % 2:
                future.cancel()
            else:
                sync.wait(future)
        return len(runtime.pool.queue)

    with sync.Runtime(1, blas_threads=None, inline=inline) as runtime:
        assert fork(body, runtime).result() < 2500  # no pool thread has looked: the only permit was taken
