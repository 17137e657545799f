"""Rule 13, `os.fork`: the child starts afresh, and what it inherited says so."""

import os

import pytest

from tests.rules.endings import script
from tests.scripts import check_script, run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


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
