"""How a task waits: by a letter to its loop, with the permit of the kernel that runs its loop lent meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asyncjit import Future, Instrument, fork, sync
from asyncjit._core.context import this_thread
from asyncjit._core.loops import inbox_of
from asyncjit._core.suspending import SuspendedTask
from tests.at_rest import PATIENCE_S, assert_at_rest, settle, until
from tests.core.letters import CountingLoop
from tests.rules.places import in_script, in_threads


async def awaited(future: Future[int]) -> int:
    return await future


# -- the letter


def beside(fn: Callable[[], object]) -> None:
    """Call `fn` in another thread."""
    in_threads(fn)


@pytest.mark.parametrize(
    ("place", "num_calls"), [(in_script, 0), (beside, 1)], ids=["on the loop's own thread", "in another thread"]
)
def test_only_a_completion_in_another_thread_wakes_the_loop(
    place: Callable[[Callable[[], object]], object], num_calls: int
) -> None:
    loop = CountingLoop()
    future: Future[int] = Future()

    async def main() -> int:
        waiter = asyncio.create_task(awaited(future))
        await settle()
        loop.num_calls = 0
        place(lambda: future.set_result(3))
        now = loop.num_calls
        assert await waiter == 3
        return now

    assert loop.run_until_complete(main()) == num_calls
    loop.close()


async def test_a_task_told_twice_goes_on_once() -> None:
    loop = asyncio.get_running_loop()
    waiter = SuspendedTask(inbox_of(loop), loop.create_future())
    waiter.wake()
    waiter.wake()
    waiter.arrive()
    await waiter.future


async def test_an_await_that_is_cancelled_leaves_no_waiter_behind() -> None:
    future: Future[int] = Future()
    waiter = asyncio.create_task(awaited(future))
    await settle()
    assert len(future._waiters or ()) == 1
    waiter.cancel()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    assert future._waiters == []
    assert not future.done(), "it is nobody's to cancel"


async def test_an_await_of_what_is_done_does_not_suspend() -> None:
    future: Future[int] = Future()
    future.set_result(3)
    coroutine = awaited(future)
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == 3


# -- a loop inside a kernel


def counts(runtime: sync.Runtime) -> tuple[int, int]:
    now = runtime.statistics()
    return now.running, now.blocked


def test_the_permit_is_lent_while_all_tasks_wait_and_held_while_one_runs() -> None:
    first: Future[int] = Future()
    second: Future[int] = Future()
    seen: list[tuple[int, int]] = []

    with sync.Runtime(1, blas_threads=None) as runtime:

        async def note_after(future: Future[int]) -> None:
            await future
            seen.append(counts(runtime))

        async def main() -> None:
            await asyncio.gather(note_after(first), note_after(second))
            seen.append(counts(runtime))

        kernel = fork(asyncio.run, main())
        until(lambda: first._waiters and second._waiters and counts(runtime) == (0, 1))
        first.set_result(1)
        until(lambda: len(seen) == 1 and counts(runtime) == (0, 1))  # lent anew: the other still waits
        second.set_result(2)
        kernel.result(PATIENCE_S)
        assert seen == [(1, 0)] * 3
        assert_at_rest(runtime)


def test_two_tasks_woken_at_once_hold_one_permit() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:

        async def main() -> list[int]:
            return await asyncio.gather(*[awaited(fork(pow, 2, n)) for n in range(20)])

        assert fork(asyncio.run, main()).result(PATIENCE_S) == [2**n for n in range(20)]
        assert_at_rest(runtime)


def test_a_loop_left_with_tasks_that_wait_gives_the_kernels_permit_back() -> None:
    never: Future[int] = Future()
    loop = asyncio.new_event_loop()
    tasks: list[asyncio.Task[int]] = []

    async def main() -> None:
        tasks.append(asyncio.create_task(awaited(never)))
        await settle()

    with sync.Runtime(1, blas_threads=None) as runtime:
        fork(loop.run_until_complete, main()).result(PATIENCE_S)
        until(lambda: counts(runtime) == (0, 0))
        assert fork(pow, 2, 3).result(PATIENCE_S) == 8
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(tasks[0])
        assert_at_rest(runtime)
    loop.close()


async def test_a_plain_loops_thread_has_no_permit_to_lend(runtime: sync.Runtime) -> None:
    assert await fork(pow, 2, 3) == 8
    slot = this_thread()
    assert (slot.permit, slot.loan, slot.lender, slot.num_awaiting) == (None, None, None, 0)


# -- instruments


class Diary(Instrument):
    """Notes the waits for each future."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []

    def wait_started(self, scope: Any, future: Any) -> None:
        self.lines.append(("waits", future))

    def wait_ended(self, scope: Any, future: Any) -> None:
        self.lines.append(("is told", future))


@pytest.mark.parametrize("ends_by", ["value", "cancel"])
def test_an_instrument_is_told_of_an_await_however_it_ends(ends_by: str) -> None:
    diary = Diary()
    future: Future[int] = Future()

    with sync.Runtime(1, blas_threads=None, instruments=[diary]):
        waiter = fork(awaited, future)
        until(lambda: future._waiters)
        assert diary.lines == [("waits", future)]
        if ends_by == "value":
            future.set_result(3)
        else:
            waiter.cancel()
        waiter.then(lambda _: None).result(PATIENCE_S)
    assert diary.lines == [("waits", future), ("is told", future)]
