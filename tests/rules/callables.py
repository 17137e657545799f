"""Every kind of thing that can be called, with arguments for it and the value that it gives."""

import asyncio
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from asyncjit import nn


def add(a: int, b: int = 1) -> int:
    return a + b


def add_named(fn: int, self: int = 0, args: int = 0, kwargs: int = 0, frame: int = 0, scope: int = 0) -> int:
    return fn + self + args + kwargs + frame + scope


async def add_async(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


async def add_named_async(fn: int, self: int) -> int:
    return fn + self


def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def decorated_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)

    return wrapper


class Adder:
    """Something with methods of every kind."""

    def __init__(self, b: int) -> None:
        self.b = b

    def method(self, a: int) -> int:
        return a + self.b

    async def method_async(self, a: int) -> int:
        await asyncio.sleep(0)
        return a + self.b

    @classmethod
    def class_method(cls, a: int) -> int:
        return cls(1).b + a

    @staticmethod
    def static_method(a: int) -> int:
        return a + 1

    @staticmethod
    async def static_method_async(a: int) -> int:
        return a + 1

    def __call__(self, a: int) -> int:
        return a + self.b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adder) and other.b == self.b

    __hash__ = None  # type: ignore[assignment]  # what is forked need not be hashable


class AsyncAdder:
    async def __call__(self, a: int) -> int:
        await asyncio.sleep(0)
        return a + 1


class Layer(nn.Module):
    def forward(self, a: int) -> int:
        return a + 1


class AsyncLayer(nn.Module):
    async def forward(self, a: int) -> int:
        await asyncio.sleep(0)
        return a + 1


KINDS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = {
    "function": (add, (3,), {"b": 4}, 7),
    "lambda": (lambda a: a + 1, (3,), {}, 4),
    "builtin": (operator.add, (3, 4), {}, 7),
    "builtin method": ([1, 2, 3].count, (3,), {}, 1),
    "class": (Adder, (3,), {}, Adder(3)),
    "builtin class": (int, ("11",), {"base": 2}, 3),
    "bound method": (Adder(4).method, (3,), {}, 7),
    "class method": (Adder.class_method, (3,), {}, 4),
    "static method": (Adder.static_method, (3,), {}, 4),
    "callable object": (Adder(4), (3,), {}, 7),
    "partial": (functools.partial(add, b=4), (3,), {}, 7),
    "partial of a partial of a method": (functools.partial(functools.partial(Adder(4).method), 3), (), {}, 7),
    "decorated": (decorated(add), (3, 4), {}, 7),
    "ufunc": (np.add, (3.0, 4.0), {}, 7.0),
    "ufunc's method": (np.add.reduce, ([3, 4],), {}, 7),
    "NumPy function": (np.matmul, ([[3]], [[4]]), {}, 12),
    "NumPy function in Python": (np.mean, ([3.0, 5.0],), {}, 4.0),
    "module": (Layer(), (3,), {}, 4),
    "module's forward": (Layer().forward, (3,), {}, 4),
    "arguments named as fork's own": (
        add_named,
        (),
        {"fn": 1, "self": 2, "args": 3, "kwargs": 4, "frame": 5, "scope": 6},
        21,
    ),
    "coroutine function": (add_async, (3,), {"b": 4}, 7),
    "coroutine function, arguments named as fork's own": (add_named_async, (), {"fn": 1, "self": 2}, 3),
    "coroutine method": (Adder(4).method_async, (3,), {}, 7),
    "static coroutine method": (Adder.static_method_async, (3,), {}, 4),
    "partial of a coroutine function": (functools.partial(add_async, b=4), (3,), {}, 7),
    "decorated coroutine function": (decorated_async(add_async), (3, 4), {}, 7),
    "coroutine function in a plain wrapper": (decorated(add_async), (3, 4), {}, 7),
    "lambda around a coroutine function": (lambda a: add_async(a), (3,), {}, 4),
    "object with a coroutine __call__": (AsyncAdder(), (3,), {}, 4),
    "partial of an object with a coroutine __call__": (functools.partial(AsyncAdder(), 3), (), {}, 4),
    "bound coroutine __call__": (AsyncAdder().__call__, (3,), {}, 4),
    "module with a coroutine forward": (AsyncLayer(), (3,), {}, 4),
    "its forward": (AsyncLayer().forward, (3,), {}, 4),
}
