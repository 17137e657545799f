"""Predictions from a profile on one lane of the time on two: of the ensemble, fork trees and g2pM's sentences.

In each round the program runs on one lane profiled, on one lane profiled beside a rival for the GIL, and on two lanes
profiled, which is what the predictions are held against: all three carry the profile's own cost. The plain runs on one
and on two lanes show the speed-up without it. A row's ratio is predicted by measured.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import asyncjit
from asyncjit import sync
from asyncjit.demo import PROFILED, Size, make_forms, make_input
from asyncjit.profiler import profile
from asyncjit.profiler.prediction import Predictor
from benchmarks.harness import Options, Samples, Sheet, interleave, parse_options
from benchmarks.pinyin import compose
from examples.pinyin import Reader

SMALL = Size(steps=10, batch=20, hidden=256)
TREES = {"20 µs": (10, 100), "200 µs": (9, 220), "2 ms": (6, 500)}  # depth, and the width of the leaves' matrices
TARGET = "0.90–1.10 ×"

Program = Callable[[], object]


def ensemble(size: Size) -> Program:
    """Return a run of the tutorial's ensemble, everything forked."""
    model, x = make_forms(size)[PROFILED], make_input(size)
    return lambda: sync.call(model, x)


def tree(depth: int, width: int) -> Program:
    """Return a run of a binary tree of forks with a matrix product in each leaf."""
    matrix = np.random.default_rng(0).random((width, width), dtype=np.float32)

    def node(depth: int) -> int:
        if depth == 0:
            return len(matrix @ matrix)
        left, right = sync.fork(node, depth - 1), sync.fork(node, depth - 1)
        return sync.wait(left) + sync.wait(right)

    return lambda: sync.call(node, depth)


def sentences(number: int) -> Program:
    """Return the reading of g2pM's sentences, in forked batches."""
    reader, composed = Reader(), compose(number)
    return lambda: reader.read_all(composed)


class Foretold(NamedTuple):
    """What a profile on one lane said, in seconds."""

    one: Samples
    two: Samples


def measure(sheet: Sheet, name: str, program: Program, rounds: int) -> None:
    """Measure one program: three rows."""
    alone, beside_rival = Foretold([], []), Foretold([], [])

    def plain(num_lanes: int) -> Callable[[], float]:
        return lambda: timed(program, num_lanes)

    def foretelling(said: Foretold, *, has_rival: bool) -> Callable[[], float]:
        def case() -> float:
            with lanes(1), profile(rival=has_rival) as prof:
                program()
            predictor = Predictor(prof.records)
            said.one.append(predictor.predict(1).time_s)
            said.two.append(predictor.predict(2).time_s)
            return prof.records.duration_ns / 1e9

        return case

    def profiled() -> float:
        with lanes(2), profile() as prof:
            program()
        return prof.records.duration_ns / 1e9

    cases = {
        "one": plain(1),
        "two": plain(2),
        "profile": foretelling(alone, has_rival=False),
        "rival": foretelling(beside_rival, has_rival=True),
        "profiled": profiled,
    }
    found = interleave(cases, rounds)
    sheet.speed_up(f"{name}: two lanes, over one, not profiled", found["two"], found["one"])
    for how, said in (("", alone), (", with a rival", beside_rival)):
        one, two = said.one[1:], said.two[1:]  # the first round warms up
        sheet.ratio(f"  foretold{how}: measured, both profiled", two, found["profiled"], TARGET)
        sheet.value("    speed-up foretold", f"{median(a / b for a, b in zip(one, two, strict=True)):.2f} ×")
    sheet.ratio("  one lane foretold: profiled", alone.one[1:], found["profile"])


@contextmanager
def lanes(number: int) -> Iterator[None]:
    """Let so many kernels run at once; the threads stay, so that none is made while one is measured."""
    before = asyncjit.get_num_interop_threads()
    asyncjit.set_num_interop_threads(number)
    try:
        yield
    finally:
        asyncjit.set_num_interop_threads(before)


def timed(program: Program, num_lanes: int) -> float:
    """Return the seconds of one run."""
    with lanes(num_lanes):
        start = time.perf_counter()
        program()
        return time.perf_counter() - start


def measure_prediction(sheet: Sheet, options: Options) -> None:
    """Measure all programs."""
    programs: dict[str, Callable[[], Any]] = {"ensemble, small": lambda: ensemble(SMALL)}
    if not options.is_quick:
        programs["ensemble"] = lambda: ensemble(Size())
    programs |= {f"fork tree, leaves of {size}": _maker(*how) for size, how in TREES.items()}
    programs["g2pM's sentences"] = lambda: sentences(200 if options.is_quick else 1000)
    for name, make in programs.items():
        measure(sheet, name, make(), options.rounds)
    sheet.note("Predictions are from a profile on one lane, of the time on two; rivals are explained in rivalry.py.")


def _maker(depth: int, width: int) -> Callable[[], Program]:
    return lambda: tree(depth, width)


def main() -> None:
    """Measure, print the table."""
    options = parse_options("Predictions from one lane of the time on two.", rounds=7)
    sheet = Sheet("prediction", options)
    measure_prediction(sheet, options)
    sheet.finish()


if __name__ == "__main__":
    main()
