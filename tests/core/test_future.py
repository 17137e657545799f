"""`Future`: torch.futures' methods, manners and texts, and the standard library's."""

import asyncio
import contextvars
import copy
import gc
import logging
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from asyncjit import Future, fork, sync
from asyncjit.errors import AsyncJitError, CallbackError, ForkCancelled, InvalidStateError, WaitOnEventLoopError
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, until
from tests.rules.places import in_threads

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def done_with(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def failed_with(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def cancelled() -> Future[Any]:
    future: Future[Any] = Future()
    assert future.cancel()
    return future


# -- states


def test_a_new_future_is_not_done() -> None:
    future: Future[int] = Future()
    assert (future.done(), future.running(), future.cancelled()) == (False, False, False)


def test_a_value_is_the_same_by_every_method() -> None:
    value = object()
    future = done_with(value)
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    for got in (future.wait(), future.result(), future.result(timeout=0), future.value(), sync.wait(future)):
        assert got is value
    assert future.exception() is None


def test_an_error_is_the_same_object_by_every_method() -> None:
    error = KeyError("lost")
    future = failed_with(error)
    assert (future.done(), future.cancelled()) == (True, False)
    assert future.exception() is error
    for ask in (future.wait, future.result, future.value, lambda: sync.wait(future)):
        with pytest.raises(KeyError, match="lost") as caught:
            ask()
        assert caught.value is error


def test_a_cancelled_future_raises_by_every_method() -> None:
    future = cancelled()
    assert (future.done(), future.running(), future.cancelled()) == (True, False, True)
    for ask in (future.wait, future.result, future.value, future.exception, lambda: sync.wait(future)):
        with pytest.raises(ForkCancelled, match=r"Future at 0x.* was cancelled"):
            ask()


async def test_a_done_future_may_be_asked_on_a_loops_thread() -> None:
    assert done_with(3).result() == done_with(3).wait() == done_with(3).value() == 3
    assert done_with(3).exception() is None


@pytest.mark.parametrize("name", ["wait", "result", "exception"])
async def test_a_future_that_is_not_done_shows_the_await_on_a_loops_thread(name: str) -> None:
    with pytest.raises(WaitOnEventLoopError, match="would block the event loop: write `await fut`"):
        getattr(Future(), name)()


@pytest.mark.parametrize("name", ["wait", "result", "exception"])
def test_a_timeout_raises_and_the_future_goes_on(name: str) -> None:
    future: Future[int] = Future()
    with pytest.raises(TimeoutError, match=r"Future at 0x.* was not done within 0 s"):
        getattr(future, name)(0)
    future.set_result(3)
    assert future.value() == 3


def test_a_fork_is_running_while_its_body_runs() -> None:
    with sync.Runtime(1, blas_threads=None):
        gate = Gate()
        future = fork(gate)
        gate.await_start()
        assert (future.running(), future.done()) == (True, False)
        gate.open()
        sync.wait(future)
        assert not future.running()


def test_a_future_tells_its_state_and_its_fork() -> None:
    assert repr(Future()) == "<asyncjit.Future pending>"
    assert repr(done_with(3)) == "<asyncjit.Future finished>"
    assert repr(cancelled()) == "<asyncjit.Future cancelled>"
    with sync.Runtime(1, blas_threads=None):
        future = fork(pow, 2, 3)
        sync.wait(future)
        assert repr(future).startswith("<asyncjit.Future finished of the fork of pow (forked at test_future.py:")


# -- completing


ENDS: dict[str, Callable[[], Future[Any]]] = {
    "finished": lambda: done_with(3),
    "failed": lambda: failed_with(KeyError()),
    "cancelled": cancelled,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("again", [lambda f: f.set_result(4), lambda f: f.set_exception(ValueError())])
def test_completing_twice_raises(end: str, again: Callable[[Future[Any]], None]) -> None:
    future = ENDS[end]()
    with pytest.raises(RuntimeError, match=f"Future can only be marked completed once: this one is already {end}"):
        again(future)
    assert end in repr(future)
    if end == "failed":
        assert type(future.exception()) is KeyError


@pytest.mark.parametrize("end", ENDS)
def test_a_done_future_cannot_be_cancelled(end: str) -> None:
    future = ENDS[end]()
    assert not future.cancel()
    assert end in repr(future)
    if end == "failed":
        future.exception()


def test_value_before_completion_raises() -> None:
    future: Future[int] = Future()
    with pytest.raises(RuntimeError, match=r"the value of Future at .* is not there yet: it is pending; wait for it"):
        future.value()


@pytest.mark.parametrize(("error", "kind"), [("oops", "str"), (ValueError, "type"), (None, "NoneType")])
def test_what_is_no_exception_is_refused(error: Any, kind: str) -> None:
    future: Future[int] = Future()
    with pytest.raises(AssertionError, match=f" is of type {kind}, not an Exception.$"):
        future.set_exception(error)
    assert not future.done()


def test_the_future_of_a_fork_is_completed_by_its_body_alone() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        with all_threads_busy(runtime):
            future = fork(pow, 2, 3)
            with pytest.raises(InvalidStateError, match=r"the fork of pow .* make one with Future\(\) to set it"):
                future.set_result(4)
            with pytest.raises(InvalidStateError, match=r"the fork of pow .* completes its own future"):
                future.set_exception(ValueError())
        assert sync.wait(future) == 8
        with pytest.raises(RuntimeError, match="completed once"):
            future.set_result(4)


def test_an_error_nobody_retrieves_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    failed_with(KeyError("lost"))
    gc.collect()
    assert [record.message.split(" at ")[0] for record in caplog.records] == ["the error of Future"]
    assert "was never retrieved" in caplog.text


@pytest.mark.parametrize("ask", [lambda f: f.exception(), lambda f: sync.wait_all([f], return_exceptions=True)])
def test_an_error_somebody_retrieved_is_not_logged(
    ask: Callable[[Future[Any]], object], caplog: pytest.LogCaptureFixture
) -> None:
    ask(failed_with(KeyError("lost")))
    gc.collect()
    assert not caplog.records


def test_an_error_that_came_too_late_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="completed once"):
        done_with(3).set_exception(KeyError("lost"))
    gc.collect()
    assert not caplog.records


# -- callbacks


def test_callbacks_are_called_in_the_order_of_their_registration() -> None:
    future: Future[int] = Future()
    log: list[str] = []
    future.add_done_callback(lambda _: log.append("first"))
    future.then(lambda _: log.append("second"))
    future.add_done_callback(lambda _: log.append("third"))
    assert log == []
    future.set_result(3)
    assert log == ["first", "second", "third"]


def test_a_callback_gets_the_future_when_it_is_done() -> None:
    future: Future[int] = Future()
    seen: list[Any] = []
    future.add_done_callback(lambda f: seen.append((f is future, f.done(), f.value())))
    future.set_result(3)
    assert seen == [(True, True, 3)]


@pytest.mark.parametrize("end", ENDS)
def test_a_callback_of_a_done_future_is_called_at_once(end: str) -> None:
    future = ENDS[end]()
    called: list[Future[Any]] = []
    future.add_done_callback(called.append)
    assert called == [future]
    if end == "failed":
        future.exception()


def test_callbacks_are_called_in_the_completing_thread() -> None:
    future: Future[int] = Future()
    threads: list[int] = []
    future.add_done_callback(lambda _: threads.append(threading.get_ident()))
    then = future.then(lambda _: threading.get_ident())

    def complete() -> int:
        future.set_result(3)
        return threading.get_ident()

    (completer,) = in_threads(complete)
    assert completer != threading.get_ident()
    assert [*threads, then.value()] == [completer, completer]


def test_callbacks_of_a_fork_are_called_in_the_thread_that_ran_it() -> None:
    with sync.Runtime(1, blas_threads=None):
        gate = Gate()

        def kernel() -> int:
            gate()
            return threading.get_ident()

        future = fork(kernel)
        gate.await_start()
        then = future.then(lambda f: (f.value(), threading.get_ident()))
        gate.open()
        ran_in, called_in = then.result(timeout=PATIENCE_S)
        assert ran_in == called_in != threading.get_ident()


def test_callbacks_run_in_a_copy_of_the_context_of_their_registration() -> None:
    future: Future[int] = Future()
    seen: list[str] = []

    def callback(_: Future[int]) -> str:
        seen.append(COLOUR.get())
        COLOUR.set("leaked")
        return COLOUR.get()

    def register() -> None:
        COLOUR.set("red")
        future.add_done_callback(callback)
        COLOUR.set("green")
        future.then(callback)
        COLOUR.set("blue")

    def complete() -> str:
        COLOUR.set("black")
        future.set_result(3)
        return COLOUR.get()

    contextvars.copy_context().run(register)
    assert in_threads(complete) == ["black"]
    assert seen == ["red", "green"]


def test_an_error_in_a_done_callback_is_logged_and_the_next_is_called(caplog: pytest.LogCaptureFixture) -> None:
    future: Future[int] = Future()
    called: list[int] = []

    def bad(_: Future[int]) -> None:
        raise KeyError("lost")

    future.add_done_callback(bad)
    future.add_done_callback(lambda f: called.append(f.value()))
    future.set_result(3)
    assert called == [3]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncjit", logging.ERROR)
    assert record.message.startswith("a done-callback of Future at")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "'lost'"


def test_a_callback_may_register_another() -> None:
    future: Future[int] = Future()
    log: list[str] = []
    future.add_done_callback(lambda f: f.add_done_callback(lambda _: log.append("inner")))
    future.add_done_callback(lambda _: log.append("outer"))
    future.set_result(3)
    assert log == ["inner", "outer"]


# -- then


def test_then_is_a_future_of_the_callbacks_value() -> None:
    future: Future[int] = Future()
    chained = future.then(lambda f: f.value() + 1).then(lambda f: f.value() * 2)
    assert not chained.done()
    future.set_result(3)
    assert chained.value() == 8
    assert done_with(3).then(lambda f: f.value() + 1).value() == 4


def test_then_hands_a_failed_or_cancelled_future_on() -> None:
    assert failed_with(KeyError("lost")).then(lambda f: repr(f.exception())).value() == "KeyError('lost')"
    assert cancelled().then(lambda f: f.cancelled()).value() is True


def test_an_error_in_then_becomes_a_callback_error_with_it_as_its_cause() -> None:
    original = ValueError("too small")

    def callback(_: Future[int]) -> None:
        raise original

    future = done_with(3).then(callback)
    with pytest.raises(CallbackError, match=r"^Got the following error when running the callback: .*too small") as info:
        future.wait()
    assert info.value.__cause__ is original
    assert isinstance(info.value, RuntimeError)
    assert isinstance(info.value, AsyncJitError)


def test_the_error_of_the_future_itself_is_a_callback_error_too_when_then_asks_for_its_value() -> None:
    future = failed_with(KeyError("lost")).then(lambda f: f.value())
    with pytest.raises(CallbackError, match="running the callback: KeyError: 'lost'"):
        future.wait()


def test_waiting_for_then_runs_what_it_follows_from_in_place() -> None:
    with sync.Runtime(1, inline=True, blas_threads=None):
        assert fork(pow, 2, 3).then(lambda f: f.value() + 1).wait() == 9


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_then_completes_also_when_its_callback_ends_the_program(error: BaseException) -> None:
    def callback(_: Future[int]) -> None:
        raise error

    future: Future[int] = Future()
    chained = future.then(callback)
    with pytest.raises(type(error)):
        future.set_result(3)
    assert isinstance(chained.exception(timeout=0), CallbackError)


@pytest.mark.parametrize("register", [Future.then, Future.add_done_callback])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_pool_goes_on_after_a_callback_that_ends_the_program(register: Callable[..., Any]) -> None:
    def callback(_: Future[int]) -> None:
        raise SystemExit(3)

    with sync.Runtime(1, blas_threads=None) as runtime:
        try:
            gate = Gate()
            future = fork(gate)
            gate.await_start()
            chained = register(future, callback)
            gate.open()
            until(future.done)
            assert fork(pow, 2, 3).result(timeout=2) == 8
            assert chained is None or isinstance(chained.exception(timeout=2), CallbackError)
        finally:
            assert runtime.close(cancel=True, timeout=2) == []


def test_the_callback_of_a_cancelled_then_fails_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    def callback(_: Future[int]) -> None:
        raise KeyError("lost")

    future: Future[int] = Future()
    chained = future.then(callback)
    assert chained.cancel()
    future.set_result(3)
    gc.collect()
    assert chained.cancelled()
    assert not caplog.records


# -- copies, awaiting, and several threads


@pytest.mark.parametrize("copy_of", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_future_can_not_be_pickled(copy_of: Callable[[object], object]) -> None:
    with pytest.raises(RuntimeError, match=r"^Can not pickle asyncjit\.Future"):
        copy_of(done_with(3))


async def test_a_future_can_be_awaited_again_and_again() -> None:
    future: Future[int] = Future()
    asyncio.get_running_loop().call_soon(future.set_result, 3)
    assert [await future, await future] == [3, 3]


def test_two_loops_await_one_future() -> None:
    future: Future[int] = Future()

    async def main() -> int:
        return await future

    def complete() -> int:
        until(lambda: len(future._waiters or ()) == 2)
        future.set_result(3)
        return 3

    assert in_threads(lambda: asyncio.run(main()), lambda: asyncio.run(main()), complete) == [3, 3, 3]


def test_of_many_threads_that_complete_a_future_one_does() -> None:
    for _ in range(50):
        future: Future[int] = Future()
        barrier = threading.Barrier(4)
        called: list[int] = []
        future.add_done_callback(lambda f, called=called: called.append(f.value()))  # type: ignore[misc]

        def complete(value: int, future: Future[int] = future, barrier: threading.Barrier = barrier) -> int | None:
            barrier.wait(PATIENCE_S)
            try:
                future.set_result(value)
            except RuntimeError:
                return None
            return value

        winners = [n for n in in_threads(*[partial(complete, n) for n in range(4)]) if n is not None]
        assert winners == [future.value()] == called


def test_no_callback_is_lost_or_called_twice_while_the_future_is_completed() -> None:
    for _ in range(50):
        future: Future[int] = Future()
        barrier = threading.Barrier(4)
        called: list[tuple[int, int]] = []

        def register(
            thread: int,
            future: Future[int] = future,
            barrier: threading.Barrier = barrier,
            called: list[tuple[int, int]] = called,
        ) -> None:
            barrier.wait(PATIENCE_S)
            for n in range(20):
                future.add_done_callback(lambda _, n=n: called.append((thread, n)))  # type: ignore[misc]

        def complete(future: Future[int] = future, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(PATIENCE_S)
            future.set_result(3)

        in_threads(*[partial(register, n) for n in range(3)], complete)
        assert sorted(called) == [(thread, n) for thread in range(3) for n in range(20)]
