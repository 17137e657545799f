"""`Runtime`: its arguments, which one is the current, its bounds, executors, instruments and counts."""

import asyncio
import contextvars
import dataclasses
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import Future, Instrument, current_runtime, fork, sync
from asyncjit.errors import DeadlineExceeded, Overloaded, RuntimeClosed
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until
from tests.rules.places import HighWater, in_threads

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")

COUNTS = ["num_interop_threads", "num_threads", "blas_threads", "max_queued"]


@pytest.fixture(autouse=True)
def default_runtime() -> Iterator[None]:
    """Leave no default runtime behind."""
    yield
    assert asyncjit.close(timeout=PATIENCE_S) == []


# -- arguments


def make_runtime(**settings: Any) -> sync.Runtime:
    return sync.Runtime(**settings)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one_is_refused(name: str, count: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {count}"):
        make_runtime(**{name: count})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("count", "kind"), [(True, "bool"), (1.5, "float"), ("2", "str")])
def test_a_count_that_is_no_integer_is_refused(name: str, count: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer, got {count!r} of type {kind}"):
        make_runtime(**{name: count})


def test_a_count_may_be_an_integer_of_numpy() -> None:
    counts: dict[str, Any] = dict.fromkeys(COUNTS, np.int64(3))
    with sync.Runtime(**counts) as runtime:
        assert (runtime.num_interop_threads, runtime.num_threads, runtime.max_queued) == (3, 3, 3)
        assert type(runtime.num_interop_threads) is int


def test_counts_can_be_set_later_and_bad_ones_leave_the_old() -> None:
    with sync.Runtime(1, 1, blas_threads=None) as runtime:
        runtime.num_interop_threads, runtime.num_threads = 2, 3
        for name in ("num_interop_threads", "num_threads"):
            with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
                setattr(runtime, name, 0)
        assert (runtime.num_interop_threads, runtime.num_threads) == (2, 3)
        barrier = threading.Barrier(2)
        sync.wait_all([fork(barrier.wait, PATIENCE_S) for _ in range(2)], timeout=PATIENCE_S)


@pytest.mark.parametrize(("value", "is_inline"), [("1", True), ("0", False), ("", False)])
def test_the_environment_may_ask_for_the_debuggers_mode(
    value: str, is_inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCJIT_INLINE", value)
    with sync.Runtime(1, blas_threads=None) as runtime:
        gate = Gate()
        gate.open()
        assert sync.wait_all([fork(gate)]) == ["passed"]
        assert runtime.inline is is_inline
        assert runtime.statistics().threads == (0 if is_inline else 1)


def test_making_a_runtime_starts_no_thread() -> None:
    before = set(threading.enumerate())
    with sync.Runtime(4) as runtime:
        assert set(threading.enumerate()) <= before
        assert runtime.statistics().threads == 0


def test_a_runtime_tells_its_state() -> None:
    runtime = sync.Runtime(2, blas_threads=None)
    with runtime:
        with all_threads_busy(runtime):
            fork(int)
            assert repr(runtime) == "<asyncjit.Runtime open: 2 of 2 running, 1 queued>"
    assert repr(runtime) == "<asyncjit.Runtime closed: 0 of 2 running, 0 queued>"


# -- the current one


def test_the_default_runtime_is_made_once() -> None:
    default = current_runtime()
    assert current_runtime() is default
    assert in_threads(current_runtime, current_runtime) == [default, default]


def test_the_innermost_runtime_is_the_current_one() -> None:
    with sync.Runtime(1, blas_threads=None) as outer:
        with sync.Runtime(1, blas_threads=None) as inner:
            assert current_runtime() is inner
            sync.wait(fork(int))
            assert (outer.statistics().forked, inner.statistics().forked) == (0, 1)
        assert current_runtime() is outer
        sync.wait(fork(int))
        assert (outer.statistics().forked, inner.statistics().forked) == (1, 1)
    assert current_runtime() not in (outer, inner)


def test_plain_threads_see_the_last_entered_that_is_still_open() -> None:
    first, second = sync.Runtime(1, blas_threads=None), sync.Runtime(1, blas_threads=None)
    in_threads(first.enter)
    in_threads(second.enter)
    assert in_threads(current_runtime) == [second]
    first.close()
    assert in_threads(current_runtime) == [second]
    third = sync.Runtime(1, blas_threads=None)
    in_threads(third.enter)
    second.close()
    assert in_threads(current_runtime) == [third]
    third.close()
    (default,) = in_threads(current_runtime)
    assert default not in (first, second, third)


async def test_tasks_of_a_service_see_the_runtime_of_its_lifespan() -> None:
    """A handler's context is no copy of the one that the lifespan's runtime was entered in."""
    is_up, may_end = asyncio.Event(), asyncio.Event()
    entered: list[asyncjit.Runtime] = []

    async def lifespan() -> None:
        async with asyncjit.Runtime(1, blas_threads=None) as runtime:
            entered.append(runtime)
            is_up.set()
            await may_end.wait()

    async def handler() -> bool:
        await fork(int)
        return current_runtime() is entered[0]

    task = asyncio.create_task(lifespan())
    await is_up.wait()
    assert await asyncio.create_task(handler())
    assert await asyncio.to_thread(current_runtime) is entered[0]
    may_end.set()
    await task


def test_what_a_fork_forks_stays_on_the_runtime_of_the_fork() -> None:
    with sync.Runtime(1, blas_threads=None) as outer:
        gate = Gate()
        future = fork(lambda: (gate(), current_runtime())[1])
        gate.await_start()
        with sync.Runtime(1, blas_threads=None):
            gate.open()
            assert sync.wait(future) is outer


def test_a_local_runtime_is_seen_in_its_context_alone() -> None:
    with sync.Runtime(1, blas_threads=None) as outer:
        with sync.Runtime(1, blas_threads=None, local=True) as local:
            assert current_runtime() is local
            assert sync.wait(fork(current_runtime)) is local
            assert in_threads(current_runtime) == [outer]
            assert contextvars.copy_context().run(current_runtime) is local
            assert contextvars.Context().run(current_runtime) is outer
        assert current_runtime() is outer


async def test_a_local_runtime_is_seen_by_the_tasks_started_in_it() -> None:
    async def task() -> list[asyncjit.Runtime]:
        return [current_runtime(), await fork(current_runtime), await fork(coroutine)]

    async def coroutine() -> asyncjit.Runtime:
        return current_runtime()

    started = asyncio.Event()

    async def outsider() -> asyncjit.Runtime:
        await started.wait()
        return current_runtime()

    other = asyncio.create_task(outsider())
    async with asyncjit.Runtime(1, blas_threads=None, local=True) as local:
        started.set()
        assert await asyncio.create_task(task()) == [local] * 3
        assert await other is not local


async def test_two_tasks_may_have_a_local_runtime_each() -> None:
    both_are_in = asyncio.Barrier(2)

    async def task() -> bool:
        async with asyncjit.Runtime(1, blas_threads=None, local=True) as local:
            await both_are_in.wait()
            return await fork(current_runtime) is local

    assert all(await asyncio.gather(task(), task()))


def test_a_closed_runtime_can_not_be_entered() -> None:
    runtime = sync.Runtime(1, blas_threads=None)
    runtime.close()
    with pytest.raises(RuntimeClosed, match=r"<asyncjit.Runtime closed.* takes no more forks: make a new Runtime"):
        runtime.enter()


# -- max_queued


def test_a_fork_beyond_max_queued_is_refused_and_counted_nowhere() -> None:
    with sync.Runtime(2, blas_threads=None, max_queued=3) as runtime:
        with all_threads_busy(runtime):
            futures = [fork(pow, 2, n) for n in range(3)]
            with pytest.raises(Overloaded, match="3 forks are queued, and max_queued is 3: wait for some first"):
                fork(int)
            now = runtime.statistics()
            assert (now.forked, now.queued, now.cancelled) == (5, 3, 0)
            assert futures[0].cancel()
            futures[0] = fork(pow, 2, 5)
        assert sync.wait_all(futures) == [32, 2, 4]
        assert_at_rest(runtime)


def test_forks_that_find_a_free_thread_are_not_refused() -> None:
    with sync.Runtime(1, blas_threads=None, max_queued=1):
        for n in range(50):
            assert sync.wait(fork(pow, 2, n)) == 2**n


async def test_max_queued_does_not_count_coroutine_forks() -> None:
    async def model() -> int:
        return 3

    async with asyncjit.Runtime(1, blas_threads=None, max_queued=1) as runtime:
        gate = Gate()
        fork(gate)
        gate.await_start()
        fork(int)
        try:
            assert runtime.statistics().queued == 1
            assert await fork(model) == 3
        finally:
            gate.open()


def test_max_queued_holds_also_for_a_fork_that_comes_between() -> None:
    """An instrument forks in the middle of a fork, as another thread might."""

    class Meddler(Instrument):
        def forked(self, fork: Any) -> None:
            if fork.display_name() == "abs":
                sync.fork(int)

    with sync.Runtime(1, blas_threads=None, max_queued=1, instruments=[Meddler()]) as runtime:
        with all_threads_busy(runtime):
            with pytest.raises(Overloaded, match="1 forks are queued, and max_queued is 1"):
                fork(abs, -1)
            assert runtime.statistics().queued == 1


# -- executors


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    """Yield one process, started so that it inherits no thread's lock."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(4, thread_name_prefix="executor") as executor:
        yield executor


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Executor:
    executor: Executor = request.getfixturevalue(request.param)
    return executor


def test_an_executor_runs_the_bodies_of_kernels(executor: Executor) -> None:
    with sync.Runtime(2, blas_threads=None, executor=executor) as runtime:
        assert sync.wait_all([fork(pow, 2, n) for n in range(10)]) == [2**n for n in range(10)]
        assert sync.wait(fork(np.add, 1, 2)) == 3
        assert sync.wait(fork(sorted, [1, 2], reverse=True)) == [2, 1]
        assert_at_rest(runtime)


def test_the_bodies_run_on_the_executors_threads(threads: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=threads):
        assert sync.wait(fork(threading.current_thread)).name.startswith("executor")


async def test_an_executors_values_can_be_awaited(executor: Executor) -> None:
    async with asyncjit.Runtime(1, blas_threads=None, executor=executor):
        assert await fork(divmod, 7, 2) == (3, 1)


def test_an_error_in_an_executor_keeps_its_type_and_names_the_forks_site(executor: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=executor) as runtime:
        with pytest.raises(ZeroDivisionError, match="division") as caught:
            sync.wait(fork(divmod, 1, 0))
        assert "forked at test_runtime.py:" in "".join(caught.value.__notes__)
        assert runtime.statistics().failed == 1
        assert sync.wait(fork(divmod, 7, 2)) == (3, 1), "the executor goes on"


def test_an_error_in_an_executors_thread_is_that_very_object(threads: Executor) -> None:
    error = KeyError("lost")

    def kernel() -> None:
        raise error

    with sync.Runtime(1, blas_threads=None, executor=threads):
        with pytest.raises(KeyError, match="lost") as caught:
            sync.wait(fork(kernel))
        assert caught.value is error


def test_the_context_travels_to_an_executors_thread(threads: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=threads):
        token = COLOUR.set("red")
        future = fork(COLOUR.get)
        COLOUR.reset(token)
        assert sync.wait(future) == "red"


def test_a_fork_in_an_executor_has_the_name_of_its_own_function(threads: Executor) -> None:
    with sync.Runtime(1, blas_threads=None, executor=threads):
        assert "the fork of pow (forked at" in repr(fork(pow, 2, 3))


def test_a_body_in_an_executors_thread_forks_and_waits_as_a_pool_thread_does(threads: Executor) -> None:
    def body() -> int:
        return sync.wait_all([fork(int, "2"), fork(int, "3")], timeout=PATIENCE_S)[1] + sync.call(int, "4")

    with sync.Runtime(1, blas_threads=None, executor=threads) as runtime:
        assert fork(body).result(PATIENCE_S) == 7
        assert_at_rest(runtime)


def test_an_executor_runs_no_more_than_n_at_once(threads: Executor) -> None:
    water = HighWater()
    barrier = threading.Barrier(2)

    def kernel() -> None:
        with water.computing():
            barrier.wait(PATIENCE_S)

    with sync.Runtime(2, blas_threads=None, executor=threads):
        sync.wait_all([fork(kernel) for _ in range(10)], timeout=PATIENCE_S)
    assert water.most == 2


def test_coroutine_forks_do_not_go_to_the_executor(executor: Executor) -> None:
    async def model() -> str:
        return threading.current_thread().name

    with sync.Runtime(1, blas_threads=None, executor=executor):
        assert sync.wait(fork(model)) == "asyncjit facade"


# -- instruments, clock and counts


class Diary(Instrument):
    """Notes what happens to which fork."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def forked(self, fork: Any) -> None:
        self.lines.append(("forked", fork.display_name()))

    def strand_started(self, fork: Any) -> None:
        self.lines.append(("started", fork.display_name()))

    def strand_ended(self, fork: Any) -> None:
        self.lines.append(("stopped", fork.display_name()))

    def ended(self, fork: Any) -> None:
        self.lines.append(("ended", fork.display_name()))


def test_an_instrument_sees_the_life_of_a_fork() -> None:
    diary = Diary()
    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        sync.wait(fork(pow, 2, 3))
    assert diary.lines == [("forked", "pow"), ("started", "pow"), ("stopped", "pow"), ("ended", "pow")]


def test_an_instrument_of_a_runtime_sees_forks_wherever_they_are_made() -> None:
    diary = Diary()

    async def model() -> int:
        return await fork(abs, -1)

    with sync.Runtime(1, blas_threads=None, instruments=iter([diary])):
        in_threads(lambda: sync.wait(fork(pow, 2, 3)))
        contextvars.Context().run(lambda: sync.wait(fork(divmod, 2, 3)))
        sync.wait(fork(model))
        cancelled = fork(fork, hash, 3)
        sync.wait(sync.wait(cancelled))
    names = [name.rpartition(".")[2] for event, name in diary.lines if event == "forked"]
    assert names == ["pow", "divmod", "model", "abs", "fork", "hash"]
    assert sorted(name for event, name in diary.lines if event == "ended") == sorted(
        name for event, name in diary.lines if event == "forked"
    )


def test_an_instrument_sees_nothing_of_another_runtime() -> None:
    diary = Diary()
    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        with sync.Runtime(1, blas_threads=None):
            sync.wait(fork(pow, 2, 3))
    assert diary.lines == []


def test_deadlines_are_told_in_the_runtimes_clock() -> None:
    clock = ManualClock(start_s=1e9)
    with sync.Runtime(1, blas_threads=None, clock=clock):
        with sync.fail_after(5):
            sync.check_cancelled()
            clock.advance(4.9)
            sync.check_cancelled()
            clock.advance(0.2)
            with pytest.raises(DeadlineExceeded, match="passed its deadline"):
                sync.check_cancelled()


def test_statistics_count_what_is_there() -> None:
    """At the end a waiter whose future a thread outside completes has no permit to inherit."""
    future: Future[int] = Future()

    async def model() -> int:
        return await future

    with sync.Runtime(2, blas_threads=None) as runtime:
        held = Gate()
        blocked: Future[Any] = fork(lambda: (sync.wait(future), held()))
        until(lambda: runtime.statistics().blocked == 1)
        suspended = fork(model)
        until(lambda: len(future._waiters or ()) == 2)
        with pytest.raises(ZeroDivisionError, match="division"):
            sync.wait(fork(divmod, 1, 0))
        with all_threads_busy(runtime):
            queued = fork(int)
            fork(int).cancel()
            now = runtime.statistics()
            assert (now.running, now.queued, now.blocked, now.suspended) == (2, 1, 1, 1)
            assert (now.threads, now.spares, now.excess) == (3, 1, 0)
            assert (now.forked, now.finished, now.failed, now.cancelled) == (7, 0, 1, 1)
            future.set_result(3)
            held.await_start()
            assert (runtime.statistics().running, runtime.statistics().excess) == (3, 1)
            held.open()
        assert sync.wait_all([blocked, suspended, queued]) == [(3, "passed"), 3, 0]
        assert_at_rest(runtime)


def test_statistics_are_a_snapshot() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        before = runtime.statistics()
        sync.wait(fork(int))
        assert before.forked == 0
        with pytest.raises(dataclasses.FrozenInstanceError, match="forked"):
            before.forked = 1  # type: ignore[misc]
