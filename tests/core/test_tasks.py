import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any, NoReturn

import pytest

from asyncjit import fork
from asyncjit._core.context import Scope, current
from asyncjit._core.tasks import TaskScope, here, refuse_loop, require_loop
from asyncjit.errors import ForkCancelled, WaitOnEventLoopError
from tests.at_rest import PATIENCE_S
from tests.core.members import Member
from tests.support import optional


def test_a_script_is_in_no_scope() -> None:
    assert contextvars.Context().run(here, None) is None


async def test_a_task_has_one_scope() -> None:
    loop = asyncio.get_running_loop()
    scope = here(loop)
    assert isinstance(scope, TaskScope)
    assert here(loop) is scope
    assert current.get() is scope
    assert scope.task is asyncio.current_task()


async def test_a_task_is_below_the_task_that_started_it() -> None:
    loop = asyncio.get_running_loop()
    scope = here(loop)

    async def child() -> Scope | None:
        return here(loop)

    below = await asyncio.create_task(child())
    assert below is not None
    assert below is not scope
    assert below.parent is scope


async def test_a_task_whose_starter_has_ended_is_below_the_nearest_that_lives() -> None:
    loop = asyncio.get_running_loop()
    scope = here(loop)
    may_go_on = asyncio.Event()

    async def grandchild() -> Scope | None:
        await may_go_on.wait()
        return here(loop)

    async def child() -> asyncio.Task[Scope | None]:
        here(loop)
        return asyncio.create_task(grandchild())

    task = await asyncio.create_task(child())
    await asyncio.sleep(0)
    may_go_on.set()
    below = await task
    assert below is not None
    assert below.parent is scope


async def test_a_loops_callback_outside_of_any_task_has_a_root_of_its_own() -> None:
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[Scope | None] = loop.create_future()
    loop.call_soon(lambda: seen.set_result(here(loop)), context=contextvars.Context())
    scope = await seen
    assert scope is not None
    assert (scope.parent, scope.task) == (None, None)
    assert scope.env.inbox.loop is loop


async def test_a_task_that_returns_hands_its_forks_to_its_parent() -> None:
    loop = asyncio.get_running_loop()
    scope = here(loop)
    assert scope is not None
    fork = Member()

    async def child() -> None:
        below = here(loop)
        assert below is not None
        fork.parent = below.adopt(fork)

    await asyncio.create_task(child())
    await asyncio.sleep(0)
    assert fork.parent is scope
    assert scope.children == [fork]
    assert fork.told == []
    scope.leave(fork)


@pytest.mark.parametrize("ends_by", ["cancel", "error"])
async def test_a_task_that_ends_badly_cancels_its_forks(ends_by: str) -> None:
    loop = asyncio.get_running_loop()
    fork = Member()

    async def child() -> NoReturn:
        below = here(loop)
        assert below is not None
        fork.parent = below.adopt(fork)
        if ends_by == "error":
            raise ValueError("its own")
        await loop.create_future()
        raise AssertionError("woken by nobody")

    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, ValueError)):
        await task
    await asyncio.sleep(0)
    assert fork.told == [ForkCancelled]


async def test_a_task_below_a_cancelled_scope_is_cancelled_from_its_start() -> None:
    loop = asyncio.get_running_loop()
    above = here(loop)
    assert above is not None

    async def child() -> type[Exception] | None:
        below = here(loop)
        assert below is not None
        return below.cause

    above.cancel_below(ForkCancelled)
    assert await asyncio.create_task(child()) is ForkCancelled


async def test_a_scope_goes_with_its_task() -> None:
    loop = asyncio.get_running_loop()

    async def child() -> weakref.ref[Scope]:
        scope = here(loop)
        assert scope is not None
        return weakref.ref(scope)

    watched = await asyncio.create_task(child())
    await asyncio.sleep(0)
    gc.collect()
    assert watched() is None


def test_without_a_loop_what_awaits_names_the_scripts_door() -> None:
    with pytest.raises(RuntimeError, match=r"cannot await it: no event loop runs here.*asyncjit\.sync\.wait\(fut\)"):
        require_loop("await it", "asyncjit.sync.wait(fut)")


async def test_with_a_loop_what_awaits_gets_it() -> None:
    assert require_loop("await it", "asyncjit.sync.wait(fut)") is asyncio.get_running_loop()


def test_without_a_loop_what_blocks_may() -> None:
    refuse_loop("it", "await it")


async def test_with_a_loop_what_blocks_is_shown_the_await() -> None:
    with pytest.raises(WaitOnEventLoopError, match="it would block the event loop: write `await it`"):
        refuse_loop("it", "await it")


def test_under_trio_both_name_the_way_out() -> None:
    trio = optional("trio")
    told: list[str] = []

    async def main() -> None:
        with pytest.raises(RuntimeError, match="cannot await it: a trio loop runs here") as caught:
            require_loop("await it", "asyncjit.sync.wait(fut)")
        told.append(str(caught.value))
        with pytest.raises(WaitOnEventLoopError, match="it would block the trio loop") as blocked:
            refuse_loop("it", "await it")
        told.append(str(blocked.value))

    trio.run(main)
    assert all("backend='asyncio'" in text for text in told)
    assert all("trio.to_thread.run_sync" in text for text in told)


def test_tasks_of_two_loops_may_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, event: errors.append(event["message"]))
        await asyncio.ensure_future(forking())
        await asyncio.sleep(0)

    async def forking() -> None:
        await fork(int)

    def meet(scope: TaskScope, task: Any) -> None:
        both.wait(PATIENCE_S)
        task_done(scope, task)

    errors: list[str] = []
    both = threading.Barrier(2)
    task_done = TaskScope.task_done
    monkeypatch.setattr(TaskScope, "task_done", meet)
    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert errors == []
