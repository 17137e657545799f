"""Makers of the methods of a traced array: each records one node, or refuses with a way out.

A node for a method calls the method of what is there in a run, be it an array or a NumPy scalar: so it is exactly what
the plain code would have called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from asyncjit.graph.functions import METHOD_KINDS
from asyncjit.graph.places import refuse
from asyncjit.graph.writing import Into


@dataclass(frozen=True, slots=True)
class Method:
    """Calls an array's method: `Method("sum")(x, axis=0)` is `x.sum(axis=0)`."""

    method: str

    def __call__(self, array: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return getattr(array, self.method)(*args, **kwargs)


def method(name: str) -> Callable[..., Any]:
    """Return the method `name` of arrays, for a traced one."""
    kind, fn = f"numpy::{METHOD_KINDS.get(name, name)}", Method(name)

    def traced(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._call(kind, fn, (self, *args), kwargs)

    return _named(traced, name, f"As `numpy.ndarray.{name}`.")


def changing(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that changes its array, by way of the function `fn` that gives a new one."""

    def traced(self: Any, /, *args: Any, **kwargs: Any) -> None:
        result = self._call(f"numpy::{fn.__name__}", fn, (self, *args), kwargs)
        self._recorder.write(self, result, f".{name}()")

    return _named(traced, name, f"As `numpy.ndarray.{name}`: the array is another value from now on.")


def operator_of(ufunc: Any, fn: Any = None) -> Callable[..., Any]:
    """Return the operator whose right operand is any, or that has none."""
    kind = f"numpy::{ufunc.__name__}"

    def traced(self: Any, /, *others: Any) -> Any:
        if any(_declines(other) for other in others):
            return NotImplemented
        return self._call(kind, fn or ufunc, (self, *others), {}, may_be_view=False)

    return traced


def reflected(ufunc: Any, fn: Any = None) -> Callable[..., Any]:
    """Return the operator whose left operand is not traced."""
    kind = f"numpy::{ufunc.__name__}"

    def traced(self: Any, other: Any, /) -> Any:
        if _declines(other):
            return NotImplemented
        return self._call(kind, fn or ufunc, (other, self), {}, may_be_view=False)

    return traced


def in_place(sign: str, ufunc: Any, fn: Any) -> Callable[..., Any]:
    """Return the operator `fn` that changes its left operand; of a scalar it gives a new one, as NumPy's does."""
    kind, into = f"numpy::{ufunc.__name__}", Into(ufunc, fn)

    def traced(self: Any, other: Any, /) -> Any:
        if self._is_scalar:
            return self._call(kind, into, (self, other), {}, may_be_view=False)
        return self._recorder.record_into(kind, into, (self, other), {}, (self,), f"`{sign}`")

    return traced


def refused(what: str, way_out: str) -> Callable[..., NoReturn]:
    """Return a method that raises TraceError."""

    def traced(self: Any, /, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(f"{what} of the traced array {self!r}", way_out)

    return traced


def refused_attribute(name: str, way_out: str) -> Any:
    """Return a property that raises TraceError, whether read or set."""

    def traced(self: Any, value: Any = None, /) -> NoReturn:
        refuse(f".{name} of the traced array {self!r}", way_out)

    return property(traced, traced)


def _declines(other: Any) -> bool:
    """Whether `other` has told NumPy that it wants to do the operation itself."""
    return getattr(type(other), "__array_ufunc__", True) is None


def _named(fn: Any, name: str, doc: str) -> Callable[..., Any]:
    fn.__name__, fn.__doc__ = name, doc
    fn.__qualname__ = f"Tracer.{name}"
    named: Callable[..., Any] = fn
    return named
