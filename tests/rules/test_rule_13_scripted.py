"""Rule 13 of scripted forks: suspended ones do not hang the exit, and stay behind in the parent at os.fork."""

import os

import pytest

from tests.rules.endings import PRELUDE
from tests.scripts import check_script, run_script

SCRIPTED = PRELUDE + "from tests.core.scripted import recurse, run, scripted, wait_for\n"


def suspended(body: str) -> str:
    """Return a script with a suspended scripted fork, `waiting`, of `target`, and then its own lines."""
    return f"""{SCRIPTED}
target = Future()
waiting = fork(wait_for, target)
until(lambda: current_runtime().statistics().suspended)
{body}
"""


@pytest.mark.parametrize("settings", ["", "Runtime(1).enter()"], ids=["default", "entered"])
def test_suspended_forks_do_not_hang_the_exit_nor_change_its_code(settings: str) -> None:
    done = run_script(f"{PRELUDE}\n{settings}\n" + suspended("print(ENDING)\nsys.exit(3)"))
    assert done == (3, "", "")


def test_a_scripted_fork_that_waits_with_a_timeout_does_not_hang_the_exit() -> None:
    done = run_script(
        f"""{SCRIPTED}
@scripted
async def timed():
    await run(sync.wait, Future(), timeout=3600)

fork(timed)
until(lambda: current_runtime().statistics().suspended)
print(ENDING)
sys.exit(3)
"""
    )
    assert done == (3, "", "")


def test_what_completes_at_exit_wakes_nobody_to_harm() -> None:
    done = run_script(
        suspended(
            """
import atexit
atexit.register(lambda: target.set_result(1))
print(ENDING)
"""
        )
    )
    assert done == (0, "", "")


def test_a_suspended_fork_is_told_by_close_and_the_exit_goes_on() -> None:
    done = run_script(suspended("assert len(current_runtime().close(timeout=0)) == 1\nprint(ENDING)\nsys.exit(3)"))
    assert done == (3, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_suspended_fork_stays_in_the_parent_and_the_child_forks_anew() -> None:
    check_script(
        suspended(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    try:
        waiting.result(timeout=10)
    except RuntimeClosed as error:
        assert "was made in the parent process" in str(error)
    else:
        os._exit(1)
    target.set_result(7)  # the child's own copy: nobody there goes on with it
    assert sync.wait(fork(recurse, 100)) == 100
    assert fork(wait_for, fork(int, 3)).result(timeout=10) == 3
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
target.set_result(5)
assert waiting.result(timeout=10) == 5
"""
        )
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_scripted_fork_in_the_child_that_waits_for_an_inherited_future_is_told() -> None:
    check_script(
        suspended(
            """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    try:
        fork(wait_for, target).result(timeout=10)
    except RuntimeClosed as error:
        os._exit(0 if "was made in the parent process" in str(error) else 2)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
target.set_result(5)
"""
        )
    )


def test_a_runtime_that_is_closed_meanwhile_takes_no_forks_of_a_scripted_fork_that_goes_on() -> None:
    check_script(
        f"""{SCRIPTED}
@scripted
async def body():
    await run(sync.wait, target)
    return await run(sync.wait, fork(int, 3))

target = Future()
runtime = Runtime(1).enter()
waiting = fork(body)
until(lambda: runtime.statistics().suspended)
assert len(runtime.close(timeout=0)) == 1
target.set_result(None)
try:
    waiting.result(timeout=10)
except RuntimeClosed as error:
    assert "takes no more forks" in str(error)
else:
    raise AssertionError("it forked")
"""
    )
