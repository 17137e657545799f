"""An ensemble of small recurrent modules: `nn.Stacked` beside a loop over them, one thread, in one process.

Both give the same numbers, which is seen to before anything is measured. The stacked weights are made before too; what
that takes is a row of its own.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from asyncjit import nn
from asyncjit.nn.stacked import Stacked
from benchmarks.harness import Samples, Sheet, interleave, parse_options

NUM_MODULES = 8


class Case(NamedTuple):
    kind: Any
    size: int  # input and hidden
    L: int
    N: int
    target: str = ""

    def modules(self) -> list[nn.Module]:
        return [self.kind(self.size, self.size, bidirectional=True, rng=seed) for seed in range(NUM_MODULES)]

    def __str__(self) -> str:
        return f"{NUM_MODULES} × Bi{self.kind.__name__}({self.size}), L={self.L}, batch {self.N}"


CASES = [
    Case(nn.LSTM, 25, 1000, 1, "≥ 4 ×"),
    Case(nn.LSTM, 25, 100, 8, "≥ 4 ×"),
    Case(nn.LSTM, 25, 100, 32),
    Case(nn.LSTM, 64, 100, 1),
    Case(nn.GRU, 25, 1000, 1),
    Case(nn.GRU, 25, 100, 8),
]


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return a case: the seconds of one call."""

    def case() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return case


def compare(case: Case, rounds: int) -> dict[str, Samples]:
    """Measure the loop, the stack, and a stack's first call."""
    modules = case.modules()
    x = np.random.default_rng(0).standard_normal((case.L, case.N, case.size)).astype(np.float32)
    stacked = Stacked(modules)

    def loop() -> list[Any]:
        return [module(x) for module in modules]

    for (found, _), (expected, _) in zip(stacked(x), loop(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    cases = {"stacked": lambda: stacked(x), "loop": loop, "first": lambda: Stacked(modules)(x)}
    return interleave({name: timed(run) for name, run in cases.items()}, rounds)


def main() -> None:
    """Measure, print the table."""
    options = parse_options("Many small modules as one.", rounds=11)
    sheet = Sheet("stacked", options)
    for case in CASES[:2] if options.is_quick else CASES:
        found = compare(case, options.rounds)
        sheet.speed_up(str(case), found["stacked"], found["loop"], case.target)
        if case is CASES[0]:
            sheet.difference("  stacking the weights, at the first call", found["first"], found["stacked"])
    sheet.note("The peer is the loop over the modules themselves, in the same process.")
    sheet.finish()


if __name__ == "__main__":
    main()
