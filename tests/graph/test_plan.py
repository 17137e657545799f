"""Plans: registers that are used again, kernels that wait or do not, and the notes on errors."""

import inspect
from typing import Any

import numpy as np
from hypothesis import given

from asyncjit._core.stepping import ScriptFunction
from asyncjit.graph import Graph
from asyncjit.graph.ir import Place
from asyncjit.graph.plan import Plan, describe, note_once, plan_of
from tests.graph.graphs import X, call, evaluate, forked, give, graph_of, leaf
from tests.graph.programs import graphs


def run(graph: Graph, *inputs: Any) -> tuple[Any, list[Any]]:
    """Return what a plan without waits gives, and its registers after that."""
    registers = list(inputs)
    return plan_of(graph).run(registers), registers


def test_a_chain_runs_in_one_register() -> None:
    graph, [x] = graph_of("x")
    y = x
    for _ in range(50):
        y = call(graph, np.negative, y)
    result, registers = run(give(graph, y), X)
    assert len(registers) == 1
    assert registers[0] is result


def test_the_register_of_a_value_that_nobody_takes_is_used_again() -> None:
    graph, [x] = graph_of("x")
    for _ in range(10):
        call(graph, np.negative, x)
    assert len(run(give(graph, call(graph, np.negative, x)), X)[1]) == 2


def test_an_input_that_is_returned_stays_in_its_register() -> None:
    graph, [x] = graph_of("x")
    give(graph, (call(graph, np.negative, x), x))
    (negated, same), registers = run(graph, X)
    np.testing.assert_array_equal(negated, -X)
    assert same is X
    assert len(registers) == 2


@given(graphs())
def test_only_what_is_returned_is_left_in_the_registers(graph: Graph) -> None:
    graph.body = [node for node in graph.body if node.operation.startswith("numpy::")]
    known = {id(value) for value in graph.params}
    for node in [*graph.body]:  # without what took a wait's value
        if all(id(value) in known for value in node.arguments):
            known.update(id(value) for value in node.targets)
        else:
            graph.body.remove(node)
    give(graph, tuple(value for value in graph.returns if id(value) in known))
    inputs = [X, -X][: len(graph.params)]
    result, registers = run(graph, *inputs)
    np.testing.assert_equal(result, evaluate(graph, *inputs))
    left = {id(item) for item in registers if item is not None}
    assert left == {id(item) for item in result}


def test_a_body_without_waits_is_a_plain_kernel_and_one_with_waits_is_scripted() -> None:
    plain, scripted = (plan_of(graph).as_kernel() for graph in (leaf("prim::fork_7"), forked()))
    assert inspect.isfunction(plain)
    assert plain.__qualname__ == "prim::fork_7"
    assert isinstance(scripted, ScriptFunction)
    assert scripted.__qualname__ == "f"
    np.testing.assert_array_equal(plain([X]), -X)
    np.testing.assert_array_equal(scripted([X]), X - X)


def test_a_fork_whose_future_is_returned_makes_no_kernel_wait() -> None:
    graph = forked()
    give(graph, graph.body[0].targets[0])
    graph.body = graph.body[:1]
    plan = plan_of(graph)
    assert isinstance(plan, Plan)
    assert not plan.waits


def test_a_node_is_described_by_its_kind_and_place() -> None:
    graph, [x] = graph_of("x")
    call(graph, np.add, x, x, place=Place("/a/model.py", 41, "forward"))
    call(graph, np.add, x, x)
    assert [*map(describe, graph.body)] == ["in numpy::add, traced at model.py:41 in forward", "in numpy::add"]


def test_a_note_is_added_once() -> None:
    error = ValueError("lost")
    for note in ("in numpy::add", "in numpy::sum", "in numpy::add"):
        note_once(error, note)
    assert error.__notes__ == ["in numpy::add", "in numpy::sum"]
