"""A function of rewritten source: code that stands where the plain one's stands, with its globals, cells and defaults.

The definition is compiled inside of a function whose parameters are the names of the closure, and a class that bears
the name of the class around it, so that names mean what they meant and private ones are mangled alike. Neither is ever
executed: the code is taken out, and given the plain function's own cells. What the rewriting calls (`_begin` and the
like) comes as constants of the code, so no name is added that the user's own could meet, or `locals()` would show.
"""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import operator
import warnings
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

OUTER = "\0asyncjit"  # no identifier, and with a NUL in no text of anybody's program
FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
_FRAME = "def outer():\n class _:\n  pass"


def compiled(
    fn: FunctionType,
    definition: ast.AsyncFunctionDef,
    class_name: str | None,
    cells: Mapping[str, CellType],
    helpers: Mapping[str, object],
) -> FunctionType:
    """Return the coroutine function of `definition`, which was made of the source of `fn`; changes `definition`."""
    code = _finished(_compile(fn, definition, class_name), fn.__code__.co_qualname, helpers)
    closure = tuple(cells.get(name) or CellType() for name in code.co_freevars)
    steps = FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, closure)
    steps.__kwdefaults__ = fn.__kwdefaults__
    steps.__qualname__ = fn.__qualname__
    steps.__module__ = fn.__module__
    steps.__doc__ = fn.__doc__
    return steps


def cells_of(fn: FunctionType) -> dict[str, CellType]:
    """Return the closure of a function by name."""
    return dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))


def codes_within(code: CodeType) -> Iterator[CodeType]:
    """Yield all code inside of `code`, outermost first."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes_within(constant)


def _compile(fn: FunctionType, definition: ast.AsyncFunctionDef, class_name: str | None) -> CodeType:
    module = ast.parse(_FRAME)
    outer: Any = module.body[0]
    outer.name = OUTER
    outer.args.args = [ast.arg(name) for name in fn.__code__.co_freevars]
    outer.body[0].name = class_name or "_"  # a name of underscores alone mangles nothing
    outer.body[0].body = [_Placed().visit(definition)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever imported the file has seen them
        whole = compile(
            ast.fix_missing_locations(module),
            fn.__code__.co_filename,
            "exec",
            flags=fn.__code__.co_flags & FUTURES,
            dont_inherit=True,
        )
    wanted = fn.__code__.co_name, fn.__code__.co_firstlineno, inspect.CO_COROUTINE  # the class may bear its name
    return next(
        code
        for code in codes_within(whole)
        if (code.co_name, code.co_firstlineno, code.co_flags & inspect.CO_COROUTINE) == wanted
    )


class _Placed(ast.NodeTransformer):
    """Puts constants in the places of the helpers, which code can't refer to by name."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if getattr(node, "is_helper", False):
            return ast.copy_location(ast.Constant(OUTER + node.id), node)
        return node


def _finished(code: CodeType, qualname: str, helpers: Mapping[str, object]) -> CodeType:
    """Return the code with the helpers in place of their names, and with the qualified names of the plain function."""
    return _renamed(code, code.co_qualname, qualname, {OUTER + name: helper for name, helper in helpers.items()})


def _renamed(code: CodeType, old: str, new: str, helpers: Mapping[str, object]) -> CodeType:
    def finished(constant: Any) -> Any:
        if isinstance(constant, CodeType):
            return _renamed(constant, old, new, helpers)
        if isinstance(constant, str) and constant.startswith(OUTER):
            return helpers[constant] if constant in helpers else new + constant.removeprefix(old)  # a class's name
        return constant

    constants = tuple(finished(constant) for constant in code.co_consts)
    return code.replace(co_consts=constants, co_qualname=new + code.co_qualname.removeprefix(old))
