"""Rule 8, groups: an async `fork_group` does as `asyncio.TaskGroup` does: the same scenes are played by both."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asyncjit import fork_group, sync
from tests.at_rest import (
    errors_of,
    explode_async,
    sleep_for_ever,
    wait_for_ever,
    when_idle,
)


class Stage:
    """The words of a scene, spoken by a `TaskGroup` or a `fork_group`."""

    def __init__(self, group: Any) -> None:
        self.group = group

    def start(self, fn: Callable[..., Any], *args: Any) -> None:
        if isinstance(self.group, asyncio.TaskGroup):
            self.group.create_task(fn(*args))
        else:
            self.group.fork(fn, *args)


async def one_fails(scene: Stage) -> None:
    scene.start(explode_async, ValueError("one"))
    scene.start(sleep_for_ever)


async def two_fail_in_the_same_step(scene: Stage) -> None:
    scene.start(explode_async, ValueError("one"))
    scene.start(explode_async, KeyError("two"))


async def the_block_fails(scene: Stage) -> None:
    scene.start(sleep_for_ever)
    await asyncio.sleep(0)
    raise ValueError("the block")


async def both_fail(scene: Stage) -> None:
    scene.start(fail_when_cancelled)
    await asyncio.sleep(0)
    raise ValueError("the block")


async def fail_when_cancelled() -> None:
    try:
        await sleep_for_ever()
    finally:
        raise OSError("while stopping")


async def a_base_exception(scene: Stage) -> None:
    scene.start(explode_async, GeneratorExit("base"))
    scene.start(sleep_for_ever)


async def the_block_is_interrupted(scene: Stage) -> None:
    scene.start(explode_async, ValueError("one"))
    await sleep_for_ever()


async def the_block_fails_when_interrupted(scene: Stage) -> None:
    scene.start(explode_async, ValueError("one"))
    try:
        await sleep_for_ever()
    finally:
        raise OSError("while leaving")


async def a_member_is_cancelled_by_itself(scene: Stage) -> None:
    scene.start(explode_async, asyncio.CancelledError())


async def all_is_well(scene: Stage) -> None:
    scene.start(asyncio.sleep, 0)


async def the_task_is_cancelled(scene: Stage) -> None:
    scene.start(sleep_for_ever)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    await sleep_for_ever()


async def the_task_is_cancelled_and_a_member_fails_for_it(scene: Stage) -> None:
    scene.start(fail_when_cancelled)
    await asyncio.sleep(0)
    await the_task_is_cancelled(scene)


SCENES = [
    one_fails,
    the_block_fails,
    both_fail,
    a_base_exception,
    the_block_is_interrupted,
    the_block_fails_when_interrupted,
    a_member_is_cancelled_by_itself,
    all_is_well,
    the_task_is_cancelled,
    the_task_is_cancelled_and_a_member_fails_for_it,
]


async def play(scene: Callable[[Stage], Any], make_group: Callable[[], Any]) -> tuple[Any, int | None]:
    """Return what the scene ended in, and how many cancels it left its task with; None if they go on after it."""
    ended: Any = None

    async def task_of_its_own() -> int:
        nonlocal ended
        task = asyncio.current_task()
        assert task is not None
        try:
            async with make_group() as group:
                await scene(Stage(group))
        except BaseExceptionGroup as error:
            ended = (type(error), sorted(map(str, errors_of(error))))
        except BaseException as error:
            ended = type(error)
        return task.cancelling()

    try:
        cancels = await asyncio.create_task(task_of_its_own())
    except asyncio.CancelledError:
        return ended, None
    return ended, cancels


@pytest.mark.parametrize("scene", SCENES)
async def test_a_group_ends_as_asyncios_task_group_does(runtime: sync.Runtime, scene: Callable[[Stage], Any]) -> None:
    expected, expected_cancels = await play(scene, asyncio.TaskGroup)
    ended, cancels = await play(scene, fork_group)
    if isinstance(expected, tuple):
        assert ended == expected
    else:
        assert ended is expected
    if expected_cancels is None:  # since Python 3.13, where the task is cancelled and a member fails for it
        assert cancels is None
    else:  # Python 3.11's own group leaves the cancel by which it interrupted itself behind
        assert cancels == (1 if scene.__name__.startswith("the_task_is_cancelled") else 0)
    await when_idle(runtime)


async def test_of_two_that_would_fail_in_the_same_step_the_second_is_cancelled(runtime: sync.Runtime) -> None:
    """A TaskGroup hears of the first a step later, and raises both."""
    ended, cancels = await play(two_fail_in_the_same_step, fork_group)
    assert ended == (ExceptionGroup, ["(<class 'ValueError'>, 'one')"])
    assert cancels == 0
    await when_idle(runtime)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("now"), SystemExit("now")], ids=["KeyboardInterrupt", "SystemExit"]
)
async def test_what_ends_a_program_leaves_the_group_bare(runtime: sync.Runtime, error: BaseException) -> None:
    with pytest.raises(type(error), match="now") as caught:
        async with fork_group() as group:
            group.fork(explode_async, error)
            group.fork(sleep_for_ever)
    assert caught.value is error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("now"), SystemExit("now")], ids=["KeyboardInterrupt", "SystemExit"]
)
def test_what_ends_a_program_leaves_a_block_bare(runtime: sync.Runtime, error: BaseException) -> None:
    with pytest.raises(type(error), match="now") as caught:
        with sync.fork_group() as group:
            member = group.fork(wait_for_ever)
            raise error
    assert caught.value is error
    assert member.cancelled()
