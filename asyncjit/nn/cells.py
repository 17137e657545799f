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

from asyncjit.nn.memory import aligned

Array = NDArray[Any]


Multiply = Callable[[Array], object]  # writes the product with h to the cell's `hidden`
Meet = Callable[[], None] | None  # waits until all shares of a step are made; None where there is one


class LSTMShare:
    """Hidden units of an LSTM: gates i, f, g, o; c is carried along.

    Parameters
    ----------
    h : ndarray of shape (N, U), or (U,)
        Tells the share's shape and dtype.
    carried : list of one ndarray of shape (N, U), or (U,)
        The share's cell state; every call of `over` takes it along.
    given_bias : ndarray of shape (4, U), or None
        Added to what the input gives, if that does not have it already.
    hidden_bias : None
        Both biases go to the input's part.

    Attributes
    ----------
    hidden : ndarray of shape (N, 4, U), or (4, U)
        Where the share's products with the hidden state are to be written.
    """

    def __init__(self, h: Array, carried: list[Array], given_bias: Array | None, hidden_bias: None) -> None:
        (self._state,) = carried
        self._bias = given_bias
        *batch, U = h.shape
        self._rows = aligned((*batch, 5, U), h.dtype)  # the gates and c
        self.hidden = self._rows[..., :4, :]

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
        rows, gates, bias = self._rows, self.hidden, self._bias
        i, f, o, c = (rows[..., row, :] for row in (0, 1, 3, 4))
        i_and_f, g_and_c = rows[..., :2, :], rows[..., 2:5:2, :]
        # Per gate: σ(x) = tanh(x · 0.5) · 0.5 + 0.5 for i, f, o, and tanh(x · 1) · 1 + 0 for g.
        scale, shift = (_per_gate(values, gates) for values in ((0.5, 0.5, 1, 0.5), (0.5, 0.5, 0, 0.5)))
        c[...] = self._state
        for given, h_next in zip(projected, output, strict=True):
            own = h_next if meet is None else h_next[..., units]
            multiply(h)
            add(gates, given, gates)
            if bias is not None:
                add(gates, bias, gates)
            mul(gates, scale, gates)
            tanh(gates, gates)
            mul(gates, scale, gates)
            add(gates, shift, gates)
            mul(i_and_f, g_and_c, i_and_f)
            add(i, f, c)
            tanh(c, own)
            mul(own, o, own)
            if meet is not None:
                meet()
            h = h_next
        self._state[...] = c


class GRUShare:
    """Hidden units of a GRU: gates r, z, n; nothing is carried along but h.

    Parameters
    ----------
    h : ndarray of shape (N, U), or (U,)
        Tells the share's shape and dtype.
    carried : empty list
    given_bias : ndarray of shape (3, U), or None
        Added to what the input gives, if that does not have it already.
    hidden_bias : ndarray of shape (U,), or None
        The hidden side's bias of n, which the reset gate acts on; all others go to the input's part.

    Attributes
    ----------
    hidden : ndarray of shape (N, 3, U), or (3, U)
        Where the share's products with the hidden state are to be written.
    """

    def __init__(self, h: Array, carried: list[Array], given_bias: Array | None, hidden_bias: Array | None) -> None:
        self._given_bias = given_bias
        self._hidden_bias = hidden_bias
        *batch, U = h.shape
        self.hidden = aligned((*batch, 3, U), h.dtype)

    def over(self, projected: Array, h: Array, output: Array, units: slice, multiply: Multiply, meet: Meet) -> None:
        """Make the steps; as `LSTMShare.over`, with three gates."""
        add, mul, tanh, subtract = np.add, np.multiply, np.tanh, np.subtract
        hidden, half = self.hidden, self.hidden.dtype.type(0.5)
        bias_rz = bias_n = None
        if self._given_bias is not None:
            bias_rz, bias_n = self._given_bias[:2], self._given_bias[2]
        hidden_bias = self._hidden_bias
        rz, (r, z, n) = hidden[..., :2, :], (hidden[..., gate, :] for gate in range(3))
        own_last = h[..., units]
        for to_rz, to_n, h_next in zip(projected[..., :2, :], projected[..., 2, :], output, strict=True):
            own = h_next if meet is None else h_next[..., units]
            multiply(h)
            if hidden_bias is not None:
                add(n, hidden_bias, n)
            add(rz, to_rz, rz)
            if bias_rz is not None:
                add(rz, bias_rz, rz)
            mul(rz, half, rz)
            tanh(rz, rz)
            mul(rz, half, rz)
            add(rz, half, rz)
            mul(n, r, n)
            add(n, to_n, n)
            if bias_n is not None:
                add(n, bias_n, n)
            tanh(n, n)
            subtract(own_last, n, own)  # h' = (1 - z) n + z h = n + z (h - n)
            mul(own, z, own)
            add(own, n, own)
            if meet is not None:
                meet()
            h, own_last = h_next, own


def _per_gate(values: tuple[float, ...], gates: Array) -> Array:
    """Return (G, U) with one value per gate; the same array every time, so it is read-only."""
    return _filled(values, gates.dtype, gates.shape[-1])


@lru_cache(maxsize=64)
def _filled(values: tuple[float, ...], dtype: np.dtype[Any], num_units: int) -> Array:
    rows = np.repeat(np.array(values, dtype)[:, np.newaxis], num_units, axis=1)
    rows.flags.writeable = False
    return rows
