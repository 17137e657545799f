"""What makes a function of this package one operation of a graph; `Module` does the same for layers.

While a program is traced, a handler stands in the context. It takes the call, and asks only for arrays of the shapes
and dtypes that it would return, which `shapes` gives without computing much.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asyncjit._core.context import current_handler

P = ParamSpec("P")
T = TypeVar("T")

Shapes = Callable[..., Any]  #: called with the function and its arguments


def operation(shapes: Shapes | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that lets a handler take a function's calls.

    Parameters
    ----------
    shapes : callable, optional
        `shapes(fn, *args, **kwargs)` gives arrays as `fn(*args, **kwargs)` does, of any values; else `fn` itself is
        called.
    """

    def mark(fn: Callable[P, T]) -> Callable[P, T]:
        @wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            handler = current_handler()
            if handler is None:
                return fn(*args, **kwargs)
            taken: T = handler.called(call, args, kwargs)
            return taken

        vars(call)["_shapes"] = fn if shapes is None else partial(shapes, fn)
        return call

    return mark


def by_element(fn: Callable[..., Any], input: ArrayLike, *args: Any, **kwargs: Any) -> NDArray[Any]:
    """Give the shapes of a function that computes with each element by itself; or with rows, whose length matters not.

    What it returns may have further axes behind those of the input.
    """
    return spread(lambda x: fn(x, *args, **kwargs), input, 0)


def spread(fn: Callable[[NDArray[Any]], NDArray[Any]], input: ArrayLike, num_kept: int) -> NDArray[Any]:
    """Call `fn` on one element of all axes of `input` but the last `num_kept`, and spread the result over them all."""
    x = np.asarray(input)
    num_leading = max(0, x.ndim - num_kept)
    with suppress(Exception):
        y = fn(x[(slice(0, 1),) * num_leading])
        return np.broadcast_to(y, x.shape[:num_leading] + y.shape[num_leading:])
    return fn(x)  # says what is wrong of the real shape


def unset(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of this shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)
