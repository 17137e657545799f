"""What operations on large arrays return, without computing it: a rule for each, by shapes.

A rule takes the function and its arguments, dummies among them, and returns dummies. The dtype it learns by calling
the function on arrays of one element. A rule that does not fit the call (`NotCovered`), and an operation that has
none, is called on the dummies as it is: right, and slow. So only what large models spend their time on is here; what
returns views is not, for that costs nothing, and whether it is a view must be seen.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from asyncjit.graph.dummies import SMALL, Array, call_with_dummies, is_array, resized, shrunk
from asyncjit.graph.trees import leaves_of, map_tree

Rule = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]


class NotCovered(Exception):
    """The rule does not know this form of the call."""


def elementwise(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Broadcast the operands."""
    shape = np.broadcast_shapes(*(np.shape(arg) for arg in args))
    small = [_small_operand(arg) for arg in args]
    result = call_with_dummies(fn, small, shrunk(kwargs))
    return map_tree(lambda leaf: resized(leaf, shape), result)


def _small_operand(arg: Any) -> Any:
    return shrunk(np.asarray(arg) if isinstance(arg, (list, tuple)) else arg)


def like_first(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Keep the first argument's shape; an axis that is None runs over all elements, in one dimension."""
    array = _first_array(args)
    result = call_with_dummies(fn, shrunk(list(args)), kwargs)
    if result.ndim == array.ndim:
        return resized(result, array.shape)
    if result.ndim == 1:
        return resized(result, (array.size,))
    raise NotCovered


def reduction(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Leave the reduced axes out, or at length 1."""
    array = _first_array(args)
    if 0 in array.shape or "where" in kwargs:
        raise NotCovered
    # The axes are found by their lengths: an axis that is left has the length it had, and all else is 1 or not there.
    # Where one is left is seen by giving each, in turn, the length 2.
    result = call_with_dummies(fn, shrunk(list(args)), kwargs)
    shape = [1] * result.ndim
    for axis, length in enumerate(array.shape):
        probe = np.broadcast_to(
            array[(slice(0, 1),) * array.ndim], [2 if other == axis else 1 for other in range(array.ndim)]
        )
        seen = call_with_dummies(fn, [probe, *args[1:]], kwargs).shape
        if 2 in seen:
            shape[seen.index(2)] = length
    return resized(result, tuple(shape))


def concatenate(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Add the lengths of one axis; all others must agree, and of them one element is enough."""
    arrays = [np.asarray(array) for array in args[0]]
    axis = args[1] if len(args) > 1 else kwargs.get("axis", 0)
    if axis is None or not arrays or any(array.ndim == 0 for array in arrays):
        raise NotCovered
    axis = operator.index(axis)
    if not -arrays[0].ndim <= axis < arrays[0].ndim:
        raise NotCovered
    axis %= arrays[0].ndim
    others = {array.shape[:axis] + array.shape[axis + 1 :] for array in arrays}
    if len(others) != 1 or len({array.ndim for array in arrays}) != 1:
        raise NotCovered
    result = call_with_dummies(fn, [[_shrink_to_one(array) for array in arrays], *args[1:]], kwargs)
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    return resized(result, tuple(shape))


def stack(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Put a new axis before one; all shapes must agree."""
    arrays = [np.asarray(array) for array in args[0]]
    if len({array.shape for array in arrays}) != 1:
        raise NotCovered
    result = call_with_dummies(fn, [[_shrink_to_one(array) for array in arrays], *args[1:]], kwargs)
    axis = operator.index(args[1] if len(args) > 1 else kwargs.get("axis", 0)) % result.ndim
    shape = arrays[0].shape
    return resized(result, (*shape[:axis], len(arrays), *shape[axis:]))


def _shrink_to_one(array: Array) -> Array:
    small: Array = shrunk(array)
    return small


def _first_array(args: Sequence[Any]) -> Array:
    if not args or not isinstance(args[0], np.ndarray):
        raise NotCovered
    array: Array = args[0]
    return array


# -- products


def matmul(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Multiply the last two axes as matrices, and broadcast the others."""
    a, b = (np.asarray(arg) for arg in args)
    if a.ndim == 0 or b.ndim == 0 or "axes" in kwargs or "axis" in kwargs:
        raise NotCovered
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise NotCovered  # let NumPy say so
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows = a.shape[-2:-1]
    columns = b.shape[-1:] if b.ndim > 1 else ()
    return resized(_product(fn, a, b, kwargs), (*batch, *rows, *columns))


def dot(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Multiply the last axis of one with the last but one of the other."""
    a, b = (np.asarray(arg) for arg in args)
    if a.ndim == 0 or b.ndim == 0:
        return elementwise(fn, args, kwargs)
    if a.shape[-1] != b.shape[-2:][0]:
        raise NotCovered
    columns = b.shape[-1:] if b.ndim > 1 else ()
    return resized(_product(fn, a, b, kwargs), (*a.shape[:-1], *b.shape[:-2], *columns))


def inner(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Multiply the last axes."""
    a, b = (np.asarray(arg) for arg in args)
    if a.ndim == 0 or b.ndim == 0:
        return elementwise(fn, args, kwargs)
    if a.shape[-1] != b.shape[-1]:
        raise NotCovered
    return resized(_product(fn, a, b, kwargs), (*a.shape[:-1], *b.shape[:-1]))


def outer(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Multiply each element with each."""
    a, b = (np.asarray(arg) for arg in args)
    return resized(_product(fn, a, b, kwargs), (a.size, b.size))


def outer_of_ufunc(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Put the axes of one before those of the other."""
    a, b = (np.asarray(arg) for arg in args)
    result = call_with_dummies(fn, [shrunk(a), shrunk(b)], kwargs)
    return map_tree(lambda leaf: resized(leaf, a.shape + b.shape), result)


def tensordot(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Leave out the summed axes, of both."""
    a, b = (np.asarray(arg) for arg in args[:2])
    axes = args[2] if len(args) > 2 else kwargs.get("axes", 2)
    if isinstance(axes, int):
        left, right = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        left, right = ([axis] if isinstance(axis, int) else list(axis) for axis in axes)
    left, right = [axis % max(a.ndim, 1) for axis in left], [axis % max(b.ndim, 1) for axis in right]
    if [a.shape[axis] for axis in left] != [b.shape[axis] for axis in right]:
        raise NotCovered
    shape = [length for axis, length in enumerate(a.shape) if axis not in left]
    shape += [length for axis, length in enumerate(b.shape) if axis not in right]
    result = call_with_dummies(fn, [shrunk(a), shrunk(b), *args[2:]], kwargs)
    return resized(result, tuple(shape))


def einsum(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Read the lengths off the subscripts."""
    if not isinstance(args[0], str) or "." in args[0]:
        raise NotCovered
    inputs, arrow, output = args[0].replace(" ", "").partition("->")
    operands = [np.asarray(arg) for arg in args[1:]]
    lengths: dict[str, int] = {}
    for letters, operand in zip(inputs.split(","), operands, strict=False):
        if len(letters) != operand.ndim:
            raise NotCovered
        for letter, length in zip(letters, operand.shape, strict=True):
            if lengths.setdefault(letter, length) != length:
                raise NotCovered
    if len(operands) == 1 and arrow and set(output) == set(lengths):
        raise NotCovered  # it sums nothing, and gives a view
    if not arrow:
        output = "".join(letter for letter in sorted(lengths) if inputs.count(letter) == 1)
    result = call_with_dummies(fn, [args[0], *map(shrunk, operands)], kwargs)
    return resized(result, tuple(lengths[letter] for letter in output))


def convolve(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Add the lengths, keep the longer, or take their difference, as `mode` says."""
    long, short = sorted((len(args[0]), len(args[1])), reverse=True)
    given = args[2] if len(args) > 2 else kwargs.get("mode")
    default = "full" if fn is np.convolve else "valid"
    lengths = {"full": long + short - 1, "same": long, "valid": long - short + 1}
    mode = default if given is None else given
    if short == 0 or mode not in lengths:
        raise NotCovered
    result = call_with_dummies(fn, [shrunk(np.asarray(args[0])), shrunk(np.asarray(args[1])), *args[2:]], kwargs)
    return resized(result, (lengths[mode],))


def _product(fn: Callable[..., Any], a: Array, b: Array, kwargs: dict[str, Any]) -> Any:
    return call_with_dummies(fn, [_shrink_to_one(a), _shrink_to_one(b)], kwargs)


# -- linear algebra, whose values matter: ones are singular


def matrices(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call on one small matrix, tall or wide as the given ones are, and give the results their lengths."""
    array = args[0]
    if not isinstance(array, np.ndarray) or array.ndim < 2 or 0 in array.shape:
        raise NotCovered
    if fn is np.linalg.matrix_power and 1 in (*args[1:], *kwargs.values()):
        raise NotCovered  # it gives the array itself
    *batch, rows, columns = array.shape
    lengths = {2: min(rows, columns), 3: max(rows, columns)}
    small = np.eye(3 if rows > columns else 2, 3 if rows < columns else 2, dtype=array.dtype)
    result = call_with_dummies(fn, [small, *args[1:]], kwargs)
    return map_tree(lambda leaf: _of_batch(leaf, tuple(batch), lengths), result)


def _of_batch(leaf: Any, batch: tuple[int, ...], lengths: dict[int, int]) -> Any:
    if not is_array(leaf):
        return leaf
    return resized(leaf, batch + tuple(lengths[length] for length in leaf.shape))


def solve(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what has the shape of the right-hand side."""
    a, b = (np.asarray(arg) for arg in args)
    rows = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.ndim < 2 or not a.shape[-2] == a.shape[-1] == rows:
        raise NotCovered
    result = call_with_dummies(fn, [np.eye(1, dtype=a.dtype), np.ones((1,), b.dtype)], kwargs)
    core = b.shape if b.ndim == 1 else b.shape[-2:]
    return resized(result, (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *core))


def multi_dot(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Multiply all, from the first's rows to the last's columns."""
    arrays = [np.asarray(array) for array in args[0]]
    for left, right in pairwise(arrays):
        if left.shape[-1] != right.shape[0]:
            raise NotCovered
    result = call_with_dummies(fn, [[_shrink_to_one(array) for array in arrays]], kwargs)
    return resized(result, arrays[0].shape[:-1] + arrays[-1].shape[1:])


_REDUCTIONS = (
    *(np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.amax, np.amin, np.ptp, np.any, np.all),
    *(np.argmax, np.argmin, np.median, np.count_nonzero, np.nansum, np.nanprod, np.nanmean, np.nanstd, np.nanvar),
    *(np.nanmax, np.nanmin, np.nanargmax, np.nanargmin, np.nanmedian, np.linalg.norm, np.linalg.vector_norm),
)
_LIKE_FIRST = (
    *(np.cumsum, np.cumprod, np.nancumsum, np.nancumprod, np.sort, np.argsort, np.roll),
    *(np.copy, np.round, np.zeros_like, np.ones_like, np.empty_like, np.tril, np.triu, np.isneginf, np.isposinf),
)
_MATRICES = (
    *(np.linalg.inv, np.linalg.pinv, np.linalg.cholesky, np.linalg.det, np.linalg.slogdet, np.linalg.qr, np.linalg.svd),
    *(np.linalg.svdvals, np.linalg.eigh, np.linalg.eigvalsh, np.linalg.cond, np.linalg.matrix_power),
    *(np.linalg.matrix_rank, np.linalg.matrix_norm),
)

#: Taken for large arrays.
RULES: dict[Any, Rule] = {
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(_LIKE_FIRST, like_first),
    **dict.fromkeys((np.where, np.isclose, np.sinc, np.i0, operator.pow, operator.eq, operator.ne), elementwise),
    **dict.fromkeys((np.matmul, np.linalg.matmul), matmul),
    **dict.fromkeys((np.outer, np.linalg.outer), outer),
    **dict.fromkeys((np.tensordot, np.linalg.tensordot), tensordot),
    **dict.fromkeys((np.convolve, np.correlate), convolve),
    np.concatenate: concatenate,
    np.stack: stack,
    np.dot: dot,
    np.inner: inner,
    np.einsum: einsum,
    np.linalg.multi_dot: multi_dot,
}
#: Of methods, by their names.
METHOD_RULES: dict[str, Rule] = {
    **dict.fromkeys(("sum", "prod", "mean", "std", "var", "max", "min", "any", "all", "argmax", "argmin"), reduction),
    **dict.fromkeys(("cumsum", "cumprod", "argsort", "round", "copy"), like_first),
    "dot": dot,
}
#: Taken always.
MATRIX_RULES: dict[Any, Rule] = {**dict.fromkeys(_MATRICES, matrices), np.linalg.solve: solve}


def evaluate(fn: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return dummies of what `fn(*args, **kwargs)` returns, arguments being dummies and constants."""
    rule = MATRIX_RULES.get(fn)
    if rule is None and _num_elements((args, kwargs)) > SMALL:
        rule = _rule_for(fn, kwargs)
    if rule is not None:
        try:
            return rule(fn, args, kwargs)
        except NotCovered:
            pass
        except Exception:  # the call itself tells better what is wrong
            pass
    return call_with_dummies(fn, args, kwargs)


def _num_elements(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in leaves_of(tree) if isinstance(leaf, np.ndarray))


def _rule_for(fn: Any, kwargs: dict[str, Any]) -> Rule | None:
    if isinstance(fn, np.ufunc) and fn.signature is None:
        return elementwise
    owner, name = getattr(fn, "__self__", None), getattr(fn, "__name__", None)
    if isinstance(owner, np.ufunc):  # a ufunc's method
        return {"reduce": reduction, "accumulate": like_first, "outer": outer_of_ufunc}.get(str(name))
    method = getattr(fn, "method", None)
    if method == "astype":
        return None if kwargs.get("copy") is False else like_first
    if method is not None:
        return METHOD_RULES.get(method)
    rule: Rule | None = RULES.get(fn)
    return rule
