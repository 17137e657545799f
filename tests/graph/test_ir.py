"""The records, and `lint`, which finds each way in which they can be wrong."""

from collections.abc import Callable

import numpy as np
import pytest

from asyncjit.graph import Graph, Node, Value
from asyncjit.graph.ir import FORK, WAIT, ArrayType, FutureType, Guard, ObjectType, show_types
from asyncjit.graph.trees import Ref
from tests.graph.graphs import SCALAR, THREE, call, fork, forked, give, graph_of, leaf, nested, wait


def test_nodes_tell_their_kinds_inputs_and_outputs_as_torchs_do() -> None:
    graph = forked()
    [x] = graph.inputs()
    first, second, third = graph.nodes()
    assert [node.kind() for node in graph.nodes()] == ["prim::fork", "aten::wait", "numpy::add"]
    assert [*first.inputs()] == [x]
    assert [*second.inputs()] == [*first.outputs()]
    assert [*third.outputs()] == [*graph.outputs()]
    assert [value.node for value in third.inputs()] == [second, None]


def test_types_are_shown_with_dtype_and_shape() -> None:
    assert str(THREE) == "float32[3]"
    assert str(SCALAR) == "float32[]"
    assert str(FutureType((THREE, {"a": [ObjectType("str")]}))) == "Future[(float32[3], {'a': [str]})]"
    assert show_types(None) == "None"


def test_a_graph_tells_what_it_returns_with_types_in_the_place_of_values() -> None:
    graph, [x] = graph_of("x")
    give(graph, (x, {"name": "x", "again": [x]}))
    assert graph.return_types() == (THREE, {"name": "x", "again": [THREE]})


def test_an_input_whose_name_is_taken_gets_a_number() -> None:
    graph, [x] = graph_of("x")
    assert x.name == "x"
    assert graph.add_param(THREE, "x").name == "0"
    assert graph.add_param(THREE).name == "1"


def test_all_graphs_below_are_found_parents_first_each_with_its_own_before_the_next() -> None:
    graph, [x] = graph_of("x")
    for name in "ab":
        body, [a] = graph_of("a", name=name)
        give(body, wait(body, fork(body, leaf(f"in {name}"), a)))
        fork(graph, body, x)
    assert [part.name for part in graph.subgraphs()] == ["f", "a", "in a", "b", "in b"]


def test_a_graph_of_a_thousand_levels_is_gone_through_without_recursion() -> None:
    graph = nested(1000)
    graph.lint()
    assert len([*graph.subgraphs()]) == 1001


def test_a_graphs_repr_tells_its_name_and_size_only() -> None:
    assert repr(forked()) == "<asyncjit.graph.Graph f with 3 nodes>"
    assert repr(forked().body[1]) == "%1 = aten::wait(%0)"
    assert str(forked().body[1]) == "%1 : float32[3] = aten::wait(%0)"


def spoil(graph: Graph, change: Callable[[Graph], object]) -> None:
    graph.lint()
    change(graph)


STRANGER = Value("stranger", THREE)


def swap_nodes(graph: Graph) -> None:
    graph.body.reverse()


def share_a_target(graph: Graph) -> None:
    graph.body[2].targets = graph.body[1].targets


def give_twice(graph: Graph) -> None:
    graph.body.append(graph.body[2])


def take_the_fork_its_body(graph: Graph) -> None:
    graph.body[0].subgraph = None


def give_the_body_another_input(graph: Graph) -> None:
    body = graph.body[0].subgraph
    assert body is not None
    body.params[0].type = SCALAR


def return_something_else_from_the_body(graph: Graph) -> None:
    body = graph.body[0].subgraph
    assert body is not None
    give(body, (body.returns[0], body.returns[0]))


def break_the_body(graph: Graph) -> None:
    body = graph.body[0].subgraph
    assert body is not None
    body.body[0].fn = None


def wait_for_an_array(graph: Graph) -> None:
    graph.body[1].arguments = graph.params


def wait_for_more(graph: Graph) -> None:
    graph.body[1].results = (Ref(0), Ref(0))


def lose_an_argument(graph: Graph) -> None:
    graph.body[2].args = (Ref(0), 1)


def lose_a_result(graph: Graph) -> None:
    graph.body[2].results = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_nodes, r"f: %2 = numpy::add\(%1, %x\) takes %1 : float32\[3\], which is not given before"),
        (share_a_target, r"numpy::add\(%1, %x\) gives a value that belongs to another node"),
        (give_twice, r"%2 = numpy::add\(%1, %x\) gives a value that was given before"),
        (take_the_fork_its_body, r"prim::fork\(%x\) has no body, or gives no future"),
        (give_the_body_another_input, r"does not give its body what that takes: \[%a : float32\[\]\]"),
        (return_something_else_from_the_body, r"has a future of \[float32\[3\]\], and gives \[float32\[3\], fl"),
        (break_the_body, r"prim::fork_0: %0 = numpy::negative\(%a\) has nothing to call"),
        (wait_for_an_array, r"aten::wait\(%x\) waits for what is no future"),
        (wait_for_more, r"aten::wait\(%0\) has a future of \[float32\[3\]\], and gives"),
        (lose_an_argument, r"numpy::add\(%1, %x\) does not fit the arguments of its call"),
        (lose_a_result, r"numpy::add\(%1, %x\) does not fit the structure of what it gives"),
        (lambda graph: graph.returns.append(STRANGER), "f: the return takes %stranger"),
        (lambda graph: graph.guards.append(Guard(STRANGER, 0, 3, None)), "f: a guard takes %stranger"),
        (lambda graph: setattr(graph, "results", None), "f: the structure that is returned does not fit its 1 values"),
        (
            lambda graph: setattr(graph, "signature", ((Ref(0), Ref(1)), {})),
            "f: the structure of the arguments does not fit its 1 inputs",
        ),
    ],
)
def test_lint_names_the_first_node_that_is_wrong(change: Callable[[Graph], object], message: str) -> None:
    graph = forked()
    spoil(graph, change)
    with pytest.raises(ValueError, match=message):
        graph.lint()


def test_lint_takes_ten_thousand_nodes_and_structures_of_every_kind() -> None:
    graph, [x] = graph_of("x")
    for _ in range(10_000):
        x = call(graph, np.negative, x)
    give(graph, {"a": (x, [x, None, "text"])})
    graph.lint()
    assert graph.return_types() == {"a": (THREE, [THREE, None, "text"])}


def test_a_node_can_be_of_a_type_that_is_no_array() -> None:
    graph = Graph("f")
    text = call(graph, str, 3, gives=ObjectType("str"), kind="builtins::str")
    give(graph, text).lint()
    assert isinstance(text, Value)
    assert isinstance(graph.body[0], Node)
    assert ArrayType(np.dtype("int64"), (2, 3)) != THREE
    assert (FORK, WAIT) == ("prim::fork", "aten::wait")
