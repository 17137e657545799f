"""Runs traced graphs node by node, and compares them with the functions they were traced from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit.errors import TraceError
from asyncjit.graph import Graph
from asyncjit.graph.dummies import is_array
from asyncjit.graph.ir import FORK, WAIT, ArrayType
from asyncjit.graph.tracing import TracedFunction, trace
from asyncjit.graph.trees import fill, leaves_at, leaves_of


def run_serially(graph: Graph, inputs: list[Any]) -> Any:
    """Return what the graph returns; every array on the way must be of the type that the graph tells."""
    known = dict(zip(map(id, graph.params), inputs, strict=True))
    for node in graph.nodes():
        arguments = [known[id(value)] for value in node.inputs()]
        if node.kind() == FORK:
            assert node.subgraph is not None
            results: list[Any] = [run_serially(node.subgraph, arguments)]
        elif node.kind() == WAIT:
            results = leaves_at(node.results, arguments[0])
        else:
            assert node.fn is not None
            with np.errstate(all="ignore"):
                given = node.fn(*fill(node.args, arguments), **fill(node.kwargs, arguments))
            results = leaves_at(node.results, given)
        for value, result in zip(node.outputs(), results, strict=True):
            if isinstance(value.type, ArrayType):
                assert ArrayType(result.dtype, result.shape) == value.type, (node, result)
            known[id(value)] = result
    return fill(graph.results, [known[id(value)] for value in graph.outputs()])


def assert_same(expected: Any, found: Any) -> None:
    """Compare two structures of arrays bit for bit, NaN being NaN."""
    expected, found = list(leaves_of(expected)), list(leaves_of(found))
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        assert type(one) is type(other)
        if isinstance(one, (np.ndarray, np.generic)):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(one, other, strict=True)
            if one.dtype.kind == "f":
                is_number = ~np.isnan(one)
                np.testing.assert_array_equal(np.signbit(one)[is_number], np.signbit(other)[is_number])
        else:
            assert one == other


def check(fn: Callable[..., Any], example: dict[str, Any], others: dict[str, Any]) -> TracedFunction:
    """Trace `fn` on one example and compare graph and function on other values; return the traced function."""
    traced = trace(fn, example, check_trace=False)
    with np.errstate(all="ignore"):
        expected = fn(**others)
    assert_same(expected, run_serially(traced.graph, list(filter(is_array, leaves_of(others)))))
    with np.errstate(all="ignore"):
        assert_same(expected, traced(**others))
    return traced


def kinds(graph: Graph) -> list[str]:
    """Return the kinds of a graph's own nodes."""
    return [node.kind() for node in graph.nodes()]


def refusal(fn: Callable[..., Any]) -> str:
    """Return the text of the error that tracing `fn` raises, after its place, which must be the function's."""
    with pytest.raises(TraceError) as caught:
        trace(fn, np.arange(12, dtype=np.float32).reshape(3, 4))
    code = fn.__code__
    place, _, text = str(caught.value).partition(": ")
    name, _, line = place.rpartition(":")
    assert name == code.co_filename
    assert int(line) >= code.co_firstlineno
    assert int(line) <= max(line for *_, line in code.co_lines() if line is not None)
    return text
