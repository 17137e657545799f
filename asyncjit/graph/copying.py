"""What the passes share: a new graph in the image of an old one."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjit.graph.ir import Graph, Node, Value


def empty_like(graph: Graph) -> Graph:
    """Return a graph of the same name without inputs or nodes, which numbers its values onward."""
    return Graph(graph.name, names=graph.names)


def copy_param(value: Value, into: Graph) -> Value:
    """Append an input as `value` is."""
    into.params.append(copy := Value(value.name, value.type))
    return copy


def copy_node(node: Node, arguments: Sequence[Value], into: Graph, subgraph: Graph | None = None) -> Node:
    """Append a node as `node` is, with other arguments and another body."""
    copy = Node(
        node.operation,
        arguments,
        fn=node.fn,
        args=node.args,
        kwargs=node.kwargs,
        results=node.results,
        subgraph=subgraph,
        place=node.place,
    )
    copy.cost_ns = node.cost_ns
    copy.targets = [Value(value.name, value.type, copy) for value in node.targets]
    into.body.append(copy)
    return copy
