"""Rule 8, groups: a `fork_group` is left when its bodies have ended, and its first error cancels the rest."""

import asyncio
import threading
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, fork_group, sync
from asyncjit.errors import ForkCancelled, InvalidStateError, WaitOnEventLoopError
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    all_threads_busy,
    errors_of,
    explode,
    explode_async,
    settle,
    sleep_for_ever,
    until,
    until_async,
    wait_for_ever,
    when_idle,
)


class Slow:
    """A kernel that takes note of its cancel, and ends only when it is told to."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cancelled = threading.Event()
        self.may_end = threading.Event()
        self.is_ended = False

    def __call__(self) -> None:
        self.started.set()
        try:
            wait_for_ever()
        except ForkCancelled:
            self.cancelled.set()
            assert self.may_end.wait(PATIENCE_S)
            self.is_ended = True
            raise


def num_done(futures: list[Future[Any]]) -> int:
    return sum(future.done() for future in futures)


# -- all goes well


def test_a_group_is_left_when_all_its_forks_are_done(runtime: sync.Runtime) -> None:
    with sync.fork_group() as group:
        futures = [group.fork(pow, 2, n) for n in range(100)]
    assert num_done(futures) == 100
    assert [future.value() for future in futures] == [2**n for n in range(100)]


async def test_a_group_in_async_code_is_left_when_all_its_forks_are_done(runtime: sync.Runtime) -> None:
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async with fork_group() as group:
        kernels = [group.fork(pow, 2, n) for n in range(50)]
        coroutines = [group.fork(double, n) for n in range(50)]
    assert [future.value() for future in kernels] == [2**n for n in range(50)]
    assert [future.value() for future in coroutines] == [2 * n for n in range(50)]


def test_a_group_with_no_forks_is_left_at_once(runtime: sync.Runtime) -> None:
    with sync.fork_group():
        pass


async def test_a_group_in_async_code_with_no_forks_is_left_at_once(runtime: sync.Runtime) -> None:
    async with fork_group():
        pass


def test_a_group_waits_for_forks_that_its_members_leave_behind(runtime: sync.Runtime) -> None:
    gate = Gate()

    def member() -> None:
        fork(gate)
        opener.start()

    def open_when_it_runs() -> None:
        gate.await_start()
        gate.open()

    opener = threading.Thread(target=open_when_it_runs)
    with sync.fork_group() as group:
        group.fork(member)
    assert gate.ended.is_set()
    opener.join(PATIENCE_S)


def test_a_group_waits_for_plain_forks_made_in_its_block(runtime: sync.Runtime) -> None:
    with sync.fork_group():
        futures = [fork(pow, 2, n) for n in range(20)]
    assert num_done(futures) == 20


def test_a_group_inside_a_kernel_works_with_one_thread(runtime: sync.Runtime) -> None:
    def total(depth: int) -> int:
        if depth == 0:
            return 1
        with sync.fork_group() as group:
            futures = [group.fork(total, depth - 1) for _ in range(3)]
        return sum(future.value() for future in futures)

    assert sync.wait(fork(total, 4)) == 81


async def test_groups_nest(runtime: sync.Runtime) -> None:
    async with fork_group() as outer:
        first = outer.fork(pow, 2, 2)
        async with fork_group() as inner:
            second = inner.fork(pow, 2, 3)
        assert second.value() == 8
        third = outer.fork(pow, 2, 4)
    assert (first.value(), third.value()) == (4, 16)


def test_several_threads_may_fork_into_one_group(runtime: sync.Runtime) -> None:
    futures: list[Future[int]] = []
    with sync.fork_group() as group:
        threads = [threading.Thread(target=lambda: futures.append(group.fork(pow, 2, 3))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [future.value() for future in futures] == [8] * 8


# -- left only when the bodies have ended


def test_a_group_is_left_only_when_a_cancelled_body_has_ended(runtime: sync.Runtime) -> None:
    slow = Slow()
    left = threading.Event()

    def use_group() -> None:
        with sync.fork_group() as group:
            future = group.fork(slow)
            assert slow.started.wait(PATIENCE_S)
            future.cancel()
        assert slow.is_ended
        left.set()

    thread = threading.Thread(target=use_group)
    thread.start()
    assert slow.cancelled.wait(PATIENCE_S)
    assert not left.is_set()
    slow.may_end.set()
    thread.join(PATIENCE_S)
    assert left.is_set()  # and so the body had ended


async def test_a_group_in_async_code_is_left_only_when_a_cancelled_kernel_has_ended(runtime: sync.Runtime) -> None:
    slow = Slow()

    async def use_group() -> None:
        async with fork_group() as group:
            future = group.fork(slow)
            await until_async(slow.started.is_set)
            future.cancel()

    task = asyncio.create_task(use_group())
    await until_async(slow.cancelled.is_set)
    await settle()
    assert not task.done()
    slow.may_end.set()
    await task
    assert slow.is_ended


async def test_a_group_whose_task_is_cancelled_is_still_left_only_when_its_bodies_have_ended(
    runtime: sync.Runtime,
) -> None:
    slow = Slow()

    async def use_group() -> None:
        async with fork_group() as group:
            group.fork(slow)

    task = asyncio.create_task(use_group())
    await until_async(slow.started.is_set)
    for _ in range(3):  # impatience does not help
        task.cancel()
        await settle()
        assert not task.done()
    assert slow.cancelled.wait(PATIENCE_S)
    slow.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.is_ended


async def test_the_first_error_leaves_the_group_only_when_the_other_bodies_have_ended(runtime: sync.Runtime) -> None:
    slow = Slow()

    async def fail_when_the_other_runs() -> None:
        await until_async(slow.started.is_set)
        raise ValueError("the first")

    async def use_group() -> None:
        async with fork_group() as group:
            group.fork(slow)
            group.fork(fail_when_the_other_runs)

    task = asyncio.create_task(use_group())
    await until_async(slow.cancelled.is_set)
    await settle()
    assert not task.done()
    slow.may_end.set()
    with pytest.raises(ExceptionGroup, match="fork_group"):
        await task
    assert slow.is_ended


def test_a_group_in_a_cancelled_kernel_is_left_when_its_bodies_have_ended(runtime: sync.Runtime) -> None:
    gate = Gate()
    seen: list[bool] = []

    def body() -> None:
        try:
            with sync.fork_group() as group:
                group.fork(gate)
        finally:
            seen.append(gate.ended.is_set())

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    assert seen == [True]


# -- errors


def test_the_first_error_cancels_the_rest_and_is_raised_in_a_group(runtime: sync.Runtime) -> None:
    with pytest.raises(ExceptionGroup, match="errors in a fork_group") as caught:
        with sync.fork_group() as group:
            with all_threads_busy(runtime):
                group.fork(explode, ValueError("the first"))
                rest = [group.fork(wait_for_ever) for _ in range(8)]
                rest += [group.fork(Future[None]().result) for _ in range(4)]
    assert errors_of(caught.value) == [(ValueError, "the first")]
    assert all(future.cancelled() for future in rest)
    assert runtime.statistics().failed == 1


async def test_the_first_error_cancels_the_rest_in_async_code_too(runtime: sync.Runtime) -> None:
    with pytest.raises(ExceptionGroup, match="errors in a fork_group") as caught:
        async with fork_group() as group:
            rest: list[Future[Any]] = [group.fork(wait_for_ever), group.fork(sleep_for_ever)]
            await settle()
            group.fork(explode_async, ValueError("the first"))
    assert errors_of(caught.value) == [(ValueError, "the first")]
    assert all(future.cancelled() for future in rest)


async def test_the_first_error_interrupts_the_block_and_leaves_its_task_uncancelled(runtime: sync.Runtime) -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        async with fork_group() as group:
            group.fork(explode, ValueError("the first"))
            await asyncio.get_running_loop().create_future()
    assert errors_of(caught.value) == [(ValueError, "the first")]
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # and no cancel is left behind


def test_a_wait_in_the_block_that_the_first_error_ended_is_no_second_error(runtime: sync.Runtime) -> None:
    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        with sync.fork_group() as group:
            group.fork(explode, ValueError("the first"))
            other = group.fork(wait_for_ever)
            other.result(PATIENCE_S)  # ForkCancelled
    assert errors_of(caught.value) == [(ValueError, "the first")]


def test_an_error_that_the_block_waited_for_is_in_the_group_once(runtime: sync.Runtime) -> None:
    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        with sync.fork_group() as group:
            sync.wait(group.fork(explode, ValueError("the only one")))
    assert errors_of(caught.value) == [(ValueError, "the only one")]


def test_errors_of_several_forks_are_all_in_the_group(runtime: sync.Runtime) -> None:
    def fail_when_cancelled(n: int) -> None:
        started[n].set()
        try:
            wait_for_ever()
        except ForkCancelled:
            raise OSError(f"while stopping {n}") from None

    started = [threading.Event() for _ in range(runtime.num_interop_threads)]
    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        with sync.fork_group() as group:
            futures = [group.fork(fail_when_cancelled, n) for n in range(runtime.num_interop_threads)]
            for event in started:
                assert event.wait(PATIENCE_S)
            raise ValueError("in the block")
    # A kernel that was cancelled while it ran can't be asked for its error: only the block's is there.
    assert errors_of(caught.value) == [(ValueError, "in the block")]
    assert all(future.cancelled() for future in futures)


def test_a_cancelled_member_is_no_error(runtime: sync.Runtime) -> None:
    with sync.fork_group() as group:
        with all_threads_busy(runtime):
            cancelled = group.fork(pow, 2, 3)
            other = group.fork(pow, 2, 4)
            cancelled.cancel()
    assert cancelled.cancelled()
    assert other.value() == 16


def test_a_group_can_be_cancelled_as_a_whole(runtime: sync.Runtime) -> None:
    with sync.fork_group() as group:
        futures = [group.fork(wait_for_ever) for _ in range(10)]
        group.cancel()
        later = group.fork(pow, 2, 3)
    assert all(future.cancelled() for future in [*futures, later])


def test_a_fork_that_is_cancelled_cancels_the_group_it_is_in(runtime: sync.Runtime) -> None:
    below: list[Future[Any]] = []

    def body() -> None:
        with sync.fork_group() as group:
            below.append(group.fork(wait_for_ever))
            below.append(group.fork(Future[None]().result))

    future = fork(body)
    until(lambda: len(below) == 2)
    future.cancel()
    when_idle(runtime).result(PATIENCE_S)
    assert all(member.cancelled() for member in below)


async def test_a_group_is_cancelled_with_its_task(runtime: sync.Runtime) -> None:
    members: list[Future[Any]] = []

    async def use_group() -> None:
        async with fork_group() as group:
            members.extend([group.fork(wait_for_ever), group.fork(sleep_for_ever)])
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(use_group())
    await settle()
    task.cancel("from outside")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(member.cancelled() for member in members)


async def test_an_error_of_an_inner_group_is_a_group_in_the_outer(runtime: sync.Runtime) -> None:
    async def inner() -> None:
        async with fork_group() as group:
            group.fork(explode, ValueError("deep"))

    with pytest.raises(ExceptionGroup, match="fork_group") as caught:
        async with fork_group() as group:
            group.fork(inner)
    [nested] = caught.value.exceptions
    assert isinstance(nested, ExceptionGroup)
    assert errors_of(nested) == [(ValueError, "deep")]


# -- misuse


def test_a_group_that_is_not_entered_takes_no_forks(runtime: sync.Runtime) -> None:
    group = fork_group()
    with pytest.raises(InvalidStateError, match="not entered: fork inside its `with` block"):
        group.fork(pow, 2, 3)


def test_a_group_that_was_left_takes_no_forks(runtime: sync.Runtime) -> None:
    with sync.fork_group() as group:
        pass
    with pytest.raises(InvalidStateError, match="fork inside its `with` block"):
        group.fork(pow, 2, 3)


def test_a_group_is_entered_once(runtime: sync.Runtime) -> None:
    with sync.fork_group() as group:
        pass
    with pytest.raises(InvalidStateError, match="was entered before: make a new one"):
        group.__enter__()


async def test_a_blocking_group_on_a_loops_thread_shows_the_async_one(runtime: sync.Runtime) -> None:
    with pytest.raises(WaitOnEventLoopError, match="async with fork_group"):
        with fork_group():
            pass


async def test_a_group_of_a_service_can_be_used_from_another_task(runtime: sync.Runtime) -> None:
    async with fork_group() as group:
        future = await asyncio.create_task(_fork_in(group))
    assert future.value() == 8


async def _fork_in(group: asyncjit.fork_group) -> Future[int]:
    return group.fork(pow, 2, 3)
