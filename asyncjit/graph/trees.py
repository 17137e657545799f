"""Nested tuples, lists and dicts whose leaves were taken out: what goes into a graph and comes out of it.

A *template* is such a structure with a `Ref` in the place of each leaf; all else in it is constant. The arguments and
results of a node are templates, so a graph's values are always flat, and calls keep their Python form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Ref:
    """The place of leaf number `index` in a template."""

    index: int


def map_tree(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Return `tree` with `fn` applied to every leaf; tuples (named ones too), lists, dicts and slices are no leaves."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind(map_tree(fn, item) for item in tree)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):  # isinstance would ask a traced array for its class
        return kind(*(map_tree(fn, item) for item in tree))
    if kind is dict:
        return {key: map_tree(fn, item) for key, item in tree.items()}
    if kind is slice:
        return slice(*(map_tree(fn, bound) for bound in (tree.start, tree.stop, tree.step)))
    return fn(tree)


def leaves_of(tree: Any) -> Iterator[Any]:
    """Yield the leaves of `tree`, constants among them, in order."""
    leaves: list[Any] = []
    map_tree(leaves.append, tree)
    return iter(leaves)


def take_out(is_leaf: Callable[[Any], bool], tree: Any) -> tuple[Any, list[Any]]:
    """Return the template of `tree` and the leaves that `is_leaf` picks, each once, in order of first occurrence."""
    taken: list[Any] = []
    places: dict[int, Ref] = {}

    def place_of(leaf: Any) -> Any:
        if not is_leaf(leaf):
            return leaf
        if id(leaf) not in places:
            places[id(leaf)] = Ref(len(taken))
            taken.append(leaf)
        return places[id(leaf)]

    return map_tree(place_of, tree), taken


def fill(template: Any, leaves: Sequence[Any]) -> Any:
    """Return `template` with the leaves put in."""
    return map_tree(lambda leaf: leaves[leaf.index] if type(leaf) is Ref else leaf, template)


def refs_of(template: Any) -> list[int]:
    """Return the indices of the leaves that `template` has places for, in order, repeated where they are."""
    return [leaf.index for leaf in leaves_of(template) if type(leaf) is Ref]


def is_flat(template: Any) -> bool:
    """Whether a template is a plain tuple of all its leaves, each once, in order."""
    return type(template) is tuple and all(
        type(item) is Ref and item.index == index for index, item in enumerate(template)
    )


def leaves_at(template: Any, tree: Any) -> list[Any]:
    """Return the leaves of `tree` in the places of `template`, by index: the inverse of `fill`.

    Raises
    ------
    ValueError
        If `tree` has not the structure of `template`, other constants, or two objects where there was one.
    """
    found: dict[int, Any] = {}
    _collect(template, tree, found)
    return [found[index] for index in range(len(found))]


def _collect(template: Any, tree: Any, found: dict[int, Any]) -> None:
    if type(template) is Ref:
        if found.setdefault(template.index, tree) is not tree:
            raise ValueError(f"expected one and the same object in two places, got two, of type {type(tree).__name__}")
    elif isinstance(template, (tuple, list)):
        if not isinstance(tree, (tuple, list)) or len(tree) != len(template):
            raise ValueError(f"expected {_outline(template)}, got {_outline(tree)}")
        for inner, item in zip(template, tree, strict=True):
            _collect(inner, item, found)
    elif isinstance(template, dict):
        if not isinstance(tree, dict) or set(tree) != set(template):
            raise ValueError(f"expected {_outline(template)}, got {_outline(tree)}")
        for key, inner in template.items():
            _collect(inner, tree[key], found)
    elif type(template) is slice and type(tree) is slice:
        for inner, item in zip(_bounds(template), _bounds(tree), strict=True):
            _collect(inner, item, found)
    elif not _is_same(template, tree):
        raise ValueError(f"expected the constant {template!r}, got {tree!r}")


def _bounds(tree: slice) -> tuple[Any, Any, Any]:
    return tree.start, tree.stop, tree.step


def _is_same(constant: Any, other: Any) -> bool:
    """Whether two constants are equal; arrays element by element, and NaN to itself."""
    if constant is other:
        return True
    if type(constant) is not type(other):
        return False
    if isinstance(constant, np.ndarray):
        return constant.dtype == other.dtype and np.array_equal(constant, other, equal_nan=constant.dtype.kind in "fc")
    is_nan = constant != constant and other != other  # as only NaN is
    return bool(is_nan or constant == other)


def _outline(tree: Any) -> str:
    if isinstance(tree, (tuple, list)):
        return f"a {type(tree).__name__} of {len(tree)}"
    if isinstance(tree, dict):
        return f"a dict with the keys {sorted(map(str, tree))}"
    return f"a {type(tree).__name__}"
