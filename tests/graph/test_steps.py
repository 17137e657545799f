"""Steps: calls of every form on registers, and what they write."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit._core import splitting
from asyncjit.graph import Node
from asyncjit.graph.ir import Guard
from asyncjit.graph.steps import call_step, clear_step, guard_step, reader, show_type
from asyncjit.graph.trees import Ref, map_tree
from tests.graph.graphs import THREE, call, graph_of

Pair = namedtuple("Pair", "first second")


def told(*args: Any, **kwargs: Any) -> Any:
    """Return the call as it arrived."""
    return args, kwargs


def node_of(fn: Callable[..., Any], *args: Any, gives: Any = THREE, **kwargs: Any) -> Node:
    """Return a call in which the letters of "xyz" stand for inputs."""
    graph, values = graph_of("x", "y", "z")
    inputs = dict(zip("xyz", values, strict=True))
    args, kwargs = map_tree(lambda leaf: inputs[leaf] if isinstance(leaf, str) else leaf, (args, kwargs))
    call(graph, fn, *args, gives=gives, **kwargs)
    return graph.body[0]


def run(node: Node, *inputs: Any, num_targets: int = 1) -> list[Any]:
    """Return what the step of a node writes behind its inputs."""
    registers = [*inputs, *[None] * num_targets]
    places = list(range(len(inputs)))
    call_step(node, places, range(len(inputs), len(registers)))(registers)
    return registers[len(inputs) :]


@pytest.mark.parametrize(
    ("args", "kwargs", "inputs", "expected"),
    [
        ((), {}, (), ((), {})),
        (("x",), {}, (1,), ((1,), {})),
        (("x", "y"), {}, (1, 2), ((1, 2), {})),
        (("x", "y", "z"), {}, (1, 2, 3), ((1, 2, 3), {})),
        (("x", "x"), {}, (1,), ((1, 1), {})),
        (("x", 5), {}, (1,), ((1, 5), {})),
        (("x",), {"axis": (0, 1)}, (1,), ((1,), {"axis": (0, 1)})),
        (("x",), {"axis": [0, 1]}, (1,), ((1,), {"axis": [0, 1]})),
        (("x",), {"where": "y", "axis": 0}, (1, 2), ((1,), {"where": 2, "axis": 0})),
        ((7,), {"out": None}, (), ((7,), {"out": None})),
    ],
)
def test_a_call_gets_its_arguments_in_their_places(args: Any, kwargs: Any, inputs: Any, expected: Any) -> None:
    assert run(node_of(told, *args, **kwargs), *inputs) == [expected]


@pytest.mark.parametrize(
    "template",
    [
        Ref(0),
        3,
        "text",
        (Ref(0), [Ref(1), {"a": Ref(0), "b": 4}]),
        Pair(Ref(1), Pair(Ref(0), 2)),
        slice(Ref(0), None, 2),
        (slice(1, 2), ...),
        {"a": [1, 2]},
    ],
)
def test_a_template_is_filled_from_the_registers(template: Any) -> None:
    filled = reader(template, [2, 0])(["one", None, "zero"])
    swapped = {"Ref(index=0)": "'zero'", "Ref(index=1)": "'one'"}
    expected = repr(template)
    for ref, text in swapped.items():
        expected = expected.replace(ref, text)
    assert repr(filled) == expected


def test_what_can_be_changed_is_made_anew_for_each_run() -> None:
    read = reader(([1, 2], {"a": 3}), [])
    read([])[0].append(3)
    read([])[1]["b"] = 4
    assert read([]) == ([1, 2], {"a": 3})


@pytest.mark.parametrize(
    ("gives", "result", "written"),
    [
        ((THREE, THREE), (1, 2), [1, 2]),
        ((THREE, THREE), Pair(1, 2), [1, 2]),
        ((THREE, {"h": [THREE, None]}), (1, {"h": [2, None]}), [1, 2]),
        ([THREE, THREE], [1, 2], [1, 2]),
        (Pair(THREE, THREE), Pair(1, 2), [1, 2]),
        ((), (), []),
        (None, None, []),
    ],
)
def test_what_a_call_gives_is_written_leaf_by_leaf(gives: Any, result: Any, written: list[Any]) -> None:
    assert run(node_of(lambda: result, gives=gives), num_targets=len(written)) == written


def test_what_is_cleared_is_forgotten() -> None:
    registers = [1, 2, 3]
    clear_step([0, 2])(registers)
    assert registers == [None, 2, None]


@pytest.mark.parametrize(
    ("what", "expected", "value"),
    [(1, 2, [[1, 2]]), ("ndim", 0, 3.0), ("dtype", np.dtype("float64"), 3.0), (0, 3, np.ones(3))],
)
def test_a_guard_lets_pass_what_is_as_it_was_also_where_it_is_no_array(what: Any, expected: Any, value: Any) -> None:
    _, [x] = graph_of("x")
    guard_step(Guard(x, what, expected, None), 0)([value])


@pytest.mark.parametrize(
    ("value", "shown"), [(np.ones((2, 3), "f4"), "float32[2, 3]"), (np.float64(1), "float64[]"), (1.0, "float")]
)
def test_the_type_of_a_value_is_shown_as_a_graphs_types_are(value: Any, shown: str) -> None:
    assert show_type(value) == shown


def test_a_large_numpy_call_alone_in_its_fork_is_split_as_a_fork_by_name_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[int] = []

    def run_in_turn(run: Callable[[int, int], None], num_blocks: int, *, grain: int) -> None:
        cuts.append(num_blocks)
        run(0, num_blocks)

    monkeypatch.setattr(splitting, "parallel_for", run_in_turn)
    large = np.linspace(0.0, 1.0, 2 * splitting.BLOCK_SIZE)
    for x, num_cuts in ((large[:100], 0), (large, 1)):
        registers = [x, None]
        call_step(node_of(np.sqrt, "x"), [0], [1], is_alone=True)(registers)
        np.testing.assert_array_equal(registers[1], np.sqrt(x))
        assert len(cuts) == num_cuts
    call_step(node_of(np.sqrt, "x"), [0], [1])([large, None])
    call_step(node_of(told, "x"), [0], [1], is_alone=True)([large, None])
    assert len(cuts) == 1
