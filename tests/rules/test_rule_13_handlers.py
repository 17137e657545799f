"""Rule 13 in signal handlers and `__del__`: they close and cancel wherever they fall, and nothing hangs."""

import os

import pytest

from asyncjit import Runtime, fork
from asyncjit._core.context import lock
from asyncjit.errors import InvalidStateError
from tests.at_rest import Gate
from tests.rules.endings import script
from tests.scripts import check_script

needs_signals = pytest.mark.skipif(not hasattr(os, "kill") or os.name == "nt", reason="needs POSIX signals")


def test_a_handler_that_has_interrupted_asyncjit_itself_closes_without_waiting_and_cannot_wait() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        future = fork(gate)
        gate.await_start()
        with lock:  # what a signal handler finds that falls into a section
            with pytest.raises(InvalidStateError, match="has interrupted asyncjit itself, which must go on first"):
                future.result()
            assert "Gate" in runtime.close()[0]
        gate.open()
        assert runtime.close() == []
        assert future.result() == "passed"


@needs_signals
@pytest.mark.parametrize("how", ["runtime.close(cancel=True)", "future.cancel()"])
def test_a_signal_handler_that_closes_or_cancels_ends_the_blocking_wait_it_interrupts(how: str) -> None:
    check_script(
        script(
            f"""
def kernel():
    until(lambda: future is not None and future._waiters)
    os.kill(os.getpid(), signal.SIGUSR1)
    while True:
        check_cancelled()
future = None
with Runtime(1) as runtime:
    signal.signal(signal.SIGUSR1, lambda *_: {how})
    future = started(kernel)
    try:
        sync.wait(future)
    except ForkCancelled:
        print("cancelled")
    assert future.cancelled()
statistics = runtime.statistics()
assert (statistics.running, statistics.blocked, statistics.cancelled) == (0, 0, 1), statistics
"""
        )
    )


@needs_signals
@pytest.mark.parametrize("how", ["close", "cancel"])
def test_a_shower_of_handlers_that_close_and_cancel_inside_the_machinery_does_not_deadlock(how: str) -> None:
    check_script(
        script(
            f"""
runtimes, futures = [], []
def handler(*_):
    if {how!r} == "cancel":
        for future in futures[-5:]:
            future.cancel()
    elif runtimes:
        with contextlib.suppress(InvalidStateError):  # the signal came inside a kernel
            runtimes[-1].close(cancel=True, timeout=0)

async def model(n):
    return await fork(int, str(n))

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
rounds = 0
for _ in range(150):
    runtime = Runtime(2)
    try:
        with runtime:
            runtimes.append(runtime)
            for n in range(10):
                futures.append(fork(int, str(n)))
                futures.append(fork(model, n))
            for future in futures:
                future.result()
    except (ForkCancelled, RuntimeClosed):
        rounds += 1
    finally:
        runtimes.clear()
        futures.clear()
    signal.setitimer(signal.ITIMER_REAL, 0)
    until(lambda: runtime.pool.is_idle)
    statistics = runtime.statistics()
    assert (statistics.running, statistics.queued, statistics.blocked, statistics.suspended) == (0, 0, 0, 0), statistics
    assert statistics.forked == statistics.finished + statistics.failed + statistics.cancelled, statistics
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
signal.setitimer(signal.ITIMER_REAL, 0)
assert rounds
assert sync.wait(fork(int, "1"), timeout=30) == 1
"""
        )
    )


@pytest.mark.parametrize("how", ["runtime.close(cancel=True, timeout=0)", "[future.cancel() for future in futures]"])
def test_a_destructor_that_closes_or_cancels_wherever_the_collector_runs_does_not_deadlock(how: str) -> None:
    check_script(
        script(
            f"""
class Closer:
    def __init__(self, runtime, futures):
        self.state = runtime, futures
        self.cycle = self
    def __del__(self):
        runtime, futures = self.state
        with contextlib.suppress(InvalidStateError):  # the collector ran inside a kernel
            {how}

def run(n):
    runtime = Runtime(2)
    with runtime:
        futures = []
        Closer(runtime, futures)
        gc.set_threshold(n)
        try:
            for k in range(20):
                futures.append(fork(int, str(k)))
                sync.wait(fork(int, "1"))
            for future in futures:
                future.result()
        except (ForkCancelled, RuntimeClosed):
            return True
        finally:
            gc.set_threshold(700)
            gc.collect()
            runtime.close(timeout=0)
            until(lambda: runtime.pool.is_idle)
            statistics = runtime.statistics()
            assert (statistics.running, statistics.queued, statistics.blocked) == (0, 0, 0), statistics
            assert statistics.forked == statistics.finished + statistics.failed + statistics.cancelled, statistics
gc.collect()
assert sum(bool(run(n)) for n in range(1, 200)) > 10
assert sync.wait(fork(int, "1"), timeout=30) == 1
"""
        )
    )
