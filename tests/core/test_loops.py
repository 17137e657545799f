"""The inbox of a loop, from any thread."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjit import Future
from asyncjit._core.loops import Inbox, _inboxes, inbox_of
from tests.at_rest import until_async
from tests.conftest import pytest_asyncio_loop_factories
from tests.core.letters import CountingLoop, Note
from tests.rules.places import in_threads

NEW_LOOPS = pytest_asyncio_loop_factories()


@pytest.fixture(params=NEW_LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    loop: asyncio.AbstractEventLoop = NEW_LOOPS[request.param]()
    yield loop
    loop.close()


def inbox_in(loop: asyncio.AbstractEventLoop) -> Inbox:
    async def main() -> Inbox:
        return inbox_of(loop)

    return loop.run_until_complete(main())


# -- the inbox


async def test_a_loop_has_one_inbox() -> None:
    loop = asyncio.get_running_loop()
    assert inbox_of(loop) is inbox_of(loop)
    assert inbox_of(loop).loop is loop


def test_each_loop_has_an_inbox_of_its_own() -> None:
    async def main() -> Inbox:
        return inbox_of(asyncio.get_running_loop())

    one, other = in_threads(lambda: asyncio.run(main()), lambda: asyncio.run(main()))
    assert one is not other


def test_a_thread_that_runs_two_loops_in_turn_finds_the_inbox_of_each() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    inboxes = [inbox_in(first), inbox_in(second), inbox_in(first)]
    assert [inbox.loop for inbox in inboxes] == [first, second, first]
    assert inboxes[0] is inboxes[2]
    first.close()
    second.close()


async def test_letters_arrive_in_order_on_the_loops_thread() -> None:
    inbox = inbox_of(asyncio.get_running_loop())
    log: list[Any] = []

    def post() -> None:
        for n in range(100):
            inbox.post(Note(log, n))

    await asyncio.to_thread(post)
    await until_async(lambda: len(log) == 100)
    assert log == [("arrived", n, threading.get_ident()) for n in range(100)]


def test_a_burst_of_letters_wakes_the_loop_once() -> None:
    loop = CountingLoop()
    inbox = inbox_in(loop)
    log: list[Any] = []
    loop.num_calls = 0

    def post() -> None:
        for _ in range(50):
            inbox.post(Note(log))

    in_threads(*[post] * 4)
    assert loop.num_calls == 1
    loop.run_until_complete(asyncio.sleep(0))
    assert len(log) == 200
    inbox.post(Note(log))
    assert loop.num_calls == 2, "the next burst wakes it again"
    loop.run_until_complete(asyncio.sleep(0))
    assert len(log) == 201
    loop.close()


def test_the_completions_of_many_futures_wake_the_loop_once() -> None:
    """Its thread is busy while they complete."""
    loop = CountingLoop()
    futures: list[Future[int]] = [Future() for _ in range(100)]

    async def waiter(future: Future[int]) -> int:
        return await future

    def complete() -> None:
        for n, future in enumerate(futures):
            future.set_result(n)

    async def main() -> int:
        tasks = [asyncio.create_task(waiter(future)) for future in futures]
        await asyncio.sleep(0)
        loop.num_calls = 0
        in_threads(complete)
        num_calls = loop.num_calls
        assert sum(await asyncio.gather(*tasks)) == sum(range(100))
        return num_calls

    assert loop.run_until_complete(main()) == 1
    loop.close()


async def test_a_letter_may_post_another() -> None:
    inbox = inbox_of(asyncio.get_running_loop())
    log: list[Any] = []
    inbox.post(Note(log, "first", lambda: inbox.post(Note(log, "second"))))
    await until_async(lambda: len(log) == 2)
    assert [entry[1] for entry in log] == ["first", "second"]


async def test_a_letter_that_is_interrupted_does_not_hold_up_the_next() -> None:
    loop = asyncio.get_running_loop()
    inbox = Inbox(loop)
    log: list[Any] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    inbox.loop = None  # the letters are put there by hand, and the drain is called as the loop would
    inbox._letters.extend([Note(log, "first", interrupt), Note(log, "second")])
    inbox.loop = loop
    with pytest.raises(KeyboardInterrupt):
        inbox._drain()
    await until_async(lambda: len(log) == 2)


def test_no_letter_is_lost_between_two_bursts() -> None:
    async def main() -> int:
        inbox = inbox_of(asyncio.get_running_loop())
        log: list[Any] = []

        def post() -> None:
            for n in range(500):
                inbox.post(Note(log, n))

        await asyncio.gather(*[asyncio.to_thread(post) for _ in range(3)])
        await until_async(lambda: len(log) == 1500)
        return len(log)

    assert asyncio.run(main()) == 1500


# -- a loop that closes


def test_letters_in_a_loop_that_closes_are_stranded(loop: asyncio.AbstractEventLoop) -> None:
    inbox = inbox_in(loop)
    log: list[Any] = []
    for n in range(3):
        inbox.post(Note(log, n))
    loop.close()
    gc.collect()
    assert log == [("stranded", n) for n in range(3)]
    assert inbox.loop is None


def test_a_letter_to_a_loop_that_has_closed_is_stranded_at_once(loop: asyncio.AbstractEventLoop) -> None:
    inbox = inbox_in(loop)
    log: list[Any] = []
    loop.close()
    in_threads(lambda: inbox.post(Note(log, 1)))
    assert log == [("stranded", 1)]


def test_a_stranded_letter_may_post_another() -> None:
    class Insistent(Note):
        def strand(self) -> None:
            super().strand()
            if len(self.log) < 3:
                inbox.post(self)

    loop = asyncio.new_event_loop()
    inbox = inbox_in(loop)
    log: list[Any] = []
    inbox.post(Insistent(log, "again"))
    loop.close()
    gc.collect()
    assert log == [("stranded", "again")] * 3


def test_a_closed_loop_is_not_open(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> tuple[Inbox, bool]:
        inbox = inbox_of(loop)
        return inbox, inbox.is_open

    inbox, is_open_while_it_runs = loop.run_until_complete(main())
    assert is_open_while_it_runs
    assert not inbox.is_open, "it stands still"
    loop.close()
    gc.collect()
    assert not inbox.is_open


def test_a_loop_that_is_gone_leaves_no_inbox_behind(loop: asyncio.AbstractEventLoop) -> None:
    inbox_in(loop)
    assert loop in _inboxes
    loop.close()
    gc.collect()
    assert loop not in _inboxes
