"""Rule 6: claims and permits survive everything, above all Ctrl-C at any point where CPython delivers signals."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import asyncjit._core
from asyncjit import sync
from asyncjit._core.context import lock, this_thread
from asyncjit.errors import ForkCancelled
from tests.at_rest import until
from tests.rules.injector import Hit, Injector, interrupt_everywhere, traced_by_nothing_else


@dataclass
class Scene:
    """What the main thread does while it is interrupted, and what is to be looked at afterwards."""

    go: Callable[[], object]
    futures: list[sync.Future[int]]
    asleep_on: sync.Future[int] | None = None  # what it waits for asleep,
    wake: Callable[[], object] = lambda: None  # and what is done then


Scenario = Callable[[sync.Runtime], Scene]


def keep_asleep(runtime: sync.Runtime) -> None:
    """Keep the pool's threads from taking what the main thread shall run in place."""
    with lock:
        runtime.pool.searching += 1000


def let_go(runtime: sync.Runtime) -> None:
    with lock:
        runtime.pool.searching -= 1000
    runtime.pool.replenish()


def in_place(runtime: sync.Runtime) -> Scene:
    future = sync.fork(lambda: 1)
    return Scene(lambda: sync.wait(future), [future])


def nested_in_place(runtime: sync.Runtime) -> Scene:
    futures: list[sync.Future[int]] = []

    def outer() -> int:
        futures.append(sync.fork(lambda: 1))
        return sync.wait(futures[-1])

    futures.append(sync.fork(outer))
    future = futures[0]
    return Scene(lambda: sync.wait(future), futures)


def blocked_script(runtime: sync.Runtime) -> Scene:
    started, gate = threading.Event(), threading.Event()

    def kernel() -> int:
        started.set()
        gate.wait(30)
        return 1

    let_go(runtime)
    future = sync.fork(kernel)
    started.wait(30)
    keep_asleep(runtime)
    return Scene(lambda: sync.wait(future), [future], future, gate.set)


def blocked_in_place(runtime: sync.Runtime) -> Scene:
    never_claimed: sync.Future[int] = sync.Future()
    future = sync.fork(lambda: sync.wait(never_claimed))
    return Scene(lambda: sync.wait(future), [future], never_claimed, lambda: never_claimed.set_result(1))


@contextlib.contextmanager
def woken_when_asleep(scene: Scene) -> Iterator[None]:
    """Wake the sleeper of the scene, once it sleeps or the scene is over."""
    over = threading.Event()

    def watch() -> None:
        until(lambda: over.is_set() or scene.asleep_on is None or scene.asleep_on._waiters)
        scene.wake()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def interrupt(scenario: Scenario, at: int) -> Hit | None:
    """Run `scenario` with Ctrl-C at its `at`-th point and check that all is whole; return the point, or None."""
    with sync.Runtime(1) as runtime:
        keep_asleep(runtime)
        scene = scenario(runtime)
        injector = Injector(at)
        with woken_when_asleep(scene):
            injector.run(scene.go)
        let_go(runtime)
        slot = this_thread()
        assert (slot.permit, slot.fork, slot.ending, slot.depth) == (None, None, None, 0), injector.hit
        assert sync.wait(sync.fork(lambda: 2), timeout=30) == 2, injector.hit  # the pool goes on
        for future in scene.futures:
            try:
                future.exception(timeout=30)
            except ForkCancelled:
                pass
    statistics = runtime.statistics()
    assert (statistics.running, statistics.queued, statistics.blocked) == (0, 0, 0), injector.hit
    assert statistics.forked == statistics.finished + statistics.failed + statistics.cancelled, injector.hit
    return injector.hit


@pytest.mark.timeout(300, method="thread")
@pytest.mark.parametrize(
    ("scenario", "least"),
    [(in_place, 30), (nested_in_place, 60), (blocked_script, 30), (blocked_in_place, 60)],
    ids=lambda value: getattr(value, "__name__", None),
)
@traced_by_nothing_else
def test_ctrl_c_at_every_signal_point_leaves_everything_whole(scenario: Scenario, least: int) -> None:
    interrupt_everywhere(partial(interrupt, scenario), least)


def test_no_section_under_the_lock_contains_a_loop() -> None:
    """CPython 3.13 does not release it when Ctrl-C falls on certain jumps back; a called function may loop."""
    loops = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp)
    offences = [
        f"{path.name}:{node.lineno}"
        for path in Path(asyncjit._core.__file__).parent.glob("*.py")
        for section in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(section, ast.With) and ast.unparse(section.items[0].context_expr).endswith("lock")
        for node in ast.walk(section)
        if isinstance(node, loops)
    ]
    assert offences == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX interval timers")
def test_a_shower_of_real_signals_leaves_everything_whole() -> None:
    """In a process of its own: a signal may also fall into a destructor, which pytest takes for an error."""
    command = [sys.executable, "-m", "tests.rules.shower"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("whole after"), done.stderr


def test_a_keyboard_interrupt_in_place_on_the_main_thread_interrupts_the_waiter_and_cancels_the_fork() -> None:
    def kernel() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

    with sync.Runtime(1) as runtime:
        keep_asleep(runtime)
        future = sync.fork(kernel)
        with pytest.raises(KeyboardInterrupt):
            sync.wait(future)
        let_go(runtime)
        assert future.cancelled()
        with pytest.raises(ForkCancelled, match="was cancelled"):
            future.result()


def test_ctrl_c_interrupts_a_blocking_wait_at_once() -> None:
    gate = threading.Event()
    with sync.Runtime(1):
        started = threading.Event()

        def kernel() -> int:
            started.set()
            gate.wait(30)
            return 1

        future = sync.fork(kernel)
        started.wait(30)
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            sync.wait(future)
        timer.join()
        assert not future.done()
        gate.set()
        assert future.result() == 1


def test_cancel_from_a_signal_handler_inside_the_machinery_does_not_deadlock() -> None:
    with sync.Runtime(1):
        gate = threading.Event()
        started = threading.Event()

        def kernel() -> None:
            started.set()
            gate.wait(30)

        running = sync.fork(kernel)
        started.wait(30)
        target = sync.fork(lambda: 1)
        previous = signal.signal(signal.SIGUSR1, lambda *_: target.cancel())
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGUSR1))
        timer.start()
        try:
            with pytest.raises(ForkCancelled, match="was cancelled"):
                sync.wait(target)
        finally:
            timer.join()
            signal.signal(signal.SIGUSR1, previous)
            gate.set()
        assert running.result() is None


def test_cancel_from_a_destructor_under_the_lock_does_not_deadlock() -> None:
    with sync.Runtime(1):
        future: sync.Future[int] = sync.Future()

        class Canceller:
            def __del__(self) -> None:
                future.cancel()

        with lock:
            Canceller()
        assert future.cancelled()
