"""Random graphs of forks and waits, for hypothesis to build."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from asyncjit.graph import Graph, Value
from tests.graph.graphs import THREE, call, fork, give, graph_of, wait

UNARY = (np.negative, np.square, np.cbrt, np.abs)
BINARY = (np.add, np.subtract, np.multiply, np.maximum)
STEPS = ("unary", "binary", "constant", "pair", "fork", "fork", "wait", "wait")


def pair(a: Any) -> tuple[Any, dict[str, Any]]:
    """Stand for a layer of several results."""
    return a + a, {"less": a - np.float32(1)}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Return a graph of one or two inputs."""
    graph, _ = graph_of(*("x", "y")[: draw(st.integers(1, 2))])
    _extend(draw, graph, depth=0)
    return graph


def _extend(draw: st.DrawFn, graph: Graph, depth: int) -> None:
    arrays = [value for value in graph.params if value.type == THREE]
    futures = [value for value in graph.params if value.type != THREE]
    for step in draw(st.lists(st.sampled_from(STEPS), max_size=6)):
        _add(draw, graph, step, arrays, futures, depth)
    give(graph, draw(_structures(arrays + (futures if draw(st.integers(0, 3)) == 0 else []))))


def _add(draw: st.DrawFn, graph: Graph, step: str, arrays: list[Value], futures: list[Value], depth: int) -> None:
    array = st.sampled_from(arrays) if arrays else None
    if step == "wait" and futures:
        results: list[Value] = []
        _gather(wait(graph, draw(st.sampled_from(futures))), results)
        arrays += [value for value in results if value.type == THREE]
        futures += [value for value in results if value.type != THREE]
    elif step == "fork" and depth < 3:
        given = draw(st.lists(st.sampled_from(arrays + futures), max_size=3)) if arrays + futures else []
        body = Graph(f"prim::fork_{len(futures)}")
        for value in given:
            body.add_param(value.type)
        _extend(draw, body, depth + 1)
        futures.append(fork(graph, body, *given))
    elif array is None:
        return
    elif step == "unary":
        arrays.append(call(graph, draw(st.sampled_from(UNARY)), draw(array)))
    elif step == "binary":
        arrays.append(call(graph, draw(st.sampled_from(BINARY)), draw(array), draw(array)))
    elif step == "constant":
        arrays.append(call(graph, np.add, np.float32(2), draw(array), dtype=np.dtype("float32")))
    elif step == "pair":
        first, second = call(graph, pair, draw(array), gives=(THREE, {"less": THREE}))
        arrays += [first, second["less"]]


def _structures(leaves: list[Value]) -> st.SearchStrategy[Any]:
    if not leaves:
        return st.just(())
    leaf = st.sampled_from(leaves)
    return st.recursive(leaf, lambda inner: st.tuples(inner, inner) | st.fixed_dictionaries({"a": inner}), max_leaves=3)


def _gather(tree: Any, into: list[Value]) -> None:
    if isinstance(tree, Value):
        into.append(tree)
    elif isinstance(tree, tuple):
        for item in tree:
            _gather(item, into)
    elif isinstance(tree, dict):
        for item in tree.values():
            _gather(item, into)
