"""Rule 4 in the debugger's mode: every wait, awaited or with a timeout too, runs its target in place."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import asyncjit
from asyncjit import collect_all, fork, sync
from tests.at_rest import PATIENCE_S, assert_at_rest
from tests.rules.ways import CLAIMING, NOT_CLAIMING, me, nest
from tests.scripts import check_script


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
