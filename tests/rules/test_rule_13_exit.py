"""Rule 13, in processes of their own: exit, `os.fork`, closing and cancelling in signal handlers and `__del__`."""

import os

import pytest

from tests.scripts import check_script, run_script

PRELUDE = """
import asyncio, contextlib, gc, os, signal, sys, threading, time
import asyncjit
from asyncjit import Future, Runtime, check_cancelled, current_runtime, fork, sync
from asyncjit.errors import ForkCancelled, InvalidStateError, RuntimeClosed

def stuck(started=threading.Event()):
    started.set()
    threading.Event().wait()

def spin():
    while True:
        pass

def settle(runtime):
    while not runtime.pool.is_idle:
        time.sleep(0)

def started(fn, *args):
    future = fork(fn, *args)
    while not future.running():
        time.sleep(0)
    return future
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_signals = pytest.mark.skipif(not hasattr(os, "kill") or os.name == "nt", reason="needs POSIX signals")


def script(body: str) -> str:
    """Put the prelude before a script's own lines."""
    return f"{PRELUDE}\n{body}"


# -- interpreter exit


@pytest.mark.parametrize("kernel", ["stuck", "spin"])
def test_a_stuck_kernel_does_not_hang_the_exit_nor_change_its_code(kernel: str) -> None:
    done = run_script(script(f"started({kernel})\nprint(ENDING)\nsys.exit(3)"))
    assert done == (3, "", "")


def test_a_stuck_kernel_of_an_entered_runtime_does_not_hang_the_exit() -> None:
    done = run_script(script("Runtime(2).enter()\nstarted(stuck)\nstarted(spin)\nprint(ENDING)\nsys.exit(3)"))
    assert done == (3, "", "")


def test_a_kernel_reported_by_close_as_stuck_does_not_hang_the_exit() -> None:
    done = run_script(
        script(
            """
with Runtime(1) as runtime:
    started(stuck)
    assert len(runtime.close(cancel=True, timeout=0)) == 1
    print(ENDING)
    os.environ["reached"] = "yes"
    sys.exit(3)
"""
        )
    )
    assert done.out == ""
    assert done.code == 3


def test_an_error_in_the_script_keeps_its_code_and_traceback() -> None:
    done = run_script(script("started(stuck)\nprint(ENDING)\nraise ValueError('of the script')"))
    assert done.code == 1
    assert done.err.endswith("ValueError: of the script\n")


def test_a_stuck_waiting_kernel_does_not_hang_the_exit() -> None:
    done = run_script(script("started(lambda: Future().wait())\nprint(ENDING)\nsys.exit(3)"))
    assert done == (3, "", "")


def test_running_kernels_may_end_within_the_second_they_get() -> None:
    done = run_script(
        script(
            """
def kernel():
    while not exiting.is_set():
        time.sleep(0)
    os.write(1, b"the kernel ended")

exiting = threading.Event()
started(kernel)
exit_of_runtime = Runtime.exit
def exit(runtime):
    dropped = exit_of_runtime(runtime)
    exiting.set()
    return dropped
Runtime.exit = exit
print(ENDING)
"""
        )
    )
    assert done == (0, "the kernel ended", "")


def test_queued_forks_at_exit_are_dropped_with_one_counted_warning() -> None:
    done = run_script(
        script(
            """
sync.set_num_interop_threads(1)
started(stuck)
futures = [fork(os.write, 1, b"ran") for _ in range(20)]
local = Runtime(1).enter()
started(stuck)
futures += [fork(os.write, 1, b"ran") for _ in range(3)]
print(ENDING)
sys.exit(3)
"""
        )
    )
    assert done.code == 3
    assert done.out == ""
    assert done.err.count("Warning") == 1
    assert "RuntimeWarning: asyncjit: 23 queued forks were dropped at interpreter exit" in done.err


def test_a_kernel_that_waits_for_a_fork_dropped_at_exit_is_told() -> None:
    done = run_script(
        script(
            """
sync.set_num_interop_threads(1)
def waiter():
    futures.append(fork(stuck))  # takes the permit that the wait below gives back
    futures.append(fork(int, "1"))
    try:
        futures[1].result(timeout=100)
    except RuntimeClosed as error:
        os.write(1, str(error).encode())

futures = []
started(waiter)
while len(futures) < 2 or not futures[0].running():
    time.sleep(0)
print(ENDING)
"""
        )
    )
    assert done.code == 0
    assert "was cancelled" in done.out
    assert "1 queued forks were dropped" in done.err


def test_nothing_new_starts_at_exit() -> None:
    done = run_script(
        script(
            """
import atexit
atexit.unregister(asyncjit._core.process._at_exit)
def late():
    threads = threading.active_count()
    for how in (fork, sync.fork):
        try:
            how(os.write, 1, b"ran")
        except RuntimeClosed:
            print("refused")
    assert threading.active_count() == threads
atexit.register(late)  # handlers run last in, first out
atexit.register(asyncjit._core.process._at_exit)
assert sync.wait(fork(int, "1")) == 1
print(ENDING)
"""
        )
    )
    assert done == (0, "refused\nrefused\n", "")


def test_nothing_starts_at_exit_where_nothing_was_used_before() -> None:
    done = run_script(
        script(
            """
import atexit
atexit.unregister(asyncjit._core.process._at_exit)
def late():
    try:
        fork(os.write, 1, b"ran")
    except RuntimeClosed:
        print("refused")
    assert threading.active_count() == 1
atexit.register(late)
atexit.register(asyncjit._core.process._at_exit)
print(ENDING)
"""
        )
    )
    assert done == (0, "refused\n", "")


def test_a_facade_left_open_does_not_hang_the_exit() -> None:
    done = run_script(
        script(
            """
async def model():
    return await fork(int, "1")
assert sync.wait(fork(model)) == 1
print(ENDING)
sys.exit(3)
"""
        )
    )
    assert done == (3, "", "")


def test_a_coroutine_fork_that_never_ends_does_not_hang_the_exit() -> None:
    done = run_script(
        script(
            """
async def model():
    await asyncio.Event().wait()
started(model)
print(ENDING)
sys.exit(3)
"""
        )
    )
    assert done.code == 3


@pytest.mark.parametrize("closes", [True, False])
def test_a_coroutine_fork_that_blocks_the_facades_loop_does_not_hang_the_exit(closes: bool) -> None:
    done = run_script(
        script(
            f"""
async def model():
    stuck()
started(model)
if {closes}:
    assert len(current_runtime().close(timeout=0)) == 1
print(ENDING)
sys.exit(3)
"""
        )
    )
    assert done.code == 3


def test_a_runtime_dropped_unclosed_with_its_facade_does_not_hang_nor_complain() -> None:
    check_script(
        script(
            """
async def model():
    return await fork(int, "1")
def drop():
    with Runtime(1) as runtime:
        never = Future()
        async def waits():
            await never
        started(waits)
        runtime.close(timeout=0)
        never.set_result(None)
for _ in range(20):
    drop()
    gc.collect()
print(ENDING)
"""
        )
    )


def test_exit_with_a_service_loop_left_in_a_daemon_thread_does_not_hang() -> None:
    done = run_script(
        script(
            """
ready = threading.Event()
async def serve():
    async with Runtime(1):
        fork(stuck)
        ready.set()
        await fork(int, "1")
threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
ready.wait()
print(ENDING)
sys.exit(3)
"""
        )
    )
    assert done.code == 3


# -- os.fork


@needs_fork
def test_after_os_fork_the_childs_default_runtime_is_fresh() -> None:
    check_script(
        script(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and os.fork
async def model():
    return await fork(int, "2")
assert sync.wait(fork(model)) == 2
parent = current_runtime()
pid = os.fork()
if pid == 0:
    assert sync.wait(fork(int, "1"), timeout=30) == 1
    assert sync.wait(fork(model), timeout=30) == 2
    assert asyncio.run(model()) == 2
    assert current_runtime() is not parent
    assert current_runtime().statistics().forked >= 4
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert current_runtime() is parent
assert sync.wait(fork(int, "1")) == 1
"""
        )
    )


@needs_fork
def test_after_os_fork_inside_a_runtime_the_childs_default_runtime_is_fresh() -> None:
    check_script(
        script(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
with Runtime(1) as entered:
    assert sync.wait(fork(int, "1")) == 1
    pid = os.fork()
    if pid == 0:
        assert current_runtime() is not entered
        assert sync.wait(fork(int, "1"), timeout=30) == 1
        assert entered.statistics().forked == 1
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert current_runtime() is entered
"""
        )
    )


@needs_fork
def test_an_inherited_future_raises_if_it_is_unfinished_and_keeps_its_value_if_not() -> None:
    check_script(
        script(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
gate = threading.Event()
finished = fork(int, "5")
assert finished.result(timeout=30) == 5
running = started(gate.wait)
handmade = Future()
sync.set_num_interop_threads(1)
queued = fork(int, "1")
other = Runtime(1).enter()
other.pool.searching += 1000  # no thread looks for it: there is a permit, and it is queued all the same
free = fork(int, "1")
pid = os.fork()
if pid == 0:
    def told(wait):
        try:
            wait()
        except RuntimeClosed as error:
            assert "was made in the parent process and is not done: fork it anew after os.fork()" in str(error), error
            return True
    async def awaits(future):
        return await future
    assert finished.result() == 5
    for future in (running, queued, handmade, free):
        assert told(future.result), future
        assert told(lambda: future.result(timeout=30)), future
        assert told(lambda: sync.wait(future)), future
        assert told(lambda: asyncio.run(awaits(future))), future
        assert told(lambda: sync.wait(sync.collect_all([future]))), future
        assert told(lambda: sync.wait_all([future])), future
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
gate.set()
assert running.result() and queued.result() == 1 and free.result() == 1
"""
        )
    )


@needs_fork
def test_an_inherited_runtime_says_so() -> None:
    check_script(
        script(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
gate = threading.Event()
runtime = Runtime(1)
scope = None
with runtime:
    import contextvars
    inside = contextvars.copy_context()
    running = started(gate.wait)
    pid = os.fork()
    if pid == 0:
        def told(fn):
            try:
                fn()
            except RuntimeClosed as error:
                assert "belongs to the parent process: make a new Runtime after os.fork()" in str(error), error
                return True
        assert told(runtime.enter)
        assert told(lambda: inside.run(fork, int, "1"))
        assert told(runtime.close)
        assert told(lambda: runtime.close(cancel=True))
        assert told(lambda: asyncio.run(runtime.aclose()))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    gate.set()
    assert running.result()
"""
        )
    )


@needs_fork
def test_a_child_forked_while_others_hold_the_machinery_works() -> None:
    check_script(
        script(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
end = threading.Event()
def churn():
    while not end.is_set():
        sync.wait_all([fork(int, "1") for _ in range(10)])
churners = [threading.Thread(target=churn) for _ in range(2)]
for thread in churners:
    thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os._exit(7 if sync.wait(fork(int, "7"), timeout=30) == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
end.set()
for thread in churners:
    thread.join()
"""
        )
    )


@needs_fork
def test_a_forked_child_that_exits_normally_drops_only_its_own() -> None:
    done = run_script(
        script(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
sync.set_num_interop_threads(1)
gate = threading.Event()
running = started(gate.wait)
queued = [fork(int, "1") for _ in range(5)]
pid = os.fork()
if pid == 0:
    print(ENDING)
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
gate.set()
assert [future.result() for future in queued] == [1] * 5
"""
        )
    )
    assert (done.code, done.err) == (0, "")


# -- signal handlers and __del__


@needs_signals
@pytest.mark.parametrize("how", ["runtime.close(cancel=True)", "future.cancel()"])
def test_a_signal_handler_that_closes_or_cancels_ends_the_blocking_wait_it_interrupts(how: str) -> None:
    check_script(
        script(
            f"""
def kernel():
    while future is None or not future._waiters:
        time.sleep(0)
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
    settle(runtime)
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
            settle(runtime)
            statistics = runtime.statistics()
            assert (statistics.running, statistics.queued, statistics.blocked) == (0, 0, 0), statistics
            assert statistics.forked == statistics.finished + statistics.failed + statistics.cancelled, statistics
gc.collect()
assert sum(bool(run(n)) for n in range(1, 200)) > 10
assert sync.wait(fork(int, "1"), timeout=30) == 1
"""
        )
    )
