"""`LSTM` and `LSTMCell`: long short-term memory, with torch's semantics, names and layouts."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from asyncjit.nn.cells import LSTMShare
from asyncjit.nn.packing import Product
from asyncjit.nn.recurrent import Cell, Kind, Recurrent
from asyncjit.nn.sequence import Weights

Array = NDArray[Any]
State = tuple[Array, Array]


def _make_weights(ih: Array, hh: Array, bias_ih: Array | None, bias_hh: Array | None) -> Weights:
    bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    return Weights(Product(ih), Product(hh, num_gates=4), bias, None, LSTMShare)


_KIND = Kind(num_gates=4, state_names=("h_0", "c_0"), make_weights=_make_weights)


class LSTM(Recurrent):
    """One or more layers of long short-term memory over a sequence.

    For each step of each layer, σ being the logistic function and ⊙ the product by elements::

        i = σ(W_ii x + b_ii + W_hi h + b_hi)        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        f = σ(W_if x + b_if + W_hf h + b_hf)        o = σ(W_io x + b_io + W_ho h + b_ho)
        c' = f ⊙ c + i ⊙ g                          h' = o ⊙ tanh(c')

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
    weight_ih_l{k} : ndarray of shape (4·H, H_in), in later layers (4·H, D·H)
        The input's weights of layer k: W_ii, W_if, W_ig, W_io on top of each other.
    weight_hh_l{k} : ndarray of shape (4·H, H)
        The hidden state's weights, in the same order.
    bias_ih_l{k}, bias_hh_l{k} : ndarray of shape (4·H,)
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
    Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; with the forget gate of Gers, Schmidhuber and
    Cummins, Learning to Forget, 2000. Layout and names: torch.nn.LSTM.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> lstm = nn.LSTM(10, 20, num_layers=2, bidirectional=True)
    >>> output, (h_n, c_n) = lstm(np.zeros((5, 3, 10), dtype=np.float32))
    >>> output.shape, h_n.shape, c_n.shape
    ((5, 3, 40), (4, 3, 20), (4, 3, 20))
    """

    _kind = _KIND

    if TYPE_CHECKING:

        def __call__(self, x: Array, hx: State | None = None) -> tuple[Array, State]:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: NDArray[Any], hx: State | None = None) -> tuple[NDArray[Any], State]:
        """Run over the sequence `x`, from the state `hx` on.

        Parameters
        ----------
        x : ndarray of shape (L, N, H_in), (N, L, H_in) if `batch_first`, or (L, H_in), of the module's dtype
            Neither kept nor changed.
        hx : tuple of two ndarrays of shape (D·num_layers, N, H), or (D·num_layers, H), optional
            The states h_0 and c_0 of each layer and direction; zeros if not given. Neither kept nor changed.

        Returns
        -------
        output : ndarray of shape (L, N, D·H), (N, L, D·H) if `batch_first`, or (L, D·H)
            The last layer's h of each step.
        (h_n, c_n) : tuple of two ndarrays of shape (D·num_layers, N, H), or (D·num_layers, H)
            The states after the last step; for the backward direction, after the first.

        Raises
        ------
        TypeError
            If `hx` is a number or an array without axes.
        ValueError
            If `x` has neither two nor three axes, `hx` does not hold two arrays, or a dtype is not the module's.
        RuntimeError
            If a size does not fit, or the sequence is empty.
        """
        output, (h, c) = self._over(x, hx)
        return output, (h, c)

    def _shapes(self, x: Array, hx: State | None = None) -> tuple[Array, State]:
        output, (h, c) = self._over(x, hx, is_run=False)
        return output, (h, c)


class LSTMCell(Cell):
    """One step of an LSTM; equations, arguments and errors are those of `LSTM`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype, rng
        As `LSTM` takes them.

    Attributes
    ----------
    weight_ih : ndarray of shape (4·H, H_in)
    weight_hh : ndarray of shape (4·H, H)
    bias_ih, bias_hh : ndarray of shape (4·H,)
        Not there without `bias`.

    References
    ----------
    Layout and names: torch.nn.LSTMCell.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> cell = nn.LSTMCell(10, 20)
    >>> h, c = cell(np.zeros((3, 10), dtype=np.float32))
    >>> h.shape, c.shape
    ((3, 20), (3, 20))
    """

    _kind = _KIND

    if TYPE_CHECKING:

        def __call__(self, x: Array, hx: State | None = None) -> State:
            """Be Module's call, but typed, and a fork of the cell with it."""

    def forward(self, x: Array, hx: State | None = None) -> State:
        """Return the next states.

        Parameters
        ----------
        x : ndarray of shape (N, H_in), or (H_in,), of the module's dtype
            Neither kept nor changed.
        hx : tuple of two ndarrays of shape (N, H), or (H,), optional
            The states h and c; zeros if not given. Neither kept nor changed.

        Returns
        -------
        tuple of two ndarrays of shape (N, H), or (H,)
            The next h and c.

        Raises
        ------
        TypeError
            If `hx` is a number or an array without axes.
        ValueError
            If `x` has neither one nor two axes, `hx` does not hold two arrays, or a dtype is not the module's.
        RuntimeError
            If a size does not fit.
        """
        h, c = self._step(x, hx)
        return h, c

    def _shapes(self, x: Array, hx: State | None = None) -> State:
        h, c = self._step(x, hx, is_run=False)
        return h, c
