"""TorchScript's tutorial "Dynamic Parallelism", scripted: first from a script, then inside a running event loop.

`torch.jit` has become `asyncjit.sync`, and torch's functions NumPy's. Scripted code waits without blocking a thread, so
the same lines serve in both places: from a script they are called, on an event loop they are awaited.
Run it: `python examples/scripted.py`, or in the tutorial's size: `python examples/scripted.py 50 50 1024`.
"""

from __future__ import annotations

import asyncio
import sys
import time

import numpy as np
from numpy.typing import NDArray

import asyncjit
import asyncjit.nn
from asyncjit import sync

Array = NDArray[np.float32]


def foo(x: Array) -> Array:
    return np.negative(x)


@sync.script
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


@sync.script
def example_in_a_loop(x: Array) -> np.float32:
    futures: list[sync.Future[Array]] = []
    for _ in range(100):
        futures.append(sync.fork(foo, x))

    results = []
    for future in futures:
        results.append(sync.wait(future))

    return np.sum(np.stack(results))


# In RNN parlance, the dimensions we care about are:
# # of time-steps (T)
# Batch size (B)
# Hidden size/number of "channels" (C)
T, B, C = map(int, sys.argv[1:] or (10, 8, 64))


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


# Scripting the ensemble scripts the modules in it
ens = sync.script(LSTMEnsemble(n_models=4))


def in_a_script(x: Array) -> Array:
    """Call what was scripted, as TorchScript's tutorial does."""
    print(example(np.ones(1, np.float32)))  # (-1., -1.)
    print(example_in_a_loop(np.ones([], np.float32)))

    # Let's run the model once to warm up things like the memory allocator
    ens(x)

    # Let's see how fast it runs!
    s = time.time()
    total: Array = ens(x)
    print("Inference took", time.time() - s, " seconds")
    return total


async def in_a_running_loop(x: Array) -> Array:
    """Await the same: the loop's thread is free meanwhile, and so is every thread whose function waits."""
    print(await asyncjit.call(example, np.ones(1, np.float32)))  # (-1., -1.)
    print(await asyncjit.call(example_in_a_loop, np.ones([], np.float32)))

    await asyncjit.call(ens, x)

    s = time.time()
    total: Array = await asyncjit.call(ens, x)
    print("Inference took", time.time() - s, " seconds")
    return total


if __name__ == "__main__":
    # Normally you would pull this input out of an embedding table, but for the
    # purpose of this demo let's just use random data.
    x = np.random.default_rng().random((T, B, C), dtype=np.float32)
    called = in_a_script(x)
    awaited = asyncio.run(in_a_running_loop(x))
    print("called and awaited give the same bits:", np.array_equal(called, awaited))
