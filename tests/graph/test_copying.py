"""What the passes share: copies that share nothing with what they copy but values' names and types."""

import numpy as np

from asyncjit.graph.copying import copy_node, copy_param, empty_like
from asyncjit.graph.ir import Place
from tests.graph.graphs import THREE, call, graph_of


def test_a_copied_node_is_a_node_of_the_new_graph_with_all_that_the_old_one_has() -> None:
    graph, [x] = graph_of("x")
    call(graph, np.sum, x, axis=0, place=Place("model.py", 41, "forward"))
    old = graph.body[0]
    old.cost_ns = 7
    copy = empty_like(graph)
    new = copy_node(old, [copy_param(x, copy)], copy)
    assert copy.body == [new]
    assert new.targets[0].node is new
    assert new.arguments == copy.params != graph.params
    assert str(new) == str(old)
    assert new.cost_ns == 7
    assert graph.body == [old]


def test_new_values_in_the_copy_get_names_that_the_old_graph_has_not() -> None:
    graph, [x] = graph_of("x")
    negated = call(graph, np.negative, x)
    copy = empty_like(graph)
    copy_node(graph.body[0], [copy_param(x, copy)], copy)
    assert copy.name == "f"
    assert copy.add_param(THREE).name not in (negated.name, "x")
