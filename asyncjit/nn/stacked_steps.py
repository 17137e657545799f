"""The recurrent steps of many small layers at once: stacked weights, batched products, passes over all their gates.

A step of a small layer takes microseconds of arithmetic and ten times that in Python, so all modules and directions
make it together: M modules of D directions each, the backward ones on the sequence reversed. Gates lie one behind the
other, (G, M, D, N, H), so that each pass runs over contiguous memory.

A product serves one gate, or all; then it is added to the input's part by a pass from the one layout to the other. The
former has fewer bytes to move, the latter fewer products: in narrow layers, where a product costs more to call than to
compute, steps take 0.82 to 0.95 of the time with it. So weights are (P, M, D, K, C), P products of C columns each.

σ(x) = tanh(x / 2) / 2 + 1 / 2, so that one tanh serves all gates; the weights and biases of the sigmoids' gates are
halved when they are stacked, which is exact in binary floating point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.memory import aligned

Array = NDArray[Any]
Parameters = tuple[Array, Array, Array | None, Array | None]  # weight_ih, weight_hh, bias_ih, bias_hh

# Values of the gates projected at once, which should be in the cache when their step comes; within 5 % from half to
# twice as many. Measured, like the next, on 16 directions 25 to 64 wide, batch 1 to 32.
NUM_PROJECTED = 100_000
NARROW = 32  # the hidden size below which one product serves all gates


class Weights(NamedTuple):
    """What one layer of all modules and directions computes with."""

    ih: Array  # (P, M, D, K, C); with biases, they are one row more, for a column of ones behind the input
    hh: Array  # (P, M, D, H, C)
    hidden_bias: Array | None  # (M, D, 1, H), added to the hidden state's part of the last gate


class Cell(NamedTuple):
    """What tells the steps of an LSTM from those of a GRU."""

    order: tuple[int, ...]  # of torch's gates, the sigmoids' first
    num_sigmoids: int
    adds_last: bool  # whether the hidden side's bias of the last gate goes to the input's part, as all others do
    run: Callable[[Weights, Iterator[Array], list[Array], Array], None]


def run_lstm(weights: Weights, projections: Iterator[Array], states: list[Array], output: Array) -> None:
    """Make the steps of all LSTMs, from the states h and c (M, D, N, H) on, and take c along.

    Parameters
    ----------
    weights : Weights
        Of the gates o, i, f, g.
    projections : iterator of ndarray of shape (4, M, D, N, H)
        What the input gives to each step.
    states : list of two ndarrays of shape (M, D, N, H)
    output : ndarray of shape (L, M, D, N, H)
        Where each h is written to.
    """
    h, c_last = states
    products, sums = _products(weights, h)
    # In memory o, i, f, g, c: the sigmoids side by side, and i, f beside g, c, so that one product makes both terms.
    work = aligned((5, *h.shape), h.dtype)
    gates, sigmoids, terms, factors = work[:4], work[:3], work[1:3], work[3:]
    o, i, f, _, c = work
    half = np.array(0.5, h.dtype)
    c[...] = c_last
    for projected, h_next in zip(projections, output, strict=True):
        np.matmul(h, weights.hh, products)
        np.add(sums, projected, gates)
        np.tanh(gates, gates)
        np.multiply(sigmoids, half, sigmoids)
        np.add(sigmoids, half, sigmoids)
        np.multiply(terms, factors, terms)
        np.add(i, f, c)
        np.tanh(c, h_next)
        np.multiply(h_next, o, h_next)
        h = h_next
    c_last[...] = c


def run_gru(weights: Weights, projections: Iterator[Array], states: list[Array], output: Array) -> None:
    """Make the steps of all GRUs, from the state h (M, D, N, H) on.

    Parameters
    ----------
    weights : Weights
        Of the gates r, z, n.
    projections : iterator of ndarray of shape (3, M, D, N, H)
        What the input gives to each step.
    states : list of one ndarray of shape (M, D, N, H)
    output : ndarray of shape (L, M, D, N, H)
        Where each h is written to.
    """
    (h,) = states
    products, sums = _products(weights, h)
    gates = aligned((3, *h.shape), h.dtype)
    sigmoids, (r, z, n) = gates[:2], gates
    hidden_n = sums[2] if weights.hidden_bias is None else n
    half = np.array(0.5, h.dtype)
    for projected, h_next in zip(projections, output, strict=True):
        np.matmul(h, weights.hh, products)
        if weights.hidden_bias is not None:
            np.add(sums[2], weights.hidden_bias, n)
        np.add(sums[:2], projected[:2], sigmoids)
        np.tanh(sigmoids, sigmoids)
        np.multiply(sigmoids, half, sigmoids)
        np.add(sigmoids, half, sigmoids)
        np.multiply(hidden_n, r, n)
        np.add(n, projected[2], n)
        np.tanh(n, n)
        np.subtract(h, n, h_next)  # h' = (1 - z) n + z h = n + z (h - n)
        np.multiply(h_next, z, h_next)
        np.add(h_next, n, h_next)
        h = h_next


LSTM_CELL = Cell(order=(3, 0, 1, 2), num_sigmoids=3, adds_last=True, run=run_lstm)
GRU_CELL = Cell(order=(0, 1, 2), num_sigmoids=2, adds_last=False, run=run_gru)


def stack_weights(cell: Cell, parameters: Sequence[Sequence[Parameters]]) -> Weights:
    """Return the stacked weights of one layer, from the parameters of each module's directions."""
    by_gate = [[_weights_by_gate(cell, own) for own in directions] for directions in parameters]
    ih, hh, hidden_bias = ([[own[number] for own in directions] for directions in by_gate] for number in range(3))
    return Weights(_stack(ih), _stack(hh), None if hidden_bias[0][0] is None else np.array(hidden_bias))


def run_layer(cell: Cell, weights: Weights, x: Array, states: list[Array]) -> Array:
    """Run one layer of all modules.

    Parameters
    ----------
    cell : Cell
    weights : Weights
    x : ndarray of shape (M, L, N, K), or (1, L, N, K) if all modules are given the same
    states : list of ndarray of shape (M, D, N, H)
        Become the last ones; h is the first.

    Returns
    -------
    ndarray of shape (M, L, N, D·H)
    """
    M, D, N, H = states[0].shape
    L = x.shape[1]
    steps = np.empty((L, M, D, N, H), x.dtype)
    cell.run(weights, _projections(weights, x), states, steps)
    states[0][...] = steps[-1]
    output = np.empty((M, L, N, D, H), x.dtype)
    for direction in range(D):
        in_time = steps[:: -1 if direction else 1, :, direction]
        output[..., direction, :] = in_time.swapaxes(0, 1)
    return output.reshape(M, L, N, D * H)


def _projections(weights: Weights, x: Array) -> Iterator[Array]:
    """Yield what the input gives to the gates (G, M, D, N, H), step after step."""
    P, M, D, H, C = weights.hh.shape
    L, N = x.shape[1:3]
    num_steps = max(1, NUM_PROJECTED // max(1, P * M * D * N * C))
    for start in range(0, L, num_steps):
        rows = _rows(weights, x, start, min(start + num_steps, L))
        chunk, depth = rows.shape[2], rows.shape[4]
        product = np.matmul(rows.reshape(len(x), D, chunk * N, depth), weights.ih)
        yield from _by_gate(product, H).reshape(P * C // H, M, D, chunk, N, H).transpose(3, 0, 1, 2, 4, 5)


def _rows(weights: Weights, x: Array, start: int, stop: int) -> Array:
    """Return the steps from `start` to `stop` (M, D, steps, N, K), counted from the end for the second direction."""
    D, depth = weights.ih.shape[2:4]
    M, L, N, K = x.shape
    rows = np.empty((M, D, stop - start, N, depth), x.dtype)
    rows[:, 0, ..., :K] = x[:, start:stop]
    if D == 2:
        rows[:, 1, ..., :K] = x[:, L - stop : L - start][:, ::-1]
    rows[..., K:] = 1
    return rows


def _weights_by_gate(cell: Cell, parameters: Parameters) -> tuple[Array, Array, Array | None]:
    """Return one direction's weights as (G, K, H), with the biases as the input's last row, and the hidden bias."""
    weight_ih, weight_hh, bias_ih, bias_hh = parameters
    H = weight_hh.shape[1]

    def by_gate(array: Array) -> Array:
        return array.reshape(len(cell.order), H, -1)[list(cell.order)].swapaxes(1, 2)

    ih, hh, last_bias = by_gate(weight_ih), by_gate(weight_hh), None
    if bias_ih is not None and bias_hh is not None:
        hidden_bias = by_gate(bias_hh)
        if not cell.adds_last:
            last_bias = hidden_bias[-1].copy()
            hidden_bias[-1] = 0
        ih = np.concatenate([ih, by_gate(bias_ih) + hidden_bias], axis=1)
    ih[: cell.num_sigmoids] *= 0.5
    hh[: cell.num_sigmoids] *= 0.5
    return ih, hh, last_bias


def _stack(matrices: list[list[Any]]) -> Array:
    """Return the matrices (G, K, H) of all modules and directions as (P, M, D, K, C)."""
    G, K, H = matrices[0][0].shape
    P = 1 if H < NARROW else G
    stacked = aligned((P, len(matrices), len(matrices[0]), K, G // P * H), matrices[0][0].dtype)
    _by_gate(stacked, H)[...] = np.moveaxis(np.array(matrices), 2, 0)
    return stacked


def _products(weights: Weights, h: Array) -> tuple[Array, Array]:
    """Return the workspace for a step's products with `h` (M, D, N, H), and its view by gate."""
    P, M, D, H, C = weights.hh.shape
    products = aligned((P, M, D, h.shape[2], C), h.dtype)
    return products, _by_gate(products, H)


def _by_gate(products: Array, H: int) -> Array:
    """Return a view of `products` (P, M, D, R, C) as (G, M, D, R, H)."""
    P, M, D, R, C = products.shape
    gates = products.reshape(P, M, D, R, C // H, H)
    return np.moveaxis(gates, 4, 1).reshape(P * C // H, M, D, R, H)
