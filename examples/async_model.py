"""An async model: `await` where TorchScript blocked, with a deadline and a cancellation.

Run it: `python examples/async_model.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import call, fail_after, fork, nn, wait
from asyncjit.errors import DeadlineExceeded, ForkCancelled

Array = NDArray[np.float32]


class BidirectionalLSTM(nn.Module):
    """Two LSTMs on the same sequence, one of them in reverse; each is one hop to the inter-op pool."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.cell_f = nn.LSTM(num_channels, num_channels, rng=0)
        self.cell_b = nn.LSTM(num_channels, num_channels, rng=1)

    async def forward(self, x: Array) -> Array:
        """Run both directions at once, holding no thread meanwhile."""
        future_f = fork(self.cell_f, x)
        output_b, _ = await call(self.cell_b, x[::-1])
        output_f, _ = await wait(future_f)
        return np.concatenate((output_f, output_b[::-1]), axis=2)


async def main() -> None:
    """Await models together, under a deadline, and cancel one."""
    models = [BidirectionalLSTM(32) for _ in range(4)]
    x = np.random.default_rng(0).random((20, 8, 32), dtype=np.float32)

    outputs: list[Any] = await asyncio.gather(*(call(model, x) for model in models))
    print("gathered", len(outputs), "outputs of shape", outputs[0].shape)

    forgotten: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        with fail_after(0.05):
            await forgotten  # any await is interrupted, asyncjit's or not
    except DeadlineExceeded as error:
        print("deadline:", error)

    future = fork(models[0], x)
    future.cancel()  # and with it all that the model would have forked
    try:
        await wait(future)
    except ForkCancelled:
        print("cancelled:", future.cancelled())


if __name__ == "__main__":
    asyncio.run(main())
