"""Random programs to profile: trees of forks of every kind, run by small interpreters.

A program is data, so that it can be shown and shrunk: bodies of steps, some of which fork other bodies. A body is run
as a kernel, as a coroutine or as a scripted function. It waits only for what it forked itself, so no program can hang;
what fails, fails with `OnPurpose`, and what is cancelled was cancelled by a step. A body need not wait for all of its
forks; only the program itself does, unless it `is_hasty`: then some may still run when it returns.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

import asyncjit
from asyncjit import Future, check_cancelled, collect_all, fork, script, sync
from asyncjit.errors import ForkCancelled
from asyncjit.profiler import record_function

KERNEL, COROUTINE, SCRIPTED = "kernel", "coroutine", "scripted"
RANGES = ("embed", "attend")
MAX_FORKS = 24  # chosen: an example takes milliseconds
MAX_DEPTH = 4
MAX_STEPS = 5


class OnPurpose(Exception):
    """What a body fails with."""


EXPECTED = (OnPurpose, ForkCancelled)


@dataclass(frozen=True, repr=False)
class Step:
    """One thing that a body does; which of the fields count depends on what it is."""

    name: str
    number: int = 0
    forks: tuple[Body, ...] = ()
    steps: tuple[Step, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name} {self.number}{_listed(self.forks) or _listed(self.steps)}"


@dataclass(frozen=True, repr=False)
class Body:
    """What one fork executes."""

    kind: str
    steps: tuple[Step, ...]
    fails: bool = False

    def __repr__(self) -> str:
        return f"{'failing ' if self.fails else ''}{self.kind}{_listed(self.steps)}"


@dataclass(frozen=True)
class Program:
    """A callable without arguments, to be run under a profile in a script; its errors are its own affair.

    Attributes
    ----------
    steps : tuple of Step
        Of the code outside of all forks.
    loop : str or None
        The kind of event loop that it runs on, "asyncio" or "uvloop"; None for none.
    is_hasty : bool
        Whether it returns without waiting for what it forked.
    """

    steps: tuple[Step, ...]
    loop: str | None
    is_hasty: bool

    def __call__(self) -> None:
        if self.loop is None:
            futures: list[Future[Any]] = []
            run_steps(self.steps, futures)
            if not self.is_hasty:
                sync.wait_all(futures, return_exceptions=True)
        else:
            with asyncio.Runner(loop_factory=_loop_factory(self.loop)) as runner:
                runner.run(self._main())

    async def _main(self) -> None:
        futures: list[Future[Any]] = []
        await await_steps(self.steps, futures)
        if not self.is_hasty:
            await asyncjit.wait_all(futures, return_exceptions=True)


def _listed(items: Sequence[object]) -> str:
    return f"({', '.join(map(str, items))})" if items else ""


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


# -- how bodies are run


def compute(number: int) -> float:
    """Keep the thread busy for some microseconds, with the GIL and without."""
    return float(np.ones(1 << number).sum()) + sum(range(1 << number % 7))


def start(body: Body) -> Future[Any]:
    return fork(RUN[body.kind], body)


def kernel(body: Body) -> int:
    futures: list[Future[Any]] = []
    run_steps(body.steps, futures)
    if body.fails:
        raise OnPurpose(repr(body))
    return len(futures)


async def coroutine(body: Body) -> int:
    futures: list[Future[Any]] = []
    await await_steps(body.steps, futures)
    if body.fails:
        raise OnPurpose(repr(body))
    return len(futures)


@script
def scripted(body: Body) -> int:
    """Run a body whose waits give the thread back; it has few kinds of steps, since it may call none that waits."""
    futures: list[Future[Any]] = []
    for step in body.steps:
        with record_function(f"{step.name} in a script"):
            try:
                if step.name == "fork":
                    futures.extend([start(each) for each in step.forks])
                elif step.name == "wait" and futures:
                    sync.wait(futures[step.number % len(futures)])
                elif step.name == "wait for all":
                    sync.wait_all(futures)
                elif step.name == "call":
                    sync.call(RUN[step.forks[0].kind], step.forks[0])
                else:
                    compute(step.number)
            except EXPECTED:
                compute(step.number)
    if body.fails:
        raise OnPurpose(repr(body))
    return len(futures)


RUN: dict[str, Callable[[Body], Any]] = {KERNEL: kernel, COROUTINE: coroutine, SCRIPTED: scripted}


def run_steps(steps: Sequence[Step], futures: list[Future[Any]]) -> None:
    """Run steps in a kernel or a script; `futures` are what it has forked so far."""
    for step in steps:
        if step.name == "range":
            with record_function(RANGES[step.number % len(RANGES)]):
                run_steps(step.steps, futures)
        else:
            try:
                _run(step, futures)
            except EXPECTED:
                pass
            except ExceptionGroup as group:
                _check_group(group)


def _run(step: Step, futures: list[Future[Any]]) -> None:
    if step.name == "fork":
        futures += [start(body) for body in step.forks]
    elif step.name == "wait" and futures:
        sync.wait(futures[step.number % len(futures)])
    elif step.name == "wait for all":
        sync.wait_all(futures, return_exceptions=bool(step.number % 2))
    elif step.name == "collect":
        sync.wait(collect_all(futures).then(_look_at))
    elif step.name == "as completed":
        for future in sync.as_completed(futures):
            _look_at(future)
    elif step.name == "group":
        with sync.fork_group() as group:
            for body in step.forks:
                group.fork(RUN[body.kind], body)
            compute(step.number)
    elif step.name == "call":
        sync.call(RUN[step.forks[0].kind], step.forks[0])
    elif step.name == "map":
        list(sync.map(kernel, step.forks, max_in_flight=2))
    elif step.name == "loop":
        asyncio.run(await_steps(step.steps, []))
    else:
        _do(step, futures)


async def await_steps(steps: Sequence[Step], futures: list[Future[Any]]) -> None:
    """Run steps in a coroutine; `futures` are what it has forked so far."""
    for step in steps:
        if step.name == "range":
            with record_function(RANGES[step.number % len(RANGES)]):
                await await_steps(step.steps, futures)
        else:
            try:
                await _await(step, futures)
            except EXPECTED:
                pass
            except ExceptionGroup as group:
                _check_group(group)


async def _await(step: Step, futures: list[Future[Any]]) -> None:
    if step.name == "fork":
        futures += [start(body) for body in step.forks]
    elif step.name == "wait" and futures:
        await futures[step.number % len(futures)]
    elif step.name == "wait for all":
        await asyncjit.wait_all(futures, return_exceptions=bool(step.number % 2))
    elif step.name == "gather":
        await asyncio.gather(*futures, return_exceptions=bool(step.number % 2))
    elif step.name == "collect":
        await collect_all(futures).then(_look_at)
    elif step.name == "as completed":
        async for future in asyncjit.as_completed(futures):
            _look_at(future)
    elif step.name == "group":
        async with asyncjit.fork_group() as group:
            for body in step.forks:
                group.fork(RUN[body.kind], body)
            await asyncio.sleep(0)
    elif step.name == "call":
        await asyncjit.call(RUN[step.forks[0].kind], step.forks[0])
    elif step.name == "map":
        async for _ in asyncjit.map(kernel, step.forks, max_in_flight=2):
            pass
    elif step.name == "task":
        await asyncio.create_task(await_steps(step.steps, []))
    elif step.name == "sleep":
        await asyncio.sleep(step.number * 1e-5)
    else:
        _do(step, futures)


def _do(step: Step, futures: list[Future[Any]]) -> None:
    """Do what needs no wait."""
    if step.name == "cancel" and futures:
        futures[step.number % len(futures)].cancel()
    elif step.name == "check":
        check_cancelled()
    else:
        compute(step.number)


def _look_at(future: Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _check_group(group: ExceptionGroup[Any]) -> None:
    _, others = group.split(EXPECTED)
    if others is not None:
        raise others


# -- how they are written

FREQUENT = ("compute", "fork", "fork", "wait", "range")
COMMON = (*FREQUENT, "wait for all", "collect", "as completed", "group", "call", "map", "cancel", "check")
STEPS = {
    KERNEL: COMMON,
    COROUTINE: (*COMMON, "gather", "task", "sleep", "sleep"),
    SCRIPTED: ("compute", "fork", "fork", "wait", "wait", "wait for all", "call"),
}
FORKING = ("fork", "group", "map")


class Writer:
    """Writes a program; what it may still fork is counted."""

    def __init__(self, random: Random, kinds: Sequence[str], *, nested_loops: bool) -> None:
        self.random = random
        self.kinds = kinds
        self.nested_loops = nested_loops
        self.forks_left = random.randint(0, MAX_FORKS)

    def steps(self, kind: str, depth: int) -> tuple[Step, ...]:
        return tuple(self.step(kind, depth) for _ in range(self.random.randint(1, MAX_STEPS)))

    def step(self, kind: str, depth: int) -> Step:
        name = self.random.choice((*STEPS[kind], "loop") if kind == KERNEL and self.nested_loops else STEPS[kind])
        number = self.random.randint(0, 13)
        if name in FORKING:
            kinds = (KERNEL,) if name == "map" else self.kinds
            return Step(name, number, self.bodies(kinds, self.random.randint(1, 3), depth))
        if name == "call":
            bodies = self.bodies(self.kinds, 1, depth)
            return Step(name, number, bodies) if bodies else Step("compute", number)
        if name in ("range", "task", "loop"):
            inner = kind if name == "range" else COROUTINE
            return Step(name, number, steps=self.steps(inner, depth + 1) if depth < MAX_DEPTH else ())
        return Step(name, number)

    def bodies(self, kinds: Sequence[str], wanted: int, depth: int) -> tuple[Body, ...]:
        made: list[Body] = []
        while len(made) < wanted and self.forks_left:
            self.forks_left -= 1
            kind = self.random.choice(kinds)
            steps = self.steps(kind, depth + 1) if depth < MAX_DEPTH else (Step("compute", 5),)
            made.append(Body(kind, steps, fails=self.random.randint(0, 9) == 9))
        return tuple(made)


def write_program(
    random: Random,
    *,
    kinds: Sequence[str] = (KERNEL, KERNEL, COROUTINE, SCRIPTED),
    nested_loops: bool = False,
    may_be_hasty: bool = True,
) -> Program:
    """Return a random program.

    Parameters
    ----------
    random : Random
        What it is drawn from.
    kinds : sequence of str
        The kinds of bodies that it forks, as often as they are named; without coroutines it has no event loop at all.
    nested_loops : bool
        Whether kernels may run event loops of their own, in which plain tasks fork.
    may_be_hasty : bool
        Whether it may return while forks of it run.
    """
    writer = Writer(random, kinds, nested_loops=nested_loops)
    loops: tuple[str | None, ...] = (None, None, "asyncio", *(() if sys.platform == "win32" else ("uvloop",)))
    loop = random.choice(loops) if COROUTINE in kinds else None
    steps = tuple(writer.step(KERNEL if loop is None else COROUTINE, 0) for _ in range(2 * MAX_STEPS))
    return Program(steps, loop, is_hasty=may_be_hasty and random.randint(0, 7) == 7)


def programs(**settings: Any) -> st.SearchStrategy[Program]:
    """Return the strategy of programs; the settings are those of `write_program`."""
    randoms = st.randoms(use_true_random=False) | st.integers(0, 2**32).map(Random)  # ones that shrink, and large ones
    return randoms.map(lambda random: write_program(random, **settings))
