"""`parallel_for`: how a range is cut, who runs its blocks and where, and what comes of errors and cancels."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import fork, parallel_for, sync
from asyncjit._core.intraop import together
from asyncjit._core.teams import ALONE, Member
from asyncjit.errors import DeadlineExceeded, ForkCancelled
from asyncjit.profiler import profile
from asyncjit.testing import ManualClock, deterministic
from tests.at_rest import PATIENCE_S, all_threads_busy, assert_at_rest, until
from tests.rules.places import in_plain_thread, in_pool_thread, in_script

Place = Callable[[Callable[[], Any]], Any]


def blocks_of(n: int, grain: int | None = None) -> list[tuple[int, int]]:
    """Return the blocks that a loop is cut into, in order."""
    blocks: list[tuple[int, int]] = []
    parallel_for(lambda start, stop: blocks.append((start, stop)), n, grain=grain)
    return sorted(blocks)


def threads_of(n: int) -> set[int]:
    """Return the threads that run the blocks of a loop."""
    threads: set[int] = set()
    parallel_for(lambda start, stop: threads.add(threading.get_ident()), n, grain=1)
    return threads


def meet_in(num_threads: int) -> None:
    """Run a loop whose blocks end only when so many threads are in one at once."""
    barrier = threading.Barrier(num_threads)
    parallel_for(lambda start, stop: barrier.wait(PATIENCE_S), num_threads, grain=1)


@pytest.fixture
def two() -> Any:
    """Return a runtime of two threads, which may both run one kernel's pieces."""
    with sync.Runtime(2, 2, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)


# -- how it is cut


@pytest.mark.parametrize(
    ("n", "grain", "step"),
    [
        (1, None, 1),
        (64, None, 1),
        (65, None, 2),
        (1000, None, 16),
        (6400, None, 100),
        (10, 3, 3),
        (10, 10, 10),
        (7, 9, 9),
    ],
)
def test_blocks_are_a_function_of_size_and_grain_alone(
    runtime: sync.Runtime, n: int, grain: int | None, step: int
) -> None:
    expected = [(start, min(start + step, n)) for start in range(0, n, step)]
    runtime.num_threads = 4
    assert blocks_of(n, grain) == expected
    assert sync.call(blocks_of, n, grain) == expected
    with all_threads_busy(runtime):
        assert blocks_of(n, grain) == expected
    runtime.num_threads = 1
    assert blocks_of(n, grain) == expected


def test_of_nothing_nothing_is_called() -> None:
    assert blocks_of(0) == []
    assert blocks_of(0, 5) == []


def test_integers_of_numpy_are_integers() -> None:
    assert parallel_for(lambda start, stop: None, np.int64(3), grain=np.uint8(2)) is None  # type: ignore[func-returns-value, arg-type]
    assert blocks_of(np.int64(3), np.uint8(2)) == [(0, 2), (2, 3)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "grain", "kind", "message"),
    [
        (-1, None, ValueError, "n must be at least .*, got -1"),
        (2.0, None, TypeError, r"n must be an integer, got 2.0 of type float"),
        (True, None, TypeError, "n must be an integer, got True of type bool"),
        ("3", None, TypeError, "n must be an integer, got '3' of type str"),
        (3, 0, ValueError, "grain must be at least 1, got 0"),
        (3, 1.5, TypeError, "grain must be an integer, got 1.5 of type float"),
        (3, False, TypeError, "grain must be an integer, got False of type bool"),
        (0, 0, ValueError, "grain must be at least 1, got 0"),
        (0.0, None, TypeError, "n must be an integer, got 0.0"),
        (False, None, TypeError, "n must be an integer, got False"),
    ],
)
def test_counts_that_are_none_are_refused(n: Any, grain: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        parallel_for(lambda start, stop: None, n, grain=grain)


# -- who runs it


@pytest.mark.parametrize("place", [in_script, in_plain_thread, in_pool_thread])
def test_blocks_run_on_n_threads_at_once(runtime: sync.Runtime, place: Place) -> None:
    runtime.num_threads = 8
    place(lambda: meet_in(runtime.num_interop_threads))


@pytest.mark.parametrize("place", [in_script, in_plain_thread, in_pool_thread])
def test_no_more_threads_run_it_than_num_threads_the_caller_among_them(place: Place) -> None:
    with sync.Runtime(4, 2, blas_threads=None):
        callers: list[int] = []

        def loop() -> set[int]:
            callers.append(threading.get_ident())
            meet_in(2)
            return threads_of(50)

        threads = place(loop)
        assert len(threads) <= 2
        assert threads - set(callers) == threads or callers[0] in threads


def test_a_loop_of_one_block_stays_in_its_thread(two: sync.Runtime) -> None:
    assert threads_of(1) == {threading.get_ident()}
    assert two.statistics().threads == 0


def test_on_a_busy_pool_the_caller_runs_all_blocks(runtime: sync.Runtime) -> None:
    runtime.num_threads = 4
    with all_threads_busy(runtime):
        assert threads_of(20) == {threading.get_ident()}


async def test_on_a_loops_thread_nothing_is_split_and_no_permit_is_taken() -> None:
    async with sync.Runtime(2, 2, blas_threads=None) as runtime:
        seen: set[tuple[int, int]] = set()
        parallel_for(lambda start, stop: seen.add((threading.get_ident(), runtime.statistics().running)), 20, grain=1)
        assert seen == {(threading.get_ident(), 0)}

        async def model() -> set[int]:
            return threads_of(20)

        assert await fork(model) == {threading.get_ident()}
        await asyncjit.call(meet_in, 2)


def test_on_a_loop_inside_a_kernel_nothing_is_split(two: sync.Runtime) -> None:
    async def main() -> bool:
        return threads_of(20) == {threading.get_ident()}

    assert sync.call(lambda: asyncio.run(main()))


def test_inline_nothing_is_split() -> None:
    with sync.Runtime(2, 2, inline=True):
        assert threads_of(20) == {threading.get_ident()}
        assert sync.call(threads_of, 20) == {threading.get_ident()}


def test_together_a_body_that_is_alone_knows_it(two: sync.Runtime) -> None:
    members: list[Member] = []
    together(members.append, 1)
    with all_threads_busy(two):
        together(members.append, 4)
    assert members == [ALONE, ALONE]


def test_a_deterministic_run_has_one_thread_and_the_same_blocks() -> None:
    for seed in range(5):
        with deterministic(seed):
            assert threads_of(20) == {threading.get_ident()}
            assert sync.call(blocks_of, 10, 3) == [(0, 3), (3, 6), (6, 9), (9, 10)]


def test_a_kernel_in_an_executor_of_threads_is_split() -> None:
    with ThreadPoolExecutor(4) as executor, sync.Runtime(2, 2, blas_threads=None, executor=executor) as runtime:
        sync.call(meet_in, 2)
        meet_in(2)
        assert sync.call(blocks_of, 3, 2) == [(0, 2), (2, 3)]
        assert_at_rest(runtime)


# -- what it sees, forks and waits for


def test_blocks_see_the_callers_context(two: sync.Runtime) -> None:
    var = contextvars.ContextVar("var", default="unset")
    both = threading.Barrier(2)
    seen: list[Any] = []

    def piece(start: int, stop: int) -> None:
        both.wait(PATIENCE_S)
        seen.append((var.get(), np.geterr()["over"], asyncjit.current_runtime() is two))

    var.set("set")
    with np.errstate(over="raise"):
        parallel_for(piece, 2, grain=1)
    assert seen == [("set", "raise", True)] * 2


def test_what_blocks_set_in_their_context_the_caller_does_not_see(two: sync.Runtime) -> None:
    var = contextvars.ContextVar("var", default="unset")
    parallel_for(lambda start, stop: var.set("set"), 20, grain=1)
    assert var.get() == "unset"


def test_what_blocks_fork_are_children_of_the_calling_fork(two: sync.Runtime) -> None:
    both = threading.Barrier(2)
    parents: list[Any] = []

    def piece(start: int, stop: int) -> None:
        both.wait(PATIENCE_S)
        child: Any = fork(int)
        parents.append(child._source.parent)
        child.result()

    future = fork(parallel_for, piece, 2, grain=1)
    source: Any = future._source
    sync.wait(future, timeout=PATIENCE_S)
    assert parents == [source] * 2


def test_blocks_wait_for_what_they_fork(runtime: sync.Runtime) -> None:
    runtime.num_threads = 4
    total: list[int] = []

    async def square(n: int) -> int:
        await asyncio.sleep(0)
        return n * n

    def piece(start: int, stop: int) -> None:
        total.extend(future.result(timeout=PATIENCE_S) for future in [fork(pow, start, 2), fork(square, start)])
        total.append(sync.call(pow, start, 2))

    parallel_for(piece, 20, grain=1)
    sync.call(parallel_for, piece, 20, grain=1)
    assert sum(total) == 6 * sum(n * n for n in range(20))


def test_loops_nest(runtime: sync.Runtime) -> None:
    runtime.num_threads = 4
    cells = np.zeros((8, 9, 10), int)

    def plane(i: int, _: int) -> None:
        parallel_for(
            lambda j, _: parallel_for(lambda k, stop: cells[i, j, k:stop].__iadd__(1), 10, grain=3), 9, grain=1
        )

    parallel_for(plane, 8, grain=1)
    sync.call(parallel_for, plane, 8, grain=1)
    assert (cells == 2).all()


# -- errors


def test_of_several_errors_that_of_the_lowest_block_is_raised(two: sync.Runtime) -> None:
    both = threading.Barrier(2)
    second_has_failed = threading.Event()

    def piece(start: int, stop: int) -> None:
        both.wait(PATIENCE_S)
        if start == 0:
            assert second_has_failed.wait(PATIENCE_S)
            until(lambda: two.statistics().running == 1)
            raise LookupError("the first")
        second_has_failed.set()
        raise ValueError("the second")

    for call in (parallel_for, partial(sync.call, parallel_for)):
        second_has_failed.clear()
        with pytest.raises(LookupError, match="the first"):
            call(piece, 2, grain=1)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_after_an_error_no_later_block_starts(two: sync.Runtime, num_threads: int) -> None:
    two.num_threads = num_threads
    started: list[int] = []
    meant = ValueError("meant")

    def piece(start: int, stop: int) -> None:
        started.append(start)
        if start == 3:
            raise meant
        if start > 3:  # it began before the error: nothing more may
            until(lambda: two.statistics().running <= 1)

    with pytest.raises(ValueError, match="meant") as told:
        parallel_for(piece, 50, grain=1)
    assert told.value is meant
    assert set(range(4)) <= set(started)
    assert len(started) < 4 + num_threads


# -- cancels and deadlines


def test_a_cancelled_fork_stops_between_blocks(runtime: sync.Runtime) -> None:
    runtime.num_threads = 4
    started: list[int] = []
    errors: list[BaseException] = []
    is_cancelled = threading.Event()

    def kernel() -> None:
        def piece(start: int, stop: int) -> None:
            started.append(start)
            assert is_cancelled.wait(PATIENCE_S)

        try:
            parallel_for(piece, 100, grain=1)
        except BaseException as error:
            errors.append(error)
            raise

    future = fork(kernel)
    until(lambda: started)
    assert future.cancel()
    is_cancelled.set()
    assert runtime.close(timeout=PATIENCE_S) == []
    assert len(started) <= runtime.num_interop_threads
    assert [type(error) for error in errors] == [ForkCancelled]
    assert "was cancelled" in str(errors[0])


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_loop_whose_deadline_passes_stops_between_blocks(num_threads: int) -> None:
    clock = ManualClock()
    started: list[int] = []

    def piece(start: int, stop: int) -> None:
        started.append(start)
        clock.advance(1.0)

    with sync.Runtime(2, num_threads, clock=clock), sync.fail_after(3.0):
        with pytest.raises(DeadlineExceeded, match="passed its deadline"):
            parallel_for(piece, 100, grain=1)
        assert 3 <= len(started) < 3 + num_threads
        with pytest.raises(DeadlineExceeded, match="passed its deadline"):
            parallel_for(piece, 1)


# -- profiles


def test_a_profile_shows_pieces_as_strands_of_their_fork_on_several_lanes(two: sync.Runtime) -> None:
    def model() -> None:
        meet_in(2)

    with profile() as prof:
        sync.call(model)
    (task,) = [task for task in prof.tasks() if "model" in task.name]
    strands = [strand for strand in prof.events() if strand.fork == task.number]
    assert {strand.name for strand in strands} == {task.name}
    assert len({strand.lane for strand in strands}) == 2
    assert 0 < prof.utilisation() <= 1
