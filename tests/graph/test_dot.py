"""A graph for Graphviz, read again by a small parser of what Graphviz's grammar allows."""

import re
from typing import NamedTuple

import numpy as np

from asyncjit.graph import Graph
from tests.graph.graphs import call, forked, future_passed_on, give, graph_of, nested

STRING = r'"((?:[^"\\\n]|\\[\\"n])*)"'
NAME = r"([A-Za-z_]\w*)"
LINES = {
    "node": re.compile(rf"{NAME} \[label={STRING}(?:, shape=ellipse)?\];"),
    "edge": re.compile(rf"{NAME} -> {NAME} \[(?:label={STRING}|style=dashed)\];"),
    "open": re.compile(rf"subgraph {NAME} {{"),
    "label": re.compile(rf"label={STRING};"),
    "close": re.compile(r"}"),
    "default": re.compile(r"node \[shape=box\];"),
}


class Dot(NamedTuple):
    """What a text says, with the escapes taken back."""

    name: str
    nodes: dict[str, tuple[str, str]]  #: a node's label and the cluster it is in, "" for none
    edges: list[tuple[str, str, str | None]]
    clusters: dict[str, tuple[str, str]]  #: a cluster's label and the one around it


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


def parse(text: str) -> Dot:
    first, *lines = text.splitlines()
    match = re.fullmatch(rf"digraph {STRING} {{", first)
    assert match
    dot = Dot(unescaped(match[1]), {}, [], {})
    around = [""]
    for line in lines:
        assert around, f"{line!r} stands behind the end"
        kind, match = next((k, m) for k, pattern in LINES.items() if (m := pattern.fullmatch(line.strip())))
        groups = [group and unescaped(group) for group in match.groups()]
        if kind == "node":
            assert groups[0] not in dot.nodes
            dot.nodes[groups[0]] = groups[1], around[-1]
        elif kind == "edge":
            dot.edges.append((groups[0], groups[1], groups[2]))
        elif kind == "open":
            assert groups[0].startswith("cluster_")
            dot.clusters[groups[0]] = "", around[-1]
            around.append(groups[0])
        elif kind == "label":
            dot.clusters[around[-1]] = groups[0], dot.clusters[around[-1]][1]
        elif kind == "close":
            around.pop()
    assert not around, "something is left open"
    assert all(name in dot.nodes for edge in dot.edges for name in edge[:2]), "an edge makes nodes of its own"
    return dot


def test_values_are_edges_and_a_forks_body_is_a_cluster() -> None:
    dot = parse(forked().to_dot())
    assert dot.clusters == {"cluster_1": ("prim::fork_0", "")}
    labels = {name: label for name, (label, _) in dot.nodes.items()}
    assert [(labels[a], labels[b], value) for a, b, value in dot.edges] == [
        ("%x : float32[3]", "prim::fork_0", "%x : float32[3]"),
        ("prim::fork_0", "%a : float32[3]", None),
        ("prim::fork_0", "aten::wait", "%0 : Future[float32[3]]"),
        ("aten::wait", "numpy::add", "%1 : float32[3]"),
        ("%x : float32[3]", "numpy::add", "%x : float32[3]"),
        ("numpy::add", "return (%2)", "%2 : float32[3]"),
        ("%a : float32[3]", "numpy::negative", "%a : float32[3]"),
        ("numpy::negative", "return (%0)", "%0 : float32[3]"),
    ]
    assert {label for label, cluster in dot.nodes.values() if cluster} == {
        "%a : float32[3]",
        "numpy::negative",
        "return (%0)",
    }


def test_clusters_are_nested_as_the_forks_are() -> None:
    assert parse(future_passed_on().to_dot()).clusters == {
        "cluster_1": ("prim::fork_0", ""),
        "cluster_2": ("prim::fork_1", ""),
        "cluster_3": ("prim::fork_2", "cluster_2"),
    }
    assert len(parse(nested(200).to_dot()).clusters) == 200


def test_what_graphviz_would_read_as_its_own_is_escaped() -> None:
    graph, [x] = graph_of("x", name='a "name"\\n\n')
    text = 'say "\\"\n'
    call(graph, np.add, x, sep=text)
    dot = parse(give(graph, x).to_dot())
    assert dot.name == 'a "name"\\n\n'
    assert dot.nodes["g0_node0"][0] == f"numpy::add[sep={text!r}]"


def test_a_graph_of_nothing_is_valid() -> None:
    assert parse(Graph("nothing").to_dot()).nodes == {"g0_return": ("return (None)", "")}
