"""A fork: claimed once, run in its own scope, and finished however often its end is told."""

import functools
from typing import Any

import numpy as np
import pytest

from asyncjit import Future, fork, sync
from asyncjit._core.cell import CANCELLED, FINISHED, PENDING
from asyncjit._core.context import current, this_thread
from asyncjit._core.forks import Fork
from asyncjit.errors import ForkCancelled
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, explode, when_idle
from tests.rules.places import in_place, pool_asleep


def fork_of(future: Future[Any]) -> Fork:
    source = future._source
    assert isinstance(source, Fork)
    return source


def test_a_kernel_runs_in_the_scope_of_its_fork(runtime: sync.Runtime) -> None:
    future = fork(current.get)
    assert future.result(PATIENCE_S) is fork_of(future)


def test_a_fork_without_keywords_has_no_dictionary_of_its_own(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        first, second = fork_of(fork(int)), fork_of(fork(int, "1"))
        assert first.kwargs is second.kwargs
        assert fork_of(fork(int, "11", base=2)).kwargs == {"base": 2}


@pytest.mark.parametrize("body", [int, functools.partial(explode, ValueError("lost"))], ids=["returns", "raises"])
def test_what_was_called_goes_with_the_body(runtime: sync.Runtime, body: Any) -> None:
    future = fork(body)
    source = fork_of(future)
    with all_threads_busy(runtime):  # a permit each, so no thread is in the body any longer
        assert future.done()
        assert (source.fn, source.args, source.kwargs, source.context, source.future) == (None,) * 5
    future.exception()


@pytest.mark.parametrize("state", ["running", "done", "cancelled"])
def test_only_what_has_not_started_is_claimed(runtime: sync.Runtime, state: str) -> None:
    gate = Gate()
    with all_threads_busy(runtime):
        future = fork(gate)
        if state == "cancelled":
            future.cancel()
    if state == "running":
        gate.await_start()
    if state == "done":
        gate.open()
        future.result(PATIENCE_S)
        gate.started.clear()
    before = future._state
    fork_of(future).run_in_place(this_thread())
    assert future._state == before
    assert state == "running" or not gate.started.is_set()
    gate.open()


def test_a_claim_that_finds_no_permit_leaves_the_fork_queued(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        future = fork(int)
        fork_of(future).run_in_place(this_thread())
        assert future._state == PENDING
        assert this_thread().permit is None
        assert runtime.statistics().queued == 1


@pytest.mark.parametrize("end", [(FINISHED, "late"), (CANCELLED, ForkCancelled)])
def test_an_end_that_is_told_again_changes_nothing(runtime: sync.Runtime, end: tuple[int, Any]) -> None:
    future = fork(pow, 2, 3)
    future.result(PATIENCE_S)
    when_idle(runtime).result(PATIENCE_S)
    before, slot = runtime.statistics(), this_thread()
    fork_of(future).finish(slot, future, None, None, *end)
    assert future.value() == 8
    assert runtime.statistics() == before
    assert (slot.fork, slot.ending, slot.permit, slot.depth) == (None, None, None, 0)


def test_an_end_that_is_told_again_inside_another_run_in_place_leaves_that_alone(runtime: sync.Runtime) -> None:
    def kernel() -> None:
        future, slot = fork(int), this_thread()
        sync.wait(future)
        before = slot.depth, slot.fork, slot.permit, runtime.statistics()
        fork_of(future).finish(slot, future, slot.fork, slot.permit, FINISHED, "late")
        assert (slot.depth, slot.fork, slot.permit, runtime.statistics()) == before
        assert future.value() == 0

    in_place(kernel)


def test_a_thread_that_ran_in_place_is_as_it_was(runtime: sync.Runtime) -> None:
    slot = this_thread()
    for body in (int, functools.partial(explode, ValueError("lost"))):
        fork_of(fork(body)).run_in_place(slot)
        assert (slot.fork, slot.ending, slot.permit, slot.depth) == (None, None, None, 0)


def test_a_ufunc_runs_in_the_context_of_its_fork(runtime: sync.Runtime) -> None:
    with np.errstate(divide="raise"):
        future = fork(np.divide, 1.0, 0.0)
    with pytest.raises(FloatingPointError, match="divide by zero"):
        future.result(PATIENCE_S)


def test_a_coroutine_made_in_place_for_a_kernel_of_another_runtime_gives_that_its_permit_back() -> None:
    async def body() -> int:
        return 3

    with sync.Runtime(1, blas_threads=None) as other:
        with pool_asleep(other):
            target = fork(lambda: body())
            with sync.Runtime(1, blas_threads=None) as runtime:

                def kernel() -> tuple[int, int]:
                    value = target.result()
                    return value, runtime.statistics().running

                assert fork(kernel).result(PATIENCE_S) == (3, 1)
                assert_at_rest(runtime)
        assert_at_rest(other)


def test_a_kernel_that_returns_a_coroutine_holds_no_thread_and_no_permit(runtime: sync.Runtime) -> None:
    gate: Future[int] = Future()

    async def body() -> int:
        return await gate

    futures = [fork(lambda: body()) for _ in range(8)]  # a plain function, as a decorator may make
    assert fork(int).result(PATIENCE_S) == 0
    assert not any(future.done() for future in futures)
    gate.set_result(3)
    assert sync.wait_all(futures, PATIENCE_S) == [3] * 8
