"""The tutorial's ensemble of bidirectional LSTMs: forked against serial, and beside torch.

Each side is a fresh interpreter, so that no thread setting of one is seen by another; they stay, and take turns. In
asyncjit's, nothing is set; it holds BLAS at one thread by itself, while its serial run is measured too. torch's runs
twice: as it comes, and with `torch.set_num_threads(1)`, as somebody who knows would have it.
"""

import asyncio
import importlib
import importlib.util
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from asyncjit.demo import SERIAL, Size, make_forms, make_input, run, threads_for
from benchmarks.harness import Options, Samples, Sheet, Worker, interleave, parse_options, serve

TUTORIAL = Size()  # T, B, C and the number of models are the tutorial's
QUICK = Size(steps=10, batch=20, hidden=256)
SPLIT, FORKED = "serial, layers split", "everything forked"


def asyncjit_cases(size: Size) -> dict[str, Callable[[], float]]:
    """Return the cases of asyncjit's worker."""
    forms, x = make_forms(size), make_input(size)
    with asyncio.Runner() as runner:
        expected = run(forms[FORKED], x, runner)  # the runtime opens here, and weights are packed
        if not np.array_equal(run(forms[SERIAL], x, runner), expected):
            raise RuntimeError("serial and forked runs differ: there is nothing to compare")

    def measure(form: str) -> float:
        with asyncio.Runner() as runner, threads_for(form):
            start = time.perf_counter()
            run(forms[form], x, runner)
            return time.perf_counter() - start

    return {form: partial(measure, form) for form in (SERIAL, SPLIT, FORKED)}


def torch_cases(size: Size, name: str) -> dict[str, Callable[[], float]]:
    """Return the cases of one of torch's workers."""
    peers = importlib.import_module("benchmarks.torch_peers")
    shape = size.steps, size.batch, size.hidden, size.models
    found: dict[str, Callable[[], float]] = peers.ensemble_cases(shape, num_threads=1 if name == "torch at 1" else None)
    return found


def measure(sheet: Sheet, options: Options) -> None:
    """Interleave all workers."""
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch:
        sheet.note("torch is not installed: its columns are left out (pip install torch, 2.13 or so).")
    names = ["asyncjit", *(["torch", "torch at 1"] if has_torch else [])]
    workers = {name: Worker("benchmarks.ensemble", name, quick=options.is_quick) for name in names}
    try:
        asked = {
            SERIAL: ("asyncjit", SERIAL),
            SPLIT: ("asyncjit", SPLIT),
            FORKED: ("asyncjit", FORKED),
            "torch": ("torch", "scripted"),
            "torch at 1": ("torch at 1", "scripted"),
            "eager": ("torch at 1", "eager, forked by asyncjit"),
        }
        cases: dict[str, Callable[[], float]] = {
            case: partial(workers[worker].ask, question)
            for case, (worker, question) in asked.items()
            if worker in workers
        }
        found: dict[str, Samples] = interleave(cases, options.rounds)
    finally:
        for worker in workers.values():
            worker.close()
    torch, tuned, eager = found.get("torch"), found.get("torch at 1"), found.get("eager")
    serial, split, forked = found[SERIAL], found[SPLIT], found[FORKED]
    sheet.speed_up("everything forked: speed-up over serial, one thread", forked, serial, "≥ 1.85 × on 2 CPUs")
    sheet.speed_up("serial, layers split: speed-up over serial, one thread", split, serial)
    sheet.ratio("nothing set: torch scripted, forked, nothing set", forked, torch, "≤ 0.6 ×")
    sheet.ratio("nothing set: torch scripted, forked, threads at 1", forked, tuned, "≤ 1 × (aim 0.92)")
    if eager is not None:
        sheet.ratio("torch's eager LSTMs: torch.jit.fork, both at 1", eager, tuned, "≤ 1 ×")


def main() -> None:
    """Measure all, print the table."""
    options = parse_options("The tutorial's ensemble of LSTMs, serial and forked.", rounds=9)
    size = QUICK if options.is_quick else TUTORIAL
    if options.worker is not None:
        serve(asyncjit_cases(size) if options.worker == "asyncjit" else torch_cases(size, options.worker))
        return
    sheet = Sheet("ensemble", options)
    sheet.note(f"T, B, C = {size.steps, size.batch, size.hidden}, {size.models} models, float32")
    measure(sheet, options)
    sheet.finish()


if __name__ == "__main__":
    main()
