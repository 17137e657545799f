"""Rule 2: no kernel starts while N or more run."""

import asyncio
import threading
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, until
from tests.rules.places import HighWater, in_place, in_threads


@pytest.mark.parametrize("num_threads", [2, 4])
def test_n_kernels_run_at_once(num_threads: int) -> None:
    with sync.Runtime(num_threads, blas_threads=None):
        barrier = threading.Barrier(num_threads)
        futures = [fork(barrier.wait, PATIENCE_S) for _ in range(num_threads)]
        assert sorted(sync.wait_all(futures, timeout=PATIENCE_S)) == list(range(num_threads))


def test_a_waiting_script_is_one_of_the_n() -> None:
    with sync.Runtime(2, blas_threads=None):
        barrier = threading.Barrier(2)
        me = threading.get_ident()
        other = fork(barrier.wait, PATIENCE_S)
        until(other.running)

        def meet() -> int:
            barrier.wait(PATIENCE_S)
            return threading.get_ident()

        assert in_place(threading.get_ident) == me
        sync.wait(fork(meet))
        sync.wait(other)


def assert_starts_within_bound(before: int, limit: int) -> None:
    assert before < limit, f"{before} kernels ran when one more started, and the limit is {limit}"


def grow(mark: HighWater, limit: int, depth: int) -> int:
    """Compute, fork three, wait for some of them before the others, and compute again."""
    with mark.computing() as before:
        assert_starts_within_bound(before, limit)
        if depth == 0:
            return 1
        futures = [fork(grow, mark, limit, depth - 1) for _ in range(3)]
        total = 1
        for index, future in enumerate(reversed(futures)):
            with mark.waiting():
                total += future.result(timeout=PATIENCE_S if index == 1 else None)  # a timeout never runs in place
        return total


def test_kernels_that_run_never_pass_the_limit(runtime: sync.Runtime) -> None:
    """Scripts' threads, spares and in-place runs take part; each future has one waiter, so no excess is allowed."""
    mark, limit = HighWater(), runtime.num_interop_threads
    scripts = [lambda: sync.wait(fork(grow, mark, limit, 4)) for _ in range(4)]
    assert in_threads(*scripts) == [121] * 4
    assert 1 <= mark.most <= limit
    assert mark.now == 0


async def test_kernels_that_run_never_pass_the_limit_on_a_loop(runtime: sync.Runtime) -> None:
    mark, limit = HighWater(), runtime.num_interop_threads

    async def model() -> list[int]:
        return await asyncjit.wait_all([fork(grow, mark, limit, 2) for _ in range(4)])

    assert await asyncjit.wait_all([fork(model) for _ in range(5)]) == [[13] * 4] * 5
    assert 1 <= mark.most <= limit


def test_excess_is_counted_and_repaid_before_the_next_kernel_starts(runtime: sync.Runtime) -> None:
    """N + 3 kernels wait for one future; nobody's permit can pass to them, and yet all go on at once."""
    limit = runtime.num_interop_threads
    future: Future[None] = Future()
    together = threading.Barrier(limit + 4)
    leave = [threading.Event() for _ in range(limit + 3)]

    def waiter(index: int) -> None:
        sync.wait(future)
        together.wait(PATIENCE_S)
        assert leave[index].wait(PATIENCE_S)

    waiters = [fork(waiter, index) for index in range(limit + 3)]
    until(lambda: runtime.statistics().blocked == limit + 3)
    future.set_result(None)
    together.wait(PATIENCE_S)
    now = runtime.statistics()
    assert (now.running, now.excess, now.blocked) == (limit + 3, 3, 0)

    mark = HighWater()

    def next_kernel() -> None:
        with mark.computing():
            assert runtime.statistics().running <= limit
            assert runtime.statistics().excess == 0

    late = fork(next_kernel)
    for index in range(3):
        leave[index].set()
        sync.wait(waiters[index], timeout=PATIENCE_S)
        until(lambda left=limit + 2 - index: runtime.statistics().running == left)  # type: ignore[misc]
        assert runtime.statistics().queued == 1, "a kernel started while N or more ran"
        assert mark.most == 0
    for event in leave:
        event.set()
    sync.wait(late, timeout=PATIENCE_S)
    assert mark.most == 1


def test_the_result_of_a_coroutine_fork_passes_no_permit(runtime: sync.Runtime) -> None:
    """A kernel that awaited one goes on beside N others: the excess is one."""
    limit = runtime.num_interop_threads
    released, resumed, leave = threading.Event(), threading.Event(), threading.Event()

    async def model() -> int:
        while not released.is_set():
            await asyncio.sleep(0)
        return 3

    def kernel() -> int:
        value = sync.wait(fork(model))
        resumed.set()
        assert leave.wait(PATIENCE_S)
        return value

    future = fork(kernel)
    until(lambda: runtime.statistics().blocked == 1)
    with all_threads_busy(runtime):
        released.set()
        assert resumed.wait(PATIENCE_S)
        now = runtime.statistics()
        assert (now.running, now.excess) == (limit + 1, 1)
        leave.set()
        assert sync.wait(future, timeout=PATIENCE_S) == 3


def test_the_permit_of_a_finished_kernel_passes_to_its_waiter(runtime: sync.Runtime) -> None:
    """Every thread is busy and kernels are queued; the waiter goes on, and there is no excess."""
    limit = runtime.num_interop_threads
    inner = Gate()
    leave, resumed = threading.Event(), threading.Event()

    def kernel() -> None:
        fork(inner).result(timeout=PATIENCE_S)
        resumed.set()
        assert leave.wait(PATIENCE_S)

    outer = fork(kernel)
    inner.await_start()
    gates = [Gate() for _ in range(limit)]  # the last of them finds no permit
    for gate in gates:
        fork(gate)
    for gate in gates[:-1]:
        gate.await_start()
    inner.open()
    assert resumed.wait(PATIENCE_S)
    now = runtime.statistics()
    assert (now.running, now.excess, now.queued) == (limit, 0, 1)
    leave.set()
    sync.wait(outer, timeout=PATIENCE_S)
    for gate in gates:
        gate.open()


def test_a_script_runs_nothing_in_place_while_n_kernels_run(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        started = threading.Event()
        idents: list[int] = []

        def wait_in_thread() -> int:
            started.set()
            return sync.wait(fork(threading.get_ident))

        thread = threading.Thread(target=lambda: idents.extend((threading.get_ident(), wait_in_thread())), daemon=True)
        thread.start()
        assert started.wait(PATIENCE_S)
        until(lambda: runtime.statistics().queued == 1)
        assert runtime.statistics().running == runtime.num_interop_threads
        assert not idents
    thread.join(PATIENCE_S)
    me, ran_by = idents
    assert me != ran_by


def test_a_kernel_run_in_place_by_a_script_counts(runtime: sync.Runtime) -> None:
    limit = runtime.num_interop_threads

    def body() -> None:
        others = [Gate() for _ in range(limit)]
        futures = [fork(gate) for gate in others]
        for gate in others[:-1]:
            gate.await_start()
        now = runtime.statistics()
        assert (now.running, now.queued) == (limit, 1)
        for gate in others:
            gate.open()
        sync.wait_all(futures, timeout=PATIENCE_S)

    in_place(body)


def test_a_smaller_number_takes_hold_as_kernels_end() -> None:
    with sync.Runtime(4, blas_threads=None) as runtime:
        gates = [Gate() for _ in range(6)]
        futures = [fork(gate) for gate in gates]
        until(lambda: runtime.statistics().running == 4)
        running = [gate for gate in gates if gate.started.is_set()]
        until(lambda: sum(gate.started.is_set() for gate in gates) == 4)
        running = [gate for gate in gates if gate.started.is_set()]
        runtime.num_interop_threads = 2
        now = runtime.statistics()
        assert (now.running, now.excess, now.queued) == (4, 2, 2)
        for left, gate in ((3, running[0]), (2, running[1])):
            gate.open()
            until(lambda left=left: runtime.statistics().running == left)  # type: ignore[misc]
            assert runtime.statistics().queued == 2, "a kernel started while two or more ran"
        running[2].open()
        until(lambda: runtime.statistics().queued == 1)
        assert runtime.statistics().running <= 2
        for gate in gates:
            gate.open()
        sync.wait_all(futures, timeout=PATIENCE_S)
        mark = HighWater()
        assert sync.wait(fork(grow, mark, 2, 4)) == 121
        assert mark.most <= 2


def test_a_greater_number_takes_hold_at_once() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        gates = [Gate() for _ in range(3)]
        futures = [fork(gate) for gate in gates]
        gates[0].await_start()
        assert runtime.statistics().queued == 2
        sync.set_num_interop_threads(3)
        for gate in gates:
            gate.await_start()
        assert runtime.statistics().running == 3
        for gate in gates:
            gate.open()
        sync.wait_all(futures, timeout=PATIENCE_S)


def test_the_number_changes_under_load(runtime: sync.Runtime) -> None:
    mark = HighWater()
    futures = [fork(grow, mark, 4, 3) for _ in range(20)]
    for number in (3, 1, 4, 2, 1, 4, 1) * 20:
        runtime.num_interop_threads = number
    assert sync.wait_all(futures) == [40] * 20
    runtime.num_interop_threads = 2
    late = HighWater()
    assert sync.wait(fork(grow, late, 2, 4)) == 121
    assert late.most <= 2


def test_coroutine_forks_take_no_permit(runtime: sync.Runtime) -> None:
    num_coroutines = runtime.num_interop_threads + 5
    inside: list[int] = []

    async def model() -> None:
        inside.append(1)
        while len(inside) < num_coroutines:
            await asyncio.sleep(0)

    with all_threads_busy(runtime):
        sync.wait_all([fork(model) for _ in range(num_coroutines)], timeout=PATIENCE_S)


def test_statistics_add_up(runtime: sync.Runtime) -> None:
    def fail() -> None:
        raise ValueError("meant")

    async def model(error: BaseException | None = None) -> None:
        if error is not None:
            raise error

    before = runtime.statistics()
    with all_threads_busy(runtime):
        futures: list[Future[Any]] = [fork(int, n) for n in range(7)]
        failing = [fork(fail) for _ in range(5)]
        dropped = [fork(int, n) for n in range(3)]
        for future in dropped:
            assert future.cancel()
        now = runtime.statistics()
        assert now.queued == 12
        assert now.running == runtime.num_interop_threads
        assert now.cancelled - before.cancelled == 3
    futures += [fork(model) for _ in range(4)]
    failing += [fork(model, ValueError("meant")) for _ in range(2)]
    assert len(sync.wait_all(futures + failing, timeout=PATIENCE_S, return_exceptions=True)) == 18
    until(lambda: runtime.pool.is_idle)
    after = runtime.statistics()
    assert after.finished - before.finished == 11 + runtime.num_interop_threads
    assert after.failed - before.failed == 7
    assert after.cancelled - before.cancelled == 3
    assert after.forked - before.forked == 21 + runtime.num_interop_threads
    assert after.forked == after.finished + after.failed + after.cancelled
