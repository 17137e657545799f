"""Rule 11 of scripted forks: random programs of forks of every kind give the serial value, however they are run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import asyncjit
from asyncjit import Future, fork, sync
from asyncjit.errors import ForkCancelled
from asyncjit.testing import deterministic
from tests.at_rest import PATIENCE_S, assert_at_rest
from tests.core.scripted import run, scripted


def serial(program: tuple[str, list[Any]]) -> int:
    return 1 + sum(serial(below) for below in program[1])


def random_program(draw: random.Random, depth: int) -> tuple[str, list[Any]]:
    width = draw.randrange(4) if depth else 0
    return draw.choice("kKsSc"), [random_program(draw, depth - 1) for _ in range(width)]


def fork_program(program: tuple[str, list[Any]]) -> Future[int]:
    fns: dict[str, Callable[..., Any]] = {"k": blocking, "K": at_once, "s": script, "S": script_at_once, "c": coroutine}
    return fork(fns[program[0]], program[1])


def blocking(below: list[Any]) -> int:
    return 1 + sum(sync.wait(future) for future in [fork_program(program) for program in below])


def at_once(below: list[Any]) -> int:
    return 1 + sum(sync.wait_all([fork_program(program) for program in below], timeout=PATIENCE_S))


@scripted
async def script(below: list[Any]) -> int:
    total = 1
    for future in [fork_program(program) for program in below][::-1]:
        total += await run(sync.wait, future)
    return total


@scripted
async def script_at_once(below: list[Any]) -> Any:
    return 1 + sum(await run(sync.wait_all, [fork_program(program) for program in below]))


async def coroutine(below: list[Any]) -> int:
    return 1 + sum(await asyncjit.wait_all([fork_program(program) for program in below]))


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_give_the_serial_value_on_threads(seed: int) -> None:
    draw = random.Random(seed)
    program = random_program(draw, 6)
    with sync.Runtime(draw.choice([1, 2, 3, 4]), blas_threads=None) as runtime:
        assert sync.wait(fork_program(program)) == serial(program)
        assert fork_program(program).result(PATIENCE_S) == serial(program)
        assert_at_rest(runtime)


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_give_the_serial_value_in_seeded_orders(seed: int) -> None:
    program = random_program(random.Random(seed), 5)
    with deterministic(seed) as runtime:
        assert sync.wait(fork_program(program), timeout=60) == serial(program)
    assert_at_rest(runtime)


@pytest.mark.parametrize("seed", range(10))
def test_a_storm_of_cancels_leaves_nothing_behind(seed: int) -> None:
    draw = random.Random(seed)
    with sync.Runtime(draw.choice([1, 2, 4]), blas_threads=None) as runtime:
        programs = [random_program(draw, 4) for _ in range(40)]
        futures = [fork_program(program) for program in programs]
        for future in futures:
            if draw.random() < 0.5:
                future.cancel()
        for program, future in zip(programs, futures, strict=True):
            try:
                assert future.result(PATIENCE_S) == serial(program)
            except ForkCancelled:
                pass
        assert_at_rest(runtime)
