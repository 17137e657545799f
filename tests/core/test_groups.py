"""The scopes behind `fork_group` and `fail_after`; what they do for a user is in tests/rules/test_rule_08_*.py."""

import asyncio
import contextvars
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

import asyncjit
from asyncjit import Future, check_cancelled, fail_after, fork, fork_group, sync
from asyncjit._core.context import Scope, current
from asyncjit._core.groups import GroupScope
from asyncjit.errors import DeadlineExceeded, ForkCancelled, InvalidStateError
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, Gate, assert_at_rest, explode, until, until_async, wait_for_ever


@pytest.fixture
def clock() -> ManualClock:
    """Return the runtime's clock."""
    return ManualClock(start_s=100.0)


@pytest.fixture
def runtime(clock: ManualClock) -> Iterator[sync.Runtime]:
    """Return a runtime of two threads on the manual clock."""
    with sync.Runtime(2, blas_threads=None, clock=clock) as runtime:
        yield runtime
        assert_at_rest(runtime)


def here() -> Scope:
    scope = current.get()
    assert scope is not None
    return scope


def parent_of(future: Future[Any]) -> Scope | None:
    source: Any = future._source
    parent: Scope | None = source.parent
    return parent


def cancel_seen() -> type[BaseException] | None:
    """Return what `check_cancelled` raises."""
    try:
        check_cancelled()
    except BaseException as error:
        return type(error)
    return None


def test_a_block_has_a_scope_of_its_own_and_leaves_it(runtime: sync.Runtime) -> None:
    outside = here()
    for block in (sync.fork_group(), fail_after(5.0), fail_after(None)):
        with block:
            above = here().parent
            assert here() is not outside
            assert outside in (above, above.parent if above is not None else None)  # a group's block is below its group
        assert current.get() is outside


def test_a_block_that_raises_leaves_its_scope_too(runtime: sync.Runtime) -> None:
    outside = here()
    for block, kind in ((sync.fork_group(), ExceptionGroup), (fail_after(5.0), ValueError)):
        with pytest.raises(kind, match=r"fork_group|own"):
            with block:
                raise ValueError("its own")
        assert current.get() is outside
        assert not outside.children


def test_blocks_at_the_root_of_a_script_need_no_scope_around_them() -> None:
    def script() -> None:
        with sync.Runtime(1, blas_threads=None):
            pass
        with sync.Runtime(1, blas_threads=None) as runtime:
            token = current.set(None)
            with sync.fork_group() as group:
                future = group.fork(pow, 2, 3)
            assert future.value() == 8
            with fail_after(PATIENCE_S):
                assert sync.call(pow, 2, 3) == 8
            current.reset(token)
            assert_at_rest(runtime)

    contextvars.Context().run(script)


def test_the_deadline_in_the_environment_is_the_nearest(runtime: sync.Runtime) -> None:
    with fail_after(5.0):
        assert here().env.deadline == 105.0
        with fail_after(2.0):
            assert here().env.deadline == 102.0
        with fail_after(9.0):
            assert here().env.deadline == 105.0
        with fail_after(None):
            assert here().env.deadline is None
            with fail_after(9.0):
                assert here().env.deadline == 109.0


def test_a_group_hands_its_deadline_down(runtime: sync.Runtime) -> None:
    with fail_after(5.0):
        with sync.fork_group() as group:
            assert here().env.deadline == 105.0
            assert group.fork(lambda: here().env.deadline).result(PATIENCE_S) == 105.0


def test_a_fork_inside_of_a_block_is_below_its_scope(runtime: sync.Runtime) -> None:
    gate = Gate()
    with sync.fork_group() as group:
        scope = here().parent
        assert isinstance(scope, GroupScope)
        future = group.fork(gate)
        assert list(scope.children) == [here(), future._source]
        gate.open()
    assert not scope.children
    assert future.value() == "passed"


def test_the_error_of_a_fork_that_the_block_makes_by_itself_is_not_the_groups(runtime: sync.Runtime) -> None:
    gate = Gate()

    def fail_late() -> None:
        gate()
        raise ValueError("late")

    with sync.fork_group() as group:
        with pytest.raises(ZeroDivisionError):
            sync.call(divmod, 1, 0)
        future = fork(fail_late)
        group.fork(gate.open)
    assert future.done()  # it was waited for
    with pytest.raises(ValueError, match="late"):
        future.result()


def test_a_fork_that_the_block_makes_by_itself_is_cancelled_if_the_block_raises(runtime: sync.Runtime) -> None:
    gate = Gate()

    def until_cancelled() -> None:
        gate.started.set()
        until(lambda: cancel_seen() is ForkCancelled)

    with pytest.raises(ExceptionGroup, match="errors in a fork_group"):
        with sync.fork_group():
            future = fork(until_cancelled)
            gate.await_start()
            raise ValueError("its own")
    assert future.cancelled()


def test_a_cancel_of_a_kernel_reaches_the_code_in_its_blocks(runtime: sync.Runtime) -> None:
    for make_block in (sync.fork_group, lambda: fail_after(PATIENCE_S), lambda: fail_after(None)):
        gate = Gate()
        told: list[type[BaseException] | None] = []

        def body(make_block: Any, gate: Gate, told: list[type[BaseException] | None]) -> None:
            with make_block():
                gate()
                told.append(cancel_seen())

        future = fork(body, make_block, gate, told)
        gate.await_start()
        future.cancel()
        gate.open()
        until(lambda: runtime.pool.is_idle)
        assert told == [ForkCancelled]


def test_a_cancel_of_a_kernel_reaches_the_forks_in_its_blocks(runtime: sync.Runtime) -> None:
    for make_block in (lambda: fail_after(PATIENCE_S), lambda: fail_after(None)):
        gate, leaf = Gate(), Gate()
        below: list[Any] = []

        def body(make_block: Any, gate: Gate, leaf: Gate, below: list[Any]) -> None:
            with make_block():
                below.append(fork(leaf))
                gate()

        future = fork(body, make_block, gate, leaf, below)
        gate.await_start()
        leaf.await_start()
        future.cancel()
        try:
            assert below[0].cancelled()
        finally:
            gate.open()
            leaf.open()


def test_a_group_inside_of_a_cancelled_kernel_is_cancelled_from_its_start(runtime: sync.Runtime) -> None:
    gate = Gate()
    below: list[Any] = []

    def body() -> None:
        gate()
        with sync.fork_group() as group:
            below.append(group.fork(int))

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    until(lambda: runtime.pool.is_idle)
    assert below[0].cancelled()


async def test_an_async_block_is_an_anyio_scope(runtime: sync.Runtime) -> None:
    with fail_after(PATIENCE_S):
        assert anyio.current_effective_deadline() <= anyio.current_time() + PATIENCE_S
        with fail_after(None):
            assert anyio.current_effective_deadline() == float("inf")
    assert anyio.current_effective_deadline() == float("inf")


async def test_a_group_that_was_left_takes_no_forks(runtime: sync.Runtime) -> None:
    async with fork_group() as group:
        pass
    with pytest.raises(InvalidStateError, match="fork inside its `with` block"):
        group.fork(int)
    with pytest.raises(InvalidStateError, match="entered before: make a new one for each block"):
        await group.__aenter__()


async def test_a_group_that_was_not_entered_cannot_be_left(runtime: sync.Runtime) -> None:
    with pytest.raises(InvalidStateError, match="left before it was entered"):
        await fork_group().__aexit__(None, None, None)


def test_cancelling_a_group_that_was_not_entered_does_nothing() -> None:
    fork_group().cancel()


async def test_the_first_error_from_a_pool_thread_interrupts_the_block_on_its_loop(runtime: sync.Runtime) -> None:
    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        async with fork_group() as group:
            group.fork(divmod, 1, 0)
            await asyncio.get_running_loop().create_future()
    [error] = caught.value.exceptions
    assert isinstance(error, ZeroDivisionError)


async def test_a_group_whose_forks_ran_out_of_time_is_late_before_its_block_is_told(
    runtime: sync.Runtime, clock: ManualClock
) -> None:
    with pytest.raises(DeadlineExceeded, match="the forks of a fork_group were not done in time"):
        with fail_after(5.0):
            async with fork_group() as group:
                member = group.fork(wait_for_ever)
                await until_async(member.running)
                clock.advance(6.0)  # the loop's own timer has not moved
                await until_async(lambda: runtime.pool.is_idle)
    assert member.cancelled()


def test_leaving_a_late_block_well_is_no_error(runtime: sync.Runtime, clock: ManualClock) -> None:
    """A block that did not look at the time is done: as with anyio, only what is interrupted is late."""
    with fail_after(5.0):
        clock.advance(6.0)
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        with fail_after(0):
            check_cancelled()


async def test_an_error_that_comes_as_the_body_ends_interrupts_nothing_later() -> None:
    async with asyncjit.Runtime(1, blas_threads=None) as runtime:
        with pytest.raises(ExceptionGroup):
            async with asyncjit.fork_group() as group:
                group.fork(explode, ValueError())
                until(lambda: runtime.statistics().failed and not runtime.statistics().running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
