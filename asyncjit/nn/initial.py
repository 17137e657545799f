"""torch's default initialisation: weights and biases uniform in ±1/sqrt(fan).

`fan` is the number of inputs for Linear (torch gets there through `kaiming_uniform_(a=sqrt(5))`, which comes
to the same bound) and the hidden size for LSTM. The distribution is torch's, not the numbers it draws.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def uniform(rng: np.random.Generator, shape: tuple[int, ...], fan: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a fresh array of `shape` and `dtype`, drawn from the uniform distribution in ±1/sqrt(fan)."""
    bound = 1 / math.sqrt(fan) if fan > 0 else 0.0
    # Drawn in the dtype itself, and shifted in place: a float64 detour would triple the peak memory.
    values: NDArray[Any] = rng.random(shape, dtype=dtype)
    values *= 2 * bound
    values -= bound
    return values
