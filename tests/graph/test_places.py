"""Places: the user's own line, whatever stands between it and the tracer."""

import sys
from typing import Any

import numpy as np
import pytest

from asyncjit import nn
from asyncjit.errors import TraceError
from asyncjit.graph.ir import Place
from asyncjit.graph.places import place_of, refuse, user_place
from asyncjit.graph.tracing import trace

X = np.ones((2, 3), np.float32)


def places(fn: Any) -> set[Place | None]:
    """Return the places of a graph's nodes."""
    return {node.place for node in trace(fn, X).graph.nodes()}


def test_the_place_is_that_of_the_calling_line() -> None:
    place = user_place()
    assert place.filename == __file__
    assert place.function == "test_the_place_is_that_of_the_calling_line"
    assert place == place_of(sys._getframe()).__class__(__file__, place.line, place.function)


def test_numpys_and_the_packages_own_code_is_passed_over() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(3, 3)))

    def f(x: Any) -> Any:
        return np.full_like(model(x), 2) + np.stack([x, x])

    assert places(f) == {Place(__file__, f.__code__.co_firstlineno + 1, "f")}


def test_a_refusal_names_place_fault_and_way_out() -> None:
    line = sys._getframe().f_lineno + 2
    with pytest.raises(TraceError) as caught:
        refuse("`x`", "write `y`")
    assert str(caught.value) == f"{__file__}:{line}: `x`: write `y`"
