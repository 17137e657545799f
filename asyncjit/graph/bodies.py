"""Bodies: the graphs of one trace under construction, each fork's inside that of the code that forks.

Code runs in one of them, and what it uses of a body above becomes an input of its own and of all between. What belongs
to any other body has escaped it: the graph has no way from there.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from asyncjit._core.future import Future
from asyncjit.graph.futures import TracedFuture
from asyncjit.graph.ir import Graph, Place, Value
from asyncjit.graph.places import refuse
from asyncjit.graph.shapes import TracedShape
from asyncjit.graph.tracer import Tracer
from asyncjit.graph.trees import map_tree, take_out

ESCAPED = (
    "did not have observable data dependence with trace inputs; "
    "this probably indicates your program cannot be understood by the tracer"
)


class Body:
    """One graph under construction."""

    def __init__(self, graph: Graph, recorder: Any, parent: Body | None, place: Place | None) -> None:
        self.graph = graph
        self.recorder = recorder
        self.parent = parent
        self.place = place  #: of the fork
        self.arguments: list[Value] = []  #: the fork's; a value of the parent for each of the graph's inputs
        self.lifted: dict[int, Value] = {}  #: input by the id of the outer value it stands for
        self.guarded: set[tuple[int, int | str]] = set()

    def take(self, value: Value, owner: Body) -> Value:
        """Return what `value`, which belongs to the body `owner`, is called in this one."""
        if owner is self:
            return value
        if id(value) not in self.lifted:
            if self.parent is None:
                refuse_escaped(value, owner)
            outer = self.parent.take(value, owner)
            self.arguments.append(outer)
            self.lifted[id(value)] = self.graph.add_param(value.type)
        return self.lifted[id(value)]

    def is_below(self, other: Body) -> bool:
        """Whether this is `other`, or lies in it."""
        body: Body | None = self
        while body is not None and body is not other:
            body = body.parent
        return body is other

    def returns(self, tree: Any, what: str) -> tuple[Any, list[Any]]:
        """End the graph: it returns `tree`. Return the template of that, and its traced leaves."""
        template, leaves = take_out(is_traced, map_tree(lambda leaf: _checked_result(leaf, what), tree))
        self.graph.returns = [self.take(leaf._value, leaf._body) for leaf in leaves]
        self.graph.results = template
        return template, leaves


def is_traced(leaf: Any) -> bool:
    """Whether it is a traced array or future."""
    return type(leaf) is Tracer or type(leaf) is TracedFuture


def refuse_escaped(value: Value, owner: Body) -> NoReturn:
    """Raise TraceError for a value that is used where the graph has no way to it."""
    made = f"the body forked at {owner.place}" if owner.place is not None else "another trace"
    refuse(
        f"{value!r}, of {made}, {ESCAPED}",
        "return it from the forked function and take it from a wait for the future",
    )


_CONSTANTS = (type(None), bool, int, float, complex, str, bytes, np.ndarray, np.generic, np.dtype, type, range, Tracer)


def _checked_result(leaf: Any, what: str) -> Any:
    if type(leaf) is TracedShape:
        return leaf.plain()
    if type(leaf) is TracedFuture or type(leaf) is Tracer:
        return leaf
    if isinstance(leaf, Future):
        refuse(
            f"{what} returns {leaf!r}, which is made of others", "wait for it and return its value, or return a fork's"
        )
    if not isinstance(leaf, _CONSTANTS):
        refuse(
            f"{what} returns {leaf!r} of type {type(leaf).__name__}, which may hide traced arrays",
            "return arrays in tuples, named tuples, lists and dicts",
        )
    return leaf
