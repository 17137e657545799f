"""Where rewritten calls stand: in the places that CPython's compiler gives to the instructions of the plain ones.

A call is one instruction after its arguments. It bears the location of the whole call; but a method's, and the look-up
of an attribute's, begin at the name, if that is on a later line than what it is looked up in.
"""

from __future__ import annotations

import ast
from typing import NamedTuple, TypeVar

Node = TypeVar("Node", bound=ast.AST)

MAX_METHOD_ARGUMENTS = 30  # CPython's STACK_USE_GUIDELINE: with so many, it calls a method as any other attribute


class Place(NamedTuple):
    """The location of a node."""

    lineno: int
    col_offset: int
    end_lineno: int | None
    end_col_offset: int | None


def place_of(node: ast.expr | ast.stmt) -> Place:
    """Return the location of a node."""
    return Place(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)


def start_of(node: ast.expr) -> Place:
    """Return where the first instruction stands that evaluates `node`."""
    return Place(node.lineno, node.col_offset, node.lineno, node.col_offset)


def place_of_callee(node: ast.Call) -> Place:
    """Return where the last instruction stands that evaluates the callee."""
    place = place_of(node.func)
    return _from_attribute(place, node.func) if isinstance(node.func, ast.Attribute) else place


def place_of_call(node: ast.Call) -> Place:
    """Return where the instructions stand that make the call: at the name of a method, if it is called as one."""
    place = place_of(node)
    has_stars = any(isinstance(argument, ast.Starred) for argument in node.args) or any(
        keyword.arg is None for keyword in node.keywords
    )
    num_arguments = len(node.args) + len(node.keywords) + bool(node.keywords)
    if isinstance(node.func, ast.Attribute) and not has_stars and num_arguments < MAX_METHOD_ARGUMENTS:
        return _from_attribute(place, node.func)
    return place


def _from_attribute(place: Place, node: ast.Attribute) -> Place:
    """Begin a place at an attribute's name, if that is on a later line."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    if place.lineno == node.end_lineno:
        return place
    return place._replace(lineno=node.end_lineno, col_offset=max(0, node.end_col_offset - len(node.attr)))


def placed(node: Node, place: Place) -> Node:
    """Give a node a location, and return it."""
    for name, value in place._asdict().items():
        setattr(node, name, value)
    return node


def helper(name: str, place: Place) -> ast.Name:
    """Return a name that `compiling` replaces by what it stands for."""
    node = placed(ast.Name(name, ast.Load()), place)
    node.is_helper = True  # type: ignore[attr-defined]
    return node


def called(name: str, argument: ast.expr, place: Place, first: Place) -> ast.Call:
    """Return the call of a helper at `place`, with an argument that begins at `first`."""
    return placed(ast.Call(helper(name, first), [argument], []), place)
