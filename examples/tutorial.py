"""TorchScript's tutorial "Dynamic Parallelism", on asyncjit's sync facade.

`torch.jit` has become `asyncjit.sync`, `torch.nn` `asyncjit.nn`, `torch.autograd.profiler` `asyncjit.profiler`, and
torch's functions NumPy's; the model is the tutorial's last, with everything forked.
Run it small: `python examples/tutorial.py 10 10 64`.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

import asyncjit.nn
import asyncjit.profiler
from asyncjit import sync

Array = NDArray[np.float32]


def foo(x: Array) -> Array:
    return np.negative(x)


def example(x: Array) -> tuple[Array, Array]:
    # Call `foo` using parallelism:
    # First, we "fork" off a task. This task will run `foo` with argument `x`
    future = sync.fork(foo, x)

    # Call `foo` normally
    x_normal = foo(x)

    # Second, we "wait" on the task. Since the task may be running in
    # parallel, we have to "wait" for its result to become available.
    # Notice that by having lines of code between the "fork()" and "wait()"
    # call for a given Future, we can overlap computations so that they
    # run in parallel.
    x_parallel = sync.wait(future)

    return x_normal, x_parallel


print(example(np.ones(1, np.float32)))  # (-1., -1.)


def example_in_a_loop(x: Array) -> np.float32:
    futures: list[sync.Future[Array]] = []
    for _ in range(100):
        futures.append(sync.fork(foo, x))

    results = []
    for future in futures:
        results.append(sync.wait(future))

    return np.sum(np.stack(results))


print(example_in_a_loop(np.ones([], np.float32)))

# In RNN parlance, the dimensions we care about are:
# # of time-steps (T)
# Batch size (B)
# Hidden size/number of "channels" (C)
T, B, C = map(int, sys.argv[1:] or (50, 50, 1024))


# A module that defines a single "bidirectional LSTM". This is simply two
# LSTMs applied to the same sequence, but one in reverse
class BidirectionalRecurrentLSTM(asyncjit.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell_f = asyncjit.nn.LSTM(input_size=C, hidden_size=C)
        self.cell_b = asyncjit.nn.LSTM(input_size=C, hidden_size=C)

    def forward(self, x: Array) -> Array:
        # Forward layer - fork() so this can run in parallel to the backward
        # layer
        future_f = sync.fork(self.cell_f, x)

        # Backward layer. Flip input in the time dimension (dim 0), apply the
        # layer, then flip the outputs in the time dimension
        output_b, _ = self.cell_b(np.flip(x, axis=0))
        output_b_rev = np.flip(output_b, axis=0)

        # Retrieve the output from the forward layer. Note this needs to happen
        # *after* the stuff we want to parallelize with
        output_f, _ = sync.wait(future_f)

        return np.concatenate((output_f, output_b_rev), axis=2)


# An "ensemble" of `BidirectionalRecurrentLSTM` modules. The modules in the
# ensemble are run on the same input, then their results are
# stacked and summed together, returning the combined result.
class LSTMEnsemble(asyncjit.nn.Module):
    def __init__(self, n_models: int) -> None:
        super().__init__()
        self.n_models = n_models
        self.models = asyncjit.nn.ModuleList([BidirectionalRecurrentLSTM() for _ in range(self.n_models)])

    def forward(self, x: Array) -> Array:
        futures = [sync.fork(model, x) for model in self.models]
        results = [sync.wait(fut) for fut in futures]
        total: Array = np.stack(results).sum(axis=0)
        return total


ens = LSTMEnsemble(n_models=4)

# Normally you would pull this input out of an embedding table, but for the
# purpose of this demo let's just use random data.
x = np.random.default_rng().random((T, B, C), dtype=np.float32)

# Let's run the model once to warm up things like the memory allocator
ens(x)

x = np.random.default_rng().random((T, B, C), dtype=np.float32)

# Let's see how fast it runs!
s = time.time()
ens(x)
print("Inference took", time.time() - s, " seconds")

with asyncjit.profiler.profile() as prof:
    ens(x)
prof.export_chrome_trace("parallel.json")
