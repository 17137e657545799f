"""`Stacked`: many small modules of the same shape run as one.

An ensemble of small modules is bound by Python, not by arithmetic: each product and each pass over the gates costs more
to call than to compute. With the weights stacked, one call serves all modules. The modules stay what they are and hold
the parameters; the stacked forms (`stacked_forms`) are kept together with everything that was found in the modules when
they were made, and made anew when anything there has been replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.containers import ModuleList
from asyncjit.nn.module import Module
from asyncjit.nn.operations import operation
from asyncjit.nn.stacked_forms import Form, Inputs, MisfitError, make_form, supported_names, supports

Array = NDArray[Any]


class Stacked(ModuleList):
    """A list of modules that are alike, run as one: what `[module(x) for module in modules]` gives, in one go.

    The values are those of the loop within rounding. It is for modules so small that calling NumPy takes most of their
    time; large ones gain nothing. Names, state dict and text are those of `ModuleList`. The stacked copy of the weights
    is made at the first call, and takes as much memory as they do.

    Parameters
    ----------
    modules : iterable of Module
        At least one, of the same class, sizes, dtype and options: `LSTM`, `GRU`, `Linear`, activations that treat each
        element alike, `Dropout`, or a `Sequential` of these. They are kept, and can be used, and their parameters
        replaced, as before. One may be there several times.

    Raises
    ------
    TypeError
        If a module is of another class, a subclass too; the text tells the first one and its place.
    ValueError
        If there is none, or if two differ; the text shows both. A list that is changed later is checked at the next
        call.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> ensemble = nn.Stacked(nn.LSTM(25, 25, bidirectional=True) for _ in range(8))
    >>> results = ensemble(np.zeros((100, 1, 25), dtype=np.float32))
    >>> output, (h_n, c_n) = results[7]
    >>> output.shape, h_n.shape, c_n.shape
    ((100, 1, 50), (2, 1, 25), (2, 1, 25))
    """

    def __init__(self, modules: Iterable[Module]) -> None:
        super().__init__(modules)
        _check(list(self))

    if TYPE_CHECKING:

        def __call__(self, x: Any, hx: Any = None) -> list[Any]:
            """Be Module's call, but typed, and a fork of the module with it."""

    _is_operation: ClassVar[bool] = True

    def forward(self, x: Any, hx: Any = None) -> list[Any]:
        """Return what each module gives for the same input.

        Parameters
        ----------
        x : ndarray
            As each of the modules takes it. Neither kept nor changed.
        hx : initial state, optional
            As `LSTM` or `GRU` takes it, the same for all. Neither kept nor changed.

        Returns
        -------
        list
            One value for each module, as the module itself returns it; its arrays are views of the same memory as the
            other modules', and do not overlap.

        Raises
        ------
        Exception
            Whatever the modules raise for an input that does not fit.
        """
        args = (x,) if hx is None else (x, hx)

        def serially() -> list[Any]:
            return [module(*args) for module in self]

        return self._run([x], None if hx is None else [hx], serially)

    def _shapes(self, x: Any, hx: Any = None) -> list[Any]:
        args = (x,) if hx is None else (x, hx)
        return [module._shapes(*args) for module in self]

    def each(self, xs: Inputs, hxs: Inputs | None = None) -> list[Any]:
        """Return what each module gives for an input of its own.

        Parameters
        ----------
        xs : sequence of ndarray, or ndarray with one more axis in front
            One input for each module, as it takes it. Those of different shapes are run one after the other. Neither
            kept nor changed.
        hxs : sequence of initial states, optional
            One for each module, such as the last results'. Neither kept nor changed.

        Returns
        -------
        list
            As `forward` returns it.

        Raises
        ------
        ValueError
            If there are not as many inputs or states as modules.
        Exception
            Whatever the modules raise for an input that does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from asyncjit import nn
        >>> stacked = nn.Stacked([nn.Linear(2, 3), nn.Linear(2, 3)])
        >>> [y.shape for y in stacked.each(np.zeros((2, 5, 2), dtype=np.float32))]
        [(5, 3), (5, 3)]
        """
        return stacked_each(self, xs, hxs)

    def _each(self, xs: Inputs, hxs: Inputs | None) -> list[Any]:
        columns = [xs] if hxs is None else [xs, hxs]
        for name, values in zip(("inputs", "states"), columns, strict=False):
            if len(values) != len(self):
                raise ValueError(f"Stacked: expected {len(self)} {name}, one for each module, got {len(values)}")

        def serially() -> list[Any]:
            return [module(*args) for module, *args in zip(self, *columns, strict=True)]

        return self._run(xs, hxs, serially)

    def _run(self, xs: Inputs, hxs: Inputs | None, serially: Callable[[], list[Any]]) -> list[Any]:
        """Return the modules' values for inputs and states of which there are one, or one for each module."""
        modules = list(self)
        try:
            value = self._form(modules)(_stack_inputs(xs), hxs)
        except MisfitError:
            return serially()  # raises what the modules raise
        return [_value_of(value, number, len(modules)) for number in range(len(modules))]

    def _form(self, modules: list[Module]) -> Form:
        """Return the stacked form of the modules, made once for as long as nothing in them is replaced."""
        kept: _Kept | None = vars(self).get("_kept")
        if kept is None or not kept.is_current(modules):
            _check(modules)
            contents = [(module, _contents(module)) for module in self.modules() if module is not self]
            kept = self._kept = _Kept(modules, contents, make_form(modules))
        return kept.form

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_kept"}


def _shapes_of_each(_: Any, stacked: Stacked, xs: Inputs, hxs: Inputs | None) -> list[Any]:
    columns = [xs] if hxs is None else [xs, hxs]
    return [module._shapes(*args) for module, *args in zip(stacked, *columns, strict=True)]


@operation(_shapes_of_each)
def stacked_each(stacked: Stacked, xs: Inputs, hxs: Inputs | None) -> list[Any]:
    """Be `Stacked.each`, and one operation of a graph."""
    return stacked._each(xs, hxs)


class _Kept(NamedTuple):
    """A stacked form and what it was made of."""

    modules: list[Module]
    contents: list[tuple[Module, list[Any]]]  # of all modules, those inside others too
    form: Form

    def is_current(self, modules: list[Module]) -> bool:
        return _are_same(modules, self.modules) and all(_are_same(_contents(m), held) for m, held in self.contents)


def _contents(module: Module) -> list[Any]:
    # All of it, whatever it is for: comparing a few more is faster than choosing.
    return list(vars(module).values())


def _are_same(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(map(is_, found, expected))


def _stack_inputs(xs: Inputs) -> Array:
    arrays = [np.asarray(x) for x in xs]
    if any(array.shape != arrays[0].shape or array.dtype != arrays[0].dtype for array in arrays):
        raise MisfitError
    return arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)


def _value_of(value: Any, number: int, num_modules: int) -> Any:
    """Return one module's part of the stacked value."""
    if isinstance(value, tuple):
        return tuple(_value_of(item, number, num_modules) for item in value)
    if len(value) < num_modules:  # the same for all, where nothing was stacked: each has its own
        return value[0, ...].copy()
    return value[number, ...]


def _check(modules: list[Module]) -> None:
    if not modules:
        raise ValueError("Stacked: expected at least one module, got none")
    for number, module in enumerate(modules):
        _check_supported(module, str(number))
    for number, module in enumerate(modules):
        _check_alike(modules[0], module, "0", str(number))


def _check_supported(module: Module, place: str) -> None:
    if not supports(module):
        raise TypeError(f"Stacked: {place} is of class {type(module).__name__}; supported are {supported_names()}")
    for name, child in module._members(Module):
        _check_supported(child, f"{place}.{name}")


def _check_alike(first: Module, other: Module, first_place: str, other_place: str) -> None:
    if _description(first) != _description(other):
        raise ValueError(
            f"Stacked: modules should be alike, but {first_place} is {_shown(first)} and {other_place} is "
            f"{_shown(other)}"
        )
    for (name, child), (_, other_child) in zip(first._members(Module), other._members(Module), strict=True):
        _check_alike(child, other_child, f"{first_place}.{name}", f"{other_place}.{name}")


def _description(module: Module) -> tuple[type, list[tuple[str, Any]]]:
    """Return what has to be the same: the class and each attribute, of arrays the shape and dtype."""
    public = [(name, value) for name, value in vars(module).items() if name[0] != "_" and name != "training"]
    return type(module), [(name, _description_of_value(value)) for name, value in public]


def _description_of_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype
    return type(value) if isinstance(value, Module) else value


def _shown(module: Module) -> str:
    dtypes = sorted({array.dtype.name for array in module.parameters()})
    return f"{module!r}" + (f" of {' and '.join(dtypes)}" if dtypes else "")
