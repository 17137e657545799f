"""Products with weights that are used again and again: `Product` and its panels.

OpenBLAS packs both factors anew at every call, which costs 30 % of a product of 50 rows and 70 % of one of 8, except
for small matrices (`asyncjit._core.products`). So a weight is also kept as panels, pieces of 256 deep and 32 wide that
fit the L1 cache, and NumPy's batched matmul multiplies panel after panel on the path without packing; pieces of depth
are added up. Panels win from two rows on where the whole product is beyond the small matrices, and up to 64 rows, where
packing has paid off (`benchmarks/kernels.py`); elsewhere the plain product serves, with the weight as it lies in a
layer's memory, by columns.

The form and the cuts follow from shape, dtype and BLAS alone, and each number of the result is made by one panel or one
block of rows. So the bits do not depend on how many threads take part.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit._core.intraop import parallel_for, threads_at_hand
from asyncjit._core.products import SMALL_LIMIT, packs
from asyncjit._core.splitting import multiply_by_rows
from asyncjit.nn.memory import aligned

Array = NDArray[Any]

MAX_PACKED_ROWS = 64  # measured, like the three below: benchmarks/kernels.py
PANEL_DEPTH = 256
PANEL_BYTES = 128  # of a panel's row: 32 float32 or 16 float64
SPLIT_WORK = 4_000_000  # multiplications worth a thread's coming: some 75 µs


class Product:
    """``x @ weight.T`` for a weight that stays, in the form that serves the rows of `x`.

    Parameters
    ----------
    weight : ndarray of shape (G·H, K)
        Kept, and never written to by anyone.
    num_gates : int, default 1
        G, the gates that lie side by side; a share of a gated product has some columns of each.
    """

    __slots__ = ("_panels", "columns", "depth", "num_gates", "size", "weight", "width")

    def __init__(self, weight: Array, num_gates: int = 1) -> None:
        self.weight = weight
        self.columns = weight.T
        self.depth, self.width = self.columns.shape
        self.size = weight.size
        self.num_gates = num_gates
        self._panels: Panels | None = None

    def is_packed(self, num_rows: int) -> bool:
        """Whether panels serve a product of so many rows."""
        return 1 < num_rows <= MAX_PACKED_ROWS and num_rows * self.size > SMALL_LIMIT and packs()

    def panels(self) -> Panels:
        """Return the weight's panels, made on the first call; two threads at once make them twice, and one stays."""
        if self._panels is None:
            self._panels = Panels(self.columns, self.num_gates)
        return self._panels

    def multiplier(self, y: Array, columns: slice) -> Callable[[Array], object]:
        """Return what writes the product's `columns` of each gate to `y` (M, G, U), again and again.

        All columns, unless panels serve and they are a share. One row may come without its axis.
        """
        if self.is_packed(len(y)):
            return Multiplier(self.panels(), y, columns)
        rows = y.reshape(len(y), self.width)
        if len(y) == 1:  # the quickest call that there is: for small layers it shows
            return partial(np.matmul, self.weight, out=rows[0])
        return partial(_multiply, self.columns, rows)

    def __call__(self, x: Array, bias: Array | None = None) -> Array:
        """Return ``x @ weight.T + bias``, split where that is worth it.

        Parameters
        ----------
        x : ndarray of shape (M, K), of the weight's dtype
        bias : ndarray of shape (G·H,), optional

        Returns
        -------
        ndarray of shape (M, G·H)
        """
        num_rows = len(x)
        if num_rows * self.size <= SMALL_LIMIT:
            y: Array = np.matmul(x, self.columns)
            if bias is not None:
                y += bias
            return y
        y = aligned((num_rows, self.width), x.dtype)
        x = np.ascontiguousarray(x)  # else the bits could depend on its strides
        if self.is_packed(num_rows):
            self._multiply_packed(x, y, bias)
        else:
            multiply_by_rows(x, self.columns, y, bias)
        return y

    def _multiply_packed(self, x: Array, y: Array, bias: Array | None) -> None:
        panels = self.panels()
        by_gate = panels.by_gate(y)
        most = min(panels.num_panels, len(x) * self.size // SPLIT_WORK)
        num_threads = threads_at_hand(most)
        num_shares = 1 if num_threads == 1 else min(most, 2 * num_threads)  # no bits depend on it: panels are whole

        def multiply(start: int, stop: int) -> None:
            columns = panels.share(start, stop, num_shares)
            share = by_gate[:, :, columns]
            Multiplier(panels, share, columns)(x)
            if bias is not None:
                np.add(share, panels.by_gate(bias[np.newaxis])[:, :, columns], share)

        parallel_for(multiply, num_shares, grain=1)


class Panels:
    """A weight (K, G·H) cut into pieces of depth, and each of them, gate by gate, into panels.

    What is left of a gate's H columns, where they are no multiple of the panel's width, stands as one narrower panel.
    """

    def __init__(self, columns: Array, num_gates: int) -> None:
        depth, width = columns.shape
        self.num_gates = num_gates
        self.num_columns = width // num_gates  # of a gate
        self.panel_width = PANEL_BYTES // columns.itemsize
        self.num_panels = self.num_columns // self.panel_width
        num_pieces = -(-depth // PANEL_DEPTH)
        cuts = [piece * depth // num_pieces for piece in range(num_pieces + 1)]
        self.pieces = [_Piece(start, stop, *self._cut(columns[start:stop])) for start, stop in pairwise(cuts)]

    def _cut(self, columns: Array) -> tuple[Array, Array]:
        gates = columns.reshape(len(columns), self.num_gates, self.num_columns).swapaxes(0, 1)
        panelled = self.num_panels * self.panel_width
        whole = gates[..., :panelled].reshape(*gates.shape[:2], self.num_panels, self.panel_width).swapaxes(1, 2)
        return _copied(whole), _copied(gates[..., np.newaxis, panelled:].swapaxes(1, 2))

    @property
    def nbytes(self) -> int:
        """The memory they take."""
        return sum(piece.whole.nbytes + piece.rest.nbytes for piece in self.pieces)

    def by_gate(self, y: Array) -> Array:
        """Return `y` (M, G·H) as (M, G, H)."""
        return y.reshape(len(y), self.num_gates, self.num_columns)

    def share(self, start: int, stop: int, num_shares: int) -> slice:
        """Return the columns of each gate in the shares from `start` to `stop`; the last has the rest."""
        first, last = (self.panel_width * (self.num_panels * share // num_shares) for share in (start, stop))
        return slice(first, self.num_columns if stop == num_shares else last)


class _Piece(NamedTuple):
    """A piece of depth of a weight: its whole panels (G, P, k, w) and the rest (G, 1, k, r)."""

    start: int
    stop: int
    whole: Array
    rest: Array


class Multiplier:
    """A share of a product with panels: its views and its workspace, made once for many products.

    Parameters
    ----------
    panels : Panels
    y : ndarray of shape (M, G, U)
        Where the products are written to.
    columns : slice
        The columns of each gate that they are of, a share.
    """

    def __init__(self, panels: Panels, y: Array, columns: slice) -> None:
        first = columns.start // panels.panel_width
        last = columns.stop // panels.panel_width
        panelled = (last - first) * panels.panel_width
        self._y = y
        self._sum = aligned(y.shape, y.dtype) if len(panels.pieces) > 1 else y
        self._products = []
        for piece in panels.pieces:
            target = y if piece.start == 0 else self._sum
            products = [(piece.whole[:, first:last], _in_panels(target[..., :panelled], panels.panel_width))]
            if columns.stop > last * panels.panel_width:
                rest = target[..., panelled:]
                products.append((piece.rest, rest.transpose(1, 0, 2)[:, np.newaxis]))
            self._products.append((slice(piece.start, piece.stop), products))

    def __call__(self, x: Array) -> None:
        """Multiply `x` (M, K)."""
        for depth, products in self._products:
            part = x[:, depth]
            for panels, target in products:
                np.matmul(part, panels, target)
            if depth.start:
                np.add(self._y, self._sum, self._y)


def _multiply(columns: Array, y: Array, x: Array) -> None:
    np.matmul(x, columns, y)


def _copied(array: Array) -> Array:
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


def _in_panels(y: Array, width: int) -> Array:
    """Return `y` (M, G, P·w) as (G, P, M, w)."""
    return y.reshape(*y.shape[:2], -1, width).transpose(1, 2, 0, 3)
