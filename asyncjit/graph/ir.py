"""The graph of a traced program: plain records, in the words of TorchScript's IR.

A `Graph` is a list of nodes in an order in which they can run. A `Node` takes values and gives values; a `Value` is
given once, by one node or as an input of its graph. A fork's body is a graph of its own, and takes all it needs as
inputs. Nothing here is derived: who uses a value is found by looking.

The kinds of nodes:

- ``prim::fork``: inputs as its `subgraph` has, one output, the future;
- ``aten::wait``: the future; outputs as the future's graph returns;
- ``numpy::negative`` and so on, ``nn::LSTM`` and so on: a call of `fn`, which is all else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asyncjit.graph.dot import to_dot
from asyncjit.graph.printer import show_graph, show_node
from asyncjit.graph.trees import fill, leaves_of, refs_of

FORK = "prim::fork"
WAIT = "aten::wait"


@dataclass(frozen=True, slots=True)
class ArrayType:
    """An array, or a NumPy scalar, whose shape is ()."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """Any other Python object."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class FutureType:
    """A future; `result` is the structure that waiting for it gives, with a type in the place of each value."""

    result: Any

    def __str__(self) -> str:
        return f"Future[{show_types(self.result)}]"


Type = ArrayType | ObjectType | FutureType


def show_types(tree: Any) -> str:
    """Return a structure of types as text: `(float32[3], float32[3])`."""
    if isinstance(tree, tuple):
        return f"({', '.join(map(show_types, tree))})"
    if isinstance(tree, list):
        return f"[{', '.join(map(show_types, tree))}]"
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{key!r}: {show_types(item)}' for key, item in tree.items())}}}"
    return str(tree)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's code something stands."""

    filename: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


class Value:
    """What one node gives, or one input of a graph."""

    __slots__ = ("name", "node", "type")

    def __init__(self, name: str, type: Type, node: Node | None = None) -> None:
        self.name = name  #: without the leading %; unique in the root graph and all below it
        self.type = type
        self.node = node  #: that gives it; None for a graph's input

    def __repr__(self) -> str:
        return f"%{self.name} : {self.type}"


class Node:
    """One step of a graph; `kind()`, `inputs()` and `outputs()` as torch's.

    Attributes
    ----------
    operation : str
        Its kind.
    arguments, targets : list of Value
        What it takes and what it gives, flat.
    fn : callable or None
        What a call calls: with `args` and `kwargs`, templates whose leaves are the arguments.
    results : template
        The structure of what `fn`, or the awaited fork, returns; its leaves are the targets.
    subgraph : Graph or None
        A fork's body.
    place : Place or None
        In the traced code.
    cost_ns : int
        What the step was measured to take, 0 if it was not; all of a fork's body.
    """

    __slots__ = ("args", "arguments", "cost_ns", "fn", "kwargs", "operation", "place", "results", "subgraph", "targets")

    def __init__(
        self,
        operation: str,
        arguments: Sequence[Value],
        *,
        fn: Callable[..., Any] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        results: Any = None,
        subgraph: Graph | None = None,
        place: Place | None = None,
    ) -> None:
        self.operation = operation
        self.arguments = list(arguments)
        self.targets: list[Value] = []
        self.fn = fn
        self.args = args
        self.kwargs = kwargs or {}
        self.results = results
        self.subgraph = subgraph
        self.place = place
        self.cost_ns = 0

    def kind(self) -> str:
        """Return the kind: `prim::fork`, `aten::wait`, or an operation's name, as `numpy::negative`."""
        return self.operation

    def inputs(self) -> Iterator[Value]:
        """Yield the values it takes."""
        return iter(self.arguments)

    def outputs(self) -> Iterator[Value]:
        """Yield the values it gives."""
        return iter(self.targets)

    def __repr__(self) -> str:
        given, taken = (", ".join(f"%{value.name}" for value in values) for values in (self.targets, self.arguments))
        return f"{given} = {self.operation}({taken})"

    def __str__(self) -> str:
        return show_node(self)


@dataclass(frozen=True, slots=True)
class Guard:
    """What was read of a value while tracing, and so must be the same whenever the graph runs.

    `what` is "ndim", "dtype", or the number of a dimension, whose size was read.
    """

    value: Value
    what: int | str
    expected: Any
    place: Place | None


@dataclass(eq=False)
class Graph:
    """Nodes in an order in which they can run; `nodes()`, `inputs()` and `outputs()` as torch's.

    `str(graph)` shows it in TorchScript's form, with all graphs below.

    Attributes
    ----------
    name : str
        Of the traced function; a fork's body is `prim::fork_0`, and so on.
    params : list of Value
        The inputs, flat.
    signature : tuple of (tuple, dict)
        The templates of the positional and keyword arguments, whose leaves are the inputs; of a root graph.
    body : list of Node
    results : template
        The structure that is returned, whose leaves are `returns`.
    returns : list of Value
    guards : list of Guard
    names : iterator of int
        Numbers for new values, shared with all graphs below.
    """

    name: str
    params: list[Value] = field(default_factory=list)
    signature: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    body: list[Node] = field(default_factory=list)
    results: Any = None
    returns: list[Value] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=itertools.count)

    def nodes(self) -> Iterator[Node]:
        """Yield the nodes, in order; a fork's body is in its `subgraph`."""
        return iter(self.body)

    def inputs(self) -> Iterator[Value]:
        """Yield the inputs, flat."""
        return iter(self.params)

    def outputs(self) -> Iterator[Value]:
        """Yield what is returned, flat."""
        return iter(self.returns)

    def subgraphs(self) -> Iterator[Graph]:
        """Yield this graph and every graph below it, parents first, each with all of its own before the next."""
        above = [self]
        while above:
            graph = above.pop()
            yield graph
            above += [node.subgraph for node in reversed(graph.body) if node.subgraph is not None]

    def add_param(self, type: Type, name: str | None = None) -> Value:
        """Append an input; its name gets a number if it is none or taken."""
        taken = {value.name for value in self.params}
        value = Value(name if name and name not in taken else str(next(self.names)), type)
        self.params.append(value)
        return value

    def append(self, node: Node, types: Sequence[Type]) -> list[Value]:
        """Append a node that gives values of these types; return the values."""
        node.targets = [Value(str(next(self.names)), type, node) for type in types]
        self.body.append(node)
        return node.targets

    def return_types(self) -> Any:
        """Return the structure that is returned, with a type in the place of each value."""
        return fill(self.results, [value.type for value in self.returns])

    def to_dot(self) -> str:
        """Return the graph as text for Graphviz; a fork's body is a cluster of its own."""
        return to_dot(self)

    def __str__(self) -> str:
        return show_graph(self)

    def __repr__(self) -> str:
        return f"<asyncjit.graph.Graph {self.name} with {len(self.body)} nodes>"

    def lint(self) -> None:
        """Check that every value is given before it is taken, and that forks, waits and templates fit.

        Raises
        ------
        ValueError
            Names the first node that does not.
        """
        for graph in self.subgraphs():
            graph._lint_alone()

    def _lint_alone(self) -> None:
        known: set[int] = {id(value) for value in self.params}
        for node in self.body:
            self._lint_node(node, known)
            known.update(id(value) for value in node.targets)
        self._need(known, self.returns, "the return")
        self._need(known, [guard.value for guard in self.guards], "a guard")
        if set(refs_of(self.signature)) not in (set(), set(range(len(self.params)))):
            raise ValueError(f"{self.name}: the structure of the arguments does not fit its {len(self.params)} inputs")
        if set(refs_of(self.results)) != set(range(len(self.returns))):
            raise ValueError(f"{self.name}: the structure that is returned does not fit its {len(self.returns)} values")

    def _lint_node(self, node: Node, known: set[int]) -> None:
        self._need(known, node.arguments, node)
        if any(value.node is not node for value in node.targets):
            raise ValueError(f"{self.name}: {node!r} gives a value that belongs to another node")
        if any(id(value) in known for value in node.targets):
            raise ValueError(f"{self.name}: {node!r} gives a value that was given before")
        if node.operation == FORK:
            self._lint_fork(node)
            return
        if set(refs_of(node.results)) != set(range(len(node.targets))):
            raise ValueError(f"{self.name}: {node!r} does not fit the structure of what it gives")
        if node.operation == WAIT:
            self._lint_wait(node)
        elif node.fn is None:
            raise ValueError(f"{self.name}: {node!r} has nothing to call")
        elif set(refs_of((node.args, node.kwargs))) != set(range(len(node.arguments))):
            raise ValueError(f"{self.name}: {node!r} does not fit the arguments of its call")

    def _lint_fork(self, node: Node) -> None:
        if node.subgraph is None or len(node.targets) != 1 or not isinstance(node.targets[0].type, FutureType):
            raise ValueError(f"{self.name}: {node!r} has no body, or gives no future")
        params = node.subgraph.params
        if [value.type for value in params] != [value.type for value in node.arguments]:
            raise ValueError(f"{self.name}: {node!r} does not give its body what that takes: {params}")
        self._lint_future(node, node.targets[0], node.subgraph.results, node.subgraph.returns)

    def _lint_wait(self, node: Node) -> None:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0].type, FutureType):
            raise ValueError(f"{self.name}: {node!r} waits for what is no future")
        self._lint_future(node, node.arguments[0], node.results, node.targets)

    def _lint_future(self, node: Node, future: Value, results: Any, values: Sequence[Value]) -> None:
        assert isinstance(future.type, FutureType)
        promised = [leaf for leaf in leaves_of(future.type.result) if isinstance(leaf, Type)]
        given = [values[index].type for index in refs_of(results)]
        if promised != given:
            raise ValueError(
                f"{self.name}: {node!r} has a future of {show_types(promised)}, and gives {show_types(given)}"
            )

    def _need(self, known: set[int], values: Sequence[Value], what: object) -> None:
        for value in values:
            if id(value) not in known:
                who = what if isinstance(what, str) else repr(what)
                raise ValueError(f"{self.name}: {who} takes {value!r}, which is not given before, or not in this graph")
