"""Small graphs built by hand, and a plain evaluation of any graph, to compare with."""

from collections.abc import Callable
from typing import Any

import numpy as np

from asyncjit.graph import Graph, Node, Value
from asyncjit.graph.ir import FORK, WAIT, ArrayType, FutureType, Place, Type
from asyncjit.graph.trees import Ref, fill, leaves_at, map_tree, take_out

THREE = ArrayType(np.dtype("float32"), (3,))
SCALAR = ArrayType(np.dtype("float32"), ())
X = np.array([1.5, -2.0, 3.0], np.float32)


def graph_of(*names: str, name: str = "f", type: Type = THREE) -> tuple[Graph, list[Value]]:
    """Return an empty graph with these inputs, which takes them by position."""
    graph = Graph(name)
    values = [graph.add_param(type, each) for each in names]
    graph.signature = tuple(Ref(index) for index in range(len(names))), {}
    return graph, values


def is_value(leaf: Any) -> bool:
    return isinstance(leaf, Value)


def call(
    graph: Graph,
    fn: Callable[..., Any],
    *args: Any,
    gives: Any = THREE,
    kind: str | None = None,
    place: Place | None = None,
    **kwargs: Any,
) -> Any:
    """Append a call; `gives` is what it gives, with a type in the place of each value. Return that with the values."""
    templates, arguments = take_out(is_value, (args, kwargs))
    results, types = number(gives)
    kind = kind or f"numpy::{fn.__name__}"
    node = Node(kind, arguments, fn=fn, args=templates[0], kwargs=templates[1], results=results, place=place)
    return fill(results, graph.append(node, types))


def fork(graph: Graph, body: Graph, *arguments: Value, place: Place | None = None) -> Value:
    """Append a fork; return the future."""
    [future] = graph.append(Node(FORK, arguments, subgraph=body, place=place), [FutureType(body.return_types())])
    return future


def wait(graph: Graph, future: Value, place: Place | None = None) -> Any:
    """Append a wait; return what it gives."""
    assert isinstance(future.type, FutureType)
    results, types = number(future.type.result)
    return fill(results, graph.append(Node(WAIT, [future], results=results, place=place), types))


def give(graph: Graph, tree: Any) -> Graph:
    """Have the graph return `tree`, whose leaves are values."""
    graph.results, graph.returns = take_out(is_value, tree)
    return graph


def number(types: Any) -> tuple[Any, list[Type]]:
    """Return a structure of types as a template of as many different values, and their types."""
    found: list[Type] = []

    def place_of(leaf: Any) -> Any:
        if not isinstance(leaf, Type):
            return leaf
        found.append(leaf)
        return Ref(len(found) - 1)

    return map_tree(place_of, types), found


def evaluate(graph: Graph, *inputs: Any) -> Any:
    """Return what the graph gives, node by node in its order; a fork is run when it is met."""
    values = dict(zip(map(id, graph.params), inputs, strict=True))
    for node in graph.body:
        given = [values[id(value)] for value in node.arguments]
        if node.subgraph is not None:
            results = [evaluate(node.subgraph, *given)]
        elif node.operation == WAIT:
            results = leaves_at(node.results, given[0])
        else:
            assert node.fn is not None
            results = leaves_at(node.results, node.fn(*fill(node.args, given), **fill(node.kwargs, given)))
        values.update(zip(map(id, node.targets), results, strict=True))
    return fill(graph.results, [values[id(value)] for value in graph.returns])


def count(graph: Graph, kind: str) -> int:
    """Return how many nodes of a kind there are, in all graphs below as well."""
    return sum(node.kind() == kind for part in graph.subgraphs() for node in part.nodes())


# -- bodies and graphs that several tests use


def leaf(name: str = "prim::fork_0", fn: Callable[..., Any] = np.negative) -> Graph:
    """Return `fn(a)` as a body."""
    body, [a] = graph_of("a", name=name)
    return give(body, call(body, fn, a))


def forked(fn: Callable[..., Any] = np.negative, place: Place | None = None) -> Graph:
    """Return `wait(fork(fn, x)) + x`."""
    graph, [x] = graph_of("x")
    body, [a] = graph_of("a", name="prim::fork_0")
    give(body, call(body, fn, a, place=place))
    return give(graph, call(graph, np.add, wait(graph, fork(graph, body, x, place=place)), x))


def nested(depth: int) -> Graph:
    """Return forks in forks, `depth` of them, each of which waits for the one below and adds its input."""
    body = leaf(f"prim::fork_{depth}")
    for level in range(depth - 1, -1, -1):
        graph, [x] = graph_of("x", name=f"prim::fork_{level}" if level else "f")
        body = give(graph, call(graph, np.add, wait(graph, fork(graph, body, x)), x))
    return body


def future_passed_on() -> Graph:
    """Return a graph in which one fork waits for the future of another, two graphs above."""
    graph, [x] = graph_of("x")
    future = fork(graph, leaf(), x)
    outer = Graph("prim::fork_1")
    inner = Graph("prim::fork_2")
    waited = wait(inner, inner.add_param(future.type, "f"))
    give(inner, (waited, call(inner, np.square, waited)))
    give(outer, wait(outer, fork(outer, inner, outer.add_param(future.type, "f"))))
    first, second = wait(graph, fork(graph, outer, future))
    return give(graph, {"sum": call(graph, np.add, first, second), "again": wait(graph, future)})


def future_returned() -> Graph:
    """Return a graph that returns a fork's future that another fork waits for, too."""
    graph, [x] = graph_of("x")
    future = fork(graph, leaf(), x)
    body = Graph("prim::fork_1")
    give(body, call(body, np.square, wait(body, body.add_param(future.type, "f"))))
    other = fork(graph, body, future)
    return give(graph, (future, call(graph, np.add, wait(graph, other), x)))
