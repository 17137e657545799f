"""`Into`: a call that writes into an array, as a pure one.

It writes into a new array like that one. So NumPy itself computes, casts and refuses as it would have, whatever dtype
and shape the array has in a run: nothing of that is fixed while tracing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asyncjit.graph.dummies import dummy_like
from asyncjit.graph.trees import map_tree

_OTHER_THAN_OPERATORS = (np.power, np.matmul)  # `**=` has faster loops for squares and roots, `@=` other rules


@dataclass(frozen=True, slots=True)
class Into:
    """Calls a function with new arrays for `out`: `Into(np.exp)(x, out=y)` is what `y` would be.

    Without `out` it is an operator's: `Into(np.add, operator.iadd)(y, x)` is what `y` would be after `y += x`.
    """

    fn: Callable[..., Any]
    operator: Callable[[Any, Any], Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        if self.operator is None:
            return self.fn(*args, **{**kwargs, "out": map_tree(_new, kwargs["out"])})
        target, other = args
        if not isinstance(target, np.ndarray):  # a scalar is bound anew
            return self.operator(target, other)
        if self.fn not in _OTHER_THAN_OPERATORS:
            return self.fn(target, other, out=np.empty_like(target))
        return self.operator(target.copy(order="K"), other)


def _new(array: Any) -> Any:
    return None if array is None else np.empty_like(array)


def shown_into(fn: Any, shown: Any, dummies: Sequence[Any], what: str) -> Any:
    """Return dummies of what `fn` gives when it writes what is `shown` into arrays like `dummies`; None is none.

    Raises
    ------
    ValueError
        If the shapes differ, as NumPy would.
    TypeError
        If the dtype can't be cast, as NumPy would.
    """
    results = shown if isinstance(shown, tuple) else (shown,)
    written = [new if old is None else _written(fn, new, old, what) for new, old in zip(results, dummies, strict=True)]
    return tuple(written) if isinstance(shown, tuple) else written[0]


def _written(fn: Any, new: Any, old: Any, what: str) -> Any:
    fits = np.broadcast_shapes(new.shape, old.shape) if isinstance(fn, np.ufunc) else new.shape  # they fill `out`
    if fits != old.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {old.shape} doesn't match the broadcast shape {new.shape}"
        )
    if not np.can_cast(new.dtype, old.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast output of {what} from {new.dtype!r} to {old.dtype!r} with casting rule 'same_kind'"
        )
    return dummy_like(old)
