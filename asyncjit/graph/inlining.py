"""The pass `inline_fork_wait`: the serial graph behind a forked one.

A fork's body is put in its place, and whatever held the future then holds what a wait for it gives, an `Awaited`; so
waits, also those in other bodies that the future was passed to, are just looked up. Only a future that leaves the root
graph (or is an argument of a call) stands in the way: the pass first inlines all, looks which futures do, and if there
are any begins anew, keeping those forks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asyncjit.graph.copying import copy_node, copy_param, empty_like
from asyncjit.graph.ir import FORK, WAIT, Graph, Guard, Node, Value
from asyncjit.graph.trees import fill, leaves_at, leaves_of, map_tree, take_out


@dataclass(frozen=True, slots=True, eq=False)
class Awaited:
    """What stands for a future whose fork was inlined: `tree` has the values, and perhaps futures, it would give."""

    fork: Node
    tree: Any


Known = dict[int, Any]  #: for the id of each old value a new one, or an Awaited


def inline_fork_wait(graph: Graph) -> Graph:
    """Return the graph with the body of every fork in its place, and no waits; it gives the same values, serially.

    The body of a fork that nobody waits for is put in its place too. A fork whose future is among the results of
    `graph` remains, with its waits. The given graph is left alone.

    Examples
    --------
    >>> from asyncjit.graph import Graph
    >>> print(inline_fork_wait(Graph("nothing")))
    graph():
      return (None)
    """
    inlining = _Inlining(set())
    copy = inlining.root(graph)
    if inlining.leaving:
        copy = _Inlining(inlining.leaving).root(graph)
    copy.lint()
    return copy


class _Inlining:
    """One run of the pass; `kept` are the ids of the forks that remain, `leaving` those whose futures are returned."""

    def __init__(self, kept: set[int]) -> None:
        self.kept = kept
        self.leaving: set[int] = set()

    def root(self, graph: Graph) -> Graph:
        copy = empty_like(graph)
        copy.signature = graph.signature
        known: Known = {id(value): copy_param(value, copy) for value in graph.params}
        self._finish(copy, self._body(graph, known, copy))
        return copy

    def _finish(self, copy: Graph, results: Any) -> None:
        self._leave(results)
        copy.results, copy.returns = take_out(lambda leaf: isinstance(leaf, Value), results)

    def _leave(self, tree: Any) -> None:
        self.leaving |= {id(awaited.fork) for awaited in _awaited_in(tree)}

    def _body(self, graph: Graph, known: Known, into: Graph) -> Any:
        """Append what `graph` does, and return what it returns."""
        for node in graph.body:
            if node.operation == FORK:
                known[id(node.targets[0])] = self._fork(node, known, into)
            elif node.operation == WAIT and isinstance(awaited := known[id(node.arguments[0])], Awaited):
                given = leaves_at(node.results, awaited.tree)
                known.update((id(target), item) for target, item in zip(node.targets, given, strict=True))
            else:
                arguments = [known[id(value)] for value in node.arguments]
                self._leave(arguments)
                copy = copy_node(node, arguments, into)
                known.update((id(old), new) for old, new in zip(node.targets, copy.targets, strict=True))
        into.guards += (
            Guard(value, guard.what, guard.expected, guard.place)
            for guard in graph.guards
            if isinstance(value := known[id(guard.value)], Value)
        )
        return fill(graph.results, [known[id(value)] for value in graph.returns])

    def _fork(self, node: Node, known: Known, into: Graph) -> Any:
        """Append the body of a fork, or the fork if it is kept; return what stands for its future."""
        body, inputs = node.subgraph, [known[id(value)] for value in node.arguments]
        assert body is not None
        params = [id(value) for value in body.params]
        if id(node) not in self.kept:
            return Awaited(node, self._body(body, dict(zip(params, inputs, strict=True)), into))
        copy = empty_like(body)
        names = dict(zip(map(id, inputs), (value.name for value in body.params), strict=True))
        given = {id(value): value for item in inputs for value in _values_in(item)}
        taken = {key: copy.add_param(value.type, names.get(key)) for key, value in given.items()}
        inside = [_replaced(item, taken) for item in inputs]
        self._finish(copy, self._body(body, dict(zip(params, inside, strict=True)), copy))
        return copy_node(node, list(given.values()), into, copy).targets[0]


def _values_in(item: Any) -> Iterator[Value]:
    """Yield the values that an item of `Known`, or a tree of them, is made of."""
    for leaf in leaves_of(item):
        if isinstance(leaf, Value):
            yield leaf
        elif isinstance(leaf, Awaited):
            yield from _values_in(leaf.tree)


def _awaited_in(tree: Any) -> Iterator[Awaited]:
    for leaf in leaves_of(tree):
        if isinstance(leaf, Awaited):
            yield leaf
            yield from _awaited_in(leaf.tree)


def _replaced(tree: Any, new: dict[int, Value]) -> Any:
    """Return a tree with other values in the place of its values."""

    def replace(leaf: Any) -> Any:
        if isinstance(leaf, Awaited):
            return Awaited(leaf.fork, _replaced(leaf.tree, new))
        return new[id(leaf)] if isinstance(leaf, Value) else leaf

    return map_tree(replace, tree)
