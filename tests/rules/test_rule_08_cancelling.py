"""Rule 8: cancelling goes down the tree, not sideways. Groups and deadlines have files of their own."""

import asyncio
import concurrent.futures
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

import asyncjit
from asyncjit import Future, check_cancelled, fork, sync
from asyncjit.errors import DeadlockError, ForkCancelled, RuntimeClosed
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until, when_idle


@pytest.fixture
def runtime(num_interop_threads: int) -> Iterator[sync.Runtime]:
    """Return a runtime that must end idle, with counts that add up."""
    with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)


def wait_for_ever() -> None:
    """Stand for a kernel that ends only when it is cancelled."""
    while True:
        check_cancelled()


class Sleeper:
    """A coroutine function that sleeps until it is cancelled, and tells of its start and end."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.is_ended = False
        self.error: BaseException | None = None

    async def __call__(self) -> str:
        self.started.set()
        try:
            await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.is_ended = True
        raise AssertionError("woken by nobody")


async def settle() -> None:
    """Let the loop run what is ready, with what follows from it."""
    for _ in range(10):
        await asyncio.sleep(0)


# -- one fork


def test_a_fork_cancelled_before_its_start_never_starts(runtime: sync.Runtime) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        future = fork(ran.append, 1)
        assert future.cancel()
        assert future.cancelled()
        assert future.done()
        assert runtime.statistics().queued == 0
        with pytest.raises(ForkCancelled, match=r"fork of .*append \(forked at .* was cancelled"):
            sync.wait(future)
        assert not future.cancel()
    when_idle(runtime).result(PATIENCE_S)
    assert ran == []
    assert runtime.statistics().cancelled == 1


def test_a_fork_cancelled_while_it_runs_is_cancelled_at_once_and_keeps_its_permit(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.result(PATIENCE_S)
    assert not gate.ended.is_set()
    assert runtime.statistics().running == 1
    assert not future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    assert gate.ended.is_set()
    now = runtime.statistics()
    assert (now.running, now.finished, now.cancelled) == (0, 0, 1)


def test_what_a_cancelled_kernel_returns_is_dropped(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.value()


def test_a_done_fork_cannot_be_cancelled(runtime: sync.Runtime) -> None:
    future = fork(pow, 2, 3)
    assert future.result(PATIENCE_S) == 8
    assert not future.cancel()
    assert future.value() == 8


def test_check_cancelled_raises_in_a_cancelled_kernel(runtime: sync.Runtime) -> None:
    told: list[BaseException] = []
    gate = Gate()

    def body() -> None:
        check_cancelled()  # not yet
        gate()
        try:
            check_cancelled()
        except BaseException as error:
            told.append(error)

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    [error] = told
    assert isinstance(error, ForkCancelled)
    assert "the waiting code was cancelled" in str(error)


def test_check_cancelled_says_nothing_in_a_script() -> None:
    check_cancelled()


@pytest.mark.parametrize("timeout", [None, PATIENCE_S])
def test_a_cancel_ends_the_wait_that_the_kernel_sleeps_in(runtime: sync.Runtime, timeout: float | None) -> None:
    told: list[BaseException] = []
    never: Future[None] = Future()

    def body() -> None:
        try:
            never.result(timeout)
        except BaseException as error:
            told.append(error)

    future = fork(body)
    until(lambda: runtime.statistics().blocked == 1)
    future.cancel()
    when_idle(runtime).result(PATIENCE_S)
    [error] = told
    assert isinstance(error, ForkCancelled)
    assert "the waiting code was cancelled" in str(error)
    assert not never.done()


def test_a_cancelled_kernel_can_neither_wait_nor_start_anything(runtime: sync.Runtime) -> None:
    gate = Gate()
    ran: list[int] = []
    below: list[Future[None]] = []
    done: Future[int] = Future()

    def body() -> None:
        gate()
        below.append(fork(ran.append, 1))
        with pytest.raises(ForkCancelled, match="the waiting code was cancelled"):
            done.result()

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    assert below[0].cancelled()
    assert ran == []


def test_a_cancelled_wait_is_no_asyncio_cancel(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        future = fork(pow, 2, 3)
        future.cancel()
    with pytest.raises(concurrent.futures.CancelledError, match="was cancelled") as caught:
        future.result()
    assert not isinstance(caught.value, asyncio.CancelledError)
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.exception()


async def test_awaiting_a_cancelled_fork_raises_fork_cancelled_and_does_not_cancel_the_waiter(
    runtime: sync.Runtime,
) -> None:
    with all_threads_busy(runtime):
        for way in (fork(pow, 2, 3), fork(Sleeper())):
            waiter = asyncio.create_task(outcome_of(way))
            await settle()
            way.cancel()
            error = await waiter
            assert isinstance(error, ForkCancelled)
            assert not isinstance(error, asyncio.CancelledError)
            assert waiter.cancelling() == 0
            assert not waiter.cancelled()


async def outcome_of(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except BaseException as error:
        return error


async def test_a_coroutine_fork_gets_asyncios_cancel_and_is_done_when_its_task_ends(runtime: sync.Runtime) -> None:
    may_end = asyncio.Event()
    order: list[str] = []

    async def body() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            order.append("told")
            await may_end.wait()
            order.append("ended")
            raise

    future = fork(body)
    await settle()
    assert future.cancel()
    await settle()
    assert order == ["told"]
    assert not future.done()
    assert runtime.statistics().suspended == 1
    may_end.set()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    assert order == ["told", "ended"]
    assert future.cancelled()


async def test_a_coroutine_fork_that_ends_well_in_spite_of_its_cancel_has_a_value(runtime: sync.Runtime) -> None:
    async def body() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
        return "finished all the same"

    future = fork(body)
    await settle()
    future.cancel()
    assert await future == "finished all the same"


async def test_a_coroutine_fork_cancelled_before_its_first_step_never_starts(runtime: sync.Runtime) -> None:
    sleeper = Sleeper()
    future = fork(sleeper)
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    await settle()
    assert not sleeper.started.is_set()


async def test_a_coroutine_fork_can_be_cancelled_from_another_thread(runtime: sync.Runtime) -> None:
    sleeper = Sleeper()
    future = fork(sleeper)
    await sleeper.started.wait()
    await asyncjit.call(future.cancel)
    with pytest.raises(ForkCancelled, match="was cancelled"):
        await future
    assert isinstance(sleeper.error, asyncio.CancelledError)


def test_a_script_can_cancel_a_coroutine_fork(runtime: sync.Runtime) -> None:
    started = threading.Event()
    ended = threading.Event()

    async def body() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    future = fork(body)
    assert started.wait(PATIENCE_S)
    assert future.cancel()
    with pytest.raises(ForkCancelled, match="was cancelled"):
        future.result(PATIENCE_S)
    assert ended.is_set()


def test_a_callback_is_told_of_a_cancel(runtime: sync.Runtime) -> None:
    told: list[bool] = []
    with all_threads_busy(runtime):
        future = fork(pow, 2, 3)
        future.add_done_callback(lambda done: told.append(done.cancelled()))
        future.cancel()
        assert told == [True]


# -- the tree


def test_cancelling_a_middle_node_cancels_what_is_below_and_nothing_else(runtime: sync.Runtime) -> None:
    nodes: list[Future[None]] = []
    below: list[Future[Any]] = []
    may_end: Future[str] = Future()

    def middle() -> None:
        below.extend(fork(wait_for_ever) for _ in range(3))
        Future[None]().result()  # for ever

    def root() -> str:
        sibling = fork(may_end.result)
        nodes.append(fork(middle))
        with pytest.raises(ForkCancelled, match=r"middle .* was cancelled"):
            nodes[0].result(PATIENCE_S)
        assert not sibling.cancelled()
        may_end.set_result("the sibling goes on")
        return sync.wait(sibling)

    future = fork(root)
    until(lambda: nodes and len(below) == 3)
    assert nodes[0].cancel()
    assert all(leaf.cancelled() for leaf in below)
    assert future.result(PATIENCE_S) == "the sibling goes on"


async def test_cancelling_a_middle_coroutine_cancels_what_is_below_and_nothing_else(runtime: sync.Runtime) -> None:
    sleepers = [Sleeper() for _ in range(3)]
    sibling = Sleeper()
    nodes: list[Future[Any]] = []

    async def middle() -> None:
        below = [fork(sleeper) for sleeper in sleepers]
        await below[0]

    async def root() -> str:
        nodes.extend([fork(sibling), fork(middle)])
        with pytest.raises(ForkCancelled, match=r"middle .* was cancelled"):
            await nodes[1]
        await settle()
        assert all(isinstance(sleeper.error, asyncio.CancelledError) for sleeper in sleepers)
        assert not sibling.is_ended
        return "root goes on"

    future = fork(root)
    await settle()
    assert nodes[1].cancel()
    assert await future == "root goes on"
    nodes[0].cancel()
    await when_idle(runtime)


def test_cancelling_reaches_through_kernels_and_coroutines_to_the_leaves(runtime: sync.Runtime) -> None:
    leaves: list[Future[Any]] = []

    def kernel(depth: int) -> None:
        descend(depth)
        Future[None]().result()

    async def coroutine(depth: int) -> None:
        descend(depth)
        await asyncio.get_running_loop().create_future()

    def descend(depth: int) -> None:
        leaves.append(fork(coroutine if depth % 2 else kernel, depth - 1) if depth else fork(wait_for_ever))

    future = fork(kernel, 6)
    until(lambda: len(leaves) == 7)
    assert future.cancel()
    when_idle(runtime).result(PATIENCE_S)
    assert all(leaf.cancelled() for leaf in leaves)


def test_a_kernel_that_fails_cancels_what_it_forked(runtime: sync.Runtime) -> None:
    below: list[Future[Any]] = []

    def body() -> None:
        below.append(fork(wait_for_ever))
        raise ValueError("and so no more")

    with pytest.raises(ValueError, match="and so no more"):
        fork(body).result(PATIENCE_S)
    with pytest.raises(ForkCancelled, match=r"wait_for_ever .* was cancelled"):
        below[0].result(PATIENCE_S)


async def test_a_coroutine_fork_that_fails_cancels_what_it_forked(runtime: sync.Runtime) -> None:
    sleeper = Sleeper()
    below: list[Future[Any]] = []

    async def body() -> None:
        below.append(fork(sleeper))
        below.append(fork(wait_for_ever))
        await sleeper.started.wait()
        raise ValueError("and so no more")

    with pytest.raises(ValueError, match="and so no more"):
        await fork(body)
    for future in below:
        with pytest.raises(ForkCancelled, match="was cancelled"):
            await future
    assert sleeper.is_ended


def test_a_parent_that_returns_hands_its_unfinished_forks_to_its_own_parent(runtime: sync.Runtime) -> None:
    below: list[Future[Any]] = []
    handed_over = threading.Event()

    def parent() -> None:
        below.append(fork(wait_for_ever))

    def grandparent() -> None:
        sync.wait(fork(parent))
        handed_over.set()
        Future[None]().result()

    future = fork(grandparent)
    assert handed_over.wait(PATIENCE_S)
    assert not below[0].cancelled()
    assert future.cancel()
    assert below[0].cancelled()


def test_forks_of_a_root_that_returns_go_on(runtime: sync.Runtime) -> None:
    gate = Gate()
    below: list[Future[str]] = []
    fork(lambda: below.append(fork(gate))).result(PATIENCE_S)
    gate.open()
    assert below[0].result(PATIENCE_S) == "passed"


async def test_a_plain_task_that_ends_cancelled_cancels_what_it_forked(runtime: sync.Runtime) -> None:
    sleeper = Sleeper()
    below: list[Future[Any]] = []

    async def plain() -> None:
        below.append(fork(sleeper))
        below.append(fork(wait_for_ever))
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(plain())
    await sleeper.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for future in below:
        assert isinstance(await outcome_of(future), ForkCancelled)


async def test_a_plain_task_that_fails_cancels_what_it_forked(runtime: sync.Runtime) -> None:
    below: list[Future[Any]] = []

    async def plain() -> None:
        below.append(fork(wait_for_ever))
        raise ValueError("a task's own error")

    with pytest.raises(ValueError, match="a task's own error"):
        await asyncio.create_task(plain())
    assert isinstance(await outcome_of(below[0]), ForkCancelled)


async def test_a_plain_task_that_returns_hands_its_forks_to_the_task_that_started_it(runtime: sync.Runtime) -> None:
    below: list[Future[Any]] = []
    handed_over = asyncio.Event()

    async def child() -> None:
        below.append(fork(wait_for_ever))

    async def parent() -> None:
        fork(int)  # makes it a parent before it starts the child
        await asyncio.create_task(child())
        handed_over.set()
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(parent())
    await handed_over.wait()
    await settle()
    assert not below[0].cancelled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await outcome_of(below[0]), ForkCancelled)


async def test_a_cancelled_task_leaves_the_forks_of_its_siblings_alone(runtime: sync.Runtime) -> None:
    gate = Gate()

    async def plain(fn: Callable[[], Any]) -> Any:
        return await fork(fn)

    other = asyncio.create_task(plain(gate))
    task = asyncio.create_task(plain(wait_for_ever))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    assert await other == "passed"


# -- a cancelled await


async def by_task_cancel(awaitable: Awaitable[Any]) -> None:
    async def plain() -> Any:
        return await awaitable

    task = asyncio.ensure_future(plain())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_anyio_scope(awaitable: Awaitable[Any]) -> None:
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await awaitable
    assert scope.cancelled_caught


async def by_anyio_deadline(awaitable: Awaitable[Any]) -> None:
    with anyio.move_on_after(0.001) as scope:
        await awaitable
    assert scope.cancelled_caught


async def by_timeout(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):  # asyncio's has no text
        async with asyncio.timeout(0.001):
            await awaitable


async def by_wait_for(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(awaitable, 0.001)


ways_to_cancel = pytest.mark.parametrize(
    "cancel_await", [by_task_cancel, by_anyio_scope, by_anyio_deadline, by_timeout, by_wait_for]
)


@ways_to_cancel
@pytest.mark.parametrize("wrap", [lambda future: future, asyncjit.wait], ids=["await fut", "await wait(fut)"])
async def test_a_cancelled_await_cancels_its_kernel(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]], wrap: Callable[[Any], Any]
) -> None:
    future = fork(wait_for_ever)
    await cancel_await(wrap(future))
    assert future.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@ways_to_cancel
async def test_a_cancelled_await_cancels_its_coroutine_fork(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    sleeper = Sleeper()
    future = fork(sleeper)
    await cancel_await(asyncjit.wait(future))
    assert isinstance(await outcome_of(future), ForkCancelled)
    assert isinstance(sleeper.error, asyncio.CancelledError)


@ways_to_cancel
async def test_a_cancelled_await_of_a_queued_kernel_lets_it_never_start(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        future = fork(ran.append, 1)
        await cancel_await(asyncjit.wait(future))
        assert future.cancelled()
    await when_idle(runtime)
    assert ran == []


@ways_to_cancel
async def test_a_cancelled_call_cancels_its_kernel(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    await cancel_await(asyncjit.call(wait_for_ever))
    await when_idle(runtime)
    assert runtime.statistics().cancelled == 1


@ways_to_cancel
async def test_a_cancelled_await_leaves_the_waiters_other_forks_alone(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    async def waiter() -> str:
        other = fork(Gate.__call__, gate)
        await cancel_await(asyncjit.wait(fork(Sleeper())))
        assert not other.cancelled()
        gate.open()
        return await other

    gate = Gate()
    assert await asyncio.create_task(waiter()) == "passed"


@ways_to_cancel
async def test_a_cancelled_await_leaves_a_fork_of_somebody_else_alone(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    gate = Gate()

    async def owner() -> str:
        future = fork(gate)
        futures.append(future)
        return await passed_on

    async def stranger() -> None:
        await cancel_await(asyncjit.wait(futures[0]))

    futures: list[Future[str]] = []
    passed_on: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    owning = asyncio.create_task(owner())
    await settle()
    await asyncio.create_task(stranger())
    assert not futures[0].cancelled()
    passed_on.set_result("the owner goes on")
    assert await owning == "the owner goes on"
    gate.open()
    assert await futures[0] == "passed"


@ways_to_cancel
async def test_one_of_two_waiters_that_is_cancelled_does_not_cancel_what_the_other_waits_for(
    runtime: sync.Runtime, cancel_await: Callable[[Any], Awaitable[None]]
) -> None:
    gate = Gate()
    future = fork(gate)
    other = asyncio.create_task(outcome_of(future))
    await settle()
    await cancel_await(asyncjit.wait(future))
    assert not future.cancelled()
    gate.open()
    assert await other == "passed"


async def test_the_last_of_two_waiters_that_is_cancelled_cancels_the_fork(runtime: sync.Runtime) -> None:
    future = fork(wait_for_ever)
    waiters = [asyncio.ensure_future(asyncjit.wait(future)) for _ in range(2)]
    await settle()
    waiters[0].cancel()
    await settle()
    assert not future.cancelled()
    waiters[1].cancel()
    await settle()
    assert future.cancelled()


async def test_a_shielded_await_does_not_cancel_its_fork(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncjit.wait(future)), 0.001)
    assert not future.cancelled()
    gate.open()
    assert await future == "passed"


async def test_a_cancelled_await_of_a_users_future_leaves_it_alone(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()
    await by_task_cancel(future)
    assert not future.done()
    future.set_result(3)
    assert await future == 3


async def test_leaving_a_map_early_cancels_what_is_in_flight(runtime: sync.Runtime) -> None:
    def body(n: int) -> int:
        if n:
            wait_for_ever()
        return n

    values = asyncjit.map(body, range(100), max_in_flight=4)
    async for value in values:
        assert value == 0
        break
    await values.aclose()  # type: ignore[attr-defined]
    await when_idle(runtime)
    now = runtime.statistics()
    assert (now.finished, now.forked) == (1, now.cancelled + 1)


# -- closing


def test_closing_with_cancel_drops_what_is_queued_and_waits_for_the_bodies(runtime: sync.Runtime) -> None:
    ran: list[int] = []
    with all_threads_busy(runtime):
        queued = [fork(ran.append, n) for n in range(10)]
        closer = threading.Thread(target=runtime.close, kwargs={"cancel": True})
        closer.start()
        until(lambda: all(future.cancelled() for future in queued))
        assert closer.is_alive()
    closer.join(PATIENCE_S)
    assert not closer.is_alive()
    assert ran == []


def test_closing_with_cancel_tells_what_runs(runtime: sync.Runtime) -> None:
    futures = [fork(wait_for_ever) for _ in range(runtime.num_interop_threads)]
    until(lambda: all(future.running() for future in futures))
    assert runtime.close(cancel=True, timeout=PATIENCE_S) == []
    assert all(future.cancelled() for future in futures)


def test_a_runtime_left_by_an_error_cancels_its_forks(num_interop_threads: int) -> None:
    futures: list[Future[Any]] = []
    with pytest.raises(ValueError, match="out of here"):
        with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
            futures += [fork(wait_for_ever) for _ in range(10)]
            raise ValueError("out of here")
    assert all(future.cancelled() for future in futures)
    assert_at_rest(runtime)
    assert runtime.statistics().cancelled == 10


async def test_closing_with_cancel_in_async_code_waits_for_cancelled_bodies(num_interop_threads: int) -> None:
    sleeper = Sleeper()
    runtime = asyncjit.Runtime(num_interop_threads, blas_threads=None)
    async with runtime:
        future = fork(sleeper)
        kernel = fork(wait_for_ever)
        await sleeper.started.wait()
        assert await runtime.aclose(cancel=True) == []
        assert sleeper.is_ended
        assert future.cancelled()
        assert kernel.cancelled()
        with pytest.raises(RuntimeClosed, match="takes no more forks"):
            fork(int)
    now = runtime.statistics()
    assert (now.forked, now.cancelled, now.running, now.suspended) == (2, 2, 0, 0)


def test_a_fork_cancelled_by_closing_raises_fork_cancelled(num_interop_threads: int) -> None:
    with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
        future = fork(wait_for_ever)
        runtime.close(cancel=True)
        with pytest.raises(ForkCancelled, match="was cancelled"):
            future.value()


# -- waiting for oneself


def test_a_kernel_that_waits_for_itself_is_told(runtime: sync.Runtime) -> None:
    itself: list[Future[Any]] = []
    known = threading.Event()

    def ouroboros() -> Any:
        assert known.wait(PATIENCE_S)
        return sync.wait(itself[0])

    itself.append(fork(ouroboros))
    known.set()
    with pytest.raises(DeadlockError, match=r"fork of .*ouroboros .* waits for the fork of .*ouroboros .*nobody can"):
        itself[0].result(PATIENCE_S)


def test_two_kernels_that_wait_for_each_other_are_told_with_the_chain(runtime: sync.Runtime) -> None:
    futures: dict[str, Future[Any]] = {}
    known = threading.Event()

    def anna() -> Any:
        assert known.wait(PATIENCE_S)
        return sync.wait(futures["bert"])

    def bert() -> Any:
        assert known.wait(PATIENCE_S)
        return sync.wait(futures["anna"])

    futures["anna"] = fork(anna)
    futures["bert"] = fork(bert)
    known.set()
    for future in futures.values():
        with pytest.raises(DeadlockError, match="waits for") as caught:
            future.result(PATIENCE_S)
        assert "anna" in str(caught.value)
        assert "bert" in str(caught.value)
        assert str(caught.value).count(" waits for ") == 2


def test_a_cycle_of_five_is_told(runtime: sync.Runtime) -> None:
    futures: list[Future[Any]] = []
    known = threading.Event()

    def link(n: int) -> Any:
        assert known.wait(PATIENCE_S)
        return sync.wait(futures[(n + 1) % 5])

    futures += [fork(link, n) for n in range(5)]
    known.set()
    for future in futures:
        with pytest.raises(DeadlockError, match="waits for") as caught:
            future.result(PATIENCE_S)
        assert str(caught.value).count(" waits for ") == 5


async def test_a_coroutine_that_awaits_its_own_future_is_told(runtime: sync.Runtime) -> None:
    itself: list[Future[Any]] = []

    async def ouroboros() -> Any:
        return await itself[0]

    itself.append(fork(ouroboros))
    with pytest.raises(DeadlockError, match=r"ouroboros .* waits for the fork of .*ouroboros"):
        await itself[0]


async def test_two_coroutines_that_await_each_other_are_told(runtime: sync.Runtime) -> None:
    futures: dict[str, Future[Any]] = {}

    async def anna() -> Any:
        return await futures["bert"]

    async def bert() -> Any:
        return await futures["anna"]

    futures["anna"] = fork(anna)
    futures["bert"] = fork(bert)
    for future in futures.values():
        with pytest.raises(DeadlockError, match="waits for"):
            await future


async def test_a_kernel_and_a_coroutine_that_wait_for_each_other_are_told(runtime: sync.Runtime) -> None:
    futures: dict[str, Future[Any]] = {}
    known = threading.Event()

    def kernel() -> Any:
        assert known.wait(PATIENCE_S)
        return sync.wait(futures["coroutine"])

    async def coroutine() -> Any:
        return await futures["kernel"]

    futures["coroutine"] = fork(coroutine)
    futures["kernel"] = fork(kernel)
    known.set()
    for future in futures.values():
        with pytest.raises(DeadlockError, match="waits for"):
            await future


@pytest.mark.parametrize(
    "wait_for",
    [
        lambda itself: sync.wait_all([itself], PATIENCE_S),
        lambda itself: sync.collect_all([itself]).result(PATIENCE_S),
        lambda itself: itself.then(lambda done: done.value()).result(PATIENCE_S),
    ],
    ids=["wait_all", "collect_all", "then"],
)
def test_a_kernel_that_waits_for_what_follows_from_itself_is_told(
    runtime: sync.Runtime, wait_for: Callable[[Future[Any]], Any]
) -> None:
    itself: list[Future[Any]] = []
    known = threading.Event()

    def ouroboros() -> Any:
        assert known.wait(PATIENCE_S)
        return wait_for(itself[0])

    itself.append(fork(ouroboros))
    known.set()
    with pytest.raises(DeadlockError, match=r"ouroboros .* waits for .* waits for the fork of .*ouroboros"):
        itself[0].result(PATIENCE_S)


def test_waits_that_cross_without_a_cycle_are_left_alone(runtime: sync.Runtime) -> None:
    def leaf() -> int:
        return 1

    def branch(futures: list[Future[int]]) -> int:
        return sum(sync.wait(future) for future in futures)

    leaves = [fork(leaf) for _ in range(4)]
    branches = [fork(branch, leaves) for _ in range(4)]
    assert fork(branch, branches).result(PATIENCE_S) == 16


# -- storms


def storm_node(depth: int, seed: int) -> int:
    """Fork a small tree and wait for some of it; a child's cancel is no reason to stop."""
    if depth == 0:
        return 1
    total = 1
    futures = [fork(storm_node, depth - 1, seed + n) for n in range(2)]
    for future in futures[: 1 + seed % 2]:
        try:
            total += sync.wait(future)
        except ForkCancelled:
            check_cancelled()  # it was this node, perhaps
    return total


async def storm_coroutine(depth: int, seed: int) -> int:
    """Do the same as a coroutine."""
    try:
        return 1 + await fork(storm_node, depth, seed)
    except ForkCancelled:
        return 0


@pytest.mark.timeout(120)
def test_after_a_storm_of_cancels_the_pool_is_idle_and_the_counts_add_up(runtime: sync.Runtime) -> None:
    """Fork 5,000 trees; three threads cancel half of them at random moments."""
    num_trees, num_cancellers = 5_000, 3
    choice = random.Random(8)
    futures: list[Future[int]] = []
    marks = [n for n in range(num_trees) if choice.random() < 0.5]
    choice.shuffle(marks)
    reached = threading.Event()

    def cancel(mine: list[int]) -> None:
        assert reached.wait(PATIENCE_S)
        for n in mine:
            while len(futures) <= n:
                time.sleep(0)
            futures[n].cancel()

    threads = [threading.Thread(target=cancel, args=(sorted(marks[k::num_cancellers]),)) for k in range(num_cancellers)]
    for thread in threads:
        thread.start()
    for n in range(num_trees):
        body: Callable[[int, int], Any] = storm_coroutine if n % 50 == 0 else storm_node
        futures.append(fork(body, choice.randrange(3), n))
        if n == num_trees // 10:
            reached.set()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    outcomes = sync.wait_all(futures, PATIENCE_S, return_exceptions=True)
    cancelled = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    assert all(isinstance(outcomes[n], ForkCancelled) for n in cancelled)
    assert cancelled
    assert set(cancelled) <= set(marks)
    assert all(outcomes[n] for n in range(num_trees) if n not in set(marks) and n % 50)
    when_idle(runtime).result(PATIENCE_S)
    now = runtime.statistics()
    assert (now.running, now.queued, now.blocked, now.suspended) == (0, 0, 0, 0)
    assert now.failed == 0
    assert now.forked == now.finished + now.failed + now.cancelled


async def test_after_a_storm_of_cancelled_tasks_the_pool_is_idle_and_the_counts_add_up(runtime: sync.Runtime) -> None:
    choice = random.Random(9)
    tasks = [asyncio.create_task(storm_coroutine(choice.randrange(3), n)) for n in range(1_000)]
    for n in choice.sample(range(1_000), 500):
        if n % 7 == 0:
            await asyncio.sleep(0)
        tasks[n].cancel()
    await asyncio.wait(tasks)
    await when_idle(runtime)
    now = runtime.statistics()
    assert (now.running, now.queued, now.blocked, now.suspended) == (0, 0, 0, 0)
    assert now.forked == now.finished + now.failed + now.cancelled


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_an_eager_task_that_is_cancelled_cancels_what_it_forked(runtime: sync.Runtime) -> None:
    loop = asyncio.get_running_loop()
    below: list[Future[Any]] = []

    async def plain() -> None:
        below.append(fork(wait_for_ever))
        await below[0]

    task: asyncio.Task[None] = asyncio.Task(plain(), loop=loop, eager_start=True)  # type: ignore[call-arg, unused-ignore]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert below[0].cancelled()
