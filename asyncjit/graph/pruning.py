"""The pass `dead_code`: what nobody uses is left out.

All nodes are taken to be pure, so a node is needed only for its values. A guard needs its value: what was read of it
may be a constant by now, anywhere. A guard in a fork's body is heard only by who waits for the fork, or for what waits
for it; so if there is one in any body, all waits are needed. In a fork that nobody waits for it never was heard.
"""

from __future__ import annotations

from asyncjit.graph.copying import copy_node, copy_param, empty_like
from asyncjit.graph.ir import WAIT, Graph, Guard, Node, Value


def dead_code(graph: Graph) -> Graph:
    """Return the graph without nodes whose values nobody uses, forks nobody waits for, and unused inputs of forks.

    The inputs of the graph itself stay as they are. The given graph is left alone.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit.graph import Graph
    >>> from asyncjit.graph.ir import ArrayType, Node
    >>> from asyncjit.graph.trees import Ref
    >>> graph = Graph("nothing")
    >>> x = graph.add_param(ArrayType(np.dtype("float32"), (3,)), "x")
    >>> unused = Node("numpy::negative", [x], fn=np.negative, args=(Ref(0),), results=Ref(0))
    >>> _ = graph.append(unused, [x.type])
    >>> print(dead_code(graph))
    graph(%x : float32[3]):
      return (None)
    """
    copy = _copy(graph, _Needs(graph), graph.params)
    copy.signature = graph.signature
    copy.lint()
    return copy


class _Needs:
    """What is needed of a graph and all below: the ids of its values."""

    def __init__(self, root: Graph) -> None:
        graphs = list(root.subgraphs())
        self._waits_are_needed = any(graph.guards for graph in graphs[1:])
        self.values: set[int] = set()
        for graph in reversed(graphs):  # those below first: what a fork needs is what its body does
            self._add(graph)

    def _add(self, graph: Graph) -> None:
        self.values.update(id(value) for value in graph.returns)
        self.values.update(id(guard.value) for guard in graph.guards)
        for node in reversed(graph.body):
            if self.has(node):
                self.values.update(id(value) for value in self.inputs_of(node))

    def has(self, node: Node) -> bool:
        """Whether a node stays."""
        is_heard = node.operation == WAIT and self._waits_are_needed
        return is_heard or any(id(value) in self.values for value in node.targets)

    def inputs_of(self, node: Node) -> list[Value]:
        """Return what a node that stays takes."""
        if node.subgraph is None:
            return node.arguments
        pairs = zip(node.subgraph.params, node.arguments, strict=True)
        return [argument for param, argument in pairs if id(param) in self.values]


def _copy(graph: Graph, needs: _Needs, params: list[Value]) -> Graph:
    copy = empty_like(graph)
    known = {id(value): copy_param(value, copy) for value in params}
    for node in graph.body:
        if not needs.has(node):
            continue
        body = node.subgraph
        if body is not None:
            body = _copy(body, needs, [value for value in body.params if id(value) in needs.values])
        new = copy_node(node, [known[id(value)] for value in needs.inputs_of(node)], copy, body)
        known.update((id(old), target) for old, target in zip(node.targets, new.targets, strict=True))
    copy.results = graph.results
    copy.returns = [known[id(value)] for value in graph.returns]
    copy.guards = [Guard(known[id(g.value)], g.what, g.expected, g.place) for g in graph.guards]
    return copy
