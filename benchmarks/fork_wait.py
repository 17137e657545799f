"""The cost of a fork and its wait: in a script, on an event loop, and pending.

The kernel is `np.negative` on one element, so nearly all that is measured is the machinery. Peers get as many threads
as asyncjit has. A *burst* forks all and then waits for all; *one at a time* waits for each before the next. torch has
an interpreter of its own: it brings an OpenMP runtime, which asyncjit holds at one thread on every thread that runs
kernels, and what that costs is told by rows of its own.
"""

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import resource
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop

import asyncjit
from asyncjit import sync
from benchmarks.harness import Options, Sheet, Worker, interleave, parse_options, serve

BURST = 2_000  # specified: forks of a burst
FIB = 16  # fib(16) makes 1,596 forks: about a burst
FEW, MANY = 10_000, 1_000_000  # specified: pending forks

x = np.ones(1, np.float32)


def negative(x: Any) -> Any:
    """Be no ufunc, so that no event loop runs it in place."""
    return np.negative(x)


# -- cases: each returns the seconds of one fork and wait


def burst(door: Any, n: int, repeats: int) -> float:
    """Fork n, wait for n; `door` is `asyncjit.sync` or a copy of it."""
    fork, wait = door.fork, door.wait
    start = time.perf_counter()
    for _ in range(repeats):
        futures = [fork(np.negative, x) for _ in range(n)]
        for future in futures:
            wait(future)
    return (time.perf_counter() - start) / (n * repeats)


def one_at_a_time(n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        sync.wait(sync.fork(np.negative, x))
    return (time.perf_counter() - start) / n


def fib(n: int) -> int:
    if n < 2:
        return n
    left = sync.fork(fib, n - 1)
    return fib(n - 2) + sync.wait(left)


def nested(n: int, repeats: int) -> float:
    value, following = 0, 1
    for _ in range(n):
        value, following = following, value + following
    num_forks = following - 1
    start = time.perf_counter()
    for _ in range(repeats):
        assert fib(n) == value
    return (time.perf_counter() - start) / (num_forks * repeats)


def executor_burst(executor: ThreadPoolExecutor, n: int, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        futures = [executor.submit(np.negative, x) for _ in range(n)]
        for future in futures:
            future.result()
    return (time.perf_counter() - start) / (n * repeats)


def executor_one_at_a_time(executor: ThreadPoolExecutor, n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        executor.submit(np.negative, x).result()
    return (time.perf_counter() - start) / n


async def awaited_burst(submit: Callable[[], Awaitable[Any]], n: int, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        futures = [submit() for _ in range(n)]
        for future in futures:
            await future
    return (time.perf_counter() - start) / (n * repeats)


async def awaited_one_at_a_time(submit: Callable[[], Awaitable[Any]], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        await submit()
    return (time.perf_counter() - start) / n


# -- in a script


def script_cases(*, is_quick: bool) -> dict[str, Callable[[], float]]:
    """Return the cases that an interpreter with torch runs too."""
    repeats = 1 if is_quick else 5
    return {
        "burst": partial(burst, sync, BURST, repeats),
        "one at a time": partial(one_at_a_time, BURST * repeats),
        "nested": partial(nested, FIB, repeats),
    }


def torch_cases(*, is_quick: bool) -> dict[str, Callable[[], float]]:
    """Return the cases of the interpreter with torch: its own, and ours beside it."""
    peers = importlib.import_module("benchmarks.torch_peers")
    cases: dict[str, Callable[[], float]] = peers.fork_wait_cases(BURST, 1 if is_quick else 5)
    return cases | script_cases(is_quick=is_quick)


def measure_script(sheet: Sheet, options: Options) -> None:
    repeats = 1 if options.is_quick else 5
    cases = script_cases(is_quick=options.is_quick)
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(sync.get_num_interop_threads()))
        cases["executor burst"] = partial(executor_burst, executor, BURST, repeats)
        cases["executor one at a time"] = partial(executor_one_at_a_time, executor, BURST)
        if importlib.util.find_spec("torch") is None:
            sheet.note("torch is not installed: its columns are left out (pip install torch, 2.13 or so).")
        else:
            worker = stack.enter_context(Worker("benchmarks.fork_wait", "torch", quick=options.is_quick))
            for name in ("torch burst", "torch one at a time"):
                cases[name] = partial(worker.ask, name)
            for name in ("burst", "one at a time", "nested"):
                cases[f"{name}, torch loaded"] = partial(worker.ask, name)
        found = interleave(cases, options.rounds)
    torch_burst, torch_one = found.get("torch burst"), found.get("torch one at a time")
    ours, single = found["burst"], found["one at a time"]
    sheet.ratio("script, burst: torch.jit.fork", ours, torch_burst, "≤ 0.85 × (aim 0.65)")
    sheet.ratio("script, burst: ThreadPoolExecutor", ours, found["executor burst"], "≤ 0.6 ×")
    sheet.ratio("script, one at a time: torch.jit.fork", single, torch_one, "≤ 0.5 × (aim 0.35)")
    sheet.ratio("script, one at a time: ThreadPoolExecutor", single, found["executor one at a time"], "≤ 0.6 ×")
    sheet.ratio(f"script, nested, fib({FIB}): torch's burst", found["nested"], torch_burst, "≤ 0.7 ×")
    for name, peer in (("burst", torch_burst), ("one at a time", torch_one), ("nested", torch_burst)):
        if peer is not None:
            sheet.ratio(f"torch loaded, {name}: torch.jit.fork", found[f"{name}, torch loaded"], peer)


# -- on an event loop


def calibrate() -> partial[Any]:
    """Return a call of NumPy that computes for about 1 ms, without the GIL, and allocates nothing."""
    size = 100_000
    for _ in range(3):
        values, into = np.linspace(-3, 3, size, dtype=np.float32), np.empty(size, np.float32)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            np.tanh(values, into)
            times.append(time.perf_counter() - start)
        size = max(1, round(size * 1e-3 / median(times)))
    return partial(np.tanh, values, into)


def measure_awaited(
    sheet: Sheet, options: Options, name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    repeats, few, calls = (1, 200, 50) if options.is_quick else (3, 1_000, 200)
    kernel = calibrate()
    with (
        ThreadPoolExecutor(sync.get_num_interop_threads()) as executor,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        loop = runner.get_loop()
        offload = partial(loop.run_in_executor, executor)

        def case(
            measure: Callable[..., Coroutine[Any, Any, float]], submit: Callable[[], Awaitable[Any]], *args: int
        ) -> Callable[[], float]:
            return lambda: runner.run(measure(submit, *args))

        forks = {fn: partial(asyncjit.fork, fn, x) for fn in (np.negative, negative)}
        found = interleave(
            {
                "burst": case(awaited_burst, forks[np.negative], BURST, repeats),
                "executor burst": case(awaited_burst, partial(offload, np.negative, x), BURST, repeats),
                "one": case(awaited_one_at_a_time, forks[np.negative], few),
                "hop": case(awaited_one_at_a_time, forks[negative], few),
                "executor one": case(awaited_one_at_a_time, partial(offload, negative, x), few),
                "kernel": case(awaited_one_at_a_time, partial(asyncjit.fork, kernel.func, *kernel.args), calls),
                "executor kernel": case(awaited_one_at_a_time, partial(offload, kernel.func, *kernel.args), calls),
                "to_thread": case(awaited_burst, lambda: asyncio.ensure_future(thread(x)), BURST, repeats),
                "tasks": case(awaited_burst, lambda: asyncio.ensure_future(task(x)), BURST, repeats),
            },
            options.rounds,
        )
    is_judged = name == "uvloop"
    executor_one = found["executor one"]
    target = "≤ 0.25 × (aim 0.12)" if is_judged else ""
    sheet.ratio(f"{name}, burst: run_in_executor", found["burst"], found["executor burst"], target)
    sheet.ratio(f"{name}, burst: asyncio.to_thread", found["burst"], found["to_thread"])
    sheet.ratio(f"{name}, burst: tasks, nothing offloaded", found["burst"], found["tasks"])
    sheet.ratio(f"{name}, one at a time, in place: run_in_executor", found["one"], executor_one)
    sheet.ratio(f"{name}, one at a time, a hop: run_in_executor", found["hop"], executor_one)
    target = "≤ 1 ×" if is_judged else ""
    what = f"{name}, one at a time, 1 ms: run_in_executor"
    sheet.ratio(what, found["kernel"], found["executor kernel"], target)


async def thread(x: Any) -> Any:
    return await asyncio.to_thread(np.negative, x)


async def task(x: Any) -> Any:
    return np.negative(x)


# -- pending


class Held:
    """A runtime whose only lane is held by a kernel, so that what is forked there stays pending."""

    def __enter__(self) -> "Held":
        self._release = threading.Event()
        self._runtime = sync.Runtime(1).__enter__()
        is_held = threading.Event()

        def hold() -> None:
            is_held.set()
            self._release.wait()

        sync.fork(hold)
        is_held.wait()
        return self

    def release(self) -> None:
        """Let the pending forks start."""
        self._release.set()

    def __exit__(self, *args: Any) -> None:
        self.release()
        self._runtime.__exit__(*args)


def pending_bytes() -> float:
    """Return the bytes of one pending fork, its future and its place in the queue included."""
    futures: list[Any] = [None] * FEW
    with Held() as held:
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for i in range(FEW):
            futures[i] = sync.fork(np.negative, x)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        held.release()
    return (after - before) / FEW


def pending_costs(n: int) -> dict[str, float]:
    """Fork n that stay pending, then let them go and wait for all, with the garbage collector off."""
    futures: list[Any] = [None] * n
    with Held() as held:
        gc.collect()
        gc.disable()
        before = resident_bytes()
        start = time.perf_counter()
        for i in range(n):
            futures[i] = sync.fork(np.negative, x)
        forked = time.perf_counter()
        pending = resident_bytes()
        held.release()
        for future in futures:
            sync.wait(future)
        waited = time.perf_counter()
        gc.enable()
    return {
        "fork": (forked - start) / n,
        "wait": (waited - start) / n,
        "bytes": (pending - before) / n,
        "peak": peak_bytes(),
    }


def resident_bytes() -> int:
    """Return what this process has in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """Return the most that this process ever had in memory."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
    # Linux's ru_maxrss begins with that of the process that started this one
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def measure_pending(sheet: Sheet, options: Options) -> None:
    sheet.value("a pending fork", f"{pending_bytes():.0f} bytes", "≤ 600 bytes")
    many = MANY // 10 if options.is_quick else MANY
    costs: dict[int, list[dict[str, float]]] = {FEW: [], many: []}

    def ask(n: int) -> float:
        with Worker("benchmarks.fork_wait", str(n), quick=options.is_quick) as worker:
            answer: dict[str, float] = worker.ask("pending")
        costs[n].append(answer)
        return answer["wait"]

    interleave({f"{n:,} pending": partial(ask, n) for n in costs}, min(options.rounds, 5))
    ours, few = ({key: [cost[key] for cost in costs[n][1:]] for key in costs[n][0]} for n in (many, FEW))
    sheet.ratio(f"{many:,} pending, gc off, each fork: of {FEW:,}", ours["fork"], few["fork"], "≤ 1.3 ×")
    sheet.ratio(f"{many:,} pending, gc off, fork and wait: of {FEW:,}", ours["wait"], few["wait"], "≤ 1.3 ×")
    sheet.value(f"{many:,} pending, resident, each", f"{median(ours['bytes']):.0f} bytes", "what follows from 600")
    sheet.value(f"{many:,} pending, peak with their results", f"{median(ours['peak']) / 1e6:.0f} MB")


def main() -> None:
    """Measure all, print the table."""
    options = parse_options("The cost of a fork and its wait.", rounds=21)
    if options.worker == "torch":
        serve(torch_cases(is_quick=options.is_quick))
        return
    if options.worker is not None:
        serve({"pending": partial(pending_costs, int(options.worker))})
        return
    sheet = Sheet("fork_wait", options)
    measure_script(sheet, options)
    measure_awaited(sheet, options, "uvloop", uvloop.new_event_loop)
    measure_awaited(sheet, options, "asyncio", asyncio.new_event_loop)
    measure_pending(sheet, options)
    sheet.finish()


if __name__ == "__main__":
    main()
