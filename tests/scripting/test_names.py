"""What names mean: what is known plain, what is known to wait, and what only the run shows."""

from __future__ import annotations

import ast
import functools
import math
import os.path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import sync
from asyncjit.scripting import script
from asyncjit.scripting.compiling import cells_of
from asyncjit.scripting.names import Callee, Names, is_generator, own_nodes, waiting_functions
from asyncjit.scripting.sources import find_source

alias = sync.wait
later: Any = None
partial_wait = functools.partial(asyncjit.wait_all)


@script
def scripted() -> None:
    pass


class Model:
    """Has attributes of every kind."""

    loud = alias
    static = staticmethod(sync.wait_all)
    number = 3

    def __call__(self) -> None: ...

    @property
    def wait(self) -> Any:
        raise AssertionError("a property was read")

    @script
    def forward(self) -> None: ...


class Called:
    """Is scripted where it is called."""

    @script
    def __call__(self) -> None: ...


class Lazy(ModuleType):
    """A module that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        assert name != "wait"
        raise AttributeError(name)


# What a function binds itself hides these.
parameter = args = local = item = module = imported = manager = error = captured = others = starred = more = len
walrus = inner = fn = unbound = __x = len
model, called, lazy = Model(), Called(), Lazy("lazy")


def make(is_early: bool) -> Any:
    waits, plain = sync.wait, len

    def fn(parameter: Any, *args: Any) -> Any:
        global later
        local = waits, plain, unbound
        later = [item + 1 for item in args]
        try:
            import asyncjit as module
            from asyncjit.sync import wait as imported

            with parameter as manager:
                pass
        except Exception as error:
            str(error)
        match parameter:
            case {"a": captured, **others}:
                pass
            case [starred, *more]:
                pass
        (lambda inner: inner)(walrus := 1)
        return local, module, imported, manager, captured, others, starred, more, walrus

    if is_early:
        return fn
    unbound: Any = None
    return None


KNOWN = {
    Callee.PLAIN: [
        *("len", "print", "super", "np.sum", "np.linalg.norm", "os.path.join", "math.sqrt", "plain", "asyncjit.fork"),
        *(
            "str.join",
            "Model",
            "Model.__call__",
            "sync.fork",
            "model",
            "make",
            "sync.Runtime",
            "'a'.join",
            "f'{x}'.strip",
        ),
    ],
    Callee.WAITS: [
        *("alias", "waits", "sync.wait", "asyncjit.wait", "asyncjit.sync.wait", "sync.wait_all", "asyncjit.wait_all"),
        *("sync.call", "asyncjit.call", "asyncjit.Future.wait", "sync.Future.exception", "Model.loud", "Model.static"),
        *("scripted", "Model.forward", "called", "partial_wait"),
    ],
    Callee.UNKNOWN: [
        *(
            "parameter",
            "args",
            "local",
            "later",
            "item",
            "module",
            "imported",
            "manager",
            "error",
            "captured",
            "others",
        ),
        *("starred", "more", "walrus", "inner", "fn", "unbound", "missing", "missing.wait", "module.wait", "self.wait"),
        *("model.wait", "model.forward", "lazy.wait", "Model.missing", "f(x)", "x[0]", "f(x).wait", "[].append", "__x"),
        *("np.missing", "Model.number.wait"),
    ],
}
USED = math, np, os.path  # by the texts above


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KNOWN.items() for text in texts])
def test_a_callee_is_known_by_what_it_is(kind: Callee, text: str) -> None:
    fn = make(is_early=True)
    names = Names(fn, find_source(fn).definition, cells_of(fn))
    assert names.callee(ast.parse(text, mode="eval").body) is kind


def function(text: str) -> ast.FunctionDef:
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition


def test_own_nodes_are_those_of_the_functions_own_frame() -> None:
    definition = function(
        "def f(x=no1):\n"
        "    [yes1 for yes2 in yes3]\n"
        "    (no2 for no3 in yes4 if no4 for no5 in no6)\n"
        "    lambda no7=yes5, *, k=yes6: no8\n"
        "    @yes7\n"
        "    def no9(a: no10 = yes8) -> no11: no12\n"
        "    @yes9\n"
        "    class no13(yes10, m=yes11): no14\n"
        "    async def no15(): no16\n"
    )
    names = sorted(node.id for node in own_nodes(definition) if isinstance(node, ast.Name))
    assert names == sorted(f"yes{n}" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(): yield 1", True),
        ("def f(): x = yield from g()", True),
        ("def f(): return lambda: (yield)", False),
        ("def f():\n  def g(): yield", False),
        ("def f():\n  async def g(): yield", False),
        ("def f(): return (x for x in y)", False),
    ],
)
def test_generator_functions_are_told(text: str, expected: bool) -> None:
    assert is_generator(function(text)) is expected


def nests(x: Any) -> Any:
    def known(f: Any) -> Any:
        return sync.wait(f)

    def by_method(f: Any) -> Any:
        return f.wait()

    def calls_known(f: Any) -> Any:
        return [known(y) for y in f]

    def recurses(f: Any) -> Any:
        return nests(f)

    def quiet(f: Any) -> Any:
        return f.upper(), len(f), sync.wait

    def around(f: Any) -> Any:
        def within() -> Any:
            return quiet(f).result()

        return within

    class Inner:
        def method(self, f: Any) -> Any:
            return self.other(f)

        def other(self, f: Any) -> Any:
            return calls_known(f)

    return by_method, recurses, around, Inner


def test_a_function_waits_if_it_calls_a_nested_one_that_does() -> None:
    def fn(x: Any, recursing: bool) -> Any:
        def inner() -> Any:
            return x.wait()

        return inner() if recursing else None

    def gn(x: Any) -> Any:
        return gn(x) + fn(x, recursing=True)

    for function, expected in ((fn, {"fn", "inner"}), (gn, set())):
        plain: Any = function
        definition = find_source(plain).definition
        waiting = waiting_functions(definition, Names(plain, definition, {}))
        assert {each.name for each in waiting} == expected


def test_nested_functions_wait_if_they_call_what_waits() -> None:
    fn: Any = nests
    definition = find_source(fn).definition
    waiting = waiting_functions(definition, Names(fn, definition, {}))
    expected = {"known", "by_method", "calls_known", "recurses", "within", "method", "other"}
    assert {function.name for function in waiting} == expected
