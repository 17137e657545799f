"""Rule 6 of scripted forks: Ctrl-C at any point where CPython delivers signals loses nothing of them."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from asyncjit import Future, fork, sync
from asyncjit._core.context import lock, this_thread
from asyncjit.errors import ForkCancelled
from tests.at_rest import until
from tests.core.scripted import run, scripted, wait_for
from tests.rules.injector import Hit, Injector, interrupt_everywhere, traced_by_nothing_else


@dataclass
class Scene:
    """What the main thread does while it is interrupted, and the forks to be looked at afterwards."""

    go: Callable[[], object]
    futures: list[Future[Any]]
    target: Future[int] | None = None  # what they wait for
    is_asleep: bool = True  # the main thread sleeps until somebody completes that


Scenario = Callable[[sync.Runtime], Scene]

begun: list[str] = []
ended: list[str] = []


@scripted
async def body(*futures: Future[Any]) -> int:
    """Wait for the futures in turn, and note that it began and ended."""
    begun.append("body")
    try:
        return sum([await run(sync.wait, future) for future in futures])
    finally:
        ended.append("body")


def keep_asleep(runtime: sync.Runtime) -> None:
    """Keep the pool's threads from taking what the main thread shall run in place."""
    with lock:
        runtime.pool.searching += 1000


def let_go(runtime: sync.Runtime) -> None:
    with lock:
        was_asleep = runtime.pool.searching >= 1000
        if was_asleep:
            runtime.pool.searching -= 1000
    if was_asleep:
        runtime.pool.replenish()


def to_its_end(runtime: sync.Runtime) -> Scene:
    keep_asleep(runtime)
    done: Future[int] = Future()
    done.set_result(1)
    future = fork(body, done)
    return Scene(lambda: sync.wait(future), [future])


def until_it_waits(runtime: sync.Runtime) -> Scene:
    keep_asleep(runtime)
    target: Future[int] = Future()
    future = fork(body, target)
    return Scene(lambda: sync.wait(future), [future], target)


def until_it_waits_with_a_timeout(runtime: sync.Runtime) -> Scene:
    @scripted
    async def timed() -> int:
        begun.append("body")
        try:
            return await run(sync.wait, target, timeout=60)
        finally:
            ended.append("body")

    keep_asleep(runtime)
    target: Future[int] = Future()
    future = fork(timed)
    return Scene(lambda: sync.wait(future), [future], target)


def below_a_kernel(runtime: sync.Runtime) -> Scene:
    futures: list[Future[int]] = []

    def kernel() -> int:
        futures.append(fork(body, target))
        return sync.wait(futures[-1])

    keep_asleep(runtime)
    target: Future[int] = Future()
    futures.append(fork(kernel))
    future = futures[0]
    return Scene(lambda: sync.wait(future), futures, target)


def called_by_a_script(runtime: sync.Runtime) -> Scene:
    keep_asleep(runtime)
    target: Future[int] = Future()
    future = fork(lambda: 1)
    return Scene(lambda: body(future, target), [future], target)


def completing_what_it_waits_for(runtime: sync.Runtime) -> Scene:
    target: Future[int] = Future()
    futures = [fork(body, target) for _ in range(3)]
    until(lambda: runtime.statistics().suspended == 3)
    return Scene(lambda: target.set_result(1), futures, target, is_asleep=False)


def cancelling_it(runtime: sync.Runtime) -> Scene:
    @scripted
    async def parent() -> None:
        futures.extend([fork(body, target) for _ in range(2)])
        await run(sync.wait_all, futures[1:])

    target: Future[int] = Future()
    futures: list[Future[Any]] = []
    futures.append(fork(parent))
    until(lambda: runtime.statistics().suspended == 3)
    return Scene(futures[0].cancel, futures, target, is_asleep=False)


@contextmanager
def woken_when_asleep(scene: Scene, runtime: sync.Runtime) -> Iterator[None]:
    """Complete what the scene waits for, once somebody waits or the scene is over."""
    over = threading.Event()

    def watch() -> None:
        target = scene.target
        until(lambda: over.is_set() or (scene.is_asleep and target is not None and target._waiters))
        let_go(runtime)
        if target is not None and not target.done():
            target.set_result(1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def interrupt(scenario: Scenario, at: int) -> Hit | None:
    """Run `scenario` with Ctrl-C at its `at`-th point and check that all is whole; return the point, or None."""
    begun.clear()
    ended.clear()
    with sync.Runtime(1, blas_threads=None) as runtime:
        scene = scenario(runtime)
        injector = Injector(at)
        with woken_when_asleep(scene, runtime):
            injector.run(scene.go)
        slot = this_thread()
        assert (slot.permit, slot.fork, slot.ending, slot.depth) == (None, None, None, 0), injector.hit
        for future in scene.futures:
            try:
                future.exception(timeout=30)
            except ForkCancelled:
                pass
        assert fork(lambda: 2).result(timeout=30) == 2, injector.hit  # the pool goes on
        assert runtime.close(timeout=30) == [], injector.hit
    statistics = runtime.statistics()
    at_rest = (statistics.running, statistics.queued, statistics.blocked, statistics.suspended)
    assert at_rest == (0, 0, 0, 0), injector.hit
    assert statistics.forked == statistics.finished + statistics.failed + statistics.cancelled, injector.hit
    assert begun == ended, injector.hit
    return injector.hit


def interrupt_beside_a_queued_kernel(at: int) -> Hit | None:
    """Interrupt the thread that gives the only permit back; who is queued must get it, though nobody else asks."""
    with sync.Runtime(1, blas_threads=None) as runtime:
        keep_asleep(runtime)
        target: Future[int] = Future()
        future = fork(body, target)
        queued = fork(lambda: 1)
        with lock:  # nobody is called in, as if the permit had been taken when they were forked
            runtime.pool.searching -= 1000
        injector = Injector(at)
        injector.run(lambda: future._source.run_in_place(this_thread()))  # type: ignore[union-attr]
        if not (future.running() or future.done()):  # it was not even claimed: no permit was taken and given back
            runtime.pool.replenish()
        until(queued.done)
        if not target.done():
            target.set_result(1)
    return injector.hit


SHOWER = """
from asyncjit import fork, sync
from tests.core.scripted import run, scripted
from tests.rules import shower

@scripted
async def tree(depth):
    return 1 if depth == 0 else sum(await run(sync.wait_all, [fork(tree, depth - 1) for _ in range(2)]))

shower.tree = tree
shower.main()
"""

never_begun = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
coroutines_can_be_traced = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="CPython 3.12.1 crashes where a traced coroutine goes on in another thread"
)


@pytest.mark.timeout(300, method="thread")
@never_begun
@coroutines_can_be_traced
@pytest.mark.parametrize(
    ("scenario", "least"),
    [
        (to_its_end, 30),
        (until_it_waits, 60),
        (until_it_waits_with_a_timeout, 60),
        (below_a_kernel, 60),
        (called_by_a_script, 60),
        (completing_what_it_waits_for, 8),
        (cancelling_it, 20),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@traced_by_nothing_else
def test_ctrl_c_at_every_signal_point_leaves_everything_whole(scenario: Scenario, least: int) -> None:
    interrupt_everywhere(partial(interrupt, scenario), least)
    gc.collect()  # here, where what was never begun may say so


@pytest.mark.timeout(300, method="thread")
@never_begun
@coroutines_can_be_traced
@traced_by_nothing_else
def test_ctrl_c_while_the_permit_is_given_back_keeps_nobody_from_it() -> None:
    interrupt_everywhere(interrupt_beside_a_queued_kernel, 30)
    gc.collect()


def test_ctrl_c_while_a_script_waits_for_a_suspended_fork_interrupts_the_script_alone() -> None:
    with sync.Runtime(1, blas_threads=None) as runtime:
        target: Future[int] = Future()
        future = fork(wait_for, target)
        main = threading.main_thread().ident
        assert main is not None

        def strike() -> None:
            until(lambda: future._waiters and runtime.statistics().suspended)  # it sleeps
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=strike)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            sync.wait(future)
        thread.join()
        assert not future.done()
        target.set_result(3)
        assert future.result(30) == 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX interval timers")
def test_a_shower_of_real_signals_leaves_everything_whole() -> None:
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", SHOWER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("whole after"), done.stderr
