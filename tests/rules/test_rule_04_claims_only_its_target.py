"""Rule 4: a blocked waiter runs what it waits for, in place, if that has not started; and nothing else."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

from asyncjit import Future, fork, sync
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until
from tests.rules.places import in_place, in_plain_thread, in_pool_thread, in_script, in_threads
from tests.rules.ways import CLAIMING, NOT_CLAIMING, me, nest

# -- what claims


@contextlib.contextmanager
def one_permit_left(runtime: sync.Runtime) -> Iterator[None]:
    """Hold all permits but one, so that what a kernel forks can't start beside it."""
    gates = [Gate() for _ in range(runtime.num_interop_threads - 1)]
    for gate in gates:
        fork(gate)
    for gate in gates:
        gate.await_start()
    try:
        yield
    finally:
        for gate in gates:
            gate.open()


def in_pool_thread_alone(fn: Callable[[], Any]) -> Any:
    """Call `fn` in a kernel beside which no other can start while it runs."""
    with one_permit_left(sync.current_runtime()):
        return in_pool_thread(fn)


@pytest.mark.parametrize("way", CLAIMING)
def test_a_blocking_wait_in_a_kernel_runs_its_target_in_place(runtime: sync.Runtime, way: str) -> None:
    ours, theirs = in_pool_thread_alone(lambda: (me(), CLAIMING[way]()))
    assert theirs == ours


@pytest.mark.parametrize("place", [in_script, in_plain_thread])
@pytest.mark.parametrize("way", CLAIMING)
def test_a_blocking_wait_in_a_script_runs_its_target_in_place(
    runtime: sync.Runtime, place: Callable[..., Any], way: str
) -> None:
    def until_it_is_mine() -> None:
        while CLAIMING[way]() != me():  # a pool thread was faster
            pass

    place(until_it_is_mine)


@pytest.mark.parametrize("place", [in_pool_thread_alone, in_script, in_plain_thread])
@pytest.mark.parametrize("way", NOT_CLAIMING)
def test_a_wait_with_a_timeout_and_as_completed_never_claim(
    runtime: sync.Runtime, place: Callable[..., Any], way: str
) -> None:
    for _ in range(20):
        ours, theirs = place(lambda: (me(), NOT_CLAIMING[way]()))
        assert theirs != ours


def test_a_script_runs_nothing_while_no_permit_is_free(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime) as gates:
        future = fork(me)

        def script() -> int:
            assert sync.wait(future) != me()
            return 0

        def watch() -> int:
            until(lambda: future._waiters)  # the script sleeps
            assert not future.running()
            for gate in gates:
                gate.open()
            return 0

        in_threads(script, watch)


def test_a_kernel_runs_its_target_under_its_own_permit(runtime: sync.Runtime) -> None:
    inside = in_pool_thread_alone(lambda: sync.call(runtime.statistics))
    assert (inside.running, inside.blocked, inside.queued) == (runtime.num_interop_threads, 0, 0)
    assert inside.excess == 0


# -- never unrelated work


def test_a_wait_passes_over_what_was_queued_before_its_target(runtime: sync.Runtime) -> None:
    def kernel() -> list[str]:
        log: list[str] = []
        unrelated = [fork(log.append, "unrelated") for _ in range(10)]
        fork(log.append, "target").result()
        first = list(log)
        sync.wait_all(unrelated)
        return first

    assert in_pool_thread_alone(kernel) == ["target"]


@pytest.mark.parametrize("place", [in_pool_thread, in_script, in_plain_thread])
def test_a_waiter_under_a_callers_lock_runs_nothing_that_wants_the_lock(
    runtime: sync.Runtime, place: Callable[..., Any]
) -> None:
    """A re-entrant one, which the waiter's own thread would enter a second time in the middle of its work."""
    mutex = threading.RLock()
    target: Future[None] = Future()
    entered: list[bool] = []
    wanting: list[int] = []
    is_held = False

    def unrelated() -> None:
        wanting.append(me())
        assert mutex.acquire(timeout=PATIENCE_S)
        entered.append(is_held)
        mutex.release()

    def owner() -> list[Future[None]]:
        nonlocal is_held
        with mutex:
            is_held = True
            queued = [fork(unrelated) for _ in range(2 * runtime.num_interop_threads)]
            sync.wait(target)
            is_held = False
        return queued

    def watch() -> list[Future[None]]:
        until(lambda: target._waiters)
        until(lambda: len(wanting) == runtime.num_interop_threads)  # every permit is theirs
        target.set_result(None)
        return []

    for future in in_threads(lambda: place(owner), watch)[0]:
        sync.wait(future, timeout=PATIENCE_S)
    assert entered == [False] * 2 * runtime.num_interop_threads


# -- nesting


def lengths(idents: list[int]) -> list[int]:
    return [len(list(same)) for _, same in groupby(idents)]


def test_in_place_runs_nest_to_a_depth_of_32_and_then_block(runtime: sync.Runtime) -> None:
    """A kernel and 32 below it share a thread; the next one has a thread of its own."""
    idents = in_pool_thread_alone(lambda: nest(100)[0:])
    assert lengths(idents) == [33, 33, 33, 2]


def test_each_thread_of_a_nest_but_the_last_is_blocked(runtime: sync.Runtime) -> None:
    def deepest(depth: int) -> sync.Statistics:
        return sync.wait(fork(deepest, depth - 1)) if depth else runtime.statistics()

    now = in_pool_thread_alone(lambda: deepest(100))
    assert (now.blocked, now.running) == (3, runtime.num_interop_threads)


def test_a_script_nests_as_deep(runtime: sync.Runtime) -> None:
    with one_permit_left(runtime):
        idents = in_place(lambda: nest(40))
    assert lengths(idents) == [32, 9]


# -- a thread that runs in place is a pool thread meanwhile


def test_a_script_that_runs_in_place_counts_as_running(runtime: sync.Runtime) -> None:
    with one_permit_left(runtime):
        inside = in_place(runtime.statistics)
    assert (inside.running, inside.blocked) == (runtime.num_interop_threads, 0)


def test_a_script_that_runs_in_place_lends_its_permit_while_it_waits(runtime: sync.Runtime) -> None:
    """The wait has a timeout, so that it needs another thread, and with it the permit."""
    with one_permit_left(runtime):
        inside = in_place(lambda: fork(runtime.statistics).result(PATIENCE_S))
    assert (inside.running, inside.blocked) == (runtime.num_interop_threads, 1)


def test_a_script_that_runs_in_place_runs_what_that_waits_for_in_place(runtime: sync.Runtime) -> None:
    with one_permit_left(runtime):
        assert in_place(lambda: sync.wait(fork(me))) == me()


def test_a_script_is_a_script_again_afterwards(runtime: sync.Runtime) -> None:
    in_place(lambda: None)
    with all_threads_busy(runtime) as gates:
        target: Future[sync.Statistics] = Future()

        def watch() -> sync.Statistics:
            until(lambda: target._waiters)
            now = runtime.statistics()
            target.set_result(now)
            return now

        def script() -> sync.Statistics:
            in_threads(*[gate.await_start for gate in gates])
            return sync.wait(target)

        now = in_threads(script, watch)[0]
    assert (now.running, now.blocked) == (runtime.num_interop_threads, 0)


# -- another runtime's target


def test_a_kernel_runs_another_runtimes_target_in_place_if_that_has_a_permit(runtime: sync.Runtime) -> None:
    """It takes one there, and lends its own meanwhile."""

    def kernel() -> tuple[sync.Statistics, ...]:
        with sync.Runtime(1, blas_threads=None, local=True) as other:
            inside = in_place(lambda: (runtime.statistics(), other.statistics()))
            assert_at_rest(other)
        return *inside, runtime.statistics()

    ours, theirs, after = in_pool_thread(kernel)
    assert (ours.running, ours.blocked) == (0, 1)
    assert (theirs.running, theirs.blocked) == (1, 0)
    assert (after.running, after.blocked) == (1, 0)


def test_a_kernel_leaves_another_runtimes_target_alone_if_that_has_none(runtime: sync.Runtime) -> None:
    def kernel() -> tuple[int, int]:
        with sync.Runtime(1, blas_threads=None, local=True) as other:
            with all_threads_busy(other) as gates:
                future = fork(me)
                future.add_done_callback(lambda _: None)
                opened = threading.Thread(target=open_when_awaited, args=(future, gates[0]))
                opened.start()
                theirs = sync.wait(future)
                opened.join(PATIENCE_S)
            assert_at_rest(other)
        return me(), theirs

    def open_when_awaited(future: Future[int], gate: Gate) -> None:
        until(lambda: runtime.statistics().blocked == 1)
        assert not future.running()
        gate.open()

    ours, theirs = in_pool_thread(kernel)
    assert theirs != ours
