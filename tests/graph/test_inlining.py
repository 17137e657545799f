"""`inline_fork_wait`: the serial graph behind a forked one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from asyncjit.graph import Graph, dead_code, inline_fork_wait
from asyncjit.graph.ir import FORK, WAIT, Guard, Place
from tests.graph.graphs import (
    THREE,
    X,
    call,
    count,
    evaluate,
    fork,
    forked,
    future_passed_on,
    future_returned,
    give,
    graph_of,
    leaf,
    nested,
    wait,
)
from tests.graph.programs import graphs


def assert_same(one: Any, other: Any) -> None:
    """Assert that two nested structures are equal bit for bit."""
    np.testing.assert_equal(one, other)


def never_waited() -> Graph:
    graph, [x] = graph_of("x")
    fork(graph, leaf(), x)
    return give(graph, x)


@pytest.mark.parametrize("make", [forked, never_waited, future_passed_on, lambda: nested(3), lambda: nested(200)])
def test_no_fork_and_no_wait_is_left_by_node_and_by_text(make: Any) -> None:
    graph = make()
    text = str(graph)
    inlined = inline_fork_wait(graph)
    inlined.lint()
    assert (count(inlined, FORK), count(inlined, WAIT)) == (0, 0)
    assert "prim::fork" not in str(inlined)
    assert "aten::wait" not in str(inlined)
    assert_same(evaluate(inlined, X), evaluate(graph, X))
    assert str(graph) == text, "the graph that was given is left alone"


def test_a_body_is_put_in_once_however_often_it_is_waited_for() -> None:
    graph, [x] = graph_of("x")
    future = fork(graph, leaf(), x)
    give(graph, (wait(graph, future), wait(graph, future)))
    inlined = inline_fork_wait(graph)
    assert [node.kind() for node in inlined.nodes()] == ["numpy::negative"]
    assert len(inlined.returns) == 1
    assert inlined.signature == graph.signature


def test_the_body_of_a_fork_that_nobody_waits_for_is_put_in_too() -> None:
    assert [node.kind() for node in inline_fork_wait(never_waited()).nodes()] == ["numpy::negative"]


def test_a_fork_whose_future_is_returned_remains_and_only_that() -> None:
    graph = future_returned()
    inlined = inline_fork_wait(graph)
    assert [node.kind() for node in inlined.nodes()] == ["prim::fork", "aten::wait", "numpy::square", "numpy::add"]
    assert_same(evaluate(inlined, X), evaluate(graph, X))


def test_a_future_that_a_remaining_fork_waits_for_is_handed_in_as_its_values() -> None:
    graph, [x] = graph_of("x")
    pair, [a] = graph_of("a", name="prim::fork_0")
    give(pair, (call(pair, np.negative, a), {"b": call(pair, np.square, a)}))
    first = fork(graph, pair, x)
    body = Graph("prim::fork_1")
    body.add_param(THREE, "a")
    negated, more = wait(body, body.add_param(first.type, "f"))
    give(body, call(body, np.add, negated, more["b"]))
    give(graph, [fork(graph, body, x, first)])
    inlined = inline_fork_wait(graph)
    assert [node.kind() for node in inlined.nodes()] == ["numpy::negative", "numpy::square", "prim::fork"]
    assert (count(inlined, FORK), count(inlined, WAIT)) == (1, 0)
    assert_same(evaluate(inlined, X), evaluate(graph, X))


def test_a_future_that_comes_out_of_a_wait_and_is_returned_remains() -> None:
    graph, [x] = graph_of("x")
    outer, [a] = graph_of("a", name="prim::fork_0")
    give(outer, (fork(outer, leaf("prim::fork_1"), a), a))
    inner, same = wait(graph, fork(graph, outer, x))
    give(graph, (inner, same, wait(graph, inner)))
    inlined = inline_fork_wait(graph)
    assert [node.kind() for node in inlined.nodes()] == ["prim::fork", "aten::wait"]
    assert_same(evaluate(inlined, X), evaluate(graph, X))


def test_a_future_in_what_a_returned_future_gives_remains() -> None:
    graph, [x] = graph_of("x")
    outer, [a] = graph_of("a", name="prim::fork_0")
    give(outer, {"inner": fork(outer, leaf("prim::fork_1"), a)})
    give(graph, fork(graph, outer, x))
    inlined = inline_fork_wait(graph)
    assert str(inlined) == str(graph)
    assert_same(evaluate(inlined, X), evaluate(graph, X))


def test_a_future_that_a_call_takes_remains() -> None:
    graph, [x] = graph_of("x")
    future = fork(graph, leaf(), x)
    give(graph, call(graph, lambda futures: futures[0], [future, None], kind="test::first"))
    inlined = inline_fork_wait(graph)
    assert [node.kind() for node in inlined.nodes()] == ["prim::fork", "test::first"]
    assert_same(evaluate(inlined, X), evaluate(graph, X))


def test_guards_costs_and_places_come_along() -> None:
    place = Place("model.py", 41, "forward")
    graph = forked(place=place)
    body = graph.body[0].subgraph
    assert body is not None
    body.body[0].cost_ns = 7
    body.guards = [Guard(body.params[0], 0, 3, place), Guard(body.returns[0], "ndim", 1, place)]
    inlined = inline_fork_wait(graph)
    [first, _] = inlined.nodes()
    assert (first.place, first.cost_ns) == (place, 7)
    assert [guard.value for guard in inlined.guards] == [*inlined.params, *first.targets]


@given(graphs())
def test_the_results_of_random_graphs_stay_the_same_bit_for_bit(graph: Graph) -> None:
    given = [X, -X][: len(graph.params)]
    expected = evaluate(graph, *given)
    text = str(graph)
    inlined = inline_fork_wait(graph)
    assert_same(evaluate(inlined, *given), expected)
    assert_same(evaluate(dead_code(inlined), *given), expected)
    assert_same(evaluate(inline_fork_wait(dead_code(graph)), *given), expected)
    if all(value.type == THREE for value in graph.returns):
        assert (count(inlined, FORK), count(inlined, WAIT)) == (0, 0)
    assert str(graph) == text
