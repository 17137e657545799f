"""Where a function was written: its definition in the syntax tree of its file, with the file's own line numbers."""

from __future__ import annotations

import ast
import linecache
import warnings
from functools import lru_cache
from types import FunctionType
from typing import NamedTuple

from asyncjit.errors import ScriptError

FILES_KEPT = 16  # chosen: the trees of so many files, for all functions of a module are scripted at about one time


class Source(NamedTuple):
    """A function's definition, and the class around it, after which private names are called."""

    definition: ast.FunctionDef
    class_name: str | None


def find_source(fn: FunctionType) -> Source:
    """Return the definition of `fn`, which is not to be changed.

    Raises
    ------
    ScriptError
        If there is no source, or it is not what `fn` was made of.
    """
    code = fn.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, fn.__globals__))
    place = f"{code.co_filename}:{code.co_firstlineno}: `{fn.__qualname__}`"
    if not text:
        raise ScriptError(
            f"{place} has no source that could be read, as code run by exec() has none: write the function in a file, "
            "or make it `async def` and await asyncjit.wait(fut) in it"
        )
    try:
        source = _definitions(text, code.co_filename).get((code.co_name, code.co_firstlineno))
    except SyntaxError:
        source = None
    if source is None or _arguments(source) != code.co_varnames[: len(_arguments(source))]:
        raise ScriptError(f"{place} is not what stands there now: restart the program, the file has changed")
    return source


@lru_cache(FILES_KEPT)
def _definitions(text: str, filename: str) -> dict[tuple[str, int], Source]:
    """Return all functions of a file by name and first line, which is that of a decorator if there is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever imported the file has seen them
        todo: list[tuple[ast.AST, str | None]] = [(_parsed(text, filename), None)]
    found = {}
    while todo:
        node, class_name = todo.pop()
        if isinstance(node, ast.FunctionDef):
            found[node.name, first_line(node)] = Source(node, class_name)
        if isinstance(node, ast.ClassDef):
            class_name = node.name
        todo += [(child, class_name) for child in ast.iter_child_nodes(node)]
    return found


def _parsed(text: str, filename: str) -> ast.Module:
    """Parse a file; again where CPython before 3.11.8 fails since garbage that it collects meanwhile parses too."""
    try:
        return ast.parse(text, filename)
    except SystemError:  # "recursion depth mismatch", gh-106905; a lost error that logs its traceback is such garbage
        return ast.parse(text, filename)


def first_line(definition: ast.FunctionDef) -> int:
    """Return what a function's code has as `co_firstlineno`."""
    return min([definition.lineno, *(decorator.lineno for decorator in definition.decorator_list)])


def is_private(name: str) -> bool:
    """Whether a name is another one inside of a class."""
    return name.startswith("__") and not name.endswith("__")


def _arguments(source: Source) -> tuple[str, ...]:
    """Return the names of a function's arguments as its code has them."""
    arguments, class_name = source.definition.args, (source.class_name or "").lstrip("_")
    ordered = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = [argument.arg for argument in ordered if argument is not None]
    return tuple(f"_{class_name}{name}" if class_name and is_private(name) else name for name in names)
