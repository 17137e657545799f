"""What `LSTM` and `GRU` have in common: layers, directions, layouts, states, checks; and their one-step cells.

The arithmetic is in `sequence` and `cells`. A layer's directions write straight into their halves of one output array,
side by side on two threads where a permit is free. Nothing a call writes to outlives it or is shared: any number of
threads may call one module at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import is_
from typing import Any, ClassVar, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from asyncjit._core.intraop import parallel_for
from asyncjit.nn.arguments import checked_dtype, checked_flag, checked_size
from asyncjit.nn.initial import uniform
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import unset
from asyncjit.nn.sequence import TURNS_WORK, Weights, run_direction

Array = NDArray[Any]

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Kind(NamedTuple):
    """What tells LSTM from GRU."""

    num_gates: int
    state_names: tuple[str, ...]  # the first is h
    make_weights: Callable[[Array, Array, Array | None, Array | None], Weights]


class RecurrentBase(Layer):
    """The parameters and checks of a recurrent layer or cell."""

    _by_columns = True
    _kind: ClassVar[Kind]

    input_size: int
    hidden_size: int
    bias: bool

    def _draw_parameters(self, suffix: str, input_size: int, dtype: np.dtype[Any], rng: np.random.Generator) -> None:
        H, G = self.hidden_size, self._kind.num_gates
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (G * H, input_size), "weight_hh": (G * H, H)}
        if self.bias:
            shapes |= {"bias_ih": (G * H,), "bias_hh": (G * H,)}
        for name, shape in shapes.items():
            setattr(self, name + suffix, uniform(rng, shape, H, dtype))

    def _weights(self, suffix: str) -> Weights:
        """Return what one direction of one layer computes with."""
        own = vars(self)
        parameters: list[Any] = [own.get(name + suffix) for name in _NAMES]
        form = self._forms.get(suffix)
        if form is None or not all(map(is_, form[0], parameters)):
            form = self._keep(suffix, (parameters, self._kind.make_weights(*parameters)))
        weights: Weights = form[1]
        return weights

    def _check_input(self, x: Array, dtype: np.dtype[Any], dimensions: tuple[int, int]) -> None:
        name = type(self).__name__
        if x.ndim not in dimensions:
            expected = " or ".join(f"{ndim}D" for ndim in dimensions)
            raise ValueError(f"{name}: Expected input to be {expected}, got {x.ndim}D instead (shape {x.shape})")
        if x.dtype != dtype:
            raise ValueError(self._dtype_text("input", x.dtype, dtype))
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: the input's last axis must be equal to input_size. Expected {self.input_size}, "
                f"got {x.shape[-1]} (shape {x.shape})"
            )

    def _initial_states(self, given: Sequence[Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[Array]:
        """Return fresh arrays of the initial states; a wrong number, size or dtype raises."""
        if given is None:
            return [np.zeros(shape, dtype) for _ in self._kind.state_names]
        names = self._kind.state_names
        expected = " and ".join(names)
        try:
            num_given = len(given)
        except TypeError:  # a number, an array without axes
            text = f"{type(self).__name__}: Expected hx to be a tuple of {expected}, got {given!r}"
            raise TypeError(text) from None
        if num_given != len(names):
            raise ValueError(f"{type(self).__name__}: Expected hx to hold {expected}, got {num_given} arrays")
        states = [np.array(state, order="C") for state in given]
        for name, state in zip(names, states, strict=True):
            if state.shape != shape:
                raise RuntimeError(f"{type(self).__name__}: Expected {name} of shape {shape}, got {state.shape}")
            if state.dtype != dtype:
                raise ValueError(self._dtype_text(name, state.dtype, dtype))
        return states

    def _dtype_text(self, name: str, found: np.dtype[Any], expected: np.dtype[Any]) -> str:
        return (
            f"{type(self).__name__}: {name} dtype ({found}) does not match weight dtype ({expected}). "
            f"Convert it with {'x' if name == 'input' else name}.astype(np.{expected}), "
            f"or make the module with dtype=np.{found}"
        )


class Recurrent(RecurrentBase):
    """A recurrent layer over a sequence; `LSTM` and `GRU` say what their cell is."""

    weight_ih_l0: Array
    weight_hh_l0: Array
    bias_ih_l0: Array
    bias_hh_l0: Array

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
        dtype, rng = checked_dtype(dtype), np.random.default_rng(rng)
        for layer in range(self.num_layers):
            layer_input = self.hidden_size * self._num_directions if layer else self.input_size
            for suffix in self._suffixes(layer):
                self._draw_parameters(suffix, layer_input, dtype, rng)

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

    def _over(self, x: Any, given: Sequence[Any] | None, *, is_run: bool = True) -> tuple[Array, list[Array]]:
        """Run over `x`, from the states `given` on, whatever their layout; return the output and the last states.

        Without `is_run` nothing is computed: these are arrays of any values.
        """
        x = np.asarray(x)
        dtype = self.weight_hh_l0.dtype
        self._check_input(x, dtype, (2, 3))
        is_batched = x.ndim == 3
        steps = x if not is_batched else x.swapaxes(0, 1) if self.batch_first else x
        if len(steps) == 0:
            name = type(self).__name__
            raise RuntimeError(f"{name}: Expected sequence length to be larger than 0, got shape {x.shape}")
        batch = steps.shape[1:2] if is_batched else ()
        shape = (self._num_directions * self.num_layers, *batch, self.hidden_size)
        states = self._initial_states(given, shape, dtype)
        if not is_run:
            return unset((*x.shape[:-1], self._num_directions * self.hidden_size), dtype), states
        if not is_batched:
            return self._run(steps[:, np.newaxis], [state[:, np.newaxis] for state in states])[:, 0], states
        output = self._run(steps, states)
        return output.swapaxes(0, 1) if self.batch_first else output, states

    def _run(self, x: Array, states: list[Array]) -> Array:
        """Run all layers over `x` (L, N, H_in); return (L, N, D·H); the states (D·layers, N, H) become the last."""
        D, H = self._num_directions, self.hidden_size
        for layer in range(self.num_layers):
            output = np.empty((*x.shape[:2], D * H), x.dtype)
            weights = [self._weights(suffix) for suffix in self._suffixes(layer)]
            run = partial(_run_directions, weights, x, [state[layer * D :] for state in states], output)
            work = x.shape[0] * x.shape[1] * (weights[0].ih.size + weights[0].hh.size)
            parallel_for(run, D, grain=1 if work >= TURNS_WORK else D)
            x = output
        return x


def _run_directions(
    weights: list[Weights], x: Array, states: list[Array], output: Array, start: int, stop: int
) -> None:
    H = states[0].shape[-1]
    for direction in range(start, stop):
        time = slice(None, None, -1 if direction else 1)
        into = output[time, :, direction * H : (direction + 1) * H]
        run_direction(x[time], weights[direction], [state[direction] for state in states], into)


class Cell(RecurrentBase):
    """One step of a recurrent layer; `LSTMCell` and `GRUCell` say which."""

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array

    def __init__(
        self,
        input_size: SupportsIndex,
        hidden_size: SupportsIndex,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.input_size = checked_size("input_size", input_size, 1)
        self.hidden_size = checked_size("hidden_size", hidden_size, 1)
        self.bias = checked_flag("bias", bias)
        self._draw_parameters("", self.input_size, checked_dtype(dtype), np.random.default_rng(rng))

    def extra_repr(self) -> str:
        """Return the constructor's arguments that are not the default, as torch shows them."""
        return f"{self.input_size}, {self.hidden_size}" + (", bias=False" if not self.bias else "")

    def _step(self, x: Any, given: Sequence[Any] | None, *, is_run: bool = True) -> list[Array]:
        """Return the states after one step with `x`, batched or not; without `is_run` those before it."""
        x = np.asarray(x)
        dtype = self.weight_hh.dtype
        self._check_input(x, dtype, (1, 2))
        states = self._initial_states(given, (*x.shape[:-1], self.hidden_size), dtype)
        if not is_run:
            return states
        steps = x[np.newaxis] if x.ndim == 2 else x[np.newaxis, np.newaxis]
        rows = states if x.ndim == 2 else [state[np.newaxis] for state in states]
        run_direction(steps, self._weights(""), rows, np.empty((1, *rows[0].shape), dtype))
        return states
