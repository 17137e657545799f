"""The arithmetic of the steps of a recurrent layer after their products: from the gates' sums to the next state.

A cell makes the views and workspaces for a share of the hidden units, and takes that share over a chunk of steps. All
passes write to memory that is there, and σ(x) = tanh(x / 2) / 2 + 1 / 2, so that nothing overflows and one tanh serves
several gates (halving is exact in binary floating point). Small layers are bound by Python: so the loop over the steps
is here, with all names local, and a batch of one has no axis of its own.

Cells know nothing of how the products are made, nor who else makes the other units.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


Multiply = Callable[[Array], object]  # writes the product with h to the workspace
Meet = Callable[[], None] | None  # waits until all shares of a step are made; None where there is one


class LSTMShare:
    """Hidden units of an LSTM: gates i, f, g, o; c is carried along.

    Parameters
    ----------
    hidden : ndarray of shape (N, 4, U), or (4, U)
        The workspace that the share's products with the hidden state are written to.
    bias : None
        Both biases go to the input's part.
    carried : list of one ndarray of shape (N, U), or (U,)
        The share's cell state, which every step changes.
    """

    def __init__(self, hidden: Array, bias: None, carried: list[Array]) -> None:
        self.carried = carried
        self._hidden = hidden
        # Per gate: σ(x) = tanh(x · 0.5) · 0.5 + 0.5 for i, f, o, and tanh(x · 1) · 1 + 0 for g.
        self._scale = _rows((0.5, 0.5, 1, 0.5), hidden.dtype, hidden.shape[-1])
        self._shift = _rows((0.5, 0.5, 0, 0.5), hidden.dtype, hidden.shape[-1])

    def over(self, projected: Array, h: Array, output: Array, units: slice, multiply: Multiply, meet: Meet) -> None:
        """Make the steps.

        Parameters
        ----------
        projected : ndarray of shape (L, N, 4, U), or (L, 4, U)
            What the input gives to the gates.
        h : ndarray of shape (N, H), or (H,)
            The hidden state before the first step.
        output : ndarray of shape (L, N, H), or (L, H)
            Each step's h; this share writes `units`, and reads all.
        """
        add, mul, tanh = np.add, np.multiply, np.tanh
        gates, scale, shift, (c,) = self._hidden, self._scale, self._shift, self.carried
        i, f, g, o = (gates[..., gate, :] for gate in range(4))
        for given, h_next, own in zip(projected, output, output[..., units], strict=True):
            multiply(h)
            add(gates, given, gates)
            mul(gates, scale, gates)
            tanh(gates, gates)
            mul(gates, scale, gates)
            add(gates, shift, gates)
            mul(c, f, c)
            mul(i, g, i)
            add(c, i, c)
            tanh(c, own)
            mul(own, o, own)
            if meet is not None:
                meet()
            h = h_next


class GRUShare:
    """Hidden units of a GRU: gates r, z, n; nothing is carried along but h.

    Parameters
    ----------
    hidden : ndarray of shape (N, 3, U), or (3, U)
        The workspace that the share's products with the hidden state are written to.
    bias : ndarray of shape (U,), or None
        The hidden side's bias of n, which the reset gate acts on; all others go to the input's part.
    carried : empty list
    """

    def __init__(self, hidden: Array, bias: Array | None, carried: list[Array]) -> None:
        self.carried = carried
        self._hidden = hidden
        self._bias = bias

    def over(self, projected: Array, h: Array, output: Array, units: slice, multiply: Multiply, meet: Meet) -> None:
        """Make the steps; as `LSTMShare.over`, with three gates."""
        add, mul, tanh, subtract = np.add, np.multiply, np.tanh, np.subtract
        hidden, bias, half = self._hidden, self._bias, self._hidden.dtype.type(0.5)
        rz, (r, z, n) = hidden[..., :2, :], (hidden[..., gate, :] for gate in range(3))
        given_rz, given_n = projected[..., :2, :], projected[..., 2, :]
        own_last = h[..., units]
        for to_rz, to_n, h_next, own in zip(given_rz, given_n, output, output[..., units], strict=True):
            multiply(h)
            if bias is not None:
                add(n, bias, n)
            add(rz, to_rz, rz)
            mul(rz, half, rz)
            tanh(rz, rz)
            mul(rz, half, rz)
            add(rz, half, rz)
            mul(n, r, n)
            add(n, to_n, n)
            tanh(n, n)
            subtract(own_last, n, own)  # h' = (1 - z) n + z h = n + z (h - n)
            mul(own, z, own)
            add(own, n, own)
            if meet is not None:
                meet()
            h, own_last = h_next, own


@lru_cache(maxsize=64)
def _rows(values: tuple[float, ...], dtype: np.dtype[Any], num_units: int) -> Array:
    """Return (G, U) with one value per gate; kept, so never written to."""
    rows = np.repeat(np.array(values, dtype)[:, np.newaxis], num_units, axis=1)
    rows.flags.writeable = False
    return rows
