"""Rule 8 of waits that can never end: who would wait for himself is told so, with the chain."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from asyncjit import Future, fork, sync
from asyncjit.errors import DeadlockError
from tests.at_rest import PATIENCE_S


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
