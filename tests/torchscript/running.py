"""One program in all its forms: eager, scripted and traced, called, forked and awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import script, trace
from asyncjit.graph import Graph
from tests.programs.running import WAYS, outcome, told

Array = NDArray[np.float32]

rng = np.random.default_rng(0)

FORK, WAIT = "prim::fork", "aten::wait"


def random(*shape: int) -> Array:
    return rng.random(shape, dtype=np.float32)


def scripted_forms(fn: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return the forms that need no example."""
    return {"eager": fn, "scripted": script(fn)}


def forms(fn: Callable[..., Any], *args: Any) -> dict[str, Callable[..., Any]]:
    """Return all forms."""
    made = scripted_forms(fn)
    return {**made, **{f"{name}, traced": trace(form, args) for name, form in made.items()}}


def assert_gives(expected: Any, made: dict[str, Callable[..., Any]], *args: Any) -> None:
    """Run every form in every way; what it gives must be `expected`, bit for bit."""
    for name, form in made.items():
        for way in WAYS:
            assert (name, way.__name__, outcome(way, form, *args)) == (name, way.__name__, told(expected))


def outcomes(made: dict[str, Callable[..., Any]], *args: Any) -> Iterator[Exception]:
    """Run every form in every way, and yield the errors."""
    for name, form in made.items():
        for way in WAYS:
            try:
                given = way(form, *args)
            except Exception as error:
                yield error
            else:
                raise AssertionError(f"{name}, {way.__name__} gave {given}")


def count(graph: Graph, kind: str, *, with_subgraphs: bool = False) -> int:
    """Count the nodes of a kind, as torch's `assertGraphContainsExactly` does."""
    parts = graph.subgraphs() if with_subgraphs else [graph]
    return sum(node.kind() == kind for part in parts for node in part.nodes())


def counts(graph: Graph, kind: str) -> tuple[int, int]:
    """Count the nodes of a kind in the root graph, and in all graphs."""
    return count(graph, kind), count(graph, kind, with_subgraphs=True)
