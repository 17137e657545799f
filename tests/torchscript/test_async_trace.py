"""The behaviours of TorchScript's own tests of fork and wait (PyTorch's test/jit/test_async.py): traces."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from asyncjit import Future, fork, nn, script, sync, trace
from asyncjit.errors import TraceError
from asyncjit.graph import Interpreter, dead_code, inline_fork_wait
from tests.torchscript.running import (
    FORK,
    WAIT,
    Array,
    assert_gives,
    count,
    counts,
    forms,
    random,
    scripted_forms,
)

# -- test_trace_fork_wait, _leaking, _inline


def two_negatives(x: Array) -> Any:
    return -x, -x + 1


def forks_two_negatives(x: Array) -> Any:
    future = fork(two_negatives, x)
    values = sync.wait(future)
    return values[0], values[1], x - 1


def test_a_trace_has_one_fork_and_one_wait(runtime: sync.Runtime) -> None:
    x = random(3, 4)
    graph = trace(forks_two_negatives, random(3, 4)).graph
    assert_gives((-x, -x + 1, x - 1), forms(forks_two_negatives, random(3, 4)), x)
    assert (counts(graph, FORK), counts(graph, WAIT)) == ((1, 1), (1, 1))
    assert counts(graph, "numpy::negative") == (0, 2)
    assert (str(graph).count("= prim::fork_0("), str(graph).count("aten::wait(")) == (1, 1)
    assert re.search(r"%\w+ : Future\[\(float32\[3, 4\], float32\[3, 4\]\)\] = prim::fork_0\(%x\)", str(graph))
    assert "with prim::fork_0 = graph(" in str(graph)


def test_a_value_that_leaks_from_a_fork_is_refused_in_torchscripts_words() -> None:
    leaked = []

    def fork_body(x: Array) -> Array:
        leaked.append(x + 1)
        return x + 1

    def fn(x: Array) -> Array:
        sync.wait(fork(fork_body, x))
        return leaked[0]

    expected = (
        "did not have observable data dependence with trace inputs; this probably indicates your program cannot be "
        "understood by the tracer."
    )
    with pytest.raises(TraceError, match=re.escape(expected.removesuffix("."))):
        trace(fn, random(3, 4), check_trace=False)
    assert issubclass(TraceError, RuntimeError), "as in torch"


def plus_one_and_two(x: Array) -> Any:
    return x + 1, x + 2


def forks_plus(x: Array) -> Array:
    future = fork(plus_one_and_two, x)
    value: Array = sync.wait(future)[1]
    return value


def test_the_inline_pass_leaves_no_fork_and_no_wait(runtime: sync.Runtime) -> None:
    x = random(3, 4)
    graph = inline_fork_wait(trace(forks_plus, random(3, 4)).graph)
    assert (counts(graph, FORK), counts(graph, WAIT)) == ((0, 0), (0, 0))
    assert not any(text in str(graph) for text in ("prim::fork", "aten::wait"))
    assert count(graph, "numpy::add") == 2
    assert count(dead_code(graph), "numpy::add") == 1
    assert_gives(x + 2, {"inlined": Interpreter(graph), "pruned": Interpreter(dead_code(graph))}, x)


# -- test_trace_fork_wait_list_modulecalls, test_trace_modulecalls_with_different_output_types


def add_one(x: Array) -> Array:
    return x + np.ones(x.shape, np.float32)


class GivesFutures(nn.Module):
    def forward(self, x: Array) -> list[Future[Array]]:
        futures: list[Future[Array]] = []
        for item in [x] * 3:
            futures.append(fork(add_one, item))
        return futures


class Sums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gives_futures = GivesFutures()

    def forward(self, x: Array) -> Array:
        total: Array = x + sum([future.wait() for future in self.gives_futures(x)])
        return total


def test_a_submodule_returns_a_list_of_futures(runtime: sync.Runtime) -> None:
    x = random(5, 5)
    assert_gives(x + (0 + (x + 1) + (x + 1) + (x + 1)), forms(Sums(), x), x)
    graph = trace(Sums(), x).graph
    assert (counts(graph, FORK), counts(graph, WAIT)) == ((3, 3), (3, 3))


class GivesBoth(nn.Module):
    def forward(self, x: Array) -> tuple[Array, Future[Array]]:
        future = fork(add_one, (x))
        return x, future


class AddsBoth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gives_both = GivesBoth()

    def forward(self, x: Array) -> Any:
        y, future = self.gives_both(x)
        return y + future.wait()


def test_a_submodule_returns_an_array_and_a_future(runtime: sync.Runtime) -> None:
    x = random(5, 5)
    assert_gives(x + (x + 1), forms(AddsBoth(), x), x)


def future_of_a_future(x: Array) -> Future[Any]:
    return fork(lambda y: {"inner": fork(add_one, y)}, x)


def test_a_trace_returns_a_future_of_a_future(runtime: sync.Runtime) -> None:
    x = random(2)
    for form in forms(future_of_a_future, x).values():
        np.testing.assert_array_equal(form(x).wait()["inner"].wait(), x + 1)


# -- test_future_subtyping


def double_plus_one(x: int) -> int:
    return x + x + 1


def future_of_any(x: int) -> Future[Any]:
    return fork(double_plus_one, (x))


def waits_for_any(x: int) -> Any:
    future = future_of_any(x)
    return future.wait()


def test_a_future_of_an_integer_is_one_of_anything(runtime: sync.Runtime) -> None:
    for form in scripted_forms(waits_for_any).values():
        assert form(20) == sync.wait(fork(form, 20)) == 41


# -- the examples of the reference of torch.jit.fork


def foo(a: Any, b: int) -> Any:
    return a + b


def bar(a: Any) -> Any:
    future: Future[Any] = fork(foo, a, b=2)
    return sync.wait(future)


def test_the_first_example_of_the_reference(runtime: sync.Runtime) -> None:
    script_bar = script(bar)
    input = np.array(2)
    assert script_bar(input) == bar(input) == 4
    graph = trace(bar, (input,)).graph
    assert "fork" in str(graph)
    for form, way in itertools.product(forms(bar, input).values(), (sync.call, lambda fn, x: sync.wait(fork(fn, x)))):
        assert way(form, input) == 4


class AddMod(nn.Module):
    def forward(self, a: Any, b: int) -> Any:
        return a + b


class Mod(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mod = AddMod()

    def forward(self, input: Any) -> Any:
        future = fork(self.mod, input, b=2)
        return sync.wait(future)


def test_the_second_example_of_the_reference(runtime: sync.Runtime) -> None:
    input = np.array(2)
    mod = Mod()
    assert mod(input) == script(mod).forward(input) == 4
    for form in forms(mod, input).values():
        assert form(input) == sync.wait(fork(form, input)) == 4
