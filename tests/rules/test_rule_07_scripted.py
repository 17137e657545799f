"""Rule 7 of scripted forks: errors keep their type and origin, and nothing keeps arguments, results or frames."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjit import Future, fork, sync
from asyncjit.errors import ForkCancelled
from asyncjit.testing import ManualClock
from tests.at_rest import PATIENCE_S, explode, until, when_idle
from tests.core.scripted import run, scripted

# -- errors


def test_an_error_keeps_its_type_and_has_a_note_for_each_fork(runtime: sync.Runtime) -> None:
    error = ValueError("deep")

    @scripted
    async def outer() -> None:
        await run(sync.wait, fork(middle))

    @scripted
    async def middle() -> None:
        await run(sync.wait, fork(explode, error))

    future = fork(outer)
    for _ in range(3):
        with pytest.raises(ValueError, match="deep") as caught:
            future.result(PATIENCE_S)
        assert caught.value is error
    notes = error.__notes__
    here = "test_an_error_keeps_its_type_and_has_a_note_for_each_fork"
    assert [note.rpartition(" in ")[2] for note in notes] == ["middle", "outer", here]
    names = [frame.name for frame in caught.traceback]
    assert [name for name in names if name in ("outer", "middle", "explode")] == ["outer", "middle", "explode"]


def test_a_stop_iteration_and_an_asyncio_cancel_end_it_as_they_end_a_kernel(runtime: sync.Runtime) -> None:
    @scripted
    async def fails(error: BaseException) -> None:
        await run(sync.wait, fork(int))
        raise error

    with pytest.raises(RuntimeError, match="StopIteration"):
        fork(fails, StopIteration(3)).result(PATIENCE_S)
    with pytest.raises(ForkCancelled, match="fails"):
        fork(fails, asyncio.CancelledError()).result(PATIENCE_S)
    with pytest.raises(SystemExit):
        fork(fails, SystemExit(3)).result(PATIENCE_S)
    assert fork(int).result(PATIENCE_S) == 0


def test_the_error_of_what_it_waits_for_can_be_caught_and_the_body_goes_on(runtime: sync.Runtime) -> None:
    @scripted
    async def body() -> list[Any]:
        told: list[Any] = []
        cancelled: Future[int] = Future()
        cancelled.cancel()
        for target in (fork(explode, ValueError("one")), cancelled):
            try:
                await run(sync.wait, target)
            except (ValueError, ForkCancelled) as error:
                told.append(type(error))
        told.append(await run(sync.wait_all, [fork(explode, KeyError()), fork(int)], return_exceptions=True))
        return told

    first, second, (third, fourth) = fork(body).result(PATIENCE_S)
    assert (first, second, type(third), fourth) == (ValueError, ForkCancelled, KeyError, 0)


# -- nothing is kept


class Thing:
    """Something that a weak reference can watch."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Keep the garbage collector away: what goes must go by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
class TestFreedAtOnce:
    @pytest.mark.parametrize("timeout", [None, PATIENCE_S], ids=["in place", "on the pool"])
    def test_arguments_locals_and_results_go_with_the_body(self, runtime: sync.Runtime, timeout: float | None) -> None:
        @scripted
        async def body(argument: Thing) -> Thing:
            local = Thing()
            watched.append(weakref.ref(local))
            await run(sync.wait, fork(int))
            await run(sync.wait, fork(lambda: None), timeout=PATIENCE_S)
            return Thing()

        watched: list[weakref.ref[Thing]] = []
        argument = Thing()
        watched.append(weakref.ref(argument))
        future = fork(body, argument)
        del argument
        watched.append(weakref.ref(sync.wait(future, timeout)))
        sync.wait(when_idle(runtime), PATIENCE_S)
        assert [ref() is None for ref in watched] == [True, True, False]
        del future
        assert watched[2]() is None
        assert not runtime.pool.suspended

    def test_what_it_has_waited_for_goes_while_the_body_goes_on(self, runtime: sync.Runtime) -> None:
        @scripted
        async def body() -> list[bool]:
            things = []
            for _ in range(10):
                things.append(weakref.ref(await run(sync.wait, fork(Thing))))
                await run(sync.wait, fork(int))
            last = weakref.ref(await run(sync.wait, fork(Thing)))
            until(lambda: last() is None)
            return [thing() is None for thing in things]

        assert fork(body).result(PATIENCE_S) == [True] * 10
        assert sync.wait(fork(body)) == [True] * 10

    def test_what_a_script_called_directly_waited_for_goes_too(self, runtime: sync.Runtime) -> None:
        @scripted
        async def body() -> bool:
            thing = weakref.ref(await run(sync.wait, fork(Thing)))
            until(lambda: thing() is None)
            return True

        assert body()

    def test_an_error_caught_in_the_body_leaves_no_cycle(self, runtime: sync.Runtime) -> None:
        @scripted
        async def inner(argument: Thing) -> None:
            await run(sync.wait, Future(), timeout=0)

        @scripted
        async def body(argument: Thing) -> None:
            try:
                await run(inner, argument)
            except TimeoutError:
                pass

        def forked(thing: Thing) -> None:
            fork(body, thing).result(PATIENCE_S)

        for call in (forked, body):
            thing = Thing()
            watched = weakref.ref(thing)
            call(thing)
            del thing
            sync.wait(when_idle(runtime), PATIENCE_S)
            assert watched() is None

    def test_a_timer_that_is_still_to_come_keeps_nothing(self) -> None:
        @scripted
        async def body(argument: Thing, target: Future[Thing]) -> Thing:
            return await run(sync.wait, target, timeout=3600)

        for clock in (time.monotonic, ManualClock()):
            with sync.Runtime(1, blas_threads=None, clock=clock) as runtime:
                target: Future[Thing] = Future()
                argument = Thing()
                watched = weakref.ref(argument)
                future = fork(body, argument, target)
                del argument
                until(lambda: runtime.statistics().suspended)
                result = Thing()
                target.set_result(result)
                watched_result = weakref.ref(result)
                future.result(PATIENCE_S)
                sync.wait(when_idle(runtime), PATIENCE_S)
                del result, future, target
                assert watched() is None
                assert watched_result() is None

    def test_a_cancelled_suspended_fork_frees_its_frame(self, runtime: sync.Runtime) -> None:
        @scripted
        async def body(argument: Thing) -> None:
            await run(sync.wait, target)

        target: Future[None] = Future()
        argument = Thing()
        watched = weakref.ref(argument)
        future = fork(body, argument)
        del argument
        until(lambda: runtime.statistics().suspended)
        future.cancel()
        sync.wait(when_idle(runtime), PATIENCE_S)
        assert watched() is None
        assert not runtime.pool.suspended
