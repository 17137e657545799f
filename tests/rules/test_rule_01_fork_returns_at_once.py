"""Rule 1: fork returns at once, from anywhere, and never runs the callable itself."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import Future, fork, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, until
from tests.rules.callables import KINDS, add, add_async, decorated
from tests.rules.places import PLACES, in_loop_thread, in_plain_thread, in_pool_thread, in_script
from tests.scripts import check_script

# -- every kind of thing that can be called

every_kind = pytest.mark.parametrize("kind", KINDS)
in_every_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


@every_kind
@pytest.mark.parametrize("place", [in_script, in_plain_thread, in_pool_thread], ids=lambda place: place.__name__)
def test_whatever_can_be_called_can_be_forked_and_waited_for(
    runtime: sync.Runtime, place: Callable[..., Any], kind: str
) -> None:
    fn, args, kwargs, value = KINDS[kind]
    assert place(lambda: sync.wait(fork(fn, *args, **kwargs))) == value
    assert place(lambda: sync.call(fn, *args, **kwargs)) == value
    assert sync.wait(place(lambda: fork(fn, *args, **kwargs)), timeout=PATIENCE_S) == value


@every_kind
async def test_whatever_can_be_called_can_be_forked_and_awaited(runtime: sync.Runtime, kind: str) -> None:
    fn, args, kwargs, value = KINDS[kind]
    assert await fork(fn, *args, **kwargs) == value
    assert await asyncjit.call(fn, *args, **kwargs) == value


# -- at once


@in_every_place
def test_fork_returns_while_all_threads_are_busy(runtime: sync.Runtime, place: Callable[..., Any]) -> None:
    gates = [Gate() for _ in range(runtime.num_interop_threads)]

    def fork_all() -> list[Future[Any]]:
        futures: list[Future[Any]] = [*(fork(gate) for gate in gates), fork(add, 3)]
        assert not any(future.done() for future in futures)
        return futures

    futures = place(fork_all)
    for gate in gates:
        gate.await_start()
    late = futures[-1]
    assert not late.done()
    assert not late.running()
    for gate in gates:
        gate.open()
    assert sync.wait(late, timeout=PATIENCE_S) == 4


@in_every_place
def test_fork_returns_a_future_of_the_call(runtime: sync.Runtime, place: Callable[..., Any]) -> None:
    def forks() -> list[Future[Any]]:
        return [fork(add, 1), fork(add_async, 1), fork(np.negative, 1.0)]

    for future in place(forks):
        assert type(future) is Future
        assert "test_rule_01_fork_returns_at_once.py" in repr(future)


def thread_ident(*_: Any) -> int:
    return threading.get_ident()


async def thread_ident_async() -> int:
    return threading.get_ident()


@pytest.mark.parametrize("fn", [thread_ident, thread_ident_async], ids=["kernel", "coroutine"])
@in_every_place
def test_fork_never_runs_the_call_itself(runtime: sync.Runtime, place: Callable[..., Any], fn: Any) -> None:
    """What runs it are threads of ours, or the loop after the fork: not the forking thread in the fork."""
    is_forking = threading.local()

    def recorded() -> bool:
        return getattr(is_forking, "now", False)

    async def recorded_async() -> bool:
        return getattr(is_forking, "now", False)

    def forks() -> list[Future[bool]]:
        is_forking.now = True
        try:
            return [fork(recorded if fn is thread_ident else recorded_async) for _ in range(20)]
        finally:
            is_forking.now = False

    for future in place(forks):
        assert sync.wait(future, timeout=PATIENCE_S) is False


async def test_a_kernel_forked_on_a_loop_runs_elsewhere(runtime: sync.Runtime) -> None:
    idents = await asyncjit.wait_all([fork(thread_ident) for _ in range(20)])
    assert threading.get_ident() not in idents


@in_every_place
@pytest.mark.parametrize("thing", [3, None, "add", object(), np.ones(2)], ids=["int", "None", "str", "object", "array"])
def test_what_cannot_be_called_is_refused_at_the_fork(place: Callable[..., Any], thing: Any) -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:

        def fork_it() -> None:
            forked = runtime.statistics().forked
            with pytest.raises(
                TypeError, match=rf"fork needs something to call, got .* of type {type(thing).__name__}"
            ):
                fork(thing, 1)
            assert runtime.statistics().forked == forked

        place(fork_it)


def test_a_wrong_argument_shows_at_the_wait_and_not_at_the_fork(runtime: sync.Runtime) -> None:
    fns: list[Callable[..., Any]] = [add, add_async]
    for future in [fork(fn, 1, 2, 3) for fn in fns]:
        with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments but 3 were given"):
            future.result()


# -- coroutine forks


def double_of_a_task(name: str) -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    assert type(task) is asyncio.Task
    assert name in task.get_name()
    return task


async def named_model() -> int:
    task = double_of_a_task("named_model")
    assert task in asyncio.all_tasks()
    return id(asyncio.get_running_loop())


async def test_a_coroutine_forked_on_a_loop_is_a_named_task_of_it(runtime: sync.Runtime) -> None:
    assert await fork(named_model) == id(asyncio.get_running_loop())


async def test_a_coroutine_forked_by_a_kernel_lives_on_the_loop_at_the_root(runtime: sync.Runtime) -> None:
    def kernel(depth: int) -> int:
        return sync.wait(fork(kernel, depth - 1)) if depth else sync.wait(fork(named_model))

    assert await fork(kernel, 3) == id(asyncio.get_running_loop())


async def test_a_kernel_that_returns_a_coroutine_goes_on_on_the_loop_at_the_root(runtime: sync.Runtime) -> None:
    def kernel() -> Any:
        return fork(decorated(named_model)).result()

    assert await fork(decorated(named_model)) == id(asyncio.get_running_loop())
    assert await fork(kernel) == id(asyncio.get_running_loop())


@pytest.mark.parametrize("place", [in_plain_thread, in_pool_thread], ids=lambda place: place.__name__)
def test_coroutines_forked_where_no_loop_runs_share_the_loop_of_the_facade(
    runtime: sync.Runtime, place: Callable[..., Any]
) -> None:
    first = place(lambda: fork(named_model))
    second = place(lambda: fork(decorated(named_model)))
    third = fork(named_model)
    assert sync.wait(first) == sync.wait(second) == sync.wait(third)


def test_the_facade_runs_uvloop(runtime: sync.Runtime) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def loop_in_use() -> type:
        return type(asyncio.get_running_loop())

    assert sync.call(loop_in_use) is uvloop.Loop


def test_the_facade_is_started_on_first_need(runtime: sync.Runtime) -> None:
    def has_facade() -> bool:
        return any(thread.name == "asyncjit facade" for thread in threading.enumerate())

    before = has_facade()
    assert sync.call(add, 1) == 2
    assert has_facade() == before
    assert sync.call(add_async, 1) == 2
    assert has_facade()


def test_a_coroutine_whose_loop_is_gone_runs_on_the_facade(runtime: sync.Runtime) -> None:
    gate = Gate()
    kernel_futures: list[Future[int]] = []

    def kernel() -> int:
        gate()
        return sync.wait(fork(add_async, 1))

    in_loop_thread(lambda: kernel_futures.append(fork(kernel)))
    gate.open()  # its root's loop has closed by now
    assert sync.wait(kernel_futures[0], timeout=PATIENCE_S) == 2


ROOM: contextvars.ContextVar[str] = contextvars.ContextVar("room", default="nowhere")


async def room() -> str:
    await asyncio.sleep(0)
    return ROOM.get()


def forked_by_a_kernel() -> Future[str]:
    forked: list[Future[str]] = []
    fork(lambda: forked.append(fork(room)))
    until(lambda: forked)
    return forked[0]


def returned_by_a_kernel() -> Future[str]:
    return fork(decorated(room))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", [forked_by_a_kernel, returned_by_a_kernel])
def test_a_coroutine_that_its_loop_had_no_time_to_start_runs_on_the_facade(
    runtime: sync.Runtime, caplog: pytest.LogCaptureFixture, make: Callable[[], Future[str]]
) -> None:
    """It takes its context along, and the loop that is gone says nothing."""

    async def main() -> Future[str]:
        ROOM.set("here")
        future = make()
        until(lambda: runtime.statistics().suspended == 1)  # the loop does not turn meanwhile
        return future

    loop = asyncio.new_event_loop()
    try:
        future = loop.run_until_complete(main())
    finally:
        loop.close()
    assert sync.wait(future, timeout=PATIENCE_S) == "here"
    gc.collect()
    assert not caplog.messages


async def test_the_body_of_a_coroutine_fork_starts_after_the_fork(runtime: sync.Runtime) -> None:
    started = []

    async def model() -> None:
        started.append(True)

    future = fork(model)
    assert not started
    await future
    assert started


# -- forks nobody waits for


def test_forks_nobody_waits_for_run_all_the_same(runtime: sync.Runtime) -> None:
    done: list[int] = []

    async def append(n: int) -> None:
        done.append(n)

    for n in range(100):
        fork(done.append, n)
        fork(append, 100 + n)
    until(lambda: len(done) == 200)
    assert sorted(done) == list(range(200))


def test_forks_nobody_waits_for_neither_hang_nor_print() -> None:
    done = check_script(
        """
        from asyncjit import fork

        async def model(n):
            return fork(pow, n, 2)

        for n in range(100):
            fork(pow, n, 2)
            fork(model, n)
        import asyncjit
        assert asyncjit.close() == []
        now = asyncjit.current_runtime().statistics()
        print(ENDING)
        """
    )
    assert done.out == ""


def test_forks_nobody_waits_for_on_a_loop_neither_hang_nor_print() -> None:
    done = check_script(
        """
        import asyncio
        from asyncjit import fork

        async def model(n):
            fork(pow, n, 2)

        async def main():
            for n in range(100):
                fork(pow, n, 2)
                fork(model, n)

        asyncio.run(main())
        import asyncjit
        asyncjit.close()
        print(ENDING)
        """
    )
    assert done.out == ""


def test_a_fork_that_stays_queued_is_counted_and_starts_later(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        futures = [fork(add, n) for n in range(5)]
        assert runtime.statistics().queued == 5
        assert not any(future.running() for future in futures)
    assert sync.wait_all(futures, timeout=PATIENCE_S) == [1, 2, 3, 4, 5]
