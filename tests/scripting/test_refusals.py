"""What can't be scripted is refused by `script`, with the file, the line and what to write instead."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asyncjit import sync
from asyncjit.errors import AsyncJitError, ScriptError
from asyncjit.scripting import script
from tests.scripting.importing import imported, line_of

HEAD = """\
import functools, itertools, multiprocessing, threading
from functools import partial, reduce
import asyncjit as aj
from asyncjit import sync
from asyncjit.sync import wait, wait as w

lock = threading.Lock()
class Guard(threading.Condition): pass
class Futures:
    get = staticmethod(sync.wait)
    all = sync.wait_all
scripted_already = None

"""
WRONG = {
    "a lambda": (
        "return map(lambda fut: wait(fut), x)  # here",
        "`wait(fut)` inside of a lambda: write a nested function (def), which can wait",
    ),
    "a lambda's method": (
        "return lambda: aj.Future.result(x)  # here",
        "`aj.Future.result(x)` inside of a lambda: write a nested function",
    ),
    "a generator expression": (
        "return sum(w(fut) for fut in x)  # here",
        "`w(fut)` inside of a generator expression: write the list [w(fut) for fut in x]",
    ),
    "a generator's condition": (
        "return any(fut for fut in x if sync.wait(fut))  # here",
        "`sync.wait(fut)` inside of a generator expression: write the list [fut for fut in x if sync.wait(fut)]",
    ),
    "a generator's second iterable": (
        "return list(y for fut in x for y in wait(fut))  # here",
        "`wait(fut)` inside of a generator expression: write the list [y for fut in x for y in wait(fut)]",
    ),
    "a nested generator expression": (
        "def g(futs):\n        return list(wait(fut) for fut in futs)  # here\n    return g(x)",
        "`wait(fut)` inside of a generator expression",
    ),
    "a generator function": (
        "def g():\n        yield aj.wait(x)  # here\n    return list(g())",
        "`aj.wait(x)` inside of the generator function `g`: return a list instead",
    ),
    "a class body": (
        "class C:\n        y = [Futures.get(x)]  # here\n    return C.y",
        "`Futures.get(x)` inside of the body of class C: take the value before the class, into a variable",
    ),
    "a method's default": (
        "class C:\n        def m(self, y=wait(x)): pass  # here\n    return C",
        "`wait(x)` inside of the body of class C",
    ),
    "a property": (
        "class C:\n        @property\n        def y(self):\n            return wait(x)  # here\n    return C().y",
        "`wait(x)` inside of the property `y`: make it a method",
    ),
    "a cached property": (
        "class C:\n        @functools.cached_property\n        def y(self): return wait(x)  # here\n    return C().y",
        "`wait(x)` inside of the property `y`: make it a method",
    ),
    "a property's setter": (
        "class C:\n        y = property()\n        @y.setter\n        def y(self, f): wait(f)  # here\n    return C()",
        "`wait(f)` inside of the property `y`: make it a method",
    ),
    "a constructor of Python's own": (
        "class C:\n        def __new__(cls): return wait(x)  # here\n    return C()",
        "`wait(x)` inside of `__new__`: wait in a method that you call",
    ),
    "the key of a sort": (
        "return sorted(x, key=wait)  # here",
        "`sorted(x, key=wait)` would call `wait` itself, where nothing can be awaited: wait first, as in [wait(item)",
    ),
    "the key of a method": ("x.sort(key=sync.wait)  # here", "`x.sort(key=sync.wait)` would call `sync.wait` itself"),
    "a map": (
        "return list(map(wait, x))  # here",
        "`map(wait, x)` would call `wait` itself, where nothing can be awaited: wait first, as in [wait(item) for item",
    ),
    "a reduction": ("return reduce(Futures.get, x)  # here", "would call `Futures.get` itself"),
    "an iterator": ("return list(itertools.starmap(aj.sync.wait, x))  # here", "would call `aj.sync.wait` itself"),
    "a lock": (
        "with lock:  # here\n        return wait(x)",
        "a wait inside of `with lock`, whose manager belongs to its thread, which a scripted function gives back at a "
        "wait: take the value before, or after, the block",
    ),
    "a lock among others": (
        "with open(x) as f, lock as l:  # here\n        if x:\n            return [w(y) for y in f]",
        "a wait inside of `with lock as l`, whose manager belongs to its thread",
    ),
    "a lock made there": (
        "with threading.RLock():  # here\n        wait(x)",
        "a wait inside of `with threading.RLock()`",
    ),
    "a condition of its own class": ("with Guard():  # here\n        wait(x)", "a wait inside of `with Guard()`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_call_known_to_wait_is_refused_where_it_cannot_be_awaited(tmp_path: Path, name: str) -> None:
    body, message = WRONG[name]
    module = imported(f"{HEAD}def fn(x):\n    {body}\n", tmp_path)
    with pytest.raises(ScriptError, match=re.escape(message)) as caught:
        script(module.fn)
    assert str(caught.value).startswith(f"{module.__file__}:{line_of(module)}: ")


RIGHT = {
    "a lambda that waits for nothing": "return (lambda y: len(y))(x)",
    "a lambda's default": "return (lambda y=wait(x): y)()",
    "a lambda with what is only found at run time": "return lambda fut: fut.wait()",
    "a generator's first iterable": "return sum(y for y in wait(x))",
    "a generator function that waits for nothing": "def g():\n        yield x\n    return list(g())",
    "a generator function's default": "def g(y=wait(x)):\n        yield y\n    return list(g())",
    "a property that waits for nothing": "class C:\n        @property\n        def y(self): return x\n    wait(C().y)",
    "a class's base": "class C(wait(x)): pass\n    return C",
    "a wait that is only named": "return [wait, {'key': w}, print(wait)]",
    "a wait in a partial": "return partial(wait, timeout=1.0)(x)",
    "another's key": "return dict(key=len, other=wait)",
    "a wait forked": "return sync.wait(aj.fork(wait, x))",
    "a lock around what waits for nothing": "with lock:\n        x.append(x.pop())",
    "a wait in a function made under a lock": "with lock:\n        def g(): return wait(x)\n    return g()",
    "an async function": "async def g():\n        return [await aj.wait(y) for y in x], lambda: aj.wait(x)\n    g()",
}


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_else_is_refused(tmp_path: Path, name: str) -> None:
    script(imported(f"{HEAD}def fn(x):\n    {RIGHT[name]}\n", tmp_path).fn)


class Thing:
    """Has a property, a cached method and no `forward`."""

    @property
    def value(self) -> int:
        return 1

    @functools.lru_cache  # noqa: B019
    def cached(self) -> int:
        return 1

    @functools.cached_property
    def later(self) -> int:
        return 1

    def __call__(self) -> int:
        return 1


def generator() -> Any:
    yield sync


square = lambda x: x * x  # noqa: E731

HERE = re.escape(__file__)
UNFIT: dict[str, tuple[Any, str]] = {
    "a lambda": (square, rf"^{HERE}:\d+: a lambda can't be scripted: write a function \(def\)$"),
    "a generator function": (
        generator,
        rf"^{HERE}:\d+: the generator function `generator` can't be scripted, .*: return a list instead$",
    ),
    "a class": (Thing, r"Thing'>, of type type, can't be scripted: script its methods, by @script above each, or an"),
    "a property": (vars(Thing)["value"], r"of type property, can't be scripted: write a method"),
    "a cached property": (vars(Thing)["later"], r"of type cached_property, can't be scripted: write a method"),
    "a cache": (Thing.cached, r"of type _lru_cache_wrapper, can't be scripted: put @script below the decorator"),
    "an instance": (Thing(), r"of type Thing, can't be scripted: script the method `__call__` of its class"),
    "a builtin": (len, r"^<built-in function len>, of type .* can't be scripted: it has no Python source, and waits"),
    "a ufunc": (np.negative, r"^<ufunc 'negative'>, of type ufunc, can't be scripted: it has no Python source"),
    "a builtin's method": ([].append, r"can't be scripted: it has no Python source, and waits for nothing: fork"),
    "a static method of these": (staticmethod(len), r"^<built-in function len>"),
    "no function": (3, r"^3, of type int, can't be scripted: script a function, a method or a module$"),
    "None": (None, r"^None, of type NoneType, can't be scripted"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_plain_function_is_refused(name: str) -> None:
    thing, message = UNFIT[name]
    with pytest.raises(ScriptError, match=message):
        script(thing)


@pytest.mark.parametrize("name", ["__new__", "__init_subclass__", "__class_getitem__"])
def test_methods_that_python_wants_plain_are_refused(tmp_path: Path, name: str) -> None:
    module = imported(f"class C:\n    def {name}(cls): return cls\n", tmp_path)
    message = f"^{re.escape(module.__file__)}:2: `C.{name}` can't be scripted, .*: wait in a method that you call$"
    with pytest.raises(ScriptError, match=message):
        script(vars(module.C)[name] if name == "__new__" else vars(module.C)[name].__func__)


@pytest.mark.parametrize(
    "body",
    [
        "return x" + " + x" * 1000,
        "if x: pass\n" + "".join(f"    elif x == {n}: return {n}\n" for n in range(500)),
    ],
    ids=["operators", "elifs"],
)
def test_code_nested_too_deeply_to_be_rewritten_is_refused(tmp_path: Path, body: str) -> None:
    module = imported(f"def fn(x):\n    {body}\n", tmp_path)
    with pytest.raises(ScriptError, match=f"^{re.escape(module.__file__)}:1: `fn` is nested too deeply .*: divide it"):
        script(module.fn)


def test_the_line_of_a_refused_function_is_its_own() -> None:
    with pytest.raises(ScriptError, match=f":{generator.__code__.co_firstlineno}: "):
        script(generator)


def test_the_error_is_one_of_asyncjit_and_a_runtime_error() -> None:
    assert issubclass(ScriptError, AsyncJitError)
    assert issubclass(ScriptError, RuntimeError)


def test_code_run_by_exec_has_no_source() -> None:
    namespace: dict[str, Callable[[int], int]] = {}
    exec("\ndef fn(x): return x", namespace)
    message = r"^<string>:2: `fn` has no source that could be read, .*: write the function in a file, or make it `async"
    with pytest.raises(ScriptError, match=message):
        script(namespace["fn"])
