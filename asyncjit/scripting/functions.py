"""`script` for what is no module: functions, methods and what decorators make of them."""

from __future__ import annotations

import ast
import functools
import inspect
from copy import deepcopy
from types import CellType, FunctionType, MethodType
from typing import Any, NoReturn

from asyncjit._core.scripts import Block, Nested, begin, finish, managed
from asyncjit._core.stepping import ScriptFunction
from asyncjit.errors import ScriptError
from asyncjit.scripting.compiling import cells_of, codes_within, compiled
from asyncjit.scripting.names import Callee, Names, own_nodes, waiting_functions
from asyncjit.scripting.rewriting import IMPLICIT, Rewriter
from asyncjit.scripting.sources import find_source


def script_callable(fn: Any) -> Any:
    """Return the scripted form of a function, method, static or class method, or partial."""
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(script_callable(fn.__func__))
    if isinstance(fn, MethodType):
        return MethodType(script_callable(fn.__func__), fn.__self__)
    if isinstance(fn, functools.partial):
        return functools.partial(script_callable(fn.func), *fn.args, **fn.keywords)
    if isinstance(fn, ScriptFunction) or is_async(fn):
        return fn
    if not isinstance(fn, FunctionType):
        _refuse(fn)
    place = f"{fn.__code__.co_filename}:{fn.__code__.co_firstlineno}"
    if fn.__name__ == "<lambda>" or fn.__code__.co_name == "<lambda>":
        raise ScriptError(f"{place}: a lambda can't be scripted: write a function (def)")
    if inspect.isgeneratorfunction(fn):
        raise ScriptError(
            f"{place}: the generator function `{fn.__qualname__}` can't be scripted, for its caller would have to wait "
            "in each step: return a list instead"
        )
    if fn.__name__ in IMPLICIT:
        raise ScriptError(
            f"{place}: `{fn.__qualname__}` can't be scripted, for Python wants a plain function there: "
            "wait in a method that you call"
        )
    return script_function(fn)


def is_async(fn: Any) -> bool:
    """Whether `fn` suspends by itself already."""
    return inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)


def script_function(fn: FunctionType) -> ScriptFunction[..., Any]:
    """Compile a plain function into one whose waits suspend.

    If it wraps another (a decorator's wrapper), that is scripted too, in a cell of its own.
    """
    try:
        return _script_function(fn)
    except RecursionError:
        raise ScriptError(
            f"{fn.__code__.co_filename}:{fn.__code__.co_firstlineno}: `{fn.__qualname__}` is nested too deeply to be "
            "rewritten, as by hundreds of operators in one expression, or of elifs: divide it, or use a loop or a dict"
        ) from None


def _script_function(fn: FunctionType) -> ScriptFunction[..., Any]:
    source = find_source(fn)
    cells = cells_of(fn)
    wrapped = _script_wrapped(fn, cells)
    rewriter = Rewriter(Names(fn, source.definition, cells), fn.__code__.co_filename)
    rewritten = rewriter.rewritten(deepcopy(source.definition))
    plain = {(code.co_name, code.co_firstlineno): code for code in codes_within(fn.__code__)}
    alive = {key: (plain[key], text) for key, text in rewriter.nested.items() if key in plain}  # Python drops dead code
    helpers = {"_begin": begin, "_finish": finish, "_block": Block, "_managed": managed, "_script": Nested(alive)}
    text = _text(rewritten)
    steps = compiled(fn, rewritten, source.class_name, cells, helpers)
    return ScriptFunction(fn, steps, text if wrapped is None else f"{text}\n\n\n{wrapped.code}")


def has_source(fn: FunctionType) -> bool:
    """Whether the source of a function can be had."""
    try:
        find_source(fn)
    except ScriptError:
        return False
    return True


def may_wait(fn: FunctionType) -> bool:
    """Whether a function, or one nested in it, waits by itself, as far as can be told from its source."""
    definition = find_source(fn).definition
    return bool(waiting_functions(definition, Names(fn, definition, cells_of(fn))))


def may_call(fn: FunctionType) -> bool:
    """Whether the function's own code calls what is not known to be plain."""
    definition = find_source(fn).definition
    names = Names(fn, definition, cells_of(fn))
    calls = [node for node in own_nodes(definition) if isinstance(node, ast.Call)]
    return any(names.callee(call.func) is not Callee.PLAIN for call in calls)


def _script_wrapped(fn: FunctionType, cells: dict[str, CellType]) -> ScriptFunction[..., Any] | None:
    """Script the plain function that `fn` wraps, and put it into a new cell in place of the plain one's."""
    wrapped = getattr(fn, "__wrapped__", None)
    if not isinstance(wrapped, FunctionType) or is_async(wrapped) or inspect.isgeneratorfunction(wrapped):
        return None
    for name, cell in cells.items():
        if _content(cell) is wrapped:
            scripted: ScriptFunction[..., Any] = script_callable(wrapped)
            cells[name] = CellType(scripted)
            return scripted
    return None


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _text(definition: ast.AsyncFunctionDef) -> str:
    """Return the source of the rewritten function, which Python's decorators have yet to see."""
    decorators, definition.decorator_list = definition.decorator_list, []
    text = ast.unparse(definition)
    definition.decorator_list = decorators  # they tell where the code begins
    return text


def _refuse(fn: Any) -> NoReturn:
    what = f"{fn!r}, of type {type(fn).__name__},"
    if isinstance(fn, type):
        advice = "script its methods, by @script above each, or an instance that has a `forward`"
    elif isinstance(fn, property | functools.cached_property):
        advice = "write a method, for reading an attribute can't wait"
    elif hasattr(fn, "__wrapped__"):
        advice = "put @script below the decorator that made it, next to the function"
    elif not callable(fn):
        advice = "script a function, a method or a module"
    elif inspect.isbuiltin(fn) or type(fn).__module__ in ("builtins", "numpy"):
        advice = "it has no Python source, and waits for nothing: fork and call it as it is"
    else:
        advice = "script the method `__call__` of its class, or its `forward`"
    raise ScriptError(f"{what} can't be scripted: {advice}")
