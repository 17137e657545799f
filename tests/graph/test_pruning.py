"""`dead_code`: what nobody uses is left out."""

import numpy as np
from hypothesis import given

from asyncjit.graph import Graph, dead_code
from asyncjit.graph.ir import Guard, Value
from tests.graph.graphs import (
    X,
    call,
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


def kinds(graph: Graph) -> list[str]:
    return [node.kind() for part in graph.subgraphs() for node in part.nodes()]


def test_nodes_whose_values_nobody_uses_are_left_out_with_all_that_led_to_them() -> None:
    graph, [x] = graph_of("x")
    call(graph, np.square, call(graph, np.negative, x))
    give(graph, call(graph, np.abs, x))
    text = str(graph)
    assert kinds(dead_code(graph)) == ["numpy::absolute"]
    assert str(graph) == text, "the graph that was given is left alone"


def test_forks_that_nobody_waits_for_and_waits_that_nobody_uses_are_left_out() -> None:
    graph, [x] = graph_of("x")
    fork(graph, leaf(), x)
    wait(graph, fork(graph, leaf("prim::fork_1"), x))
    assert kinds(dead_code(give(graph, x))) == []


def test_a_fork_whose_future_is_returned_or_passed_on_stays() -> None:
    for graph in (future_returned(), future_passed_on(), forked()):
        assert str(dead_code(graph)) == str(graph)


def test_dead_code_in_a_body_is_left_out_and_the_inputs_that_only_it_took_are_no_longer_handed_in() -> None:
    graph, [x, y] = graph_of("x", "y")
    inner, [a, b] = graph_of("a", "b", name="prim::fork_1")
    call(inner, np.square, b)
    give(inner, call(inner, np.negative, a))
    outer, [c, d] = graph_of("c", "d", name="prim::fork_0")
    give(outer, wait(outer, fork(outer, inner, c, d)))
    squared = call(graph, np.square, y)
    give(graph, wait(graph, fork(graph, outer, x, squared)))
    pruned = dead_code(graph)
    assert kinds(pruned) == ["prim::fork", "aten::wait", "prim::fork", "aten::wait", "numpy::negative"]
    assert [[value.name for value in part.params] for part in pruned.subgraphs()] == [["x", "y"], ["c"], ["a"]]
    assert pruned.signature == graph.signature
    np.testing.assert_array_equal(evaluate(pruned, X, X), -X)


def guarded(graph: Graph, value: Value) -> None:
    graph.guards.append(Guard(value, 0, 3, None))


def test_a_guard_keeps_the_node_that_gives_its_value() -> None:
    graph, [x] = graph_of("x")
    guarded(graph, call(graph, np.negative, x))
    guarded(graph, x)
    pruned = dead_code(give(graph, 3))
    assert kinds(pruned) == ["numpy::negative"]
    assert [guard.value for guard in pruned.guards] == [pruned.body[0].targets[0], *pruned.params]


def test_where_a_guard_below_may_be_violated_the_waits_that_hear_of_it_are_kept() -> None:
    graph = future_passed_on()
    body = graph.body[0].subgraph
    assert body is not None
    graph.body.pop()  # the root's own wait: now it hears only by the fork that the future was passed to
    give(graph, 3)
    assert kinds(dead_code(graph)) == []
    guarded(body, body.params[0])
    assert kinds(dead_code(graph)).count("aten::wait") == 3


def test_a_guard_in_a_fork_that_nobody_waits_for_goes_with_it() -> None:
    graph, [x] = graph_of("x")
    body = leaf()
    guarded(body, body.params[0])
    fork(graph, body, x)
    assert kinds(dead_code(give(graph, x))) == []


def test_two_hundred_levels_are_gone_through() -> None:
    assert str(dead_code(nested(200))) == str(nested(200))


@given(graphs())
def test_the_results_of_random_graphs_stay_the_same_and_nothing_unused_is_left(graph: Graph) -> None:
    given = [X, -X][: len(graph.params)]
    pruned = dead_code(graph)
    np.testing.assert_equal(evaluate(pruned, *given), evaluate(graph, *given))
    for part in pruned.subgraphs():
        used = {id(value) for node in part.body for value in node.arguments} | {id(value) for value in part.returns}
        assert all(any(id(value) in used for value in node.targets) for node in part.body)
        assert part is pruned or all(id(value) in used for value in part.params)
    assert str(dead_code(pruned)) == str(pruned)
