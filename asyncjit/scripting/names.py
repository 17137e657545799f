"""What a function's names mean at the time when it is scripted, as far as that can be told.

A callee that is *known plain* is called as it stands; one that is *known to wait* can be refused where a wait can't be;
all others are looked at when the call is made. Known is what is reached from a global, a closure or a builtin through
modules and classes; a name that the function itself binds anywhere, its own name included, is unknown. Nothing is
executed to find out: no property, no `__getattr__`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

from asyncjit._core.scripts import waits
from asyncjit.scripting.sources import is_private

UNKNOWN: Final = object()
WAITING_NAMES = frozenset({"wait", "wait_all", "result"})  # an unknown callee of this name may well wait

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Callee(Enum):
    """What is known of a callee."""

    PLAIN = 0
    WAITS = 1
    UNKNOWN = 2


class Names:
    """The names of one function.

    Parameters
    ----------
    fn : function
    definition : ast.FunctionDef
        What it was made of.
    cells : mapping of str to cell
        Its closure, by name.
    """

    def __init__(self, fn: FunctionType, definition: ast.FunctionDef, cells: Mapping[str, CellType]) -> None:
        self._bound = set(_bound_names(definition))
        self._cells = cells
        self._globals = fn.__globals__
        untyped: Any = fn  # not all type checkers know of __builtins__
        self._builtins: dict[str, Any] = untyped.__builtins__

    def resolve(self, node: ast.expr) -> Any:
        """Return what a name or dotted path means now, or UNKNOWN."""
        if isinstance(node, ast.Name):
            return self._look_up(node.id)
        if isinstance(node, ast.Attribute):
            return _member(self.resolve(node.value), node.attr)
        return UNKNOWN

    def callee(self, node: ast.expr) -> Callee:
        """Return what is known of a callee."""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Constant | ast.JoinedStr):
            return Callee.PLAIN
        found = self.resolve(node)
        if found is UNKNOWN:
            return Callee.UNKNOWN
        return Callee.WAITS if waits(found) else Callee.PLAIN

    def _look_up(self, name: str) -> Any:
        if name in self._bound or is_private(name):
            return UNKNOWN
        if name in self._cells:
            try:
                return self._cells[name].cell_contents
            except ValueError:  # not bound yet
                return UNKNOWN
        return self._globals.get(name, self._builtins.get(name, UNKNOWN))


def _member(owner: Any, name: str) -> Any:
    if isinstance(owner, ModuleType):
        return vars(owner).get(name, UNKNOWN)
    if isinstance(owner, type):
        found = inspect.getattr_static(owner, name, UNKNOWN)
        return found.__func__ if isinstance(found, staticmethod | classmethod) else found
    return UNKNOWN


def _bound_names(definition: ast.FunctionDef) -> Iterator[str]:
    """Yield every name that is bound anywhere inside: whose it is does not matter, for unknown is always right."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.MatchMapping):
            yield node.rest or ""
        else:  # definitions, exception handlers, captures of a pattern, type parameters
            name = getattr(node, "name", None)
            if isinstance(name, str):
                yield name


def own_nodes(definition: Function) -> Iterator[ast.AST]:
    """Yield what is executed in the function's own frame, or in a comprehension of it."""
    todo: list[ast.AST] = list(definition.body)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, Function):
            todo += [*node.decorator_list, *defaults_of(node.args)]
        elif isinstance(node, ast.Lambda):
            todo += defaults_of(node.args)
        elif isinstance(node, ast.ClassDef):
            todo += [*node.decorator_list, *node.bases, *node.keywords]
        elif isinstance(node, ast.GeneratorExp):
            todo.append(node.generators[0].iter)
        else:
            todo += ast.iter_child_nodes(node)


def defaults_of(arguments: ast.arguments) -> list[ast.expr]:
    """Return the defaults' expressions."""
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]


def is_generator(definition: Function) -> bool:
    """Whether a function yields."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(definition))


def waiting_functions(definition: ast.FunctionDef, names: Names) -> set[ast.FunctionDef]:
    """Return those of a function and the functions nested in it whose own code waits, as far as can be told.

    That is: calls something known to wait, or unknown and named like a wait, or one of these functions; a nested one
    also the function that it is nested in, which will be scripted.
    """
    waiting = {definition} if _may_wait(definition, names, WAITING_NAMES) else set()
    missing = {node for node in ast.walk(definition) if isinstance(node, ast.FunctionDef)} - waiting
    called = WAITING_NAMES | {definition.name}
    while found := {function for function in missing - {definition} if _may_wait(function, names, called)}:
        missing -= found
        waiting |= found
        called |= {function.name for function in found}
    if definition in missing and _may_wait(definition, names, called - {definition.name}):
        waiting.add(definition)
    return waiting


def _may_wait(function: ast.FunctionDef, names: Names, called: frozenset[str]) -> bool:
    for node in own_nodes(function):
        if isinstance(node, ast.Call):
            callee = names.callee(node.func)
            if callee is Callee.WAITS or (callee is Callee.UNKNOWN and last_name(node.func) in called):
                return True
    return False


def last_name(node: ast.expr) -> str:
    """Return the name that a callee ends with."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
