"""Rule 13, interpreter exit: a stuck kernel does not hang it, and what is queued is dropped."""

import pytest

from tests.rules.endings import script
from tests.scripts import check_script, run_script


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
    assert exiting.wait(PATIENCE_S)
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
until(lambda: len(futures) == 2 and futures[0].running())
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
