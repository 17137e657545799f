"""`LSTM`: long short-term memory over a sequence, with torch's semantics, names and layouts.

Here is what torch.nn.LSTM is beside its arithmetic, which is in `lstm_steps`: layers, directions, batched and
unbatched layouts, states, checks. A layer's directions write straight into their halves of one output array.

Nothing a call writes to outlives it or is shared: any number of threads may call one module at once.
"""

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from asyncjit.nn.arguments import checked_dtype, checked_flag, checked_size
from asyncjit.nn.initial import uniform
from asyncjit.nn.layer import Layer
from asyncjit.nn.lstm_steps import Weights, run_direction

State = tuple[NDArray[Any], NDArray[Any]]


class LSTM(Layer):
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

    _by_columns = True

    weight_ih_l0: NDArray[Any]
    weight_hh_l0: NDArray[Any]
    bias_ih_l0: NDArray[Any]
    bias_hh_l0: NDArray[Any]

    def __init__(
        self,
        input_size: SupportsIndex,
        hidden_size: SupportsIndex,
        num_layers: SupportsIndex = 1,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.input_size = checked_size("input_size", input_size, 1)
        self.hidden_size = checked_size("hidden_size", hidden_size, 1)
        self.num_layers = checked_size("num_layers", num_layers, 1)
        self.bias = checked_flag("bias", bias)
        self.batch_first = checked_flag("batch_first", batch_first)
        self.bidirectional = checked_flag("bidirectional", bidirectional)
        self._draw_parameters(checked_dtype(dtype), np.random.default_rng(rng))

    def _draw_parameters(self, dtype: np.dtype[Any], rng: np.random.Generator) -> None:
        H = self.hidden_size
        for layer in range(self.num_layers):
            H_in = H * self._num_directions if layer else self.input_size
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (4 * H, H_in), "weight_hh": (4 * H, H)}
            if self.bias:
                shapes |= {"bias_ih": (4 * H,), "bias_hh": (4 * H,)}
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    setattr(self, name + suffix, uniform(rng, shape, H, dtype))

    if TYPE_CHECKING:

        def __call__(self, x: NDArray[Any], hx: State | None = None) -> tuple[NDArray[Any], State]:
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
        ValueError
            If `x` has neither two nor three axes, or a dtype is not the module's.
        RuntimeError
            If a size does not fit, or the sequence is empty.
        """
        x = np.asarray(x)
        self._check_input(x)
        if x.ndim == 2:
            h, c = self._initial_state(hx, ())
            output = self._run(x[:, np.newaxis], h[:, np.newaxis], c[:, np.newaxis])
            return output[:, 0], (h, c)
        steps_first = x.swapaxes(0, 1) if self.batch_first else x
        h, c = self._initial_state(hx, steps_first.shape[1:2])
        output = self._run(steps_first, h, c)
        return output.swapaxes(0, 1) if self.batch_first else output, (h, c)

    def extra_repr(self) -> str:
        """Return the constructor's arguments that are not the default, as torch shows them."""
        shown = [str(self.input_size), str(self.hidden_size)]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "bidirectional": False}
        shown += [f"{name}={vars(self)[name]}" for name in defaults if vars(self)[name] != defaults[name]]
        return ", ".join(shown)

    @property
    def _num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._num_directions]

    def _weights(self, suffix: str) -> Weights:
        """Gather one direction's parameters; of the two biases only the sum matters."""
        ih, hh = getattr(self, f"weight_ih{suffix}"), getattr(self, f"weight_hh{suffix}")
        bias = getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}") if self.bias else None
        return Weights(ih, hh, bias)

    def _run(self, x: NDArray[Any], h: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
        """Run all layers over `x` (L, N, H_in); return (L, N, D·H); `h` and `c` become the last states."""
        D, H = self._num_directions, self.hidden_size
        for layer in range(self.num_layers):
            output = np.empty((*x.shape[:2], D * H), x.dtype)
            for direction, suffix in enumerate(self._suffixes(layer)):
                time = slice(None, None, -1 if direction else 1)
                into = output[time, :, direction * H : (direction + 1) * H]
                row = layer * D + direction
                run_direction(x[time], self._weights(suffix), h[row], c[row], into)
            x = output
        return x

    def _initial_state(self, hx: State | None, batch: tuple[int, ...]) -> State:
        """Return fresh arrays of the initial states; a wrong size or dtype raises."""
        shape = (self._num_directions * self.num_layers, *batch, self.hidden_size)
        dtype = self.weight_hh_l0.dtype
        if hx is None:
            return np.zeros(shape, dtype), np.zeros(shape, dtype)
        h, c = (np.array(state, order="C") for state in hx)
        for name, state in (("h_0", h), ("c_0", c)):
            if state.shape != shape:
                raise RuntimeError(f"LSTM: Expected {name} of shape {shape}, got {state.shape}")
            if state.dtype != dtype:
                raise ValueError(_dtype_text(name, state.dtype, dtype))
        return h, c

    def _check_input(self, x: NDArray[Any]) -> None:
        if x.ndim not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {x.ndim}D instead (shape {x.shape})")
        if x.dtype != self.weight_ih_l0.dtype:
            raise ValueError(_dtype_text("input", x.dtype, self.weight_ih_l0.dtype))
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"LSTM: the input's last axis must be equal to input_size. Expected {self.input_size}, "
                f"got {x.shape[-1]} (shape {x.shape})"
            )
        if x.shape[1 if self.batch_first and x.ndim == 3 else 0] == 0:
            raise RuntimeError(f"LSTM: Expected sequence length to be larger than 0, got shape {x.shape}")


def _dtype_text(name: str, found: np.dtype[Any], expected: np.dtype[Any]) -> str:
    return (
        f"LSTM: {name} dtype ({found}) does not match weight dtype ({expected}). "
        f"Convert it with {'x' if name == 'input' else name}.astype(np.{expected}), "
        f"or make the module with dtype=np.{found}"
    )
