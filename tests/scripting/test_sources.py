"""A function's definition is found in its file, whatever else is there."""

from __future__ import annotations

import ast
import doctest
import gc
import linecache
import os
import textwrap
import warnings
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from asyncjit.errors import ScriptError
from asyncjit.scripting import sources
from asyncjit.scripting.compiling import codes_within
from asyncjit.scripting.sources import find_source
from tests.scripting.importing import imported

SAME_NAMES = """\
import functools

def fn(): return 1

@functools.cache
@functools.cache
def fn(): return 2

class A:
    def fn(self):
        return 3

    class _B:
        @property
        @functools.cache  # a comment
        def fn(self): return 4

        def gn(self):
            def fn(): return 5
            if self:
                def fn(): return 6
            return fn, [lambda: 7]

async def an():
    def fn(): return 8
    return fn
"""


def functions_named_fn(module: Any) -> list[CodeType]:
    source = Path(module.__file__).read_text()
    return [code for code in codes_within(compile(source, module.__file__, "exec")) if code.co_name == "fn"]


def test_functions_of_one_name_are_told_apart_by_their_first_line(tmp_path: Path) -> None:
    module = imported(SAME_NAMES, tmp_path)
    found = [find_source(FunctionType(code, vars(module))) for code in functions_named_fn(module)]
    assert [ast.unparse(source.definition.body[0]) for source in found] == [
        f"return {n}" for n in (1, 2, 3, 4, 5, 6, 8)
    ]
    assert [source.class_name for source in found] == [None, None, "A", "_B", "_B", "_B", None]


def test_line_and_column_numbers_are_those_of_the_file() -> None:
    def here(x: int) -> int:
        return x

    fn: Any = here
    definition = find_source(fn).definition
    assert definition.lineno == fn.__code__.co_firstlineno
    assert definition.body[0].col_offset == 8
    assert linecache.getline(__file__, definition.body[0].lineno) == "        return x\n"


def test_a_file_that_was_changed_is_read_again_and_refused_if_the_function_is_gone(tmp_path: Path) -> None:
    module = imported("def fn(x):\n    return x\n", tmp_path)
    find_source(module.fn)
    path = Path(module.__file__)
    for changed in ("# more\n" * 3 + path.read_text(), "def fn(x, y):\n    return x\n", "def fn(x:\n"):
        path.write_text(changed)
        message = rf"^{path}:1: `fn` is not what stands there now: restart the program, the file has changed$"
        with pytest.raises(ScriptError, match=message):
            find_source(module.fn)


def test_a_file_that_has_gone_has_no_source(tmp_path: Path) -> None:
    module = imported("def fn(x):\n    return x\n", tmp_path)
    os.remove(module.__file__)  # noqa: PTH107
    with pytest.raises(ScriptError, match=r"`fn` has no source that could be read"):
        find_source(module.fn)


def test_all_kinds_of_arguments_are_compared(tmp_path: Path) -> None:
    module = imported("def fn(a, /, b, *c, d=1, **e): f = 1\ndef gn(*, a, b): pass\ndef hn(): c = 1\n", tmp_path)
    for fn in (module.fn, module.gn, module.hn):
        assert find_source(fn).definition.name == fn.__name__


def test_warnings_of_a_file_are_not_repeated(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = imported("def fn(x):\n    assert (x, 1)\n    return x is 1, '\\d'\n", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_source(module.fn).definition.name == "fn"


def test_functions_of_doctests_have_a_source() -> None:
    text = """
    >>> from asyncjit.scripting import script
    >>> @script
    ... def f(x):
    ...     return x.upper()
    >>> f("a")
    'A'
    """
    test = doctest.DocTestParser().get_doctest(textwrap.dedent(text), {"__name__": "doc"}, "doc", None, None)
    results = doctest.DocTestRunner(verbose=False).run(test)
    assert (results.failed, results.attempted) == (0, 3)


class Parses:
    """Garbage that parses when it is collected, as the traceback of a lost error does."""

    num_parsed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("[(1 + 2) * 3]")
        Parses.num_parsed += 1


def test_a_file_is_parsed_though_garbage_is_collected_that_parses() -> None:
    text = "\n".join(f"x{n} = (((1 + {n})))" for n in range(300))
    before = gc.get_threshold()
    gc.collect()
    Parses()
    gc.set_threshold(30, 1_000, 1_000)
    try:
        assert len(sources._parsed(text, "garbage.py").body) == 300
    finally:
        gc.set_threshold(*before)
    assert Parses.num_parsed == 1
