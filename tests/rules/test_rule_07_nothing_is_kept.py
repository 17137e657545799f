"""Rule 7: an error that nobody retrieves is logged when it goes; and nothing keeps errors, arguments or results."""

import asyncio
import contextvars
import gc
import logging
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from asyncjit import Future, fork, sync
from asyncjit.errors import CallbackError
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    all_threads_busy,
    explode,
    explode_async,
    when_idle,
)

HERE = "test_rule_07_nothing_is_kept.py"


# -- errors that nobody asks for


def never_retrieved(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    gc.collect()  # the frames of a traceback and its error are a cycle
    return [record for record in caplog.records if "never retrieved" in record.getMessage()]


def test_an_error_that_nobody_retrieves_is_logged_once_when_its_future_goes(
    runtime: sync.Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    future = fork(explode, ValueError("lost"))
    when_idle(runtime).result(PATIENCE_S)
    assert future.done()
    assert never_retrieved(caplog) == []
    del future
    [record] = never_retrieved(caplog)
    assert record.levelno == logging.ERROR
    assert record.name == "asyncjit"
    assert f"fork of explode (forked at {HERE}:" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert len(never_retrieved(caplog)) == 1


async def test_the_error_of_a_coroutine_fork_that_nobody_retrieves_is_logged_once(
    runtime: sync.Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    fork(explode_async, ValueError("lost"))
    await when_idle(runtime)
    await asyncio.sleep(0)
    assert len(never_retrieved(caplog)) == 1
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_an_error_that_was_retrieved_is_never_logged(runtime: sync.Runtime, caplog: pytest.LogCaptureFixture) -> None:
    def by_wait() -> None:
        with pytest.raises(ValueError, match="known"):
            sync.wait(fork(explode, ValueError("known")))

    def by_result() -> None:
        with pytest.raises(ValueError, match="known"):
            fork(explode, ValueError("known")).result(PATIENCE_S)

    def by_exception() -> None:
        assert fork(explode, ValueError("known")).exception(PATIENCE_S) is not None

    def by_wait_all() -> None:
        with pytest.raises(ValueError, match="known"):
            sync.wait_all([fork(explode, ValueError("known"))])

    def by_wait_all_as_a_value() -> None:
        futures = [fork(explode, ValueError("known")) for _ in range(3)]
        assert all(isinstance(e, ValueError) for e in sync.wait_all(futures, return_exceptions=True))

    def by_group() -> None:
        with pytest.raises(ExceptionGroup, match="fork_group"):
            with sync.fork_group() as group:
                group.fork(explode, ValueError("known"))

    def by_then() -> None:
        with pytest.raises(CallbackError, match="known"):
            fork(explode, ValueError("known")).then(lambda done: done.value()).result(PATIENCE_S)

    for way in (by_wait, by_result, by_exception, by_wait_all, by_wait_all_as_a_value, by_group, by_then):
        way()
        when_idle(runtime).result(PATIENCE_S)
        assert never_retrieved(caplog) == [], way.__name__


def test_an_error_of_a_fork_cancelled_while_it_ran_is_not_logged(
    runtime: sync.Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    def body() -> None:
        gate()
        raise ValueError("too late")

    future = fork(body)
    gate.await_start()
    future.cancel()
    gate.open()
    when_idle(runtime).result(PATIENCE_S)
    del future
    assert never_retrieved(caplog) == []


def test_a_fork_that_nobody_waits_for_and_that_ends_well_says_nothing(
    runtime: sync.Runtime, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(10):
        fork(np.negative, np.ones(2))
    when_idle(runtime).result(PATIENCE_S)
    gc.collect()
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# -- nothing is kept


class Thing:
    """Something that a weak reference can watch."""


def take(thing: Thing, *, other: Thing) -> None:
    """Take two things and keep none."""


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
    def test_a_result_goes_with_its_future(self, runtime: sync.Runtime, timeout: float | None) -> None:
        future = fork(Thing)
        thing = weakref.ref(sync.wait(future, timeout))
        when_idle(runtime).result(PATIENCE_S)
        assert thing() is not None
        del future
        assert thing() is None

    def test_the_result_of_a_fork_that_nobody_waits_for_goes_when_it_has_ended(self, runtime: sync.Runtime) -> None:
        things = []

        def body() -> Thing:
            thing = Thing()
            things.append(weakref.ref(thing))
            return thing

        fork(body)
        when_idle(runtime).result(PATIENCE_S)
        assert things[0]() is None

    async def test_an_awaited_result_goes_with_its_future(self, runtime: sync.Runtime) -> None:
        async def body() -> Thing:
            return Thing()

        for fn in (Thing, body):
            future: Future[Thing] = fork(fn)
            thing = weakref.ref(await future)
            await when_idle(runtime)
            await asyncio.sleep(0)
            del future
            assert thing() is None

    @pytest.mark.parametrize("timeout", [None, PATIENCE_S], ids=["in place", "on the pool"])
    def test_arguments_go_when_the_body_has_ended(self, runtime: sync.Runtime, timeout: float | None) -> None:
        positional, named = Thing(), Thing()
        watched = weakref.ref(positional), weakref.ref(named)
        future = fork(take, positional, other=named)
        del positional, named
        sync.wait(future, timeout)
        when_idle(runtime).result(PATIENCE_S)
        assert (watched[0](), watched[1]()) == (None, None)

    async def test_arguments_of_a_coroutine_fork_go_when_its_body_has_ended(self, runtime: sync.Runtime) -> None:
        async def body(thing: Thing) -> None:
            await asyncio.sleep(0)

        argument = Thing()
        watched = weakref.ref(argument)
        future = fork(body, argument)
        del argument
        await future
        await asyncio.sleep(0)
        assert watched() is None

    def test_a_callable_goes_when_it_has_ended(self, runtime: sync.Runtime) -> None:
        class Model:
            def __call__(self) -> int:
                return 3

        model = Model()
        watched = weakref.ref(model)
        future = fork(model)
        del model
        assert future.result(PATIENCE_S) == 3
        when_idle(runtime).result(PATIENCE_S)
        assert watched() is None

    def test_arguments_go_at_once_when_a_queued_fork_is_cancelled(self, runtime: sync.Runtime) -> None:
        with all_threads_busy(runtime):
            argument = Thing()
            watched = weakref.ref(argument)
            future = fork(print, argument)
            del argument
            assert watched() is not None
            future.cancel()
            assert watched() is None  # its entry is still in the queue

    @pytest.mark.parametrize("timeout", [None, PATIENCE_S], ids=["in place", "on the pool"])
    def test_the_context_goes_when_the_body_has_ended(self, runtime: sync.Runtime, timeout: float | None) -> None:
        variable: contextvars.ContextVar[Thing] = contextvars.ContextVar("variable")

        def fork_with_thing() -> tuple[Future[None], weakref.ref[Thing]]:
            thing = Thing()
            variable.set(thing)
            return fork(lambda: None), weakref.ref(thing)

        future, watched = contextvars.copy_context().run(fork_with_thing)
        sync.wait(future, timeout)
        when_idle(runtime).result(PATIENCE_S)
        assert watched() is None

    def test_a_context_that_is_kept_pins_no_result(self, runtime: sync.Runtime) -> None:
        kept = []

        def body() -> Thing:
            kept.append(contextvars.copy_context())
            return Thing()

        future = fork(body)
        thing = weakref.ref(future.result(PATIENCE_S))
        when_idle(runtime).result(PATIENCE_S)
        del future
        assert thing() is None

    async def test_a_context_kept_by_a_coroutine_fork_pins_no_result(self, runtime: sync.Runtime) -> None:
        kept = []

        async def body() -> Thing:
            kept.append(contextvars.copy_context())
            return Thing()

        future = fork(body)
        thing = weakref.ref(await future)
        await asyncio.sleep(0)
        del future
        assert thing() is None

    def test_results_below_go_while_the_parent_still_runs(self, runtime: sync.Runtime) -> None:
        def parent() -> None:
            things = [weakref.ref(sync.wait(fork(Thing))) for _ in range(10)]
            assert [thing() for thing in things] == [None] * 10

        fork(parent).result(PATIENCE_S)

    async def test_results_go_while_the_awaiting_task_still_runs(self, runtime: sync.Runtime) -> None:
        async def body() -> Thing:
            return Thing()

        for _ in range(10):
            thing = weakref.ref(await fork(body))
            await asyncio.sleep(0)
            assert thing() is None

    def test_nothing_holds_what_a_callback_closes_over_once_it_was_called(self, runtime: sync.Runtime) -> None:
        thing = Thing()
        watched = weakref.ref(thing)
        future = fork(lambda: None)
        future.add_done_callback(lambda _, thing=thing: None)  # type: ignore[misc]
        del thing
        future.result(PATIENCE_S)
        when_idle(runtime).result(PATIENCE_S)
        assert watched() is None


def test_a_failed_future_frees_its_error_and_frames(runtime: sync.Runtime) -> None:
    thing = Thing()
    watched = weakref.ref(thing)

    def body(argument: Thing) -> None:
        raise ValueError("with a frame that holds the argument")

    future = fork(body, thing)
    del thing
    assert future.exception(PATIENCE_S) is not None
    when_idle(runtime).result(PATIENCE_S)
    assert watched() is not None  # the traceback shows it
    del future
    gc.collect()
    assert watched() is None
