"""A serial model made parallel without a change: `trace` takes down its graph, and forks what is independent.

The model is the baseline of TorchScript's tutorial, an ensemble of bidirectional LSTMs, in which no line says fork or
wait. Run it: `python examples/traced.py`, or in other sizes: `python examples/traced.py 50 50 1024`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import asyncjit
from asyncjit import nn, sync
from asyncjit.graph import Interpreter, auto_fork

Array = NDArray[np.float32]
T, B, C = map(int, sys.argv[1:] or (10, 50, 256))
NUM_RUNS = 10


class BidirectionalRecurrentLSTM(nn.Module):
    """Two LSTMs on the same sequence, one of them in reverse."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.cell_f = nn.LSTM(input_size=C, hidden_size=C, rng=rng)
        self.cell_b = nn.LSTM(input_size=C, hidden_size=C, rng=rng)

    def forward(self, x: Array) -> Array:
        """Run one direction after the other."""
        output_f, _ = self.cell_f(x)
        output_b, _ = self.cell_b(np.flip(x, axis=0))
        return np.concatenate((output_f, np.flip(output_b, axis=0)), axis=2)


class LSTMEnsemble(nn.Module):
    """Models run on the same input, one by one, their results stacked and summed."""

    def __init__(self, n_models: int, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.models = nn.ModuleList([BidirectionalRecurrentLSTM(rng) for _ in range(n_models)])

    def forward(self, x: Array) -> Array:
        """Run one model after the other."""
        total: Array = np.stack([model(x) for model in self.models]).sum(axis=0)
        return total


def least_ms(fn: Callable[[Array], Array], x: Array) -> float:
    """Return what a call takes, the least of some; as a kernel, for then BLAS has one thread."""
    durations = []
    for _ in range(NUM_RUNS):
        start = time.perf_counter()
        sync.call(fn, x)
        durations.append(time.perf_counter() - start)
    return 1e3 * min(durations)


async def awaited(fn: Callable[[Array], Array], x: Array) -> Array:
    """Run it from an event loop, whose thread is free meanwhile."""
    return await asyncjit.call(fn, x)


if __name__ == "__main__":
    ensemble = LSTMEnsemble(n_models=4)
    x = np.random.default_rng(1).random((T, B, C), dtype=np.float32)

    # One run of the model, on arrays that have no values, gives its graph
    serial = sync.trace(ensemble, x)
    print(serial.graph)

    # The same, with what is independent forked where it takes long enough, as measured on the example. Both steps in
    # one are `sync.trace(ensemble, x, parallel=True)`
    graph = auto_fork(serial.graph, x)
    print(f"\n{graph}\n\n{graph.report()}\n")

    parallel = Interpreter(graph)
    expected = sync.call(ensemble, x)
    print("the graph gives the model's bits:", np.array_equal(serial(x), expected))
    print("forked too:", np.array_equal(parallel(x), expected))
    print("and awaited:", np.array_equal(asyncio.run(awaited(parallel, x)), expected))

    sync.set_num_threads(1)  # layers split their work over free threads; here it is forks that are compared
    print(f"model {least_ms(ensemble, x):.2f} ms, parallel graph {least_ms(parallel, x):.2f} ms")
