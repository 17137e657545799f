"""Rule 7: errors keep their type, their traceback and their origin."""

import asyncio
import inspect
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit.errors import ForkCancelled
from tests.at_rest import (
    PATIENCE_S,
    Gate,
    all_threads_busy,
    explode,
    explode_async,
)

HERE = "test_rule_07_errors.py"


class OddError(Exception):
    """Cannot be made again from its `args`, as pickling or re-raising by type would try."""

    def __init__(self, shape: tuple[int, ...], *, wanted: int) -> None:
        super().__init__()
        self.shape = shape
        self.wanted = wanted

    def __str__(self) -> str:
        return f"the odd shape {self.shape}, not {self.wanted}"


class NotelessError(Exception):
    """Takes no notes."""

    def add_note(self, note: str, /) -> None:
        raise TypeError("no notes here")


ANYTHING = [
    pytest.param(lambda: ValueError("the text"), "the text", id="ValueError"),
    pytest.param(lambda: KeyboardInterrupt("the text"), "the text", id="KeyboardInterrupt"),
    pytest.param(lambda: SystemExit("the text"), "the text", id="SystemExit"),
    pytest.param(lambda: GeneratorExit("the text"), "the text", id="GeneratorExit"),
    pytest.param(lambda: MemoryError("the text"), "the text", id="MemoryError"),
    pytest.param(lambda: StopAsyncIteration("the text"), "the text", id="StopAsyncIteration"),
    pytest.param(lambda: OddError((1, 2), wanted=3), r"the odd shape \(1, 2\), not 3", id="OddError"),
    pytest.param(lambda: NotelessError("the text"), "the text", id="NotelessError"),
]
anything = pytest.mark.parametrize(("make_error", "text"), ANYTHING)


def frames_of(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def line_in(fn: Callable[..., Any], text: str) -> int:
    """Return the number of the line of `fn` that contains `text`."""
    lines, first = inspect.getsourcelines(fn)
    return first + next(i for i, line in enumerate(lines) if text in line)


# -- whatever is raised


@anything
def test_a_kernel_may_raise_anything_and_its_waiter_gets_that_very_object(
    runtime: sync.Runtime, make_error: Callable[[], BaseException], text: str
) -> None:
    error = make_error()
    future = fork(explode, error)
    with pytest.raises(type(error), match=text) as caught:
        future.result(PATIENCE_S)  # with a timeout it is not run in place
    assert caught.value is error
    assert frames_of(error)[-1] == "explode"
    assert future.exception() is error
    assert not future.cancelled()


@anything
def test_after_any_error_the_pool_goes_on(
    runtime: sync.Runtime, make_error: Callable[[], BaseException], text: str
) -> None:
    for _ in range(3 * runtime.num_interop_threads):
        with pytest.raises(type(make_error()), match=text):
            fork(explode, make_error()).result(PATIENCE_S)
    assert runtime.statistics().failed == 3 * runtime.num_interop_threads
    with all_threads_busy(runtime):
        assert runtime.statistics().running == runtime.num_interop_threads


@anything
def test_an_error_of_a_kernel_run_in_place_is_that_very_object(
    runtime: sync.Runtime, make_error: Callable[[], BaseException], text: str
) -> None:
    error = make_error()

    def body() -> None:  # on a pool thread: on the main thread a KeyboardInterrupt would count as Ctrl-C
        with pytest.raises(type(error), match=text) as caught:
            sync.wait(fork(explode, error))
        assert caught.value is error

    fork(body).result(PATIENCE_S)


@anything
async def test_a_coroutine_fork_may_raise_anything_and_its_loop_lives_on(
    runtime: sync.Runtime, make_error: Callable[[], BaseException], text: str
) -> None:
    error = make_error()
    with pytest.raises(type(error), match=text) as caught:
        await fork(explode_async, error)
    assert caught.value is error
    assert "explode_async" in frames_of(error)

    async def fine() -> str:
        await asyncio.sleep(0)
        return "fine"

    assert await fork(fine) == "fine"
    assert runtime.statistics().failed == 1


@anything
def test_a_coroutine_fork_of_a_script_may_raise_anything_and_the_facade_lives_on(
    runtime: sync.Runtime, make_error: Callable[[], BaseException], text: str
) -> None:
    error = make_error()
    with pytest.raises(type(error), match=text) as caught:
        fork(explode_async, error).result(PATIENCE_S)
    assert caught.value is error

    async def fine() -> str:
        return threading.current_thread().name

    assert "facade" in fork(fine).result(PATIENCE_S)


@anything
async def test_an_awaited_kernel_may_raise_anything(
    runtime: sync.Runtime, make_error: Callable[[], BaseException], text: str
) -> None:
    error = make_error()
    with pytest.raises(type(error), match=text) as caught:
        await asyncjit.call(explode, error)
    assert caught.value is error
    assert await asyncjit.call(pow, 2, 3) == 8


def test_stop_iteration_of_a_kernel_surfaces_as_a_runtime_error_with_it_as_cause(runtime: sync.Runtime) -> None:
    stop = StopIteration("a value")
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        fork(explode, stop).result(PATIENCE_S)
    assert caught.value.__cause__ is stop
    assert "explode" in frames_of(caught.value)
    assert any(note.startswith("forked at") for note in notes_of(caught.value))


async def test_stop_iteration_of_an_awaited_fork_does_not_end_the_waiting_coroutine(runtime: sync.Runtime) -> None:
    stop = StopIteration("a value")
    for body in (explode, explode_async):
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await fork(body, stop)
        assert caught.value.__cause__ is stop


def test_a_generator_that_waits_for_a_stop_iteration_is_not_ended_by_it(runtime: sync.Runtime) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(sync.map(next, [iter(())]))


def test_a_kernel_that_ends_in_asyncios_cancelled_error_is_a_cancelled_fork(runtime: sync.Runtime) -> None:
    future = fork(explode, asyncio.CancelledError("mine"))
    with pytest.raises(ForkCancelled, match=r"fork of explode \(forked at .* was cancelled"):
        future.result(PATIENCE_S)
    assert future.cancelled()
    assert runtime.statistics().cancelled == 1


async def test_asyncios_cancelled_error_of_a_fork_does_not_cancel_who_awaits_it(runtime: sync.Runtime) -> None:
    for body in (explode, explode_async):
        future = fork(body, asyncio.CancelledError("mine"))
        with pytest.raises(ForkCancelled, match="was cancelled"):
            await future
        assert future.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_an_error_made_from_a_cause_keeps_it(runtime: sync.Runtime) -> None:
    def body() -> None:
        try:
            explode(KeyError("first"))
        except KeyError as error:
            raise ValueError("second") from error

    with pytest.raises(ValueError, match="second") as caught:
        sync.call(body)
    assert isinstance(caught.value.__cause__, KeyError)


# -- many waits for one error


def test_waiting_fifty_times_shows_the_original_frames_and_grows_nothing(runtime: sync.Runtime) -> None:
    future = fork(explode, ValueError("once"))
    seen = []
    for _ in range(50):
        with pytest.raises(ValueError, match="once") as caught:
            sync.wait(future)
        seen.append((frames_of(caught.value), notes_of(caught.value)))
    assert seen[0][0][-1] == "explode"
    assert len(seen[0][1]) == 1
    assert all(one == seen[0] for one in seen[1:])


def test_asking_for_the_exception_grows_nothing(runtime: sync.Runtime) -> None:
    future = fork(explode, ValueError("once"))
    seen = []
    for _ in range(50):
        error = future.exception(PATIENCE_S)
        assert error is not None
        seen.append((frames_of(error), notes_of(error)))
    assert seen[0][0] == ["explode"]
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("body", [explode, explode_async])
async def test_fifty_tasks_awaiting_one_failed_future_each_see_the_original_frames(
    runtime: sync.Runtime, body: Callable[[BaseException], Any]
) -> None:
    error = ValueError("for all")
    seen: list[tuple[list[str], list[str]]] = []

    async def waiter(future: Future[Any]) -> None:
        with pytest.raises(ValueError, match="for all") as caught:
            await future
        assert caught.value is error
        seen.append((frames_of(error), notes_of(error)))

    with all_threads_busy(runtime):  # so that all of them wait before it has failed
        future = fork(body, error)
        tasks = [asyncio.create_task(waiter(future)) for _ in range(50)]
        if body is explode:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert len(seen) == 50
    assert seen[0][0][-1] == body.__name__
    assert len(seen[0][1]) == 1
    assert all(one == seen[0] for one in seen[1:])


def test_threads_that_wait_for_one_failed_future_all_get_it_and_it_does_not_grow(runtime: sync.Runtime) -> None:
    gate = Gate()

    def body() -> None:
        gate()
        raise ValueError("for all")

    future = fork(body)
    gate.await_start()

    def waiter() -> BaseException:
        try:
            future.result(PATIENCE_S)
        except ValueError as error:
            return error
        raise AssertionError("no error")

    with ThreadPoolExecutor(50) as threads:
        waits = [threads.submit(waiter) for _ in range(50)]
        gate.open()
        errors = [wait.result(PATIENCE_S) for wait in waits]
    assert len({id(error) for error in errors}) == 1
    error = future.exception()
    assert error is not None
    assert frames_of(error) == ["body"]
    assert len(notes_of(error)) == 1


# -- notes


def inner() -> None:
    raise ValueError("deep down")


def middle() -> Any:
    return sync.wait(fork(inner))


def outer() -> Any:
    return sync.wait(fork(middle))


def test_a_note_names_each_fork_site_through_three_levels(runtime: sync.Runtime) -> None:
    with pytest.raises(ValueError, match="deep down") as caught:
        sync.wait(fork(outer))
    test = test_a_note_names_each_fork_site_through_three_levels
    assert notes_of(caught.value) == [
        f"forked at {HERE}:{line_in(middle, 'fork(inner)')} in middle",
        f"forked at {HERE}:{line_in(outer, 'fork(middle)')} in outer",
        f"forked at {HERE}:{line_in(test, 'fork(outer)')} in {test.__name__}",
    ]


async def middle_async() -> Any:
    return await fork(inner)


async def outer_async() -> Any:
    return await fork(middle_async)


async def test_a_note_names_each_fork_site_through_three_levels_of_coroutines(runtime: sync.Runtime) -> None:
    with pytest.raises(ValueError, match="deep down") as caught:
        await fork(outer_async)
    assert notes_of(caught.value) == [
        f"forked at {HERE}:{line_in(middle_async, 'fork(inner)')} in middle_async",
        f"forked at {HERE}:{line_in(outer_async, 'fork(middle_async)')} in outer_async",
        notes_of(caught.value)[-1],
    ]
    assert notes_of(caught.value)[-1].endswith(
        test_a_note_names_each_fork_site_through_three_levels_of_coroutines.__name__
    )


def test_a_recursion_of_forks_is_noted_once_per_site(runtime: sync.Runtime) -> None:
    def descend(depth: int) -> Any:
        if depth == 0:
            raise ValueError("the ground")
        return sync.wait(fork(descend, depth - 1))

    with pytest.raises(ValueError, match="the ground") as caught:
        sync.wait(fork(descend, 20))
    notes = notes_of(caught.value)
    assert [note.rsplit(" ", 1)[1] for note in notes] == [
        "descend",
        test_a_recursion_of_forks_is_noted_once_per_site.__name__,
    ]


def test_every_way_to_fork_is_named_by_the_place_that_called_it(runtime: sync.Runtime) -> None:
    def by_call() -> None:
        sync.call(inner)

    def by_map() -> None:
        list(sync.map(lambda _: inner(), [0]))

    def by_group() -> None:
        with sync.fork_group() as group:
            group.fork(inner)

    for way in (by_call, by_map, by_group):
        with pytest.raises((ValueError, ExceptionGroup)) as caught:
            way()
        error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
        assert [note.rsplit(" ", 1)[1] for note in notes_of(error)] == [way.__name__]


async def test_an_awaited_call_is_named_by_the_place_that_called_it(runtime: sync.Runtime) -> None:
    async def by_call() -> None:
        await asyncjit.call(inner)

    with pytest.raises(ValueError, match="deep down") as caught:
        await by_call()
    assert [note.rsplit(" ", 1)[1] for note in notes_of(caught.value)] == ["by_call"]


def test_an_error_whose_notes_are_no_list_travels_without_one(runtime: sync.Runtime) -> None:
    error = ValueError("odd notes")
    error.__notes__ = 3  # type: ignore[assignment]
    assert fork(explode, error).exception(PATIENCE_S) is error
    assert getattr(error, "__notes__", None) == 3


def test_asyncjits_own_frames_are_left_out_above_the_kernels(runtime: sync.Runtime) -> None:
    error = fork(explode, ValueError("plain")).exception(PATIENCE_S)
    assert error is not None
    assert frames_of(error) == ["explode"]
