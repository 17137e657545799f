"""A graph as text, in TorchScript's form."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from asyncjit.graph import Graph
from asyncjit.graph.ir import Place
from asyncjit.graph.trees import map_tree
from tests.graph.graphs import SCALAR, THREE, call, fork, forked, future_passed_on, give, graph_of, leaf, nested, wait

PLACE = Place("model.py", 41, "forward")


def test_a_fork_is_printed_with_the_name_of_its_body_which_follows() -> None:
    assert (
        str(forked(place=PLACE))
        == """\
graph(%x : float32[3]):
  %0 : Future[float32[3]] = prim::fork_0(%x) # model.py:41:0
  %1 : float32[3] = aten::wait(%0)
  %2 : float32[3] = numpy::add(%1, %x)
  return (%2)
with prim::fork_0 = graph(%a : float32[3]):
  %0 : float32[3] = numpy::negative(%a) # model.py:41:0
  return (%0)"""
    )


def test_nested_forks_follow_in_torchs_order_each_with_its_own_before_the_next() -> None:
    graph, [x] = graph_of("x")
    for number in range(2):
        body, [a] = graph_of("a", name=f"prim::fork_{number}")
        give(body, wait(body, fork(body, leaf("prim::fork_0"), a)))
        fork(graph, body, x)
    heads = [line for line in str(give(graph, x)).splitlines() if "graph(" in line]
    assert heads == [
        "graph(%x : float32[3]):",
        "with prim::fork_0 = graph(%a : float32[3]):",
        "with prim::fork_0 = graph(%a : float32[3]):",
        "with prim::fork_1 = graph(%a : float32[3]):",
        "with prim::fork_0 = graph(%a : float32[3]):",
    ]


def test_more_inputs_than_one_have_a_line_each_as_torchs_have() -> None:
    graph, [x, _] = graph_of("x", "y")
    assert str(give(graph, x)).startswith("graph(%x : float32[3],\n      %y : float32[3]):\n")


def a_call(fn: Any, *args: Any, **options: Any) -> str:
    """Return how a call is printed in which X stands for the input."""
    graph, [x] = graph_of("x")
    args, options = map_tree(lambda leaf: x if leaf is X else leaf, (args, options))
    call(graph, fn, *args, **options)
    return str(graph.body[0]).partition(" = ")[2]


X = object()


class Linear:
    """A layer, but for what it does."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __call__(self, x: Any) -> Any:
        return x


layer_call = partial(a_call, kind="nn::Linear")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (a_call(np.sum, X, axis=1), "numpy::sum[axis=1](%x)"),
        (a_call(np.sum, X, axis=(0, 1), where=X), "numpy::sum[axis=(0, 1)](%x, where=%x)"),
        (a_call(np.power, 2, X), "numpy::power(2, %x)"),
        (a_call(np.concatenate, [X, X], axis=None), "numpy::concatenate[axis=None]([%x, %x])"),
        (a_call(np.add, X, np.zeros((3, 4), np.float32)), "numpy::add(%x, <float32[3, 4]>)"),
        (a_call(np.add, X, np.array([1, 2])), "numpy::add(%x, <int64[2] [1, 2]>)"),
        (a_call(np.sum, X, dtype=np.float64), "numpy::sum[dtype=numpy.float64](%x)"),
        (a_call(np.sum, X, dtype=np.dtype("f8")), "numpy::sum[dtype=float64](%x)"),
        (a_call(np.take, X, (Ellipsis, slice(None, 3), slice(1, X, 2))), "numpy::take(%x, (..., :3, 1:%x:2))"),
        (a_call(np.take, X, (5,)), "numpy::take(%x, (5,))"),
        (a_call(np.add, {"a": X}, "b" * 100), f"numpy::add({{'a': %x}}, '{'b' * 58}…)"),
        (layer_call(Linear("Linear(3, bias=True)"), X), "nn::Linear[3, bias=True](%x)"),
        (layer_call(Linear("Linear(\n  (0): ReLU()\n)"), X), "nn::Linear(%x)"),
        (layer_call(Linear("<a layer>"), X), "nn::Linear(%x)"),
    ],
)
def test_a_call_is_shown_with_all_its_constants(shown: str, expected: str) -> None:
    assert shown == expected


def pair(a: Any) -> Any:
    return a, a


def test_several_results_are_shown_in_their_structure() -> None:
    graph, [x] = graph_of("x")
    flat = call(graph, pair, x, gives=(THREE, SCALAR))
    deep = call(graph, pair, x, gives=(THREE, {"h": [SCALAR]}))
    call(graph, pair, x, gives=(THREE,))
    call(graph, pair, x, gives=())
    give(graph, [flat[0], (deep[0],), {"h": deep[1]["h"][0]}, None])
    assert [line.strip().partition("numpy::pair")[0] for line in str(graph).splitlines()[1:]] == [
        "%0 : float32[3], %1 : float32[] = ",
        "%2 : float32[3], {'h': [%3 : float32[]]} = ",
        "%4 : float32[3] = ",
        "",
        "return ([%0, (%2,), {'h': %3}, None])",
    ]


@pytest.mark.parametrize(("count", "expected"), [(0, "return (())"), (1, "return (%x,)"), (2, "return (%x, %x)")])
def test_a_tuple_is_returned_without_parentheses_of_its_own(count: int, expected: str) -> None:
    graph, [x] = graph_of("x")
    assert str(give(graph, (x,) * count)).endswith(expected)


def test_forks_and_waits_can_be_counted_in_the_text() -> None:
    text = str(future_passed_on())
    root, _, below = text.partition("with ")
    assert (root.count("= prim::fork"), root.count("aten::wait")) == (2, 2)
    assert (below.count("= prim::fork_2(%f)"), below.count("aten::wait")) == (1, 2)


def test_two_hundred_levels_are_printed() -> None:
    assert str(nested(200)).count("with prim::fork_") == 200


def test_a_graph_of_nothing_is_printed() -> None:
    assert str(Graph("nothing")) == "graph():\n  return (None)"
