"""`GRU` and `GRUCell`: gated recurrent units, with torch's semantics, names and layouts."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from asyncjit.nn.cells import GRUShare
from asyncjit.nn.packing import Product
from asyncjit.nn.recurrent import Cell, Kind, Recurrent
from asyncjit.nn.sequence import Weights

Array = NDArray[Any]


def _make_weights(ih: Array, hh: Array, bias_ih: Array | None, bias_hh: Array | None) -> Weights:
    projected_bias = hidden_bias = None
    if bias_ih is not None and bias_hh is not None:
        H = hh.shape[1]
        hidden_bias = bias_hh[2 * H :]
        projected_bias = bias_ih.copy()
        projected_bias[: 2 * H] += bias_hh[: 2 * H]
    return Weights(Product(ih), Product(hh, num_gates=3), projected_bias, hidden_bias, GRUShare)


_KIND = Kind(num_gates=3, state_names=("h_0",), make_weights=_make_weights)


class GRU(Recurrent):
    """One or more layers of gated recurrent units over a sequence.

    For each step of each layer, σ being the logistic function and ⊙ the product by elements::

        r = σ(W_ir x + b_ir + W_hr h + b_hr)        n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))
        z = σ(W_iz x + b_iz + W_hz h + b_hz)        h' = (1 - z) ⊙ n + z ⊙ h

    In what follows L is the length of the sequence, N the batch, H_in and H the `input_size` and the
    `hidden_size`; D is 2 if bidirectional, else 1.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, default 1
        Each layer after the first takes the output of the one before it.
    bias : bool, default True
    batch_first : bool, default False
        Whether inputs and outputs are (N, L, ...) instead of (L, N, ...); states are not touched by it.
    bidirectional : bool, default False
        Whether each layer also runs backwards; its outputs stand behind the forward ones on the last axis.
    dtype : float32 or float64, default float32
        Of the parameters, and of the arrays that the module takes and returns.
    rng : numpy.random.Generator or int, optional
        Draws the initial parameters, uniform in ±1/sqrt(hidden_size); fresh entropy if not given.

    Attributes
    ----------
    weight_ih_l{k} : ndarray of shape (3·H, H_in), in later layers (3·H, D·H)
        The input's weights of layer k: W_ir, W_iz, W_in on top of each other.
    weight_hh_l{k} : ndarray of shape (3·H, H)
        The hidden state's weights, in the same order.
    bias_ih_l{k}, bias_hh_l{k} : ndarray of shape (3·H,)
        The biases; not there without `bias`.
    weight_ih_l{k}_reverse, ...
        The same of the backward direction.

    Raises
    ------
    TypeError
        If a size is no int, a flag no bool, or `dtype` another.
    ValueError
        If a size is not positive.

    References
    ----------
    Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014; with the reset gate behind the product,
    as in cuDNN. Layout and names: torch.nn.GRU.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> gru = nn.GRU(10, 20, num_layers=2, bidirectional=True)
    >>> output, h_n = gru(np.zeros((5, 3, 10), dtype=np.float32))
    >>> output.shape, h_n.shape
    ((5, 3, 40), (4, 3, 20))
    """

    _kind = _KIND

    if TYPE_CHECKING:

        def __call__(self, x: Array, hx: Array | None = None) -> tuple[Array, Array]:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: Array, hx: Array | None = None) -> tuple[Array, Array]:
        """Run over the sequence `x`, from the state `hx` on.

        Parameters
        ----------
        x : ndarray of shape (L, N, H_in), (N, L, H_in) if `batch_first`, or (L, H_in), of the module's dtype
            Neither kept nor changed.
        hx : ndarray of shape (D·num_layers, N, H), or (D·num_layers, H), optional
            The state h_0 of each layer and direction; zeros if not given. Neither kept nor changed.

        Returns
        -------
        output : ndarray of shape (L, N, D·H), (N, L, D·H) if `batch_first`, or (L, D·H)
            The last layer's h of each step.
        h_n : ndarray of shape (D·num_layers, N, H), or (D·num_layers, H)
            The state after the last step; for the backward direction, after the first.

        Raises
        ------
        ValueError
            If `x` has neither two nor three axes, or a dtype is not the module's.
        RuntimeError
            If a size does not fit, or the sequence is empty.
        """
        output, (h,) = self._over(x, None if hx is None else (hx,))
        return output, h

    def _shapes(self, x: Array, hx: Array | None = None) -> tuple[Array, Array]:
        output, (h,) = self._over(x, None if hx is None else (hx,), is_run=False)
        return output, h


class GRUCell(Cell):
    """One step of a GRU; equations, arguments and errors are those of `GRU`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype, rng
        As `GRU` takes them.

    Attributes
    ----------
    weight_ih : ndarray of shape (3·H, H_in)
    weight_hh : ndarray of shape (3·H, H)
    bias_ih, bias_hh : ndarray of shape (3·H,)
        Not there without `bias`.

    References
    ----------
    Layout and names: torch.nn.GRUCell.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> nn.GRUCell(10, 20)(np.zeros((3, 10), dtype=np.float32)).shape
    (3, 20)
    """

    _kind = _KIND

    if TYPE_CHECKING:

        def __call__(self, x: Array, hx: Array | None = None) -> Array:
            """Be Module's call, but typed, and a fork of the cell with it."""

    def forward(self, x: Array, hx: Array | None = None) -> Array:
        """Return the next state.

        Parameters
        ----------
        x : ndarray of shape (N, H_in), or (H_in,), of the module's dtype
            Neither kept nor changed.
        hx : ndarray of shape (N, H), or (H,), optional
            The state h; zeros if not given. Neither kept nor changed.

        Returns
        -------
        ndarray of shape (N, H), or (H,)
            The next h.

        Raises
        ------
        ValueError
            If `x` has neither one nor two axes, or a dtype is not the module's.
        RuntimeError
            If a size does not fit.
        """
        return self._step(x, None if hx is None else (hx,))[0]

    def _shapes(self, x: Array, hx: Array | None = None) -> Array:
        return self._step(x, None if hx is None else (hx,), is_run=False)[0]
