"""Recurrent layers as in a textbook: one sequence at a time, one gate at a time, in float64.

Nothing is shared with the package: what a test hands in are the arrays of a state dict.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = Mapping[str, Array]
Step = Callable[[Weights, Array, tuple[Array, ...]], tuple[Array, ...]]

RTOL = {"float32": 1e-5, "float64": 1e-12}
ATOL = {"float32": 1e-6, "float64": 1e-14}  # of numbers around 1


def assert_close(found: Array, expected: Array, scale: float = 1.0) -> None:
    """Hold `found` to numbers of its own dtype; `scale` is the size of the terms that were added up."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    dtype = found.dtype.name
    np.testing.assert_allclose(found, expected, RTOL[dtype], ATOL[dtype] * scale)


def lstm_step(weights: Weights, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return h and c after `x` (H_in,)."""
    h, c = states
    from_x, from_h = _gates(weights, x, h, 4)
    i, f, o = (_sigmoid(from_x[gate] + from_h[gate]) for gate in (0, 1, 3))
    g = np.tanh(from_x[2] + from_h[2])
    c = f * c + i * g
    return o * np.tanh(c), c


def gru_step(weights: Weights, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return h after `x` (H_in,)."""
    (h,) = states
    from_x, from_h = _gates(weights, x, h, 3)
    r, z = (_sigmoid(from_x[gate] + from_h[gate]) for gate in (0, 1))
    n = np.tanh(from_x[2] + r * from_h[2])
    return ((1 - z) * n + z * h,)


STEPS: dict[str, Step] = {"LSTM": lstm_step, "LSTMCell": lstm_step, "GRU": gru_step, "GRUCell": gru_step}


def sequence(
    step: Step,
    parameters: Weights,
    x: Array,
    states: Sequence[Array],
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
) -> list[Array]:
    """Return the output and the last states for one sequence `x` (L, H_in), all of them float64.

    The `parameters` have the names of torch's state dict; the `states` are of shape (D·num_layers, H).
    """
    x = x.astype(np.float64)
    last = [state.astype(np.float64) for state in states]
    row = 0
    for layer in range(num_layers):
        outputs = []
        for suffix in [f"_l{layer}", f"_l{layer}_reverse"][: 1 + bidirectional]:
            is_reverse = suffix.endswith("reverse")
            weights = widened_to_float64(parameters, suffix)
            now, hs = tuple(state[row] for state in last), []
            for x_t in reversed(x) if is_reverse else x:
                now = step(weights, x_t, now)
                hs.append(now[0])
            for state, value in zip(last, now, strict=True):
                state[row] = value
            outputs.append(np.array(hs[::-1] if is_reverse else hs))
            row += 1
        x = np.concatenate(outputs, axis=1)
    return [x, *last]


def widened_to_float64(parameters: Weights, suffix: str = "") -> dict[str, Array]:
    """Return the parameters whose names end with `suffix`, without it."""
    return {
        name.removesuffix(suffix): array.astype(np.float64)
        for name, array in parameters.items()
        if name.endswith(suffix)
    }


def _gates(weights: Weights, x: Array, h: Array, num_gates: int) -> tuple[list[Array], list[Array]]:
    """Return what the input and what the hidden state give to each gate."""
    H, parts = len(h), []
    for side, vector in (("ih", x), ("hh", h)):
        bias = weights.get(f"bias_{side}", np.zeros(num_gates * H))
        rows = [slice(gate * H, (gate + 1) * H) for gate in range(num_gates)]
        parts.append([weights[f"weight_{side}"][gate].dot(vector) + bias[gate] for gate in rows])
    return parts[0], parts[1]


def _sigmoid(a: Array) -> Array:
    # The plain formula, with the sign chosen so that exp never overflows.
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))
