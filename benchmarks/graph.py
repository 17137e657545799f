"""Traced graphs and scripted functions, beside the same work forked by hand, run serially, or written plainly.

All in one process: the peers are asyncjit's own other ways. The ensemble is the tutorial's, its serial form traced
without a line changed; results are compared bit for bit before anything is measured.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from asyncjit import script, sync, trace
from asyncjit.demo import SERIAL, Size, make_forms, make_input, threads_for
from asyncjit.graph import Interpreter, auto_fork
from benchmarks.harness import Sheet, interleave, parse_options, show_seconds

QUICK = Size(steps=10, batch=20, hidden=256)
NUM_NODES = 200
NUM_CALLS = 2000
ONE = np.ones(1, np.float32)


def timed(run: Callable[[], object], calls: int = 1) -> Callable[[], float]:
    """Return a case: the seconds of one of `calls` operations that `run` makes."""

    def case() -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) / calls

    return case


def measure_ensemble(sheet: Sheet, size: Size, rounds: int) -> None:
    """The tutorial's model: traced and forked by `auto_fork`, and forked by hand."""
    forms, x = make_forms(size), make_input(size)
    serial, by_hand = forms[SERIAL], forms["everything forked"]
    sync.call(serial, x)  # packs the weights
    tracing = interleave({"trace": timed(lambda: trace(serial, (x,), check_trace=False))}, rounds)["trace"]
    traced = trace(serial, (x,), check_trace=False)
    forked = auto_fork(traced.graph, (x,))
    automatic = Interpreter(forked)
    expected = sync.call(by_hand, x)
    if not (np.array_equal(sync.call(automatic, x), expected) and np.array_equal(sync.call(traced, x), expected)):
        raise RuntimeError("traced, auto-forked and hand-forked runs differ: there is nothing to compare")

    def alone(model: Callable[[Any], Any]) -> None:
        with threads_for(SERIAL):  # no layer is split
            sync.call(model, x)

    cases = {
        "automatic": lambda: sync.call(automatic, x),
        "by hand": lambda: sync.call(by_hand, x),
        "graph": lambda: alone(traced),
        "serial": lambda: alone(serial),
    }
    found = interleave({name: timed(run) for name, run in cases.items()}, rounds)
    what = "ensemble, auto_fork of the traced serial model: forked by hand"
    sheet.ratio(what, found["automatic"], found["by hand"], "≤ 1.05 ×")
    sheet.speed_up("  speed-up over the serial model, one thread", found["automatic"], found["serial"])
    sheet.ratio("  the serial graph: the serial model", found["graph"], found["serial"])
    sheet.value("  tracing it", show_seconds(float(np.median(tracing))), "≤ 200 ms", tracing)


def chain(x: Any) -> Any:
    """Many small operations, each after the other."""
    for _ in range(NUM_NODES):
        x = np.negative(x)
    return x


def heavy_chain(x: Any) -> Any:
    """Operations of some weight with nothing to run beside them."""
    for _ in range(20):
        x = np.tanh(x @ x)
    return x


def measure_interpreter(sheet: Sheet, rounds: int) -> None:
    """What a node costs beyond its operation, and what a pass that finds nothing to gain costs."""
    small = trace(chain, (ONE,))
    found = interleave(
        {"graph": timed(lambda: small(ONE), NUM_NODES), "plain": timed(lambda: chain(ONE), NUM_NODES)}, rounds
    )
    sheet.difference("a chained node beyond its operation", found["graph"], found["plain"], "≤ 3 µs")
    x = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    serial = trace(heavy_chain, (x,))
    forked = Interpreter(auto_fork(serial.graph, (x,)))
    cases = {"forked": timed(lambda: sync.call(forked, x)), "serial": timed(lambda: sync.call(serial, x))}
    found = interleave(cases, rounds)
    sheet.ratio("nothing to gain, auto_fork: the serial graph", found["forked"], found["serial"], "≤ 1.03 ×")


def plain(x: Any) -> Any:
    """Stand for a function that waits, with nothing to wait for."""
    return sync.wait(x)


def waiting(num_waits: int) -> int:
    """Wait for kernels that have not started."""
    return sum([sync.wait(sync.fork(abs, -1)) for _ in range(num_waits)])


def measure_scripts(sheet: Sheet, rounds: int) -> None:
    """What scripting costs when nothing suspends, and when all does."""
    scripted, done = script(plain), sync.fork(abs, -1)
    sync.wait(done)

    def repeat(fn: Callable[[Any], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(NUM_CALLS):
                fn(done)

        return run

    found = interleave(
        {"scripted": timed(repeat(scripted), NUM_CALLS), "plain": timed(repeat(plain), NUM_CALLS)}, rounds
    )
    sheet.difference("a scripted call that suspends nowhere", found["scripted"], found["plain"], "≤ 1 µs")
    suspending = script(waiting)
    with sync.Runtime(1):
        cases = {
            "suspended": timed(lambda: sync.wait(sync.fork(suspending, NUM_CALLS)), NUM_CALLS),
            "in place": timed(lambda: sync.wait(sync.fork(waiting, NUM_CALLS)), NUM_CALLS),
        }
        found = interleave(cases, rounds)
    sheet.difference(
        "a wait that suspends and resumes, beyond one in place", found["suspended"], found["in place"], "≤ 10 µs"
    )


def main() -> None:
    """Measure, print the table."""
    options = parse_options("Traced graphs and scripted functions.", rounds=9)
    sheet = Sheet("graph", options)
    measure_ensemble(sheet, QUICK if options.is_quick else Size(), options.rounds)
    measure_interpreter(sheet, options.rounds)
    measure_scripts(sheet, options.rounds)
    sheet.note("All in one process; the peers are the same work forked by hand, run serially, or written plainly.")
    sheet.finish()


if __name__ == "__main__":
    main()
