"""The arithmetic of one step of a recurrent layer after its products: from the gates' sums to the next state.

A cell makes the views and workspaces for a share of the hidden units, once for
a run; a call then takes that share one step on. All passes write to memory that is there, and σ(x) = tanh(x / 2) / 2 +
1 / 2, so that nothing overflows and one tanh can serve several gates (halving is exact in binary floating point).

Cells know nothing of how the products are made, nor who else makes the other units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class LSTMShare:
    """Hidden units of an LSTM: gates i, f, g, o; c is carried along.

    Parameters
    ----------
    hidden : ndarray of shape (N, 4, U)
        The workspace that the share's products with the hidden state are written to.
    bias : None
        Both biases go to the input's part.
    carried : list of one ndarray of shape (N, U)
        The share's cell state, which every step changes.
    """

    def __init__(self, hidden: Array, bias: None, carried: list[Array]) -> None:
        self.carried = carried
        (self._c,) = carried
        self._gates = hidden
        self._i, self._f, self._g, self._o = hidden.swapaxes(0, 1)
        # Per gate: σ(x) = tanh(x · 0.5) · 0.5 + 0.5 for i, f, o, and tanh(x · 1) · 1 + 0 for g.
        self._scale = _columns([0.5, 0.5, 1, 0.5], hidden)
        self._shift = _columns([0.5, 0.5, 0, 0.5], hidden)

    def __call__(self, projected: Array, h_last: Array, h: Array) -> None:
        """Add `projected` (N, 4, U), what the input gives, take c one step on, and write the new h (N, U)."""
        gates, c, f, i = self._gates, self._c, self._f, self._i
        np.add(gates, projected, gates)
        np.multiply(gates, self._scale, gates)
        np.tanh(gates, gates)
        np.multiply(gates, self._scale, gates)
        np.add(gates, self._shift, gates)
        np.multiply(c, f, c)
        np.multiply(i, self._g, i)
        np.add(c, i, c)
        np.tanh(c, h)
        np.multiply(h, self._o, h)


class GRUShare:
    """Hidden units of a GRU: gates r, z, n; nothing is carried along but h.

    Parameters
    ----------
    hidden : ndarray of shape (N, 3, U)
        The workspace that the share's products with the hidden state are written to.
    bias : ndarray of shape (U,), or None
        The hidden side's bias of n, which the reset gate acts on; all others go to the input's part.
    carried : empty list
    """

    def __init__(self, hidden: Array, bias: Array | None, carried: list[Array]) -> None:
        self.carried = carried
        self._bias = bias
        self._rz, self._n = hidden[:, :2], hidden[:, 2]
        self._r, self._z = hidden[:, 0], hidden[:, 1]
        self._half = hidden.dtype.type(0.5)

    def __call__(self, projected: Array, h_last: Array, h: Array) -> None:
        """Write the new h (N, U), from `projected` (N, 3, U) and the last h, which is not changed."""
        rz, n, half = self._rz, self._n, self._half
        if self._bias is not None:
            np.add(n, self._bias, n)
        np.add(rz, projected[:, :2], rz)
        np.multiply(rz, half, rz)
        np.tanh(rz, rz)
        np.multiply(rz, half, rz)
        np.add(rz, half, rz)
        np.multiply(n, self._r, n)
        np.add(n, projected[:, 2], n)
        np.tanh(n, n)
        np.subtract(h_last, n, h)  # h' = (1 - z) n + z h = n + z (h - n)
        np.multiply(h, self._z, h)
        np.add(h, n, h)


def _columns(values: list[float], hidden: Array) -> Array:
    """Return (G, U) with one value per gate."""
    return np.repeat(np.array(values, hidden.dtype)[:, np.newaxis], hidden.shape[2], axis=1)
