"""The tutorial's ensemble of bidirectional LSTMs: forked against serial, and beside torch.

Each side is a fresh interpreter, so that no thread setting of one is seen by another; they stay, and take turns. In
asyncjit's, nothing is set; it holds BLAS at one thread by itself, while its serial run is measured too. torch's runs
twice: as it comes, and with `torch.set_num_threads(1)`, as somebody who knows would have it.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import nn, sync
from benchmarks.harness import Options, Samples, Sheet, Worker, interleave, parse_options, serve

Array = NDArray[np.float32]

SHAPE = 50, 50, 1024, 4  # specified: T, B, C of the tutorial, and its number of models
QUICK = 10, 20, 256, 4


class Bidirectional(nn.Module):
    """Two LSTMs on the same sequence, one of them backwards."""

    def __init__(self, C: int) -> None:
        super().__init__()
        self.cell_f = nn.LSTM(input_size=C, hidden_size=C)
        self.cell_b = nn.LSTM(input_size=C, hidden_size=C)

    def forward(self, x: Array) -> Array:
        output_f, _ = self.cell_f(x)
        output_b, _ = self.cell_b(np.flip(x, axis=0))
        return np.concatenate((output_f, np.flip(output_b, axis=0)), axis=2)


class ForkedBidirectional(Bidirectional):
    """The same, both at once."""

    def forward(self, x: Array) -> Array:
        future_f = sync.fork(self.cell_f, x)
        output_b, _ = self.cell_b(np.flip(x, axis=0))
        output_b_rev = np.flip(output_b, axis=0)
        output_f, _ = sync.wait(future_f)
        return np.concatenate((output_f, output_b_rev), axis=2)


class Ensemble(nn.Module):
    """Models on the same input, their outputs added."""

    def __init__(self, models: list[Bidirectional]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Array) -> Array:
        total: Array = np.stack([model(x) for model in self.models]).sum(axis=0)
        return total


class ForkedEnsemble(Ensemble):
    """The same, all at once."""

    def forward(self, x: Array) -> Array:
        futures = [sync.fork(model, x) for model in self.models]
        total: Array = np.stack([sync.wait(future) for future in futures]).sum(axis=0)
        return total


def asyncjit_cases(shape: tuple[int, int, int, int]) -> dict[str, Callable[[], float]]:
    """Return the cases of asyncjit's worker."""
    T, B, C, num_models = shape
    forked = ForkedEnsemble([ForkedBidirectional(C) for _ in range(num_models)])
    serial = Ensemble([Bidirectional(C) for _ in range(num_models)])
    serial.load_state_dict(forked.state_dict())
    x = np.random.default_rng(0).random((T, B, C), dtype=np.float32)
    expected = forked(x)  # the runtime opens here and stays: BLAS is held at one thread from now on
    if not np.array_equal(serial(x), expected):
        raise RuntimeError("serial and forked runs differ: there is nothing to compare")

    def measure(run: Callable[[Array], Any]) -> float:
        start = time.perf_counter()
        run(x)
        return time.perf_counter() - start

    return {"serial": partial(measure, serial), "forked": partial(measure, forked)}


def torch_cases(shape: tuple[int, int, int, int], name: str) -> dict[str, Callable[[], float]]:
    """Return the cases of one of torch's workers."""
    peers = importlib.import_module("benchmarks.torch_peers")
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
            "serial": ("asyncjit", "serial"),
            "forked": ("asyncjit", "forked"),
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
    forked = found["forked"]
    sheet.speed_up("everything forked: speed-up over serial, BLAS 1", forked, found["serial"], "≥ 1.75 × on 2 CPUs")
    sheet.ratio("nothing set: torch scripted, forked, nothing set", forked, torch, "< 1 ×")
    sheet.ratio("nothing set: torch scripted, forked, threads at 1", forked, tuned)
    if eager is not None:
        sheet.ratio("torch's eager LSTMs: torch.jit.fork, both at 1", eager, tuned, "≤ 1 ×")


def main() -> None:
    """Measure all, print the table."""
    options = parse_options("The tutorial's ensemble of LSTMs, serial and forked.", rounds=9)
    shape = QUICK if options.is_quick else SHAPE
    if options.worker is not None:
        serve(asyncjit_cases(shape) if options.worker == "asyncjit" else torch_cases(shape, options.worker))
        return
    sheet = Sheet("ensemble", options)
    sheet.note(f"T, B, C = {shape[:3]}, {shape[3]} models, float32")
    measure(sheet, options)
    sheet.finish()


if __name__ == "__main__":
    main()
