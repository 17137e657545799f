"""The one transformation of scripted code: `f(x)` becomes `await _finish(_begin(f)(x))`, unless `f` is known plain.

Everything else stays as it is: `begin` evaluates the callee where Python does, before the arguments, and gives it back
if it is plain. Around it: `with` blocks in which something may wait have their managers looked at (`_managed`), and
nested functions that wait become scripted ones (`_script`, their innermost decorator). Code in which nothing can be
awaited (lambdas, generators, class bodies) is left alone, and refused if it holds a call known to wait.

New nodes stand where the instructions of the call that they replace would (`places`), so that tracebacks and line
events are those of the plain function.
"""

from __future__ import annotations

import ast
import builtins
import functools
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from asyncjit._core.scripts import is_tied
from asyncjit.errors import ScriptError
from asyncjit.scripting.names import (
    UNKNOWN,
    Callee,
    Function,
    Names,
    is_generator,
    last_name,
    waiting_functions,
)
from asyncjit.scripting.places import called, helper, place_of, place_of_call, place_of_callee, placed, start_of

# What is written in C and calls its arguments.
CALLERS = frozenset(
    {
        *(builtins.sorted, builtins.min, builtins.max, builtins.map, builtins.filter, builtins.iter, functools.reduce),
        *(itertools.accumulate, itertools.dropwhile, itertools.filterfalse, itertools.groupby),
        *(itertools.starmap, itertools.takewhile),
    }
)
IMPLICIT = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})  # `type` wants plain functions there
LOCK_MAKERS: tuple[Any, ...] = (threading.Lock, threading.RLock)

Key = tuple[str, int]  #: the name of a nested function and its first line, which identify its code


class Frozen(NamedTuple):
    """Code in which nothing can be awaited, and what to write instead."""

    place: str
    advice: str


UNTOUCHED = Frozen("a plain function", "")  # it holds no wait of its own


class Rewriter(ast.NodeTransformer):
    """Rewrites one function; `rewritten` is what to begin with.

    Parameters
    ----------
    names : Names
        What its names mean.
    filename : str
        For errors.
    """

    def __init__(self, names: Names, filename: str) -> None:
        self._names = names
        self._filename = filename
        self._frozen: Frozen | None = None
        self._waiting: set[ast.FunctionDef] = set()
        self._num_rewritten = 0  # calls, in the function that is being rewritten
        self._num_known = 0  # those of them that are known to wait
        self.nested: dict[Key, str] = {}  #: the text of each nested function that is scripted

    def rewritten(self, definition: ast.FunctionDef) -> ast.AsyncFunctionDef:
        """Return the coroutine function; changes `definition`."""
        self._waiting = waiting_functions(definition, self._names)
        definition.body = [self.visit(statement) for statement in definition.body]
        return _as_async(definition)

    # -- calls

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Await the call, unless its callee is known plain."""
        callee = self._names.callee(node.func)
        self._refuse_callbacks(node)
        if self._frozen is not None:
            if callee is Callee.WAITS:
                self._refuse(node, f"`{ast.unparse(node)}` inside of {self._frozen.place}", self._frozen.advice)
            return self._generic(node)
        first, begin_at, call_at = start_of(node.func), place_of_callee(node), place_of_call(node)
        self._generic(node)
        if callee is Callee.PLAIN:
            return node
        self._num_known += callee is Callee.WAITS
        self._num_rewritten += 1
        begin = called("_begin", node.func, begin_at, first)
        call = placed(ast.Call(begin, node.args, node.keywords), call_at)
        return placed(ast.Await(called("_finish", call, call_at, first)), call_at)

    def _refuse_callbacks(self, node: ast.Call) -> None:
        """Refuse to hand what waits to C code, which would call it outside of the scripted function."""
        callee = self._names.resolve(node.func)
        calls_arguments = any(callee is caller for caller in CALLERS)
        handed = [keyword.value for keyword in node.keywords if calls_arguments or keyword.arg == "key"]
        for argument in [*node.args, *handed] if calls_arguments else handed:
            if self._names.callee(argument) is Callee.WAITS:
                self._refuse(
                    argument,
                    f"`{ast.unparse(node)}` would call `{ast.unparse(argument)}` itself, where nothing can be awaited",
                    f"wait first, as in [{ast.unparse(argument)}(item) for item in ...], and hand it the values",
                )

    # -- code that is frozen

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        """Rewrite the defaults, which are evaluated outside."""
        self._visit_defaults(node.args)
        with self._inside(Frozen("a lambda", "write a nested function (def), which can wait")):
            node.body = self.visit(node.body)
        return node

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        """Rewrite the first iterable, which is evaluated outside."""
        listed = ast.unparse(ast.ListComp(node.elt, node.generators))
        node.generators[0].iter = self.visit(node.generators[0].iter)
        with self._inside(Frozen("a generator expression", f"write the list {listed}")):
            node.elt = self.visit(node.elt)
            for position, generator in enumerate(node.generators):
                generator.ifs = [self.visit(test) for test in generator.ifs]
                if position:
                    generator.iter = self.visit(generator.iter)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        """Rewrite decorators and bases; the body is frozen, but for its methods."""
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        frozen = Frozen(f"the body of class {node.name}", "take the value before the class, into a variable")
        with self._inside(frozen):
            node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        """Leave it as it is: it awaits by itself."""
        self._visit_outside(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        """Make a nested function that waits a scripted one."""
        frozen = self._frozen_function(node)
        self._visit_outside(node)
        with self._inside(frozen):
            node.body = [self.visit(statement) for statement in node.body]
        if frozen is not None:
            return node
        first_line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        scripted = _as_async(node)
        self.nested[node.name, first_line] = ast.unparse(scripted)
        scripted.decorator_list.append(helper("_script", place_of(node)))
        return scripted

    def _frozen_function(self, node: ast.FunctionDef) -> Frozen | None:
        """Return why a nested function is left as it is; None if it is to be scripted."""
        if is_generator(node):
            return Frozen(f"the generator function `{node.name}`", "return a list instead")
        if node.name in IMPLICIT:
            return Frozen(f"`{node.name}`", "wait in a method that you call")
        if any(self._is_property(decorator) for decorator in node.decorator_list):
            return Frozen(f"the property `{node.name}`", "make it a method")
        return None if node in self._waiting else UNTOUCHED

    def _is_property(self, decorator: ast.expr) -> bool:
        if last_name(decorator) in ("getter", "setter", "deleter"):
            return True
        kind = self._names.resolve(decorator)
        return isinstance(kind, type) and issubclass(kind, property | functools.cached_property)

    # -- statements

    def visit_With(self, node: ast.With) -> ast.stmt:
        """Look at the managers of a block in which something may wait."""
        rewritten, known = self._num_rewritten, self._num_known
        tied = [ast.unparse(item) for item in node.items if self._is_known_tied(item.context_expr)]
        body = [self.visit(statement) for statement in node.body]
        if tied and self._num_known > known:
            self._refuse(
                node,
                f"a wait inside of `with {tied[0]}`, whose manager belongs to its thread, which a scripted function "
                "gives back at a wait",
                "take the value before, or after, the block",
            )
        has_calls = self._num_rewritten > rewritten
        node.items = [self.visit(item) for item in node.items]
        node.body = body
        if has_calls:
            first = start_of(node.items[0].context_expr)
            for item in node.items:
                manager = item.context_expr
                item.context_expr = called("_managed", manager, place_of(manager), start_of(manager))
            block = placed(ast.Call(helper("_block", first), [], []), first)
            node.items.insert(0, ast.withitem(block))
        return node

    def _is_known_tied(self, manager: ast.expr) -> bool:
        """Whether it is tied to its thread, as far as can be told without executing it."""
        if not isinstance(manager, ast.Call):
            found = self._names.resolve(manager)
            return found is not UNKNOWN and is_tied(type(found))
        maker = self._names.resolve(manager.func)
        return any(maker is each for each in LOCK_MAKERS) or (isinstance(maker, type) and is_tied(maker))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        """Leave the annotation as it is."""
        node.target = self.visit(node.target)
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_TypeAlias(self, node: ast.stmt) -> ast.stmt:
        """Leave it as it is: its value is evaluated elsewhere, if ever."""
        return node

    # -- means

    def _generic(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        return node

    def _visit_outside(self, node: Function) -> None:
        """Rewrite what a definition evaluates where it stands, annotations excepted."""
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        self._visit_defaults(node.args)

    def _visit_defaults(self, arguments: ast.arguments) -> None:
        arguments.defaults = [self.visit(default) for default in arguments.defaults]
        arguments.kw_defaults = [default and self.visit(default) for default in arguments.kw_defaults]

    @contextmanager
    def _inside(self, frozen: Frozen | None) -> Iterator[None]:
        """Visit code with a frame of its own."""
        before = self._frozen, self._num_rewritten, self._num_known
        self._frozen = frozen
        yield
        self._frozen, self._num_rewritten, self._num_known = before

    def _refuse(self, node: ast.expr | ast.stmt, what: str, advice: str) -> NoReturn:
        raise ScriptError(f"{self._filename}:{node.lineno}: {what}: {advice}")


def _as_async(node: ast.FunctionDef) -> ast.AsyncFunctionDef:
    fields: dict[str, Any] = dict(ast.iter_fields(node))
    return ast.copy_location(ast.AsyncFunctionDef(**fields), node)
