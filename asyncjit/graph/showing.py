"""What a call would give, shown by dummies: `show_call`; and what is asked of the dummies then.

Values decide on a shape where other integers or bools in the arguments give a result of another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, NoReturn

import numpy as np

from asyncjit.graph.dummies import is_array, other_dummy
from asyncjit.graph.ir import Node
from asyncjit.graph.memories import Memory
from asyncjit.graph.places import refuse
from asyncjit.graph.rules import evaluate
from asyncjit.graph.tracer import Tracer
from asyncjit.graph.trees import Ref, fill, leaves_of, map_tree


def show_call(kind: str, fn: Callable[..., Any], template: Any, dummies: list[Any]) -> Any:
    """Return dummies of what a call gives, its arguments being a template and the dummies in it.

    Raises
    ------
    TraceError
        If it writes into its arguments, or their values decide on a shape.
    """

    def returned(leaves: list[Any]) -> Any:
        args, kwargs = fill(template, leaves)
        return evaluate(fn, args, kwargs)

    others = [leaf if other is None else other for leaf, other in ((leaf, other_dummy(leaf)) for leaf in dummies)]
    is_decided = isinstance(fn, np.ufunc) or all(map(is_, dummies, others))
    try:
        shown = returned(dummies)
    except Exception as error:
        if "read-only" in str(error):
            refuse(f"{kind} writes into a traced array", "use its result instead, and no out=, copy=False or the like")
        if is_decided or _attempt(returned, others) is None:
            raise
        _refuse_by_values(kind)
    seen = None if is_decided else _attempt(returned, others)
    if seen is not None and _shapes(seen) != _shapes(shown):
        _refuse_by_values(kind)
    return shown


def _attempt(fn: Callable[[list[Any]], Any], leaves: list[Any]) -> Any:
    """Return what `fn` returns, None if it raises: an index 1 into one element, say, which tells nothing."""
    try:
        return fn(leaves)
    except Exception:
        return None


def _refuse_by_values(kind: str) -> NoReturn:
    refuse(
        f"{kind}: the shape of its result depends on the values of a traced array",
        "a graph's shapes do not; compute all elements and choose with np.where(condition, a, b)",
    )


def _shapes(tree: Any) -> list[Any]:
    return [leaf.shape if is_array(leaf) else leaf for leaf in leaves_of(tree)]


def take_out_arrays(tree: Any, kind: str) -> tuple[Any, list[Any]]:
    """Return the template of what a call gives, and its arrays; TraceError for a number that is none."""
    leaves: list[Any] = []

    def place_of_leaf(leaf: Any) -> Any:
        if not is_array(leaf):
            if isinstance(leaf, (int, float, complex)) and not isinstance(leaf, bool):
                refuse(
                    f"{kind} gives a Python {type(leaf).__name__}, {leaf!r}, which would be fixed in the graph",
                    "return an array",
                )
            return leaf
        if type(leaf) is not np.ndarray and not isinstance(leaf, np.generic):
            leaf = np.asarray(leaf)
        if leaf.dtype.hasobject:
            refuse(f"{kind} gives an array of Python objects", "a graph has arrays of numbers; convert it outside")
        leaves.append(leaf)
        return Ref(len(leaves) - 1)

    return map_tree(place_of_leaf, tree), leaves


def memories_of(leaf: Any, node: Node, tracers: Sequence[Tracer]) -> tuple[Memory, ...]:
    """Return whose memory a result of a node is a view of, or may be in some run."""
    if not isinstance(leaf, np.ndarray):
        return ()
    is_any = leaf.size == 0 or _is_sometimes_view(node)  # of an empty view nothing can be seen
    shared = [
        memory
        for tracer in tracers
        if isinstance(tracer._dummy, np.ndarray) and (is_any or np.may_share_memory(leaf, tracer._dummy))
        for memory in tracer._memories
    ]
    constants = [one for one in leaves_of((node.args, node.kwargs)) if isinstance(one, np.ndarray)]
    if any(is_any or np.may_share_memory(leaf, constant) for constant in constants):
        shared.append(Memory(is_foreign=True))
    return tuple(shared)


def _is_sometimes_view(node: Node) -> bool:
    """Whether dtype and memory order, which may be others in a run, decide if a result is a view."""
    if node.operation == "numpy::astype":
        return any(leaf is False for leaf in leaves_of((node.args, node.kwargs)))  # copy=False
    return node.operation in ("numpy::reshape", "numpy::ravel", "numpy::conjugate")
