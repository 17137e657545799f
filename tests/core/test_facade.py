"""The facade: the loop of those who have none."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjit import fork, sync
from asyncjit._core.facade import Facade
from asyncjit._core.loops import Inbox
from tests.at_rest import PATIENCE_S, Gate, assert_at_rest, until
from tests.core.letters import Note
from tests.rules.places import in_threads
from tests.support import optional


@pytest.fixture
def facade() -> Iterator[Facade]:
    facade = Facade()
    yield facade
    facade.close()


def facades() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asyncjit facade"]


async def coroutine() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_the_facade_starts_on_first_need() -> None:
    before = len(facades())
    with sync.Runtime(1, blas_threads=None) as runtime:
        sync.wait(fork(int))
        assert len(facades()) == before
        assert sync.wait_all([fork(coroutine) for _ in range(5)]) == ["asyncjit facade"] * 5
        assert len(facades()) == before + 1
        assert_at_rest(runtime)
    assert len(facades()) == before


def test_the_facade_has_one_loop_which_runs(facade: Facade) -> None:
    inbox = facade.inbox()
    assert inbox.is_open
    assert facade.inbox() is inbox
    log: list[Any] = []
    inbox.post(Note(log, 1))
    until(lambda: log)
    assert log[0][2] != threading.get_ident()


def test_many_threads_that_ask_at_once_get_the_same_loop(facade: Facade) -> None:
    before = len(facades())
    barrier = threading.Barrier(8)

    def ask() -> Inbox:
        barrier.wait(PATIENCE_S)
        return facade.inbox()

    assert len(set(in_threads(*[ask] * 8))) == 1
    until(lambda: len(facades()) == before + 1)


def test_a_closed_facade_has_stopped_and_starts_no_more(facade: Facade) -> None:
    before = len(facades())
    inbox = facade.inbox()
    facade.close()
    assert len(facades()) == before
    assert not inbox.is_open
    facade.close()
    with pytest.raises(RuntimeError, match="the facade has no event loop: it is closed"):
        facade.inbox()


def test_a_facade_can_be_closed_from_its_own_loop(facade: Facade) -> None:
    closed = threading.Event()

    def close() -> None:
        facade.close()
        closed.set()

    facade.inbox().post(Note([], 1, close))
    assert closed.wait(PATIENCE_S)
    until(lambda: facade._loop is None)


def test_a_facade_that_was_never_needed_closes_without_a_start(facade: Facade) -> None:
    before = len(facades())
    facade.close()
    assert len(facades()) == before


def test_after_its_runtime_closed_a_new_one_has_a_facade_of_its_own() -> None:
    for _ in range(2):
        with sync.Runtime(1, blas_threads=None):
            assert sync.wait(fork(coroutine)) == "asyncjit facade"


def test_coroutines_of_two_runtimes_live_on_two_facades() -> None:
    async def ident() -> int:
        return threading.get_ident()

    with sync.Runtime(1, blas_threads=None):
        one = sync.wait(fork(ident))
        with sync.Runtime(1, blas_threads=None):
            assert sync.wait(fork(ident)) != one


def test_a_facade_whose_thread_can_not_be_started_cancels_the_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with sync.Runtime(1, blas_threads=None) as runtime:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_start)
            future = fork(coroutine)
        assert future.cancelled()
        assert sync.wait(fork(coroutine)) == "asyncjit facade", "the next one finds a thread again"
        assert_at_rest(runtime)


def test_the_facade_runs_uvloop_where_there_is_one(facade: Facade) -> None:
    uvloop = optional("uvloop")
    assert isinstance(facade.inbox().loop, uvloop.Loop)


def test_no_facade_holds_up_the_interpreters_exit(facade: Facade) -> None:
    facade.inbox()
    assert all(thread.daemon for thread in facades())


def test_closing_without_waiting_leaves_a_busy_loop_to_itself(facade: Facade) -> None:
    gate = Gate()
    facade.inbox().post(Note([], 1, gate))
    gate.await_start()
    facade.close(wait=False)
    assert not gate.ended.is_set()
    before = set(facades())
    gate.open()
    until(lambda: not before & set(facades()))


def test_a_loop_that_has_ended_by_itself_is_replaced(facade: Facade) -> None:
    first = facade.inbox()
    ended = facade._loop
    assert ended is not None
    assert ended._stop is not None
    loop = first.loop
    assert loop is not None
    first.close()  # as the end of the loop does
    second = facade.inbox()
    assert second is not first
    assert second.is_open
    assert facade.inbox() is second
    loop.call_soon_threadsafe(ended._stop.set)
    ended.join()
