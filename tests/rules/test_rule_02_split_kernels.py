"""Rule 2 for split kernels: each of the threads that run one kernel's pieces holds a permit, and gives it back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from asyncjit import fork, parallel_for, sync
from asyncjit._core.context import this_thread
from asyncjit._core.intraop import together
from asyncjit._core.teams import Member
from asyncjit.errors import DeadlineExceeded, ForkCancelled
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, all_threads_busy, assert_at_rest, until
from tests.rules.injector import Hit, Injector, interrupt_everywhere, traced_by_nothing_else
from tests.rules.places import HighWater, in_place, in_thread, in_threads
from tests.scripts import check_script


def assert_whole(runtime: sync.Runtime) -> None:
    """Assert that nobody holds a permit, and that there are N of them."""
    slot = this_thread()
    assert (slot.permit, slot.fork, slot.ending, slot.depth) == (None, None, None, 0)
    until(lambda: runtime.statistics().running == 0)
    limit = runtime.num_interop_threads
    all_meet = threading.Barrier(limit + 1)

    def kernel() -> int:
        return all_meet.wait(PATIENCE_S) + all_meet.wait(PATIENCE_S)

    futures = [fork(kernel) for _ in range(limit)] + [fork(int)]
    all_meet.wait(PATIENCE_S)
    now = runtime.statistics()
    assert (now.running, now.queued) == (limit, 1)
    all_meet.wait(PATIENCE_S)
    sync.wait_all(futures, timeout=PATIENCE_S)


@contextmanager
def whole_afterwards(num_threads: int, **settings: object) -> Iterator[sync.Runtime]:
    """Give a runtime whose permits must all be there after the block, and nothing run when it is closed."""
    with sync.Runtime(num_threads, num_threads, blas_threads=None, **settings) as runtime:  # type: ignore[arg-type]
        yield runtime
        assert_whole(runtime)
        assert_at_rest(runtime)


# -- never more than N


@pytest.mark.parametrize("num_threads", [2, 4])
def test_all_pieces_hold_a_permit_before_the_first_starts(num_threads: int) -> None:
    with whole_afterwards(num_threads) as runtime:
        seen: list[int] = []

        def body(member: Member) -> None:
            seen.append(runtime.statistics().running)
            member.meet()

        together(body, num_threads)
        assert seen == [num_threads] * num_threads


def test_pieces_that_wait_for_each_other_all_come(runtime: sync.Runtime) -> None:
    runtime.num_threads = 8
    all_meet = threading.Barrier(runtime.num_interop_threads)
    together(lambda member: all_meet.wait(PATIENCE_S), 8)


def test_a_kernel_beside_them_waits_for_a_permit(runtime: sync.Runtime) -> None:
    runtime.num_threads = limit = runtime.num_interop_threads
    if limit == 1:
        return
    beside: list[sync.Future[int]] = []

    def body(member: Member) -> None:
        if member.rank == 0:
            beside.append(fork(lambda: runtime.statistics().running))
        member.meet()
        assert not beside[0].done()
        assert runtime.statistics().running == limit
        assert runtime.statistics().queued == 1
        member.meet()

    together(body, limit)
    assert sync.wait(beside[0], timeout=PATIENCE_S) <= limit


def split_and_fork(mark: HighWater, limit: Callable[[], int], depth: int) -> int:
    """Split a loop whose pieces compute, and fork the same below some of them."""
    done: list[int] = []

    def piece(start: int, stop: int) -> None:
        with mark.computing() as before:
            assert before < limit(), f"{before} pieces ran when one more started"
            done.append(stop - start)
        if depth and start < 4:
            done.append(fork(split_and_fork, mark, limit, depth - 1).result())

    parallel_for(piece, 12, grain=2)
    return sum(done)


def test_pieces_and_kernels_never_pass_the_limit(runtime: sync.Runtime) -> None:
    """Scripts' threads take part, each with a permit of its own."""
    mark, limit = HighWater(), runtime.num_interop_threads
    runtime.num_threads = 4
    scripts = [lambda: sync.wait(fork(split_and_fork, mark, lambda: limit, 3)) for _ in range(4)]
    assert in_threads(*scripts) == [12 * 15] * 4
    assert 1 <= mark.most <= limit


def test_the_number_changes_under_loops() -> None:
    mark = HighWater()
    with whole_afterwards(4) as runtime:
        futures = [fork(split_and_fork, mark, lambda: 4, 2) for _ in range(10)]
        for number in (3, 1, 4, 2, 1, 4, 1) * 20:
            runtime.num_interop_threads = number
        assert sync.wait_all(futures) == [12 * 7] * 10
        runtime.num_interop_threads = 2
        late = HighWater()
        assert sync.wait(fork(split_and_fork, late, lambda: 2, 3)) == 12 * 15
        assert late.most <= 2


def test_after_a_smaller_number_the_pieces_permits_are_excess_until_they_end() -> None:
    with whole_afterwards(4) as runtime:

        def body(member: Member) -> None:
            member.meet()
            if member.rank == 0:
                runtime.num_interop_threads = 2
                queued.append(fork(int))
                assert (runtime.statistics().running, runtime.statistics().excess) == (4, 2)
            member.meet()
            assert not queued[0].done() or runtime.statistics().running <= 2

        queued: list[sync.Future[int]] = []
        together(body, 4)
        assert sync.wait(queued[0], timeout=PATIENCE_S) == 0


# -- no permit is lost, and none is made


@pytest.mark.parametrize("rank", [0, 1])
def test_a_piece_that_fails_leaves_everything_whole(rank: int) -> None:
    def body(member: Member) -> None:
        member.meet()
        if member.rank == rank:
            raise ValueError("meant")
        member.meet()

    with whole_afterwards(2):
        for _ in range(20):
            with pytest.raises(ValueError, match="meant"):
                together(body, 2)


def test_a_fork_that_is_cancelled_between_blocks_leaves_everything_whole() -> None:
    with whole_afterwards(2):
        for _ in range(20):
            started = threading.Event()
            is_cancelled = threading.Event()

            def piece(start: int, stop: int, told: tuple[threading.Event, ...] = (started, is_cancelled)) -> None:
                told[0].set()
                assert told[1].wait(PATIENCE_S)

            future = fork(parallel_for, piece, 100, grain=1)
            assert started.wait(PATIENCE_S)
            assert future.cancel()
            is_cancelled.set()
            with pytest.raises(ForkCancelled, match="was cancelled"):
                sync.wait(future)


def test_a_deadline_between_blocks_leaves_everything_whole() -> None:
    clock = ManualClock()
    with whole_afterwards(2, clock=clock):
        with sync.fail_after(1.0), pytest.raises(DeadlineExceeded, match="passed its deadline"):
            parallel_for(lambda start, stop: clock.advance(0.1), 100, grain=1)


def test_pieces_that_wait_leave_everything_whole() -> None:
    with whole_afterwards(2):
        for _ in range(20):
            parallel_for(lambda start, stop: sync.call(int), 6, grain=1)


def test_a_loop_in_a_kernel_run_in_place_leaves_everything_whole() -> None:
    with whole_afterwards(2):
        in_place(lambda: parallel_for(lambda start, stop: None, 6, grain=1))


def test_a_loop_on_a_busy_pool_takes_no_permit(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        seen: list[tuple[int, int]] = []
        parallel_for(lambda start, stop: seen.append((start, runtime.statistics().running)), 3, grain=1)
        assert seen == [(start, runtime.num_interop_threads) for start in range(3)]


@pytest.mark.parametrize("num_to_be_had", [1, 2])
def test_where_threads_are_short_their_permits_go_back(monkeypatch: pytest.MonkeyPatch, num_to_be_had: int) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_some(thread: threading.Thread) -> None:
        if len(started) == num_to_be_had:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    sizes: list[tuple[int, int]] = []
    with whole_afterwards(4) as runtime:

        def body(member: Member) -> None:
            sizes.append((member.size, runtime.statistics().running))
            member.meet()

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start_some)
            together(body, 4)
        assert sizes == [(num_to_be_had + 1,) * 2] * (num_to_be_had + 1)


def test_a_runtime_that_closes_is_idle_when_the_script_that_was_the_last_gives_its_permit_back() -> None:
    with sync.Runtime(2, 2, blas_threads=None) as runtime:

        def body(member: Member) -> None:
            member.meet()
            if member.rank == 0:
                results.append(in_thread(lambda: runtime.close(timeout=5.0)))
                until(lambda: runtime.is_closing and len(runtime.pool._parked) == runtime.statistics().threads)

        results: list[Callable[[], list[str]]] = []
        together(body, 2)
        until(lambda: runtime.statistics().running == 0)
        is_told = not runtime.pool.idle_cells
        runtime.pool.tell_idle()
        assert results[0]() == []
        assert is_told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_process_has_its_own_permits_and_takes_none_of_its_parents() -> None:
    check_script("""
        import os, threading, warnings
        from asyncjit import parallel_for, sync
        from asyncjit._core.intraop import together
        warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork beside threads

        def meet(size):
            barrier = threading.Barrier(size)
            together(lambda member: barrier.wait(30), size)

        inherited = sync.Runtime(2, 2, local=True)
        sync.set_num_interop_threads(2)
        sync.set_num_threads(2)
        meet(2)
        gate = threading.Event()
        sync.fork(gate.wait, 30)  # in the child its permit is nobody's
        pid = os.fork()
        if pid == 0:
            sync.set_num_interop_threads(2)
            sync.set_num_threads(2)
            meet(2)
            with sync.Runtime(3, 3):
                meet(3)
            os._exit(7)
        gate.set()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        sync.close()
        """)


# -- Ctrl-C at any point where CPython delivers signals


def loop() -> None:
    parallel_for(lambda start, stop: None, 6, grain=1)


def loop_of_few_threads() -> None:
    parallel_for(lambda start, stop: parallel_for(lambda start, stop: None, 4, grain=1), 2, grain=1)


def loop_that_fails() -> None:
    def fail(start: int, stop: int) -> None:
        raise ValueError("meant")

    try:
        parallel_for(fail, 4, grain=1)
    except ValueError:
        pass


def meeting() -> None:
    def body(member: Member) -> None:
        member.meet()
        member.meet()

    together(body, 2)


def interrupt(scenario: Callable[[], None], at: int) -> Hit | None:
    """Run `scenario` with Ctrl-C at its `at`-th point and check that all is whole; return the point, or None."""
    with sync.Runtime(2, 2, blas_threads=None) as runtime:
        injector = Injector(at)
        injector.run(scenario)
        assert_whole(runtime)
    now = runtime.statistics()
    assert (now.running, now.queued, now.blocked) == (0, 0, 0), injector.hit
    assert now.forked == now.finished + now.failed + now.cancelled, injector.hit
    return injector.hit


@pytest.mark.timeout(300, method="thread")
@pytest.mark.parametrize(
    ("scenario", "least"),
    [(loop, 60), (loop_of_few_threads, 80), (loop_that_fails, 60), (meeting, 40)],
    ids=lambda value: getattr(value, "__name__", None),
)
@traced_by_nothing_else
def test_ctrl_c_at_every_signal_point_leaves_every_permit_in_its_place(
    scenario: Callable[[], None], least: int
) -> None:
    most_missed = 5  # how many blocks the main thread takes is chance
    interrupt_everywhere(partial(interrupt, scenario), least, most_missed)
