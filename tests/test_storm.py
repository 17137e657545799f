"""A storm: thousands of forks of every kind, half of them cancelled at random moments, and all adds up at the end."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit.errors import ForkCancelled
from asyncjit.testing import deterministic
from tests.at_rest import PATIENCE_S, assert_at_rest, until_async

NUM_FORKS = 5_000
NUM_TREES = 1_000  # of five forks each

Model = Callable[[int], Any]


def leaf(n: int) -> int:
    return n


async def leaf_async(n: int) -> int:
    await asyncio.sleep(0)
    return n


def kernel(n: int) -> int:
    """Return five times n: by itself, and by four more forks of which it waits for two below the other two."""
    return n + sum(sync.wait_all([fork(leaf, n), fork(nested, n)])) + sync.wait(fork(leaf, n))


def nested(n: int) -> int:
    return n + sync.wait(fork(leaf, n))


async def model(n: int) -> int:
    """Return what `kernel` does, as a coroutine fork with coroutine forks below."""
    return n + sum(await asyncjit.wait_all([fork(leaf_async, n), fork(nested_async, n)])) + await fork(leaf, n)


async def nested_async(n: int) -> int:
    return n + await fork(leaf, n)


def mixed(n: int) -> int:
    """Return what `kernel` does, as a kernel that waits for coroutine forks that await kernels."""
    return n + sum(sync.wait_all([fork(leaf_async, n), fork(nested_async, n)])) + sync.wait(fork(leaf, n))


KINDS: dict[str, list[Model]] = {"kernels": [kernel], "coroutines": [model], "mixed": [kernel, model, mixed]}
kinds = pytest.mark.parametrize("kind", KINDS)


def check(futures: list[Future[int]], cancelled: set[int]) -> None:
    """Every tree has its value or was cancelled, and none that nobody cancelled is."""
    for n, future in enumerate(futures):
        assert future.done()
        if future.cancelled():
            assert n in cancelled
        else:
            assert future.value() == 5 * n


def check_counts(runtime: sync.Runtime, futures: list[Future[int]]) -> None:
    assert_at_rest(runtime)
    now = runtime.statistics()
    num_done = sum(not future.cancelled() for future in futures)
    assert now.failed == sum(isinstance(error_of(future), Exception) for future in futures) == 0
    assert now.forked <= NUM_FORKS
    assert now.finished >= 5 * num_done
    assert now.cancelled >= len(futures) - num_done


def error_of(future: Future[int]) -> BaseException | None:
    return None if future.cancelled() else future.exception()


def storm(kind: str, draw: random.Random) -> list[Future[int]]:
    """Fork all trees from a script, and cancel half of them on the way."""
    futures: list[Future[int]] = []
    doomed = set(draw.sample(range(NUM_TREES), NUM_TREES // 2))
    waiting: list[int] = []
    for n in range(NUM_TREES):
        futures.append(fork(draw.choice(KINDS[kind]), n))
        if n in doomed:
            waiting.append(n)
        while waiting and draw.random() < 0.4:
            futures[waiting.pop(draw.randrange(len(waiting)))].cancel()
        if draw.random() < 0.05:
            sync.wait_all([futures[draw.randrange(n + 1)]], timeout=PATIENCE_S, return_exceptions=True)
    for n in waiting:
        futures[n].cancel()
    sync.wait_all(futures, timeout=PATIENCE_S, return_exceptions=True)
    check(futures, doomed)
    return futures


@kinds
def test_a_storm_on_threads(num_interop_threads: int, kind: str) -> None:
    with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
        futures = storm(kind, random.Random(num_interop_threads))
        check_counts(runtime, futures)


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_in_a_seeded_order(seed: int) -> None:
    with deterministic(seed, blas_threads=None) as runtime:
        futures = storm("kernels", random.Random(seed))
    check_counts(runtime, futures)


def test_a_storm_in_a_seeded_order_is_the_same_each_time() -> None:
    def ends() -> list[bool]:
        with deterministic(5, blas_threads=None):
            return [future.cancelled() for future in storm("kernels", random.Random(5))]

    assert ends() == ends()


@kinds
async def test_a_storm_on_a_loop(num_interop_threads: int, kind: str) -> None:
    """Half of the trees are cancelled, some by the cancel of a plain task that forked them and awaits them."""
    draw = random.Random(num_interop_threads)

    async def parent(n: int) -> int:
        value: int = await fork(draw.choice(KINDS[kind]), n)
        return value

    async with asyncjit.Runtime(num_interop_threads, blas_threads=None) as runtime:
        tasks: list[asyncio.Task[int]] = []
        futures: list[Future[int]] = []
        for n in range(NUM_TREES // 2):
            tasks.append(asyncio.create_task(parent(n)))
            futures.append(fork(draw.choice(KINDS[kind]), n))
            if draw.random() < 0.3:
                await asyncio.sleep(0)
            if draw.random() < 0.5:
                tasks[draw.randrange(n + 1)].cancel()
            if draw.random() < 0.5:
                futures[draw.randrange(n + 1)].cancel()
        for n, outcome in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            assert outcome == 5 * n or isinstance(outcome, asyncio.CancelledError)
        values: list[int | BaseException] = await asyncjit.wait_all(futures, return_exceptions=True)
        for n, value in enumerate(values):
            assert value == 5 * n or isinstance(value, ForkCancelled)
        assert any(task.cancelled() for task in tasks)
        await until_async(lambda: runtime.pool.is_idle)
        now = runtime.statistics()
        assert now.forked == now.finished + now.cancelled
        assert now.failed == 0
        assert (now.running, now.queued, now.blocked, now.suspended, now.excess) == (0, 0, 0, 0, 0)
