"""How `Stacked` computes: for each class of modules that it takes, a form that runs many of them as one.

A form is made of M modules that are alike. It maps an array whose first axis is that of the modules, of length M, or 1
if all are given the same, to another, or to a tuple of them. It checks only whether what it is given fits; if not it
raises `MisfitError`, and the modules themselves, called one after the other, say what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.activations import ELU, GELU, Hardtanh, Identity, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from asyncjit.nn.containers import Sequential
from asyncjit.nn.dropout import Dropout
from asyncjit.nn.gru import GRU
from asyncjit.nn.linear import Linear
from asyncjit.nn.lstm import LSTM
from asyncjit.nn.memory import aligned
from asyncjit.nn.module import Module
from asyncjit.nn.recurrent import Recurrent
from asyncjit.nn.stacked_steps import GRU_CELL, LSTM_CELL, Cell, Weights, run_layer, stack_weights

Array = NDArray[Any]
Inputs = Sequence[Any] | Array  # one for all modules, or one for each
States = Inputs | None  # initial states
Form = Callable[[Array, States], Any]


class MisfitError(Exception):
    """What a form is given does not fit it."""


def make_form(modules: Sequence[Any]) -> Form:
    """Return the form of modules that are alike, all of whose classes are supported."""
    return _MAKERS[type(modules[0])](modules)


def supports(module: Module) -> bool:
    """Whether there is a form for a module of this class; a subclass may compute something else."""
    return type(module) in _MAKERS


def supported_names() -> str:
    """Return the names of the classes that there are forms for."""
    return ", ".join(kind.__name__ for kind in _MAKERS)


class _StackedRecurrent:
    """Layers of LSTM or GRU; takes initial states."""

    def __init__(self, modules: Sequence[Recurrent]) -> None:
        self._first, self._num_modules = modules[0], len(modules)
        self._cell: Cell = _CELLS[type(self._first)]
        self._weights: list[Weights] = []
        for layer in range(self._first.num_layers):
            suffixes = self._first._suffixes(layer)
            parameters = [[_parameters(module, suffix) for suffix in suffixes] for module in modules]
            self._weights.append(stack_weights(self._cell, parameters))

    def __call__(self, x: Array, given: States) -> Any:
        first, is_batched = self._first, x.ndim == 4
        if x.ndim not in (3, 4) or x.dtype != self._weights[0].ih.dtype or x.shape[-1] != first.input_size:
            raise MisfitError
        steps = x[:, :, np.newaxis] if not is_batched else x.swapaxes(1, 2) if first.batch_first else x
        if steps.shape[1] == 0:
            raise MisfitError
        states = self._initial_states(given, steps.shape[2:3] if is_batched else (), x.dtype)
        output = self._run(steps, states if is_batched else [state[:, :, np.newaxis] for state in states])
        if not is_batched:
            output = output[:, :, 0]
        elif first.batch_first:
            output = output.swapaxes(1, 2)
        return output, tuple(states) if len(states) > 1 else states[0]

    def _run(self, x: Array, states: list[Array]) -> Array:
        """Run all layers over `x` (M, L, N, K); the states (M, layers·D, N, H) become the last."""
        D = self._first._num_directions
        for layer, weights in enumerate(self._weights):
            own = [state[:, layer * D : (layer + 1) * D] for state in states]
            x = run_layer(self._cell, weights, x, own)
        return x

    def _initial_states(self, given: States, batch: tuple[int, ...], dtype: np.dtype[Any]) -> list[Array]:
        """Return fresh arrays (M, layers·D, *batch, H) of the initial states."""
        first, num_states = self._first, len(self._first._kind.state_names)
        shape = (first._num_directions * first.num_layers, *batch, first.hidden_size)
        states = [np.zeros((self._num_modules, *shape), dtype) for _ in range(num_states)]
        if given is None:
            return states
        try:
            arrays = [list(map(np.asarray, own if num_states > 1 else (own,))) for own in given]
        except TypeError:  # None, a number: not several states
            raise MisfitError from None
        if any(len(own) != num_states for own in arrays):
            raise MisfitError
        if any(array.shape != shape or array.dtype != dtype for own in arrays for array in own):
            raise MisfitError
        for state, own in zip(states, zip(*arrays, strict=True), strict=True):
            state[...] = own
        return states


class _StackedLinear:
    def __init__(self, modules: Sequence[Linear]) -> None:
        first = modules[0]
        self._weight = _stacked([module.weight.T for module in modules])
        self._bias = None if first.bias is None else _stacked([module.bias for module in modules])[:, np.newaxis]

    def __call__(self, x: Array, given: States) -> Array:
        M, K, width = self._weight.shape
        if given is not None or x.ndim < 2 or x.shape[-1] != K or x.dtype != self._weight.dtype:
            raise MisfitError
        rows = np.ascontiguousarray(x).reshape(len(x), math.prod(x.shape[1:-1]), K)
        y: Array = np.matmul(rows, self._weight)
        if self._bias is not None:
            y += self._bias
        return y.reshape(M, *x.shape[1:-1], width)


class _StackedSequential:
    def __init__(self, modules: Sequence[Sequential]) -> None:
        self._forms = [make_form(column) for column in zip(*modules, strict=True)]

    def __call__(self, x: Any, given: States) -> Any:
        if given is not None:
            raise MisfitError
        for form in self._forms:
            if isinstance(x, tuple):  # a recurrent module's output and states, which no module takes
                raise MisfitError
            x = form(x, None)
        return x


class _StackedElementwise:
    """A module that treats each element alike, however many axes there are: it is applied once."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self._first = modules[0]

    def __call__(self, x: Array, given: States) -> Any:
        if given is not None:
            raise MisfitError
        return self._first(x)


ELEMENTWISE = (Dropout, Identity, ReLU, LeakyReLU, ELU, GELU, SiLU, Sigmoid, Tanh, Softplus, Hardtanh)
_CELLS: dict[type, Cell] = {LSTM: LSTM_CELL, GRU: GRU_CELL}
_MAKERS: dict[type, Callable[[Sequence[Any]], Form]] = {
    LSTM: _StackedRecurrent,
    GRU: _StackedRecurrent,
    Linear: _StackedLinear,
    Sequential: _StackedSequential,
    **dict.fromkeys(ELEMENTWISE, _StackedElementwise),
}


def _parameters(module: Recurrent, suffix: str) -> Any:
    own = vars(module)
    return tuple(own.get(name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def _stacked(arrays: Sequence[Any]) -> Array:
    stacked = aligned((len(arrays), *arrays[0].shape), arrays[0].dtype)
    return np.stack(arrays, out=stacked)
