"""Small modules for the tests of what every module does."""

from typing import Any

import numpy as np

from asyncjit import nn


class Leaf(nn.Module):
    """Two parameters and a buffer, set in an order that is not the one they are listed in."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", np.array([7]))
        self.weight = np.array([[1.0, 2.0]], dtype=np.float32)
        self.bias = np.array([3.0], dtype=np.float64)

    def forward(self, x: Any) -> Any:
        return x + self.bias


class Tree(nn.Module):
    """One leaf under two names, and another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Leaf()
        self.again = self.first
        self.scale = np.array(2.0)
        self.other = nn.ModuleList([Leaf()])


class Kernel(nn.Module):
    def forward(self, x: int) -> int:
        return x + 1


class Coroutine(nn.Module):
    async def forward(self, x: int) -> int:
        return x + 1
