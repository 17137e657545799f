"""Rule 8, the tree: a cancel reaches all that was forked below, whatever it is, and nothing else."""

import asyncio
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from asyncjit import Future, check_cancelled, fork, sync
from asyncjit.errors import ForkCancelled
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    Sleeper,
    assert_at_rest,
    outcome_of,
    settle,
    sleep_for_ever,
    until,
    wait_for_ever,
    when_idle,
)

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


def test_a_cancel_starts_nothing_below_on_a_thread_that_a_cancelled_kernel_sets_free() -> None:
    ran: list[int] = []
    below: list[Future[Any]] = []
    may_end = Gate()

    async def parent() -> None:
        below.extend((fork(wait_for_ever), fork(ran.append, 1)))
        try:
            await sleep_for_ever()
        finally:
            may_end()  # its own end would cancel what is below, too

    with sync.Runtime(1, blas_threads=None) as runtime:
        future = fork(parent)
        until(lambda: len(below) == 2 and below[0].running())
        below[0].add_done_callback(lambda _: until(lambda: ran or runtime.pool.running == 0))
        future.cancel()
        may_end.open()
        assert below[1].cancelled()
        assert_at_rest(runtime)
    assert ran == []


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

    def cancel_one(n: int) -> None:
        until(lambda: len(futures) > n)
        futures[n].cancel()

    def cancel(mine: list[int]) -> None:
        assert reached.wait(PATIENCE_S)
        for n in mine:
            cancel_one(n)

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
