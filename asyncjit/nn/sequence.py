"""One direction of one recurrent layer over a sequence: products, cells, and how both are split.

The products with the input need no state, so they are made for a chunk of steps at once. A step is then the product
with the hidden state and a few passes over the gates (`cells`). Where permits are free, threads join in, in one of
three ways, by the work of a step:

- little: none does; telling a thread costs as much;
- some: one thread makes the steps, another the products for the next chunk, and they meet once a chunk;
- much: all share the hidden units of every step, and meet at its end, because the next step needs all of h.

A large batch is cut into blocks of sequences, which never meet. All workspaces belong to the call. Cuts that could show
in the bits follow from the shape alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit._core.intraop import parallel_for, together
from asyncjit._core.teams import ALONE, Member
from asyncjit.nn.packing import SPLIT_WORK, Product

Array = NDArray[Any]

# Rows (steps times batch) projected by one product. With 1000 instead of 2500, 1024 wide, it takes 5 % longer; the
# projections, 4·H values a row, take 40 MB there. Where two threads take turns the first chunk is waited for, so it is
# short. All measured (benchmarks/kernels.py).
NUM_ROWS, NUM_ROWS_TAKING_TURNS = 2560, 128
NUM_STEPS_TAKING_TURNS = 8  # at least: each chunk costs a meeting
TURNS_WORK = 2 * SPLIT_WORK  # multiplications of a step from which on two threads take turns: some 150 µs
SHARED_WORK = 6 * SPLIT_WORK  # and from which on all share it: some 450 µs; meeting costs 50 to 100
LATE_BIAS_SIZE = 2**19  # numbers projected at once that are no longer in the cache when the product is done
BLOCK_BATCH = 128  # sequences of a block: from twice as many on the batch is cut


class Weights(NamedTuple):
    """What one direction of one layer multiplies with and adds."""

    ih: Product
    hh: Product
    projected_bias: Array | None  # (G·H,), added to the input's part
    hidden_bias: Array | None  # what the cell adds to the hidden state's part
    cell: Callable[[Array, list[Array], Array | None, Any], Any]  # of `cells`


def run_direction(x: Array, weights: Weights, states: list[Array], output: Array) -> None:
    """Run over `x` (L, N, H_in), writing each h to `output` (L, N, H); take `states` (N, H) along, first h."""
    num_blocks = max(1, x.shape[1] // BLOCK_BATCH)
    cuts = [block * x.shape[1] // num_blocks for block in range(num_blocks + 1)]

    def run(start: int, stop: int) -> None:
        rows = slice(cuts[start], cuts[stop])
        _Run(weights, x[:, rows], [state[rows] for state in states], output[:, rows]).run()

    parallel_for(run, num_blocks, grain=1)


class _Run:
    """A run of one block of sequences: `x` (L, N, H_in), states (N, H), `output` (L, N, H)."""

    def __init__(self, weights: Weights, x: Array, states: list[Array], output: Array) -> None:
        self._weights = weights
        self._x = x
        self._h, *self._carried = h, *_ = states
        self._output = output
        self._is_packed = weights.hh.is_packed(len(h))
        work = len(h) * weights.hh.size if self._is_packed else 0
        self._is_shared = work >= SHARED_WORK
        self._takes_turns = TURNS_WORK <= work < SHARED_WORK
        num_rows = max(NUM_ROWS_TAKING_TURNS, NUM_STEPS_TAKING_TURNS * len(h)) if self._takes_turns else NUM_ROWS
        self._num_steps = max(1, num_rows // max(len(h), 1))  # of a chunk
        self._adds_bias_late = min(self._num_steps, len(x)) * len(h) * weights.ih.width > LATE_BIAS_SIZE

    def run(self) -> None:
        """Make all steps; `h` and `c` become the last states."""
        if self._takes_turns:
            self._projected = self._project(0)
            together(self._take_turns, 2)
        else:
            most = self._weights.hh.panels().num_panels if self._is_shared else 1
            for start in range(0, len(self._x), self._num_steps):
                together(partial(self._make_steps, start, self._project(start)), most)
        self._h[...] = self._output[-1]

    def _take_turns(self, member: Member) -> None:
        """Make the steps of each chunk, and meanwhile, on the other thread, the products for the next."""
        for start in range(0, len(self._x), self._num_steps):
            projected, following = self._projected, start + self._num_steps
            member.meet()
            if member.rank == member.size - 1 and following < len(self._x):
                self._projected = self._project(following)
            if member.rank == 0:
                self._make_steps(start, projected, ALONE)
            member.meet()

    def _project(self, start: int) -> Array:
        """Return the input's part of the gates (steps, N, G, H) for the chunk that begins at `start`."""
        chunk = self._x[start : start + self._num_steps]
        L, N, H_in = chunk.shape
        rows = np.ascontiguousarray(chunk).reshape(L * N, H_in)
        bias = None if self._adds_bias_late else self._weights.projected_bias
        return self._weights.ih(rows, bias).reshape(L, N, self._weights.hh.num_gates, self._h.shape[1])

    def _make_steps(self, start: int, projected: Array, member: Member) -> None:
        """Make a member's share of the steps of the chunk that begins at `start`."""
        weights, (N, H) = self._weights, self._h.shape
        units = weights.hh.panels().share(member.rank, member.rank + 1, member.size) if self._is_packed else slice(0, H)
        batch = 0 if N == 1 else slice(None)
        h = self._output[start - 1, batch] if start else self._h[batch]
        given_bias = hidden_bias = None
        if self._adds_bias_late and weights.projected_bias is not None:
            given_bias = weights.projected_bias.reshape(weights.hh.num_gates, H)[:, units]
        if weights.hidden_bias is not None:
            hidden_bias = weights.hidden_bias[units]
        carried = [state[batch, units] for state in self._carried]
        cell = weights.cell(h[..., units], carried, given_bias, hidden_bias)
        multiply = weights.hh.multiplier(cell.hidden.reshape(N, weights.hh.num_gates, units.stop - units.start), units)
        output = self._output[start : start + len(projected), batch]
        meet = member.meet if member.size > 1 else None
        cell.over(projected[:, batch, :, units], h, output, units, multiply, meet)
