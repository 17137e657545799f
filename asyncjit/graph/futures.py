"""`TracedFuture`: what `fork` gives while tracing. It is done, and each wait for it is one node of the graph."""

from __future__ import annotations

from typing import Any

from asyncjit._core.cell import FINISHED
from asyncjit._core.future import Future
from asyncjit.graph.ir import Value


class TracedFuture(Future[Any]):
    """The future of a fork in a graph.

    Parameters
    ----------
    body : Body
        Of the code that made it.
    value : Value
        What it is in that body's graph.
    template, leaves
        What the forked function returned: the structure, and the traced arrays and futures in it.
    """

    __slots__ = ("_body", "_leaves", "_template", "_value")

    def __init__(self, body: Any, value: Value, template: Any, leaves: list[Any]) -> None:
        super().__init__()
        self._state = FINISHED
        self._body = body
        self._value = value
        self._template = template
        self._leaves = leaves

    def _outcome(self) -> Any:
        return self._body.recorder.waited(self)

    def renewed(self, body: Any, value: Value) -> TracedFuture:
        """Return the same future as another value."""
        return TracedFuture(body, value, self._template, self._leaves)
