"""The tutorial's ensemble as an async model: `await` where TorchScript blocked, a deadline and a cancellation.

Run it: `python examples/async_model.py`.
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from asyncjit import call, check_cancelled, fail_after, fork, nn, wait
from asyncjit.errors import DeadlineExceeded, ForkCancelled

Array = NDArray[np.float32]
T, B, C = 20, 8, 32


class BidirectionalRecurrentLSTM(nn.Module):
    """Two LSTMs on the same sequence, one of them in reverse; each is one hop to the inter-op pool."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.cell_f = nn.LSTM(input_size=C, hidden_size=C, rng=rng)
        self.cell_b = nn.LSTM(input_size=C, hidden_size=C, rng=rng)

    async def forward(self, x: Array) -> Array:
        """Run both directions at once, holding no thread meanwhile."""
        future_f = fork(self.cell_f, x)
        output_b, _ = await call(self.cell_b, np.flip(x, axis=0))
        output_f, _ = await wait(future_f)
        return np.concatenate((output_f, np.flip(output_b, axis=0)), axis=2)


class LSTMEnsemble(nn.Module):
    """Models run on the same input, their results stacked and summed."""

    def __init__(self, n_models: int, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.models = nn.ModuleList([BidirectionalRecurrentLSTM(rng) for _ in range(n_models)])

    async def forward(self, x: Array) -> Array:
        """Run all models at once."""
        futures = [fork(model, x) for model in self.models]
        results = [await wait(fut) for fut in futures]
        total: Array = np.stack(results).sum(axis=0)
        return total


def endless(x: Array) -> Array:
    """Iterate for ever: a kernel that can be told to stop, because it asks."""
    while True:
        check_cancelled()
        x = np.tanh(x)


async def main() -> None:
    """Await ensembles together, run into a deadline, and cancel a fork."""
    ensemble = LSTMEnsemble(n_models=4)
    x = np.random.default_rng(1).random((T, B, C), dtype=np.float32)

    # asyncio's own words work on calls and futures alike
    first, second = await asyncio.gather(call(ensemble, x), fork(ensemble, x))
    print("gathered two outputs of shape", first.shape, "equal:", np.array_equal(first, second))

    # A deadline holds for everything forked below it, kernels on other threads included
    try:
        with fail_after(0.05):
            await call(endless, x)
    except DeadlineExceeded as error:
        print("deadline:", error)

    # A cancel goes down the tree: what the ensemble has forked, and what those models have
    future = fork(ensemble, x)
    await asyncio.sleep(0)  # it begins, and forks its models
    future.cancel()
    try:
        await wait(future)
    except ForkCancelled as error:
        print("cancelled:", error)


if __name__ == "__main__":
    asyncio.run(main())
