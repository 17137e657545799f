"""The transformation: scripted is plain, in every construct, in the same order, with the same errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncjit import Future, sync
from asyncjit.scripting import script
from tests.scripting import constructs, nested_constructs
from tests.scripting.calls import Log, constructs_of
from tests.scripting.importing import imported
from tests.scripting.running import WAYS, is_suspended, outcome

CONSTRUCTS = constructs_of(constructs) + constructs_of(nested_constructs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fn", CONSTRUCTS, ids=lambda fn: fn.__name__)
def test_scripted_is_plain(runtime: sync.Runtime, fn: Callable[..., Any], way: str) -> None:
    plain_log: Log = []
    scripted_log: Log = []
    assert outcome(WAYS[way], script(fn), scripted_log, 2) == outcome(fn, plain_log, 2)
    assert repr(scripted_log) == repr(plain_log)


PLACES = {
    "a statement": "fut.wait()",
    "an argument": "str(fut.wait())",
    "a keyword": "dict(a=fut.wait())",
    "a callee": "fut.wait()(1)",
    "a loop's iterable": "for _ in fut.wait(): pass",
    "a loop's condition": "while fut.wait(): pass",
    "a condition": "if fut.wait(): pass",
    "an assertion": "assert fut.wait()",
    "an error": "raise fut.wait()",
    "a comprehension's value": "[fut.wait() for _ in range(1)]",
    "a comprehension's key": "{fut.wait(): 1 for _ in range(1)}",
    "a comprehension's condition": "{1 for _ in range(1) if fut.wait()}",
    "a comprehension's inner iterable": "[1 for _ in range(1) for _ in fut.wait()]",
    "a generator's first iterable": "(1 for _ in fut.wait())",
    "an f-string": "f'{fut.wait()}'",
    "an f-string's width": "f'{1:{fut.wait()}}'",
    "a subscript": "[][fut.wait()] = 1",
    "an augmented assignment": "x = 1; x += fut.wait()",
    "an annotated assignment": "fut.wait().x: int = 1",
    "a deletion": "del fut.wait().x",
    "a manager": "with fut.wait(): pass",
    "a subject": "match fut.wait():\n        case _: pass",
    "a guard": "match 1:\n        case 1 if fut.wait(): pass",
    "an exception's class": "try: 1 // 0\n    except fut.wait(): pass",
    "a handler": "try: 1 // 0\n    except ZeroDivisionError: fut.wait()",
    "a handler of groups": "try: 1 // 0\n    except* ZeroDivisionError: fut.wait()",
    "an else": "try: pass\n    except ValueError: pass\n    else: fut.wait()",
    "a finally": "try: 1 // 0\n    finally: fut.wait()",
    "a block": "with memoryview(b''): fut.wait()",
    "a lambda's default": "lambda x=fut.wait(): x",
    "a default": "def g(x=fut.wait()): pass",
    "a keyword's default": "def g(*, x=fut.wait()): pass",
    "a decorator": "@fut.wait()\n    def g(): pass",
    "a decorator of a coroutine function": "@fut.wait()\n    async def g(): pass",
    "a decorator of a class": "@fut.wait()\n    class C: pass",
    "a base": "class C(fut.wait()): pass",
    "a metaclass": "class C(metaclass=fut.wait()): pass",
    "a nested function": "def g(): return fut.wait()\n    g()",
    "a nested class's method": "class C:\n        def g(self): return fut.wait()\n    C().g()",
    "a nested function of a generator function": (
        "def steps():\n        def g(): return fut.wait()\n        yield g\n    next(steps())()"
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_suspends_wherever_it_waits(tmp_path: Path, place: str) -> None:
    module = imported(f"def fn(fut):\n    {PLACES[place]}\n", tmp_path)
    assert is_suspended(script(module.fn), Future())
