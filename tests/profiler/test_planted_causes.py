"""Programs that are slow on purpose: each cause is planted in a real run on two lanes, and `explain` names it.

Nothing here is judged by the clock, but what is explained is time, and a machine that does other things at once can
hide any cause from one run: so a program may run several times until its cause is named, and the programs leave no
other cause a chance.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import asyncjit
from asyncjit import sync
from asyncjit.cpus import usable_cpus
from asyncjit.profiler import profile
from asyncjit.profiler.explanation import Explanation, explain

Array = NDArray[np.float32]

NUM_RUNS = 5  # at most
# Causes that lie in the program: "few forks" and "pauses" are not among them, as a thread that is late makes both.
OF_PROGRAMS = {"long path", "short kernels", "GIL", "loop", "BLAS threads", "sleep"}

reads_proc = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not tell what its CPUs did")


@pytest.fixture(autouse=True)
def _two_lanes() -> Iterator[None]:
    """Open a runtime of two threads, and let both start."""
    with sync.Runtime(2):
        both = threading.Barrier(2)
        sync.wait_all([sync.fork(both.wait) for _ in range(2)])
        yield


def explained(program: Callable[[], object]) -> Explanation:
    with profile() as prof:
        program()
    return explain(prof.records)


def names(explanation: Explanation) -> set[str]:
    return {cause.name for cause in explanation}


def assert_named(cause: str, program: Callable[[], object]) -> None:
    """Run a program until a cause is named; most often that is the first run."""
    seen = []
    for _ in range(NUM_RUNS):
        seen.append(explained(program))
        if cause in names(seen[-1]):
            return
    pytest.fail(f"{cause!r} was never named:\n" + "\n\n".join(map(str, seen)))


def waves(x: Array, out: Array, repeats: int) -> None:
    """Compute without the GIL: some 60 µs for each repeat."""
    for _ in range(repeats):
        np.tanh(x, out=out)


def arrays() -> tuple[Array, Array]:
    x = np.linspace(-1, 1, 100_000, dtype=np.float32)
    return x, np.empty_like(x)


def squares(n: int) -> int:
    """Compute with the GIL."""
    return sum(number * number for number in range(n))


def test_one_long_path_is_named() -> None:
    def link(before: sync.Future[None] | None) -> None:
        if before is not None:
            sync.wait(before)
        waves(*arrays(), 100)

    def chain() -> None:
        last = None
        for _ in range(10):
            last = sync.fork(link, last)
        assert last is not None
        sync.wait(last)

    assert_named("long path", chain)


def test_short_kernels_are_named() -> None:
    x = np.ones(10, np.float32)
    assert_named("short kernels", lambda: sync.wait_all([sync.fork(np.negative, x) for _ in range(10_000)]))


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL")
def test_kernels_that_hold_the_gil_are_named() -> None:
    # Whoever waits for the GIL asks for it each interval, and needs a processor to do so: where others keep those busy,
    # its wait looks like one for a processor. So it is to ask seldom.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.05)
    try:
        assert_named("GIL", lambda: sync.wait_all([sync.fork(squares, 500_000) for _ in range(8)]))
    finally:
        sys.setswitchinterval(interval)


OVERSUBSCRIBED = """
import json, threading
import numpy as np
from asyncjit import sync
from asyncjit.profiler import profile
from asyncjit.profiler.explanation import explain

def products(a):
    for _ in range(5):
        a @ a

a = np.ones((600, 600))
for _ in range({num_runs}):
    with sync.Runtime(2, blas_threads=None), profile() as prof:
        sync.wait_all([sync.fork(products, a) for _ in range(4)])
    causes = explain(prof.records)
    if "BLAS threads" in {{cause.name for cause in causes}}:
        break
print(json.dumps([(cause.name, str(cause)) for cause in causes]))
"""


@reads_proc
def test_blas_threads_beside_the_lanes_are_named() -> None:
    code = OVERSUBSCRIBED.format(num_runs=NUM_RUNS)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, env=environment, check=True
    )
    assert "BLAS threads" in dict(json.loads(done.stdout)), done.stdout


@contextlib.contextmanager
def busy_neighbours() -> Iterator[None]:
    """Keep all processors busy with other processes."""
    code = "print(flush=True)\nwhile True: pass"
    neighbours = []
    try:
        for _ in range(usable_cpus().count):
            neighbours.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
        for neighbour in neighbours:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.communicate()


@reads_proc
def test_a_busy_neighbour_is_named() -> None:
    inputs = [arrays() for _ in range(6)]
    with busy_neighbours():
        assert_named("other processes", lambda: sync.wait_all([sync.fork(waves, *each, 100) for each in inputs]))


def test_glue_on_the_loop_is_named() -> None:
    x, _ = arrays()

    async def glued() -> None:
        for _ in range(5):
            squares(100_000)
            await asyncjit.call(np.tanh, x)

    async def main() -> None:
        await asyncio.gather(*(asyncjit.fork(glued) for _ in range(5)))

    assert_named("loop", lambda: asyncio.run(main()))


def test_kernels_that_sleep_are_named() -> None:
    assert_named("sleep", lambda: sync.wait_all([sync.fork(time.sleep, 0.02) for _ in range(10)]))


def test_of_a_clean_program_no_cause_is_named() -> None:
    inputs = [arrays() for _ in range(20)]
    seen = []
    for _ in range(NUM_RUNS):
        seen.append(explained(lambda: sync.wait_all([sync.fork(waves, *each, 200) for each in inputs])))
        if not names(seen[-1]) & OF_PROGRAMS:
            return
    pytest.fail("causes were named in each run:\n" + "\n\n".join(map(str, seen)))
