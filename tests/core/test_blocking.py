"""The door for scripts: the same words, blocking the thread."""

import inspect
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit._core import awaiting, blocking
from asyncjit.errors import ForkCancelled
from tests.at_rest import PATIENCE_S, Gate, until
from tests.rules.places import in_thread


def test_values_are_those_of_the_futures(runtime: sync.Runtime) -> None:
    assert sync.wait(fork(pow, 2, 3)) == 8
    assert sync.call(pow, 2, exp=3) == 8
    assert sync.wait_all([fork(pow, 2, n) for n in range(3)]) == [1, 2, 4]


@pytest.mark.parametrize("name", ["wait", "call", "wait_all", "as_completed", "map"])
def test_both_doors_take_the_same_arguments_but_for_a_timeout(name: str) -> None:
    blocks = inspect.signature(getattr(blocking, name)).parameters
    awaits = inspect.signature(getattr(awaiting, name)).parameters
    shared = {key: value.replace(annotation=Any) for key, value in blocks.items() if key != "timeout"}
    assert shared == {key: value.replace(annotation=Any) for key, value in awaits.items()}
    assert getattr(sync, name) is getattr(blocking, name)
    assert getattr(asyncjit, name) is getattr(awaiting, name)


def test_a_wait_for_what_is_done_asks_nobody() -> None:
    future: Future[int] = Future()
    future.set_result(3)
    assert sync.wait(future, timeout=0) == 3
    future = Future()
    future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        sync.wait(future, timeout=0)


def test_a_wait_blocks_until_another_thread_completes_the_future() -> None:
    future: Future[int] = Future()
    waiter = in_thread(lambda: sync.wait(future))
    until(lambda: future._waiters)
    future.set_result(3)
    assert waiter() == 3


@pytest.mark.parametrize("wait", [sync.wait, lambda f, timeout: sync.wait_all([f], timeout)], ids=["wait", "wait_all"])
def test_after_a_timeout_the_fork_goes_on(runtime: sync.Runtime, wait: Any) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    with pytest.raises(TimeoutError, match="was not done within 0 s"):
        wait(future, timeout=0)
    gate.open()
    assert future.result(PATIENCE_S) == "passed"


def test_iterators_fork_and_wait_only_as_they_are_asked(runtime: sync.Runtime) -> None:
    values = sync.map(int, ["1", "2"], max_in_flight=1)
    assert runtime.statistics().forked == 0
    assert next(values) == 1
    assert runtime.statistics().forked == 1
    assert list(values) == [2]


def test_a_call_of_what_can_not_be_called_is_refused(runtime: sync.Runtime) -> None:
    with pytest.raises(TypeError, match="something to call, got 3 of type int"):
        sync.call(3)  # type: ignore[call-overload]
    assert runtime.statistics().forked == 0
