"""Rule 8 of scripted forks: cancels and the end of the runtime reach them wherever they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, check_cancelled, fork, sync
from asyncjit.errors import ForkCancelled
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    all_threads_busy,
    assert_at_rest,
    explode,
    sleep_for_ever,
    until,
    wait_for_ever,
    when_idle,
)
from tests.core.scripted import run, scripted, wait_for
from tests.rules.places import in_thread


class Log:
    """A scripted function that waits, and tells how that ended."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def _steps(self, future: Future[Any]) -> Any:
        try:
            return await run(sync.wait, future)
        except BaseException as error:
            self.told.append(type(error))
            raise
        finally:
            self.told.append("finally")

    wait = scripted(_steps)


def suspended(runtime: sync.Runtime, count: int = 1) -> None:
    until(lambda: runtime.statistics().suspended == count)


# -- cancelling


def test_a_scripted_fork_cancelled_before_it_starts_never_starts(runtime: sync.Runtime) -> None:
    log = Log()
    with all_threads_busy(runtime):
        future = fork(log.wait, Future())
        assert future.cancel()
    with pytest.raises(ForkCancelled, match=r"fork of .*_steps .* was cancelled"):
        future.result(PATIENCE_S)
    assert log.told == []


def test_a_suspended_fork_that_is_cancelled_goes_on_to_its_end(runtime: sync.Runtime) -> None:
    log, target = Log(), Future[int]()
    future = fork(log.wait, target)
    suspended(runtime)
    assert future.cancel()
    assert future.cancelled()  # at once
    sync.wait(when_idle(runtime), PATIENCE_S)
    assert log.told == [ForkCancelled, "finally"]
    assert not target.done()
    assert target._waiters in (None, [])


def test_a_running_scripted_fork_that_is_cancelled_sees_it_at_its_next_wait_and_check(runtime: sync.Runtime) -> None:
    gate = Gate()

    @scripted
    async def body() -> None:
        gate()
        for _ in range(2):
            try:
                await run(sync.wait, Future())
            except ForkCancelled as error:
                told.append(str(error))
        try:
            check_cancelled()
        finally:
            told.append("finally")

    told: list[str] = []
    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    sync.wait(when_idle(runtime), PATIENCE_S)
    assert told == ["the waiting code was cancelled"] * 2 + ["finally"]
    with pytest.raises(ForkCancelled, match="body"):
        future.result()


def test_a_fork_cancelled_when_it_can_go_on_goes_on_and_its_next_wait_raises() -> None:
    @scripted
    async def body() -> None:
        told.append(await run(sync.wait, target))
        await run(sync.wait, Future())

    told: list[int] = []
    with sync.Runtime(1, blas_threads=None) as runtime:
        target: Future[int] = Future()
        future = fork(body)
        suspended(runtime)
        with all_threads_busy(runtime):
            target.set_result(3)
            assert list(runtime.pool.ready) == [future._source]
            future.cancel()
        sync.wait(when_idle(runtime), PATIENCE_S)
        assert told == [3]
        assert future.cancelled()
        assert_at_rest(runtime)


def test_a_cancel_reaches_what_is_below(runtime: sync.Runtime) -> None:
    @scripted
    async def parent() -> None:
        below.extend([fork(log.wait, Future()), fork(sleep_for_ever), fork(wait_for_ever)])
        await run(sync.wait_all, below)

    log = Log()
    below: list[Future[Any]] = []
    future = fork(parent)
    until(lambda: runtime.statistics().suspended >= 2)
    future.cancel()
    sync.wait(when_idle(runtime), PATIENCE_S)
    assert [fut.cancelled() for fut in below] == [True] * 3
    assert log.told in ([ForkCancelled, "finally"], [])  # it may not have started


def test_a_parent_that_fails_cancels_its_suspended_forks(runtime: sync.Runtime) -> None:
    @scripted
    async def parent() -> None:
        below.append(fork(log.wait, Future()))
        await run(sync.wait, go)
        raise ValueError("parent")

    log, go = Log(), Future[None]()
    below: list[Future[Any]] = []
    future = fork(parent)
    suspended(runtime, 2)
    go.set_result(None)
    with pytest.raises(ValueError, match="parent"):
        future.result(PATIENCE_S)
    sync.wait(when_idle(runtime), PATIENCE_S)
    assert below[0].cancelled()
    assert log.told == [ForkCancelled, "finally"]


def test_the_first_error_in_a_group_cancels_its_suspended_forks(runtime: sync.Runtime) -> None:
    log = Log()
    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        with sync.fork_group() as group:
            waiting = group.fork(log.wait, Future())
            suspended(runtime)
            group.fork(explode, ValueError("first"))
    assert [str(error) for error in caught.value.exceptions] == ["first"]
    assert waiting.cancelled()
    assert log.told == [ForkCancelled, "finally"]  # the group has waited for its body


async def test_a_cancelled_await_cancels_the_scripted_fork(runtime: sync.Runtime) -> None:
    log = Log()

    async def main() -> None:
        await asyncjit.call(log.wait, Future())

    task = asyncio.create_task(main())
    while runtime.statistics().suspended != 1:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await when_idle(runtime)
    assert log.told == [ForkCancelled, "finally"]


def test_an_await_that_shares_its_target_with_a_suspended_fork_leaves_it_alone(runtime: sync.Runtime) -> None:
    async def main() -> None:
        gate = Gate()
        target = fork(gate)
        while not gate.started.is_set():
            await asyncio.sleep(0)
        waiting = fork(wait_for, target)
        other = fork(wait_for, target)
        while runtime.num_interop_threads > 1 and runtime.statistics().suspended != 2:
            await asyncio.sleep(0)
        if runtime.num_interop_threads > 1:
            other.cancel()  # its wait is over, the other's is not
        task = asyncio.create_task(_await(target))
        await asyncio.sleep(0)
        if runtime.num_interop_threads > 1:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        gate.open()
        assert await waiting == "passed"
        await when_idle(runtime)

    asyncio.run(main())


async def _await(future: Future[Any]) -> Any:
    return await future


def test_a_fork_whose_waits_end_early_leaves_no_waiter_with_the_target(runtime: sync.Runtime) -> None:
    @scripted
    async def poll() -> int:
        for _ in range(50):
            try:
                await run(sync.wait, target, timeout=0.0005)
            except TimeoutError:
                lengths.append(len(target._waiters or ()))
        return len(lengths)

    target: Future[int] = Future()
    lengths: list[int] = []
    assert fork(poll).result(PATIENCE_S) == 50
    assert max(lengths) == 0


# -- the end of the runtime


def test_close_waits_for_suspended_forks() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        target: Future[int] = Future()
        waiting = fork(wait_for, target)
        suspended(runtime)
        closed = in_thread(runtime.close)
        until(lambda: runtime.is_closing)
        assert not waiting.done()
        target.set_result(3)
        assert closed() == []
        assert waiting.result() == 3


def test_close_tells_which_forks_are_suspended_and_they_go_on_in_their_own_time() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        target: Future[int] = Future()
        waiting = fork(wait_for, target)
        suspended(runtime)
        [still] = runtime.close(timeout=0)
        assert still.startswith("the fork of wait_for (forked at test_rule_08_scripted.py:")
        target.set_result(3)
        assert waiting.result(PATIENCE_S) == 3
        until(lambda: runtime.pool.is_idle)
        until(lambda: runtime.statistics().threads == 0)


def test_close_that_cancels_ends_suspended_forks(runtime: sync.Runtime) -> None:
    log = Log()
    waiting = fork(log.wait, Future())
    suspended(runtime)
    assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
    assert log.told == [ForkCancelled, "finally"]
    assert waiting.cancelled()


def test_close_that_cancels_reaches_what_can_go_on_and_has_no_thread_yet() -> None:
    @scripted
    async def body() -> None:
        await run(sync.wait, first)
        await run(sync.wait, Future())  # nobody completes it

    first: Future[None] = Future()
    gate = Gate()
    with sync.Runtime(1, blas_threads=None) as runtime:
        future = fork(body)
        suspended(runtime)
        fork(gate)
        gate.await_start()
        first.set_result(None)
        assert runtime.statistics().queued == 1
        assert len(runtime.close(cancel=True, timeout=0)) == 2
        assert future.cancelled()
        gate.open()
        assert_at_rest(runtime)
