"""The behaviours of TorchScript's own tests of fork and wait (PyTorch's test/jit/test_async.py): scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit import Future, fork, nn, script, sync, trace
from asyncjit.graph import dead_code, inline_fork_wait
from tests.torchscript.running import (
    FORK,
    WAIT,
    Array,
    assert_gives,
    count,
    counts,
    forms,
    outcomes,
    random,
    scripted_forms,
)

# -- test_async_python, _future_type_python, _parsing


def test_a_scripted_function_is_forked_from_plain_python(runtime: sync.Runtime) -> None:
    @script
    def foo(x: Array) -> Array:
        return np.negative(x)

    x = random(3, 4)
    future = fork(foo, x)
    y_hat = foo(x)
    np.testing.assert_array_equal(sync.wait(future), y_hat)


def five_identities(x: Array) -> list[Array]:
    futures: list[Future[Array]] = []
    for _ in range(5):
        futures.append(fork(lambda x: x, x))
    outputs = []
    for future in futures:
        outputs.append(sync.wait(future))
    return outputs


def test_futures_gather_in_an_annotated_list(runtime: sync.Runtime) -> None:
    x = random(3, 4)
    assert_gives([x] * 5, forms(five_identities, x), x)


def lists(x: Array) -> list[Array]:
    return [np.negative(x), x.T]


def three_lists(x: Array) -> list[list[Array]]:
    futures = []
    for _ in range(3):
        future: Future[list[Array]] = fork(lists, x)
        futures.append(future)
    output: list[list[Array]] = []
    for i in range(3):
        output.append(sync.wait(futures[i]))
    return output


def test_lists_come_out_of_forks(runtime: sync.Runtime) -> None:
    x = random(3, 3)
    assert_gives([[-x, x.T]] * 3, forms(three_lists, x), x)


# -- test_async_script, _capture, _nested


def negative_and_itself(x: Array) -> tuple[Array, Array]:
    return np.negative(x), x


def forked_and_called(x: Array) -> Any:
    future = fork(negative_and_itself, x)
    y_hat = negative_and_itself(x)
    y = sync.wait(future)
    return y, y_hat


def test_tuples_come_out_of_forks(runtime: sync.Runtime) -> None:
    x = random(3, 4)
    assert_gives(((-x, x), (-x, x)), forms(forked_and_called, x), x)


class Capturing(nn.Module):
    """Has a parameter and a constant, which a forked method uses."""

    def __init__(self) -> None:
        super().__init__()
        self.const = 42
        self.param = random(2, 2)

    def foo(self, x1: Array, x2: Array) -> Any:
        return np.negative(x1), self.param, self.const * self.param, np.negative(x2), self.param

    def forward(self, x1: Array, x2: Array) -> Any:
        future = fork(self.foo, x1, x2)
        y_hat = self.foo(x1, x2)
        y = sync.wait(future)
        return y, y_hat


def test_a_forked_method_sees_its_modules_parameters_and_constants(runtime: sync.Runtime) -> None:
    x1, x2, module = random(3, 4), random(5, 6), Capturing()
    expected = (-x1, module.param, 42 * module.param, -x2, module.param)
    made = {**forms(module, x1, x2), "its forward": script(module).forward}
    assert_gives((expected, expected), made, x1, x2)


@script
def scripted_pair(x: Array) -> tuple[Array, Array]:
    return np.negative(x), x


@script
def scripted_wait(x: Array) -> Any:
    future = fork(scripted_pair, x)
    y_hat = scripted_pair(x)
    y = sync.wait(future)
    return y, y_hat


@script
def scripted_nest(x: Array) -> Any:
    future = fork(scripted_wait, x)
    return sync.wait(future)


def test_scripted_functions_fork_each_other(runtime: sync.Runtime) -> None:
    x = random(3, 4)
    traced = trace(scripted_nest, x)
    assert_gives(((-x, x), (-x, x)), {"scripted": scripted_nest, "traced": traced}, x)
    assert (count(traced.graph, FORK), count(traced.graph, WAIT)) == (1, 1)
    assert counts(traced.graph, "numpy::negative") == (0, 2)


# -- test_async_script_no_script_mod, _multi_waits, _multi_forks


def forks_an_array(x: Any) -> Any:
    return fork(x)


def test_an_array_can_not_be_forked(runtime: sync.Runtime) -> None:
    x = random(3, 4)
    for error in outcomes(scripted_forms(forks_an_array), x):
        assert type(error) is TypeError
        assert "fork needs something to call" in str(error)
    with pytest.raises(TypeError, match="fork needs something to call, got %x : float32"):
        trace(forks_an_array, x)


def negative_transposed(x: Array) -> Array:
    return np.negative(x).T + x


def waited_twice(x: Array) -> Any:
    future = fork(negative_transposed, x)
    y1 = sync.wait(future)
    y2 = sync.wait(future)
    return y1, y2


def test_one_future_is_waited_for_twice(runtime: sync.Runtime) -> None:
    x = random(2, 2)
    made = forms(waited_twice, x)
    assert_gives((-x.T + x, -x.T + x), made, x)
    assert sync.call(lambda: len({id(y) for y in script(waited_twice)(x)})) == 1
    graph = trace(waited_twice, x).graph
    assert (count(graph, FORK), count(graph, WAIT)) == (1, 2)


def foo1(x: Array) -> Array:
    return np.negative(x).T + x


def foo2(x: Array, y: Array) -> Array:
    return np.negative(x).T + x + np.negative(y).T


def foo3(x: Array, y: Array, z: Array) -> Array:
    return np.negative(z).T + y.T + x


def three_of_five(x1: Array, x2: Array, x3: Array) -> Any:
    f1 = fork(foo1, x1)
    f2 = fork(foo2, x1, x2)
    f3 = fork(foo3, x1, x2, x3)
    fork(foo1, x2)
    fork(foo2, x2, x3)
    y1 = sync.wait(f1)
    y2 = sync.wait(f2)
    y3 = sync.wait(f3)
    return y1, y2, y3


def test_of_five_forks_three_are_waited_for_and_all_are_run(runtime: sync.Runtime) -> None:
    xs = random(10, 10), random(10, 10), random(10, 10)
    made = forms(three_of_five, *xs)
    expected = sync.call(lambda: (foo1(xs[0]), foo2(xs[0], xs[1]), foo3(*xs)))
    assert_gives(expected, made, *xs)
    for form in made.values():
        before = runtime.statistics().forked
        form(*xs)
        assert runtime.statistics().forked == before + 5


def test_of_five_forks_in_a_graph_three_are_waited_for(runtime: sync.Runtime) -> None:
    xs = random(10, 10), random(10, 10), random(10, 10)
    graph = trace(three_of_five, xs).graph
    assert (counts(graph, FORK), counts(graph, WAIT)) == ((5, 5), (3, 3))
    assert (str(graph).count("= prim::fork_"), str(graph).count("aten::wait(")) == (5, 3)
    assert counts(dead_code(graph), FORK) == (3, 3)
    inlined = inline_fork_wait(graph)
    assert (counts(inlined, FORK), counts(inlined, WAIT)) == ((0, 0), (0, 0))
    assert counts(inlined, "numpy::negative") == (7, 7)


# -- test_async_kwargs


def double_and_add(x1: Array, x2: Array) -> Array:
    return 2 * x1 + x2


def by_position(x1: Array, x2: Array) -> Array:
    return sync.wait(fork(double_and_add, x1, x2))


def by_both(x1: Array, x2: Array) -> Array:
    return sync.wait(fork(double_and_add, x1, x2=x2))


def by_name(x1: Array, x2: Array) -> Array:
    return sync.wait(fork(double_and_add, x1=x1, x2=x2))


def by_name_reversed(x1: Array, x2: Array) -> Array:
    return sync.wait(fork(double_and_add, x2=x2, x1=x1))


@pytest.mark.parametrize("fn", [by_position, by_both, by_name, by_name_reversed])
def test_arguments_are_given_by_position_and_by_name_in_every_order(
    runtime: sync.Runtime, fn: Callable[..., Any]
) -> None:
    x1, x2 = random(3, 4), random(3, 4)
    expected = 2 * x1 + x2
    by_names = trace(fn, {"x2": x2, "x1": x1})
    made: list[Any] = [*forms(fn, x1, x2).values(), by_names]
    for form in made:
        for y in (form(x1, x2), form(x1, x2=x2), form(x1=x1, x2=x2), form(x2=x2, x1=x1)):
            np.testing.assert_array_equal(y, expected)
        for future in (fork(form, x1, x2=x2), fork(form, x2=x2, x1=x1)):
            np.testing.assert_array_equal(sync.wait(future), expected)


# -- test_async_script_trace


class Pair(nn.Module):
    def forward(self, x: Array) -> Any:
        return np.negative(x), x


class ForksTwo(nn.Module):
    """Forks a traced module and a ufunc, and returns a nested structure."""

    def __init__(self, traced: Callable[..., Any]) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, x: Array) -> Any:
        future1 = fork(self.traced, x)
        future2 = fork(np.negative, x)
        pair = sync.wait(future1)
        single = sync.wait(future2)
        return ([pair[0], single], pair, pair[1])


class Flattens(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Array) -> Any:
        z = np.negative(x)
        y = self.module(x)
        return (z, y[0][0], y[0][1], y[1][0], y[1][1], y[2])


def test_the_ufunc_of_a_fork_is_seen_inside_its_subgraph(runtime: sync.Runtime) -> None:
    x = random(3, 3)
    module = Flattens(script(ForksTwo(trace(Pair(), x))))
    made = forms(module, x)
    assert_gives((-x, -x, -x, -x, x, x), made, x)
    graph = trace(module, x).graph
    assert (counts(graph, FORK), counts(graph, WAIT)) == ((2, 2), (2, 2))
    assert counts(graph, "numpy::negative") == (1, 3)
    root, *inner = str(graph).split("\nwith ")
    assert [root.count(text) for text in ("prim::fork_", "aten::wait(", "numpy::negative(")] == [2, 2, 1]
    assert [part.count("numpy::negative(") for part in inner] == [1, 1]


# -- test_async_script_error


def wrong(x: Array) -> Array:
    return x.T + x


def waits_for_wrong(x: Array) -> Array:
    return sync.wait(fork(wrong, x))


def waits_for_that(x: Array) -> Array:
    return sync.wait(fork(waits_for_wrong, x))


@pytest.mark.parametrize(
    ("fn", "sites"),
    [
        (wrong, []),
        (waits_for_wrong, ["waits_for_wrong"]),
        (waits_for_that, ["waits_for_wrong", "waits_for_that"]),
    ],
    ids=["no future", "one future", "two futures"],
)
def test_errors_come_through_futures_with_each_fork_site(
    runtime: sync.Runtime, fn: Callable[..., Any], sites: list[str]
) -> None:
    for error in outcomes(scripted_forms(fn), random(3, 4)):
        assert type(error) is ValueError
        assert str(error) == "operands could not be broadcast together with shapes (4,3) (3,4) "
        notes = [note for note in getattr(error, "__notes__", []) if "test_async_script.py" in note]
        assert [note.rpartition(" in ")[2] for note in notes] == sites
        assert all(re.fullmatch(r"forked at test_async_script.py:\d+ in \w+", note) for note in notes)


def test_errors_of_a_graph_come_through_futures(runtime: sync.Runtime) -> None:
    traced = trace(waits_for_that, random(3, 3))
    for error in outcomes({"traced": traced}, random(3, 4)):
        assert type(error) is ValueError
        assert str(error) == "operands could not be broadcast together with shapes (4,3) (3,4) "
        notes = error.__notes__
        assert any("float32[3, 3]" in note and "float32[3, 4]" in note for note in notes), "both shapes"
        assert sum("waits_for_wrong" in note for note in notes) == 1
        assert sum("waits_for_that" in note for note in notes) == 1


# -- test_async_grad_guard_*: of what surrounds a fork, NumPy has its error state


def error_states(x: Array) -> Any:
    inside = sync.wait(fork(np.geterr))
    return inside["over"], np.geterr()["over"]


@pytest.mark.parametrize("over", ["raise", "ignore"])
def test_the_error_state_around_the_call_holds_inside_of_the_fork_and_after_the_wait(
    runtime: sync.Runtime, over: Any
) -> None:
    for form in scripted_forms(error_states).values():
        with np.errstate(over=over):
            assert form(random(1)) == (over, over)
            assert sync.wait(fork(form, random(1))) == (over, over)
