"""Rule 4: a blocked waiter runs what it waits for, in place, if that has not started; and nothing else."""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, collect_all, fork, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until
from tests.rules.places import in_place, in_plain_thread, in_pool_thread, in_script, in_threads
from tests.scripts import check_script

# -- what claims


@contextlib.contextmanager
def one_permit_left(runtime: sync.Runtime) -> Iterator[None]:
    """Hold all permits but one, so that what a kernel forks can't start beside it."""
    gates = [Gate() for _ in range(runtime.num_interop_threads - 1)]
    for gate in gates:
        fork(gate)
    for gate in gates:
        gate.await_start()
    try:
        yield
    finally:
        for gate in gates:
            gate.open()


def in_pool_thread_alone(fn: Callable[[], Any]) -> Any:
    """Call `fn` in a kernel beside which no other can start while it runs."""
    with one_permit_left(sync.current_runtime()):
        return in_pool_thread(fn)


me = threading.get_ident


def in_group() -> int:
    with sync.fork_group() as group:
        future = group.fork(me)
    return future.value()


def exception_of() -> int:
    future = fork(me)
    assert future.exception() is None
    return future.value()


def completed_within(timeout: float) -> int:
    future = fork(me)
    assert future.exception(timeout) is None
    return future.value()


CLAIMING: dict[str, Callable[[], int]] = {
    "sync.wait": lambda: sync.wait(fork(me)),
    "result": lambda: fork(me).result(),
    "wait": lambda: fork(me).wait(),
    "exception": exception_of,
    "sync.call": lambda: sync.call(me),
    "sync.wait_all": lambda: sync.wait_all([fork(me)])[0],
    "collect_all": lambda: collect_all([fork(me)]).result()[0].value(),
    "then": lambda: fork(me).then(lambda future: future.value()).result(),
    "sync.map": lambda: next(sync.map(lambda _: me(), [0])),
    "leaving a group": in_group,
}
NOT_CLAIMING: dict[str, Callable[[], int]] = {
    "sync.wait": lambda: sync.wait(fork(me), timeout=PATIENCE_S),
    "result": lambda: fork(me).result(PATIENCE_S),
    "wait": lambda: fork(me).wait(PATIENCE_S),
    "exception": lambda: completed_within(PATIENCE_S),
    "sync.wait_all": lambda: sync.wait_all([fork(me)], PATIENCE_S)[0],
    "collect_all": lambda: collect_all([fork(me)]).result(PATIENCE_S)[0].value(),
    "sync.as_completed": lambda: next(sync.as_completed([fork(me)])).value(),
}


@pytest.mark.parametrize("way", CLAIMING)
def test_a_blocking_wait_in_a_kernel_runs_its_target_in_place(runtime: sync.Runtime, way: str) -> None:
    ours, theirs = in_pool_thread_alone(lambda: (me(), CLAIMING[way]()))
    assert theirs == ours


@pytest.mark.parametrize("place", [in_script, in_plain_thread])
@pytest.mark.parametrize("way", CLAIMING)
def test_a_blocking_wait_in_a_script_runs_its_target_in_place(
    runtime: sync.Runtime, place: Callable[..., Any], way: str
) -> None:
    def until_it_is_mine() -> None:
        while CLAIMING[way]() != me():  # a pool thread was faster
            pass

    place(until_it_is_mine)


@pytest.mark.parametrize("place", [in_pool_thread_alone, in_script, in_plain_thread])
@pytest.mark.parametrize("way", NOT_CLAIMING)
def test_a_wait_with_a_timeout_and_as_completed_never_claim(
    runtime: sync.Runtime, place: Callable[..., Any], way: str
) -> None:
    for _ in range(20):
        ours, theirs = place(lambda: (me(), NOT_CLAIMING[way]()))
        assert theirs != ours


def test_a_script_runs_nothing_while_no_permit_is_free(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime) as gates:
        future = fork(me)

        def script() -> int:
            assert sync.wait(future) != me()
            return 0

        def watch() -> int:
            until(lambda: future._waiters)  # the script sleeps
            assert not future.running()
            for gate in gates:
                gate.open()
            return 0

        in_threads(script, watch)


def test_a_kernel_runs_its_target_under_its_own_permit(runtime: sync.Runtime) -> None:
    inside = in_pool_thread_alone(lambda: sync.call(runtime.statistics))
    assert (inside.running, inside.blocked, inside.queued) == (runtime.num_interop_threads, 0, 0)
    assert inside.excess == 0


# -- never unrelated work


def test_a_wait_passes_over_what_was_queued_before_its_target(runtime: sync.Runtime) -> None:
    def kernel() -> list[str]:
        log: list[str] = []
        unrelated = [fork(log.append, "unrelated") for _ in range(10)]
        fork(log.append, "target").result()
        first = list(log)
        sync.wait_all(unrelated)
        return first

    assert in_pool_thread_alone(kernel) == ["target"]


@pytest.mark.parametrize("place", [in_pool_thread, in_script, in_plain_thread])
def test_a_waiter_under_a_callers_lock_runs_nothing_that_wants_the_lock(
    runtime: sync.Runtime, place: Callable[..., Any]
) -> None:
    """A re-entrant one, which the waiter's own thread would enter a second time in the middle of its work."""
    mutex = threading.RLock()
    target: Future[None] = Future()
    entered: list[bool] = []
    wanting: list[int] = []
    is_held = False

    def unrelated() -> None:
        wanting.append(me())
        assert mutex.acquire(timeout=PATIENCE_S)
        entered.append(is_held)
        mutex.release()

    def owner() -> list[Future[None]]:
        nonlocal is_held
        with mutex:
            is_held = True
            queued = [fork(unrelated) for _ in range(2 * runtime.num_interop_threads)]
            sync.wait(target)
            is_held = False
        return queued

    def watch() -> list[Future[None]]:
        until(lambda: target._waiters)
        until(lambda: len(wanting) == runtime.num_interop_threads)  # every permit is theirs
        target.set_result(None)
        return []

    for future in in_threads(lambda: place(owner), watch)[0]:
        sync.wait(future, timeout=PATIENCE_S)
    assert entered == [False] * 2 * runtime.num_interop_threads


# -- nesting


def nest(depth: int) -> list[int]:
    """Return the threads of a chain of kernels that wait for each other."""
    return [me(), *(sync.wait(fork(nest, depth - 1)) if depth else [])]


def lengths(idents: list[int]) -> list[int]:
    return [len(list(same)) for _, same in groupby(idents)]


def test_in_place_runs_nest_to_a_depth_of_32_and_then_block(runtime: sync.Runtime) -> None:
    """A kernel and 32 below it share a thread; the next one has a thread of its own."""
    idents = in_pool_thread_alone(lambda: nest(100)[0:])
    assert lengths(idents) == [33, 33, 33, 2]


def test_each_thread_of_a_nest_but_the_last_is_blocked(runtime: sync.Runtime) -> None:
    def deepest(depth: int) -> sync.Statistics:
        return sync.wait(fork(deepest, depth - 1)) if depth else runtime.statistics()

    now = in_pool_thread_alone(lambda: deepest(100))
    assert (now.blocked, now.running) == (3, runtime.num_interop_threads)


def test_a_script_nests_as_deep(runtime: sync.Runtime) -> None:
    with one_permit_left(runtime):
        idents = in_place(lambda: nest(40))
    assert lengths(idents) == [32, 9]


# -- a thread that runs in place is a pool thread meanwhile


def test_a_script_that_runs_in_place_counts_as_running(runtime: sync.Runtime) -> None:
    with one_permit_left(runtime):
        inside = in_place(runtime.statistics)
    assert (inside.running, inside.blocked) == (runtime.num_interop_threads, 0)


def test_a_script_that_runs_in_place_lends_its_permit_while_it_waits(runtime: sync.Runtime) -> None:
    """The wait has a timeout, so that it needs another thread, and with it the permit."""
    with one_permit_left(runtime):
        inside = in_place(lambda: fork(runtime.statistics).result(PATIENCE_S))
    assert (inside.running, inside.blocked) == (runtime.num_interop_threads, 1)


def test_a_script_that_runs_in_place_runs_what_that_waits_for_in_place(runtime: sync.Runtime) -> None:
    with one_permit_left(runtime):
        assert in_place(lambda: sync.wait(fork(me))) == me()


def test_a_script_is_a_script_again_afterwards(runtime: sync.Runtime) -> None:
    in_place(lambda: None)
    with all_threads_busy(runtime) as gates:
        target: Future[sync.Statistics] = Future()

        def watch() -> sync.Statistics:
            until(lambda: target._waiters)
            now = runtime.statistics()
            target.set_result(now)
            return now

        def script() -> sync.Statistics:
            in_threads(*[gate.await_start for gate in gates])
            return sync.wait(target)

        now = in_threads(script, watch)[0]
    assert (now.running, now.blocked) == (runtime.num_interop_threads, 0)


# -- another runtime's target


def test_a_kernel_runs_another_runtimes_target_in_place_if_that_has_a_permit(runtime: sync.Runtime) -> None:
    """It takes one there, and lends its own meanwhile."""

    def kernel() -> tuple[sync.Statistics, ...]:
        with sync.Runtime(1, blas_threads=None, local=True) as other:
            inside = in_place(lambda: (runtime.statistics(), other.statistics()))
            assert_at_rest(other)
        return *inside, runtime.statistics()

    ours, theirs, after = in_pool_thread(kernel)
    assert (ours.running, ours.blocked) == (0, 1)
    assert (theirs.running, theirs.blocked) == (1, 0)
    assert (after.running, after.blocked) == (1, 0)


def test_a_kernel_leaves_another_runtimes_target_alone_if_that_has_none(runtime: sync.Runtime) -> None:
    def kernel() -> tuple[int, int]:
        with sync.Runtime(1, blas_threads=None, local=True) as other:
            with all_threads_busy(other) as gates:
                future = fork(me)
                future.add_done_callback(lambda _: None)
                opened = threading.Thread(target=open_when_awaited, args=(future, gates[0]))
                opened.start()
                theirs = sync.wait(future)
                opened.join(PATIENCE_S)
            assert_at_rest(other)
        return me(), theirs

    def open_when_awaited(future: Future[int], gate: Gate) -> None:
        until(lambda: runtime.statistics().blocked == 1)
        assert not future.running()
        gate.open()

    ours, theirs = in_pool_thread(kernel)
    assert theirs != ours


# -- the debugger's mode


@pytest.fixture
def inline() -> Iterator[sync.Runtime]:
    """Return a runtime in the debugger's mode: it must end idle, and have made no thread."""
    before = set(threading.enumerate())
    with sync.Runtime(2, inline=True, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)
    assert runtime.statistics().threads == 0
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()


@pytest.mark.parametrize("ways", [CLAIMING, NOT_CLAIMING], ids=["without a timeout", "with a timeout or in turn"])
def test_inline_every_blocking_wait_runs_its_target_in_place(
    inline: sync.Runtime, ways: dict[str, Callable[[], int]]
) -> None:
    assert {way: wait() for way, wait in ways.items()} == dict.fromkeys(ways, me())


async def awaited_in_turn() -> int:
    async for future in asyncjit.as_completed([fork(me)]):
        return future.value()
    raise AssertionError


async def awaited_map() -> int:
    idents = [ident async for ident in asyncjit.map(lambda _: me(), [0])]
    return idents[0]


async def awaited_group() -> int:
    async with asyncjit.fork_group() as group:
        future = group.fork(me)
    return future.value()


async def awaited_itself() -> int:
    return await fork(me)


async def awaited_after_all() -> int:
    return (await collect_all([fork(me)]))[0].value()


AWAITING: dict[str, Callable[[], Any]] = {
    "await": awaited_itself,
    "wait": lambda: asyncjit.wait(fork(me)),
    "call": lambda: asyncjit.call(me),
    "wait_all": lambda: asyncjit.wait_all([fork(me)]),
    "collect_all": awaited_after_all,
    "as_completed": awaited_in_turn,
    "map": awaited_map,
    "leaving a group": awaited_group,
    "wait_for": lambda: asyncio.wait_for(asyncjit.wait(fork(me)), PATIENCE_S),
    "gather": lambda: asyncio.gather(asyncjit.wait(fork(me))),
}


@pytest.mark.parametrize("way", AWAITING)
def test_inline_every_await_runs_its_target_in_place(inline: sync.Runtime, way: str) -> None:
    async def main() -> Any:
        return await asyncio.wait_for(AWAITING[way](), PATIENCE_S)

    assert asyncio.run(main()) in (me(), [me()])


def test_inline_nothing_runs_before_it_is_waited_for(inline: sync.Runtime) -> None:
    log: list[int] = []
    futures = [fork(log.append, n) for n in range(3)]
    assert log == []
    futures[1].result()
    assert log == [1]
    assert inline.statistics().queued == 2


def test_inline_a_kernel_has_its_waiter_on_the_stack(inline: sync.Runtime) -> None:
    """That is what a debugger wants to see, however deep: there is no thread to go on in."""

    def model(depth: int) -> int:
        if depth:
            return sync.wait(fork(model, depth - 1))
        return [frame.function for frame in inspect.stack(context=0)].count("model")

    assert sync.wait(fork(model, 40)) == 41


def test_inline_a_kernel_that_a_loop_runs_may_block_there(inline: sync.Runtime) -> None:
    async def main() -> list[int]:
        return await fork(nest, 3)

    assert asyncio.run(main()) == [me()] * 4


async def doubled(n: int) -> tuple[int, int]:
    await asyncio.sleep(0)
    return await fork(lambda: 2 * n), me()


def returns_coroutine(n: int) -> Any:
    return doubled(n)


async def of_another(n: int) -> tuple[int, int]:
    return await fork(doubled, n)


def waits_for_coroutine(n: int) -> tuple[int, int]:
    return sync.wait(fork(doubled, n))


@pytest.mark.parametrize("model", [doubled, returns_coroutine, of_another, waits_for_coroutine])
@pytest.mark.parametrize("timeout", [None, PATIENCE_S])
def test_inline_a_coroutine_waited_for_runs_in_the_waiters_thread(
    inline: sync.Runtime, model: Callable[[int], Any], timeout: float | None
) -> None:
    assert sync.wait(fork(model, 4), timeout) == (8, me())


@pytest.mark.parametrize("model", [doubled, returns_coroutine, of_another])
def test_inline_a_coroutine_awaited_lives_on_the_loop(inline: sync.Runtime, model: Callable[[int], Any]) -> None:
    async def main() -> Any:
        return await asyncio.wait_for(asyncjit.call(model, 4), PATIENCE_S)

    assert asyncio.run(main()) == (8, me())


def runs_loop(n: int) -> tuple[int, int]:
    return asyncio.run(doubled(n))


@pytest.mark.parametrize("kernel", [waits_for_coroutine, runs_loop])
def test_inline_a_kernel_that_a_loop_runs_may_do_all_that_it_may_on_the_pool(
    inline: sync.Runtime, kernel: Callable[[int], tuple[int, int]]
) -> None:
    async def main() -> list[tuple[int, int]]:
        return await asyncjit.wait_all([fork(kernel, n) for n in range(3)])

    assert asyncio.run(main()) == [(2 * n, me()) for n in range(3)]


@pytest.mark.parametrize("is_left", ["closed", "left as a group"])
@pytest.mark.parametrize("kind", ["kernel", "coroutine"])
def test_inline_closing_and_leaving_a_group_run_the_rest(kind: str, is_left: str) -> None:
    log: list[tuple[int, int]] = []

    def kernel(n: int) -> None:
        log.append((n, me()))

    async def coroutine(n: int) -> None:
        await asyncio.sleep(0)
        kernel(n)

    body: Callable[[int], Any] = kernel if kind == "kernel" else coroutine
    with sync.Runtime(2, inline=True, blas_threads=None) as runtime:
        if is_left == "closed":
            for n in range(3):
                fork(body, n)
            assert_at_rest(runtime)
        else:
            with sync.fork_group() as group:
                for n in range(3):
                    group.fork(body, n)
        assert sorted(log) == [(n, me()) for n in range(3)]
    assert runtime.statistics().threads == 0


@pytest.mark.parametrize("is_left", ["closed", "left as a group"])
@pytest.mark.parametrize("kind", ["kernel", "coroutine"])
async def test_inline_closing_and_leaving_a_group_run_the_rest_on_a_loop(kind: str, is_left: str) -> None:
    log: list[int] = []

    async def coroutine() -> None:
        await asyncio.sleep(0)
        log.append(me())

    body: Callable[[], Any] = coroutine if kind == "coroutine" else lambda: log.append(me())
    async with asyncjit.Runtime(2, inline=True, blas_threads=None) as runtime:
        if is_left == "closed":
            for _ in range(3):
                fork(body)
            assert await runtime.aclose(timeout=PATIENCE_S) == []
        else:
            async with asyncjit.fork_group() as group:
                for _ in range(3):
                    group.fork(body)
        assert log == [me()] * 3
    assert runtime.statistics().threads == 0


def test_inline_is_a_variable_of_the_environment() -> None:
    check_script(
        """
        import asyncio
        import threading

        import asyncjit
        from asyncjit import sync

        async def main():
            return await asyncjit.wait_all([asyncjit.fork(threading.current_thread) for _ in range(10)])

        threads = sync.wait_all([sync.fork(threading.current_thread) for _ in range(10)], timeout=30)
        assert {*threads, *asyncio.run(main())} == {threading.main_thread()}
        assert threading.active_count() == 1
        """,
        {"ASYNCJIT_INLINE": "1"},
    )
