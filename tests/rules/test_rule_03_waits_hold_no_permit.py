"""Rule 3: a wait never holds a permit, and never needs one to go on; so no nesting can get stuck."""

import asyncio
import threading
from collections.abc import Callable

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit.errors import Overloaded
from tests.at_rest import PATIENCE_S, Gate, until
from tests.rules.places import in_threads
from tests.rules.trees import tree, tree_mixed_async

# -- from several threads


def test_eight_threads_wait_for_one_future(runtime: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    all_wait = threading.Barrier(9)

    def wait() -> str:
        all_wait.wait(PATIENCE_S)
        return sync.wait(future)

    def open_gate() -> str:
        all_wait.wait(PATIENCE_S)
        until(lambda: len(future._waiters or ()) == 8)
        gate.open()
        return "passed"

    assert in_threads(*[wait] * 8, open_gate) == ["passed"] * 9


def test_eight_threads_race_for_one_fork_that_has_not_started(runtime: sync.Runtime) -> None:
    for _ in range(50):
        runs: list[int] = []
        all_wait = threading.Barrier(8)

        def kernel(runs: list[int] = runs) -> int:
            runs.append(1)
            return 5

        future = fork(kernel)

        def wait(future: Future[int] = future, all_wait: threading.Barrier = all_wait) -> int:
            all_wait.wait(PATIENCE_S)
            return sync.wait(future)

        assert in_threads(*[wait] * 8) == [5] * 8
        assert runs == [1]


def test_eight_kernels_wait_for_one_future(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()
    waiters = [fork(sync.wait, future) for _ in range(8)]
    until(lambda: runtime.statistics().blocked == 8)
    future.set_result(5)
    assert sync.wait_all(waiters, timeout=PATIENCE_S) == [5] * 8


def test_two_loops_in_two_threads_on_one_runtime(runtime: sync.Runtime) -> None:
    async def main() -> int:
        return sum(await asyncjit.wait_all([fork(tree_mixed_async, 5, 5) for _ in range(20)]))

    assert in_threads(lambda: asyncio.run(main()), lambda: asyncio.run(main())) == [20 * 31] * 2


def test_a_future_of_one_loop_is_awaited_on_another(runtime: sync.Runtime) -> None:
    handed_over: Future[Future[int]] = Future()
    is_awaited = threading.Event()

    async def giver() -> int:
        async def model() -> int:
            while not is_awaited.is_set():
                await asyncio.sleep(0)
            return 5

        future = fork(model)
        handed_over.set_result(future)
        return await future

    async def taker() -> int:
        future = await handed_over
        asyncio.get_running_loop().call_soon(is_awaited.set)
        return await future

    assert in_threads(lambda: asyncio.run(giver()), lambda: asyncio.run(taker())) == [5, 5]


# -- the permit


def test_a_wait_gives_its_permit_to_a_queued_kernel(runtime: sync.Runtime) -> None:
    """All threads wait for what only a queued kernel brings."""
    future: Future[int] = Future()
    waiters = [fork(sync.wait, future) for _ in range(runtime.num_interop_threads * 3)]
    fork(future.set_result, 5)
    assert sync.wait_all(waiters, timeout=PATIENCE_S) == [5] * len(waiters)


def test_while_one_waits_n_others_run(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()
    waiter = fork(sync.wait, future)
    until(lambda: runtime.statistics().blocked == 1)
    barrier = threading.Barrier(runtime.num_interop_threads)
    sync.wait_all([fork(barrier.wait, PATIENCE_S) for _ in range(barrier.parties)], timeout=PATIENCE_S)
    future.set_result(5)
    assert sync.wait(waiter, timeout=PATIENCE_S) == 5


def kernel_target() -> Future[int]:
    return fork(pow, 3, 2)


async def nine() -> int:
    await asyncio.sleep(0)
    return 9


def coroutine_target() -> Future[int]:
    return fork(nine)


def handmade_target() -> Future[int]:
    """Return a future that a thread completes which is not of the pool."""
    future: Future[int] = Future()
    threading.Thread(target=future.set_result, args=(9,)).start()
    return future


@pytest.mark.parametrize("target", [kernel_target, coroutine_target, handmade_target])
def test_a_callers_lock_held_across_a_wait_stops_nobody(
    runtime: sync.Runtime, target: Callable[[], Future[int]]
) -> None:
    """The owner waits under a lock, and before it come N kernels that want the lock."""
    mutex = threading.Lock()

    def rival() -> None:
        assert mutex.acquire(timeout=PATIENCE_S)
        mutex.release()

    def owner() -> int:
        with mutex:
            rivals = [fork(rival) for _ in range(runtime.num_interop_threads)]
            value = target().result()
        sync.wait_all(rivals)
        return value

    assert sync.wait(fork(owner), timeout=PATIENCE_S) == 9


@pytest.mark.parametrize("kind", ["kernel", "coroutine", "future"])
def test_a_callers_lock_is_given_back_while_n_kernels_hold_every_permit_and_want_it(
    runtime: sync.Runtime, kind: str
) -> None:
    mutex = threading.Lock()
    may_end = threading.Event()
    handmade: Future[int] = Future()

    def target() -> int:
        assert may_end.wait(PATIENCE_S)
        return 9

    async def target_async() -> int:
        while not may_end.is_set():
            await asyncio.sleep(0)
        return 9

    targets: dict[str, Callable[[], Future[int]]] = {
        "kernel": lambda: fork(target),
        "coroutine": lambda: fork(target_async),
        "future": lambda: handmade,
    }

    def owner() -> int:
        with mutex:
            return targets[kind]().result(timeout=PATIENCE_S)

    future = fork(owner)
    until(lambda: runtime.statistics().blocked == 1)
    wanting: list[int] = []

    def rival() -> None:
        wanting.append(1)
        assert mutex.acquire(timeout=PATIENCE_S)
        mutex.release()

    rivals = [fork(rival) for _ in range(runtime.num_interop_threads)]
    num_wanting = runtime.num_interop_threads - (kind == "kernel")  # the target holds a permit itself
    until(lambda: len(wanting) == num_wanting)
    may_end.set()
    if kind == "future":
        handmade.set_result(9)
    assert sync.wait(future, timeout=PATIENCE_S) == 9
    sync.wait_all(rivals, timeout=PATIENCE_S)


def test_a_waiter_goes_on_before_any_queued_kernel_when_its_target_ends() -> None:
    """With one permit, and a queue that is kept full, nothing may start between the target's end and its waiter."""
    with sync.Runtime(1, blas_threads=None) as runtime:
        log: list[str] = []
        is_over = threading.Event()

        def churn() -> None:
            log.append("churn")
            if not is_over.is_set():
                fork(churn)

        def target() -> None:
            log.append("target")

        def waiter() -> None:
            for _ in range(3):
                fork(churn)
            for _ in range(20):
                fork(target).result(timeout=PATIENCE_S)
                log.append("waiter")
            is_over.set()

        sync.wait(fork(waiter), timeout=PATIENCE_S)
        ends = [log[i + 1] for i, entry in enumerate(log) if entry == "target"]
        assert ends == ["waiter"] * 20
        assert log.count("churn") >= 20
        until(lambda: runtime.pool.is_idle)


async def test_a_kernel_that_awaits_nothing_of_the_pool_is_not_starved_by_a_full_queue(runtime: sync.Runtime) -> None:
    is_over = threading.Event()

    def churn() -> None:
        if not is_over.is_set():
            fork(churn)

    def kernel() -> int:
        return sum(fork(nine).result() for _ in range(20))

    for _ in range(runtime.num_interop_threads * 2):
        fork(churn)
    try:
        assert await fork(kernel) == 180
    finally:
        is_over.set()


# -- threads


def test_idle_spares_are_kept_for_the_next_blocking_wait(runtime: sync.Runtime) -> None:
    def block_twenty() -> int:
        future: Future[None] = Future()
        waiters = [fork(sync.wait, future) for _ in range(20)]
        until(lambda: runtime.statistics().blocked == 20)
        fork(future.set_result, None)
        sync.wait_all(waiters, timeout=PATIENCE_S)
        until(lambda: runtime.statistics().running == 0)
        return runtime.statistics().threads

    first = block_twenty()
    now = runtime.statistics()
    assert 20 < first <= 20 + runtime.num_interop_threads
    assert now.spares == first - runtime.num_interop_threads
    assert block_twenty() <= 20 + runtime.num_interop_threads


def test_a_pool_of_n_needs_n_threads(runtime: sync.Runtime) -> None:
    sync.wait_all([fork(int, n) for n in range(1000)], timeout=PATIENCE_S)
    now = runtime.statistics()
    assert now.threads <= runtime.num_interop_threads
    assert now.spares == 0


def test_a_blocking_wait_beyond_the_most_blocked_threads_raises(runtime: sync.Runtime) -> None:
    """It raises instead of hanging; the 256 before it go on when they can."""
    future: Future[int] = Future()
    waiters = [fork(sync.wait, future) for _ in range(256)]
    until(lambda: runtime.statistics().blocked == 256)
    with pytest.raises(Overloaded, match=r"256 threads are blocked in waits, the most allowed: make the .* coroutines"):
        sync.wait(fork(sync.wait, future), timeout=PATIENCE_S)
    assert sync.wait(fork(tree, 3), timeout=PATIENCE_S) == 4, "what needs no thread more goes on"
    future.set_result(5)
    assert sync.wait_all(waiters, timeout=PATIENCE_S) == [5] * 256


def test_awaiting_needs_no_thread(runtime: sync.Runtime) -> None:
    future: Future[int] = Future()

    async def waiter() -> int:
        return await future

    waiters = [fork(waiter) for _ in range(1000)]
    until(lambda: len(future._waiters or ()) == 1000)
    assert runtime.statistics().blocked == 0
    assert runtime.statistics().suspended == 1000
    future.set_result(5)
    assert sync.wait_all(waiters, timeout=PATIENCE_S) == [5] * 1000
