"""Rule 13: a runtime ends well: it drains or cancels, reports what still runs, and takes nothing more."""

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, Runtime, call, check_cancelled, current_runtime, fork, sync
from asyncjit.errors import ForkCancelled, InvalidStateError, RuntimeClosed, WaitOnEventLoopError
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, until
from tests.rules.places import in_thread, pool_asleep


@pytest.fixture(autouse=True)
def _fresh_default() -> Iterator[None]:
    """Leave no default runtime to the next test."""
    yield
    asyncjit.close(timeout=PATIENCE_S)


def until_told() -> None:
    """Run until this kernel is cancelled."""
    watchdog = time.monotonic() + PATIENCE_S / 2
    while time.monotonic() < watchdog:
        check_cancelled()
    pytest.fail("nobody cancelled the kernel")


async def call_gate(fn: Callable[[], Any]) -> Any:
    return await call(fn)


def runtime_fork(runtime: Runtime, fn: Callable[..., Any], *args: Any) -> Future[Any]:
    """Fork on `runtime`, entered or not."""
    return contextvars.copy_context().run(lambda: (runtime.enter(), fork(fn, *args))[1])


# -- closing drains or cancels


def test_close_drains_what_is_queued_and_what_runs(num_interop_threads: int) -> None:
    with Runtime(num_interop_threads, blas_threads=None) as runtime:
        with all_threads_busy(runtime) as gates:
            queued = [fork(int, str(n)) for n in range(20)]
            closer = in_thread(runtime.close)
            until(lambda: runtime.is_closing)
        assert closer() == []
        assert all(gate.ended.is_set() for gate in gates)
        assert [future.value() for future in queued] == list(range(20))


def test_close_waits_for_coroutine_forks_too() -> None:
    runtime = Runtime(1, blas_threads=None)
    with runtime:
        gate = Gate()
        future = fork(call_gate, gate)
        gate.await_start()
        closer = in_thread(runtime.close)
        until(lambda: runtime.is_closing)
        assert not runtime.is_closed
        gate.open()
        assert closer() == []
        assert future.value() == "passed"


def held_then_forks() -> tuple[Gate, Future[int]]:
    """Fork a kernel that, once its gate is open, forks and waits; return when it runs."""
    gate = Gate()
    future = fork(lambda: (gate(), sync.wait(fork(int, "3")))[1])
    gate.await_start()
    return gate, future


def test_what_drains_may_still_fork() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        gate, future = held_then_forks()
        closer = in_thread(runtime.close)
        until(lambda: runtime.is_closing)
        gate.open()
        assert closer() == []
        assert future.value() == 3


def test_close_with_cancel_never_starts_what_is_queued_and_tells_what_runs(num_interop_threads: int) -> None:
    with Runtime(num_interop_threads, blas_threads=None) as runtime:
        ran: list[int] = []
        stubborn = [fork(until_told) for _ in range(num_interop_threads)]
        until(lambda: all(future.running() for future in stubborn))
        queued = [fork(ran.append, n) for n in range(20)]
        assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
        assert all(future.cancelled() for future in [*stubborn, *queued])
        assert ran == []
        statistics = runtime.statistics()
        assert statistics.cancelled == statistics.forked == 20 + num_interop_threads


def test_close_with_cancel_starts_nothing_on_a_thread_that_a_cancelled_kernel_sets_free() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        ran: list[int] = []
        running = fork(until_told)
        until(running.running)
        running.add_done_callback(lambda _: until(lambda: ran or runtime.pool.running == 0))
        fork(ran.append, 1)
        assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
        assert ran == []


def test_close_with_cancel_cancels_coroutine_forks() -> None:
    never: Future[None] = Future()

    async def forever() -> None:
        await never

    with Runtime(1, blas_threads=None) as runtime:
        future = fork(forever)
        until(future.running)
        assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
        with pytest.raises(ForkCancelled, match=r"fork of .*forever.* was cancelled"):
            future.value()


def test_close_with_cancel_cancels_a_kernel_that_a_scripts_thread_runs_in_place() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        with pool_asleep(runtime):
            future = fork(until_told)
            waiter = in_thread(future.exception)
            until(future.running)
        assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
        assert future.cancelled()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        waiter()


def test_close_with_cancel_cancels_a_kernel_that_runs_its_own_fork_in_place() -> None:
    inner: list[Future[None]] = []

    def outer() -> None:
        inner.append(fork(until_told))
        try:
            sync.wait(inner[0])
        finally:
            check_cancelled()

    with Runtime(1, blas_threads=None) as runtime:
        future = fork(outer)
        until(lambda: inner and inner[0].running())
        assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
        assert inner[0].cancelled()
        assert future.cancelled()


def test_leaving_the_block_by_an_error_cancels_what_is_left() -> None:
    with pytest.raises(ValueError, match="in the block"):
        with Runtime(1, blas_threads=None):
            running = fork(until_told)
            until(running.running)
            queued = fork(int, "1")
            raise ValueError("in the block")
    assert running.cancelled()
    assert queued.cancelled()


def test_close_with_a_timeout_reports_what_still_runs_and_that_ends_in_its_own_time() -> None:
    runtime = Runtime(1, blas_threads=None)
    with runtime:
        gate = Gate()
        future = fork(gate)
        gate.await_start()
        (line,) = runtime.close(timeout=0)
        assert "Gate" in line
        assert "forked at test_rule_13_ends_well.py" in line
        assert runtime.is_closed
        with pytest.raises(RuntimeClosed, match="takes no more forks"):
            runtime_fork(runtime, int, "1")
        gate.open()
        assert future.result(PATIENCE_S) == "passed"
        until(lambda: runtime.statistics().threads == 0)


def test_close_with_a_timeout_reports_a_kernel_that_a_scripts_thread_runs_in_place() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        with pool_asleep(runtime):
            future = fork(gate)
            waiter = in_thread(future.result)
            gate.await_start()
        report = runtime.close(timeout=0)
        gate.open()
        assert waiter() == "passed"
        assert len(report) == 1
        assert "Gate" in report[0]


def test_close_with_a_timeout_reports_coroutine_forks() -> None:
    gate: Future[None] = Future()

    async def model() -> None:
        await gate

    with Runtime(1, blas_threads=None) as runtime:
        future = fork(model)
        until(future.running)
        report = runtime.close(timeout=0)
        gate.set_result(None)
        assert len(report) == 1
        assert "model" in report[0]


def test_closing_ends_every_thread_of_the_runtime(num_interop_threads: int) -> None:
    before = set(threading.enumerate())
    with Runtime(num_interop_threads, blas_threads=None) as runtime:
        with all_threads_busy(runtime):
            fork(call_gate, int)
    until(lambda: set(threading.enumerate()) <= before)
    assert runtime.statistics().threads == 0


def test_closing_twice_does_nothing() -> None:
    runtime = Runtime(1, blas_threads=None)
    with runtime:
        assert sync.wait(fork(int, "1")) == 1
        assert runtime.close() == []
        assert runtime.close() == []
        assert runtime.close(cancel=True, timeout=0) == []
    assert runtime.is_closed


def test_two_threads_may_close_at_once() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        with all_threads_busy(runtime):
            closers = [in_thread(runtime.close) for _ in range(4)]
            until(lambda: len(runtime.pool.idle_cells) == 4)
        assert [closer() for closer in closers] == [[]] * 4


def test_a_runtime_that_nobody_closes_ends_when_it_goes() -> None:
    async def body() -> threading.Thread:
        return threading.current_thread()

    def use(runtime: Runtime) -> list[threading.Thread]:
        runtime.enter()
        return [fork(threading.current_thread).result(PATIENCE_S), sync.call(body)]

    runtime = Runtime(1, local=True)
    threads = contextvars.copy_context().run(use, runtime)
    seen = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert seen() is None
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


# -- after closing


def test_a_fork_on_a_closed_runtime_raises_and_names_the_runtime() -> None:
    runtime = Runtime(1, blas_threads=None)
    with runtime:
        pass
    with pytest.raises(RuntimeClosed, match=r"<asyncjit.Runtime closed: 0 of 1 running, 0 queued> takes no more forks"):
        runtime.__enter__()


def test_a_fork_from_outside_raises_while_the_runtime_drains() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        with all_threads_busy(runtime):
            closer = in_thread(runtime.close)
            until(lambda: runtime.is_closing)
            with pytest.raises(RuntimeClosed, match=r"Runtime closing: 1 of 1 running, 0 queued> takes no more forks"):
                fork(int, "1")
        assert closer() == []


def test_what_is_left_below_a_closed_runtime_raises_when_it_forks() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        gate, future = held_then_forks()
        assert len(runtime.close(timeout=0)) == 1
        gate.open()
        with pytest.raises(RuntimeClosed, match="takes no more forks: make a new Runtime, or close it later"):
            future.result(PATIENCE_S)


def test_after_close_the_next_fork_makes_a_fresh_default_runtime() -> None:
    assert sync.wait(fork(int, "1")) == 1
    first = current_runtime()
    asyncjit.close()
    assert first.is_closed
    assert sync.wait(fork(int, "2")) == 2
    assert current_runtime() is not first
    assert not current_runtime().is_closed


def test_a_fork_while_the_default_runtime_drains_goes_to_a_fresh_one() -> None:
    first = current_runtime()
    with all_threads_busy(first):
        closer = in_thread(asyncjit.close)
        until(lambda: first.is_closing)
        assert sync.wait(fork(int, "2")) == 2
        assert current_runtime() is not first
    assert closer() == []


def test_close_of_the_package_closes_the_default_runtime_alone() -> None:
    default = current_runtime()
    with Runtime(1, blas_threads=None) as entered:
        asyncjit.close()
        assert default.is_closed
        assert not entered.is_closing
        assert sync.wait(fork(int, "1")) == 1
        assert entered.statistics().forked == 1


def test_close_where_there_is_no_default_runtime_makes_none() -> None:
    asyncjit.close()
    threads = threading.active_count()
    assert asyncjit.close() == []
    assert threading.active_count() == threads


# -- where closing is refused


def test_closing_from_inside_a_kernel_raises() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        for timeout in (None, PATIENCE_S):  # in place, and on the pool
            with pytest.raises(InvalidStateError, match="can't be closed from inside one of its forks"):
                fork(runtime.close).result(timeout)
        assert not runtime.is_closing
        assert sync.wait(fork(int, "1")) == 1


def test_closing_from_inside_a_coroutine_fork_raises() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        with pytest.raises(InvalidStateError, match="can't be closed from inside one of its forks"):
            sync.wait(fork(runtime.aclose))

        async def through_a_kernel() -> object:
            return await fork(lambda: sync.wait(fork(runtime.close)))

        with pytest.raises(InvalidStateError, match="it would wait for itself"):
            sync.wait(fork(through_a_kernel))
        assert not runtime.is_closing


def test_closing_the_default_runtime_from_inside_a_kernel_raises() -> None:
    with pytest.raises(InvalidStateError, match="can't be closed from inside one of its forks"):
        sync.wait(fork(asyncjit.close))


def test_closing_another_runtime_from_inside_a_kernel_is_fine() -> None:
    other = Runtime(1, blas_threads=None)
    with Runtime(1, blas_threads=None):
        assert sync.wait(fork(other.close)) == []
    assert other.is_closed


async def test_with_runtime_on_a_loops_thread_raises_at_entry() -> None:
    runtime = Runtime(1, blas_threads=None)
    with pytest.raises(WaitOnEventLoopError, match=r"write `async with Runtime\(...\)`"):
        with runtime:
            pytest.fail("the block was entered")
    assert current_runtime() is not runtime
    assert not runtime.is_closing
    await runtime.aclose()


async def test_close_on_a_loops_thread_raises_and_shows_aclose() -> None:
    async with Runtime(1, blas_threads=None) as runtime:
        with pytest.raises(WaitOnEventLoopError, match=r"write `await runtime.aclose\(\)`"):
            runtime.close()
        assert not runtime.is_closing


# -- aclose


async def test_aclose_drains_without_blocking_the_loop() -> None:
    async with Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        future = fork(gate)
        await asyncio.to_thread(gate.await_start)
        closing = asyncio.ensure_future(runtime.aclose())
        while not runtime.is_closing:
            await asyncio.sleep(0)
        gate.open()  # by the loop's thread, which aclose must have left free
        assert await closing == []
        assert future.value() == "passed"


async def test_aclose_with_cancel_and_with_a_timeout() -> None:
    async with Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        running = fork(gate)
        await asyncio.to_thread(gate.await_start)
        queued = fork(int, "1")
        report = await runtime.aclose(cancel=True, timeout=0)
        assert running.cancelled()
        assert queued.cancelled()
        assert len(report) == 1
        assert "Gate" in report[0]
        assert await runtime.aclose(timeout=0) == report
        gate.open()
        assert await runtime.aclose() == []


async def test_leaving_async_with_drains_and_by_an_error_cancels() -> None:
    async with Runtime(1, blas_threads=None) as runtime:
        future = fork(int, "1")
    assert runtime.is_closed
    assert future.value() == 1
    with pytest.raises(ValueError, match="in the block"):
        async with Runtime(1, blas_threads=None):
            running = fork(until_told)
            raise ValueError("in the block")
    assert running.cancelled()


async def test_a_cancelled_aclose_can_be_made_again() -> None:
    async with Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        fork(gate)
        await asyncio.to_thread(gate.await_start)
        closing = asyncio.ensure_future(runtime.aclose())
        while not runtime.is_closing:
            await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        gate.open()
        assert await runtime.aclose() == []
        assert runtime.is_closed
