"""A graph as text for Graphviz: values are edges, a fork's body is a cluster, entered by a dashed edge.

This module lies below the graph's own, as `printer.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from asyncjit.graph.printer import label_of, names_of, show_listed

if TYPE_CHECKING:
    from asyncjit.graph.ir import Graph, Value


def to_dot(graph: Graph) -> str:
    """Return the graph and all graphs below it in Graphviz's language."""
    numbers = {id(part): number for number, part in enumerate(graph.subgraphs())}
    lines = [f"digraph {_quoted(graph.name)} {{", "  node [shape=box];"]
    lines += _clustered(graph, numbers)
    for part in graph.subgraphs():
        lines += (f"  {edge}" for edge in _edges(part, numbers))
    return "\n".join([*lines, "}"])


def _clustered(graph: Graph, numbers: dict[int, int]) -> Iterator[str]:
    """Yield the nodes of a graph, with the clusters below."""
    entered: list[tuple[Graph, Iterator[str | Graph]]] = [(graph, _members(graph, numbers))]
    while entered:
        indent = "  " * len(entered)
        member = next(entered[-1][1], None)
        if member is None:
            entered.pop()
            if entered:
                yield f"{indent[2:]}}}"
        elif isinstance(member, str):
            yield f"{indent}{member}"
        else:
            yield f"{indent}subgraph cluster_{numbers[id(member)]} {{"
            yield f"{indent}  label={_quoted(member.name)};"
            entered.append((member, _members(member, numbers)))


def _members(graph: Graph, numbers: dict[int, int]) -> Iterator[str | Graph]:
    prefix = f"g{numbers[id(graph)]}"
    for index, value in enumerate(graph.params):
        yield f"{prefix}_input{index} [label={_quoted(repr(value))}, shape=ellipse];"
    for index, node in enumerate(graph.body):
        yield f"{prefix}_node{index} [label={_quoted(label_of(node))}];"
        if node.subgraph is not None:
            yield node.subgraph
    returned = show_listed(graph.results, names_of(graph.returns))
    yield f"{prefix}_return [label={_quoted(f'return ({returned})')}, shape=ellipse];"


def _edges(graph: Graph, numbers: dict[int, int]) -> Iterator[str]:
    prefix = f"g{numbers[id(graph)]}"
    givers = {id(value): f"{prefix}_input{index}" for index, value in enumerate(graph.params)}
    for index, node in enumerate(graph.body):
        name = f"{prefix}_node{index}"
        givers.update((id(value), name) for value in node.targets)
        yield from (_edge(givers, value, name) for value in node.arguments)
        if node.subgraph is not None:
            below = f"g{numbers[id(node.subgraph)]}"
            for number in range(len(node.subgraph.params)):
                yield f"{name} -> {below}_input{number} [style=dashed];"
    yield from (_edge(givers, value, f"{prefix}_return") for value in graph.returns)


def _edge(givers: dict[int, str], value: Value, taker: str) -> str:
    return f"{givers[id(value)]} -> {taker} [label={_quoted(repr(value))}];"


def _quoted(text: str) -> str:
    r"""Return a Graphviz string: a backslash begins an escape there, as in \n."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
