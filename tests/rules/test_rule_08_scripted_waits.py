"""Rule 8 of scripted waits: deadlines and timeouts end them, and nobody waits for himself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit._core.context import Instrument
from asyncjit.errors import DeadlineExceeded, DeadlockError
from asyncjit.testing import ManualClock
from tests.at_rest import (
    PATIENCE_S,
    assert_at_rest,
    sleep_for_ever,
    until,
    wait_for_ever,
    when_idle,
)
from tests.core.scripted import run, scripted, wait_for


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


# -- deadlines and timeouts


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=[1, 2], ids=lambda n: f"N{n}")
def timed(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[sync.Runtime]:
    with sync.Runtime(request.param, blas_threads=None, clock=clock) as runtime:
        yield runtime
        assert_at_rest(runtime)


def test_a_deadline_around_the_fork(timed: sync.Runtime, clock: ManualClock) -> None:
    log = Log()
    with sync.fail_after(5):
        waiting = fork(log.wait, Future())
    suspended(timed)
    clock.advance(4.9)
    assert timed.statistics().suspended == 1
    clock.advance(0.2)
    with pytest.raises(DeadlineExceeded, match="passed its deadline"):
        waiting.result(PATIENCE_S)
    sync.wait(when_idle(timed), PATIENCE_S)
    assert log.told == [DeadlineExceeded, "finally"]


def test_a_deadline_inside_the_fork(timed: sync.Runtime, clock: ManualClock) -> None:
    @scripted
    async def body() -> str:
        try:
            with sync.fail_after(5):
                await run(sync.wait, Future())
        except DeadlineExceeded:
            return str(await run(sync.wait, fork(lambda: "after")))
        return "never"

    waiting = fork(body)
    suspended(timed)
    clock.advance(6)
    assert waiting.result(PATIENCE_S) == "after"


def test_a_timeout_of_one_wait(timed: sync.Runtime, clock: ManualClock) -> None:
    @scripted
    async def body() -> tuple[str, int]:
        try:
            await run(sync.wait, target, timeout=5)
        except TimeoutError as error:
            return str(error), await run(sync.wait, target, timeout=5)
        return "never", 0

    target: Future[int] = Future()
    waiting = fork(body)
    suspended(timed)
    clock.advance(6)
    until(lambda: len(target._waiters or ()) == 1 and timed.statistics().suspended == 1)
    target.set_result(3)
    text, value = waiting.result(PATIENCE_S)
    assert text.endswith("was not done within 5 s")
    assert value == 3


def test_a_timeout_of_nothing_raises_at_once_and_one_that_is_none_in_time_does_not(runtime: sync.Runtime) -> None:
    @scripted
    async def body(timeout: Any) -> int:
        return await run(sync.wait, fork(int, 4), timeout=timeout)

    assert fork(body, PATIENCE_S).result(PATIENCE_S) == 4
    with pytest.raises(TimeoutError, match="within 0 s"):
        fork(body, 0).result(PATIENCE_S)


def test_a_timeout_that_is_no_number_is_told_in_the_body_and_the_pool_goes_on(runtime: sync.Runtime) -> None:
    @scripted
    async def body() -> str:
        try:
            await run(sync.wait, Future(), timeout="1")
        except TypeError:
            return "told"
        return "never"

    for _ in range(5):
        assert fork(body).result(PATIENCE_S) == "told"


@pytest.mark.timeout(120)
async def test_a_timeout_by_the_machines_clock(runtime: sync.Runtime) -> None:
    @scripted
    async def body() -> bool:
        try:
            await run(sync.wait, Future(), timeout=0.01)
        except TimeoutError:
            return True
        return False

    assert await asyncjit.wait_all([fork(body) for _ in range(20)]) == [True] * 20


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_timeout_outlasts_a_close_that_did_not_wait(has_begun: bool) -> None:
    @scripted
    async def body() -> str:
        if not has_begun:
            await run(sync.wait, target)
        try:
            await run(sync.wait, Future(), timeout=0.2)
        except TimeoutError:
            return "timed out"
        return "woken"

    target: Future[None] = Future()
    with sync.Runtime(1, blas_threads=None) as runtime:
        future = fork(body)
        until(lambda: runtime.statistics().suspended)
        assert len(runtime.close(timeout=0)) == 1
    target.set_result(None)
    assert future.result(PATIENCE_S) == "timed out"


def test_a_wait_that_need_not_begin_leaves_no_timer_behind() -> None:
    class Completer(Instrument):
        def wait_started(self, scope: Any, future: Any) -> None:
            if future is target:
                target.set_result(None)

    @scripted
    async def body() -> None:
        await run(sync.wait, target, timeout=3600)

    target: Future[None] = Future()
    with sync.Runtime(1, blas_threads=None, instruments=[Completer()]) as runtime:
        hosted = runtime.facade.inbox().hosted
        fork(body).result(PATIENCE_S)
        fork(asyncio.sleep, 0).result(PATIENCE_S)  # behind the timer's letter
        until(lambda: not hosted)
        assert_at_rest(runtime)


def test_a_target_that_passes_its_own_deadline(timed: sync.Runtime, clock: ManualClock) -> None:
    for target_fn in (wait_for_ever, sleep_for_ever):
        with sync.fail_after(5):
            target: Future[None] = fork(target_fn)
        until(target.running)
        waiting = fork(wait_for, target)
        if timed.num_interop_threads > 1 or target_fn is sleep_for_ever:
            until(lambda target=target: target._waiters)  # type: ignore[misc]
        clock.advance(6)
        with pytest.raises(DeadlineExceeded, match="passed its deadline"):
            waiting.result(PATIENCE_S)
        sync.wait(when_idle(timed), PATIENCE_S)


# -- deadlocks


def test_a_scripted_fork_that_waits_for_itself_is_told(runtime: sync.Runtime) -> None:
    itself: list[Future[Any]] = []
    known = threading.Event()

    @scripted
    async def ouroboros() -> Any:
        assert known.wait(PATIENCE_S)
        return await run(sync.wait, itself[0])

    itself.append(fork(ouroboros))
    known.set()
    with pytest.raises(DeadlockError, match=r"fork of .*ouroboros .* waits for the fork of .*ouroboros .*nobody can"):
        itself[0].result(PATIENCE_S)


@pytest.mark.parametrize("kinds", ["ss", "sk", "sc", "skc", "sskkcc", "sss"])
def test_a_circle_of_forks_of_any_kind_is_told_with_the_chain(runtime: sync.Runtime, kinds: str) -> None:
    futures: list[Future[Any]] = []
    known: Future[None] = Future()

    def kernel(n: int) -> Any:
        sync.wait(known)
        return sync.wait(futures[(n + 1) % len(kinds)])

    @scripted
    async def script(n: int) -> Any:
        await run(sync.wait, known)
        return await run(sync.wait, futures[(n + 1) % len(kinds)])

    async def coroutine(n: int) -> Any:
        await known
        return await futures[(n + 1) % len(kinds)]

    fns: dict[str, Callable[[int], Any]] = {"k": kernel, "s": script, "c": coroutine}
    futures += [fork(fns[kind], n) for n, kind in enumerate(kinds)]
    known.set_result(None)
    for future in futures:
        with pytest.raises(DeadlockError, match="waits for") as caught:
            future.result(PATIENCE_S)
        assert str(caught.value).count(" waits for ") == len(kinds)


@pytest.mark.parametrize(
    "wait_for_what",
    [
        lambda itself: run(sync.wait_all, [itself]),
        lambda itself: run(sync.wait, sync.collect_all([itself])),
        lambda itself: run(sync.wait, itself.then(lambda done: done.value())),
    ],
    ids=["wait_all", "collect_all", "then"],
)
def test_a_scripted_fork_that_waits_for_what_follows_from_itself_is_told(
    runtime: sync.Runtime, wait_for_what: Callable[[Future[Any]], Any]
) -> None:
    itself: list[Future[Any]] = []
    known = threading.Event()

    @scripted
    async def ouroboros() -> Any:
        assert known.wait(PATIENCE_S)
        return await wait_for_what(itself[0])

    itself.append(fork(ouroboros))
    known.set()
    with pytest.raises(DeadlockError, match=r"ouroboros .* waits for .* waits for the fork of .*ouroboros"):
        itself[0].result(PATIENCE_S)


class BothAtOnce(Instrument):
    """Holds two waits until both have begun, and neither has seen the other."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._seen: set[str] = set()

    def wait_started(self, scope: Any, future: Any) -> None:
        name = scope.display_name() if scope is not None else ""
        if ("anna" in name or "bert" in name) and name not in self._seen:
            self._seen.add(name)
            self._barrier.wait(PATIENCE_S)


def test_two_that_begin_to_wait_for_each_other_at_once_are_told() -> None:
    futures: dict[str, Future[Any]] = {}
    known = threading.Event()

    @scripted
    async def anna() -> Any:
        assert known.wait(PATIENCE_S)
        return await run(sync.wait, futures["bert"])

    @scripted
    async def bert() -> Any:
        assert known.wait(PATIENCE_S)
        return await run(sync.wait, futures["anna"])

    with sync.Runtime(2, blas_threads=None, instruments=(BothAtOnce(),)) as runtime:
        futures["anna"] = fork(anna)
        futures["bert"] = fork(bert)
        known.set()
        for future in futures.values():
            with pytest.raises(DeadlockError, match="waits for"):
                future.result(PATIENCE_S)
        assert_at_rest(runtime)


def test_waits_that_cross_without_a_circle_are_left_alone(runtime: sync.Runtime) -> None:
    @scripted
    async def branch(futures: list[Future[int]]) -> int:
        total = 0
        for future in futures:
            total += await run(sync.wait, future)
        return total

    leaves = [fork(lambda: 1) for _ in range(4)]
    branches = [fork(branch, leaves) for _ in range(4)]
    assert fork(branch, branches).result(PATIENCE_S) == 16
