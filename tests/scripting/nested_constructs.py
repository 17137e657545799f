"""Functions that wait in functions and classes of their own, beside others that wait for nothing, and misuses."""

from __future__ import annotations

import functools
import operator
import string
from collections.abc import Callable, Iterator
from typing import Any

from asyncjit import fork, sync
from tests.scripting.calls import Box, Log, late, said


def nested_function(log: Log, x: int) -> Any:
    count = 0

    def inner(y: int, *, step: int = sync.wait(late(log, x))) -> int:
        """Have a docstring."""
        nonlocal count
        count += step
        return int(count + sync.wait(late(log, y)))

    return inner(1), inner(2, step=1), count, inner.__name__, inner.__doc__, sync.wait(fork(inner, 3))


def nested_deeper(log: Log, x: int) -> Any:
    def outer(y: int) -> Any:
        def inner(z: int) -> Any:
            return y + sync.wait(late(log, x + z))

        return inner

    return outer(1)(2) + outer(3)(4)


def nested_recursion(log: Log, x: int) -> Any:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(sync.wait(fork(operator.sub, n, 1)))

    return even(2 * x), odd(x)


def nested_decorators(log: Log, x: int) -> Any:
    def logs(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            log.append(args)
            return fn(*args)

        return wrapper

    @logs
    @functools.partial(said, log)
    def inner(y: int) -> Any:
        return sync.wait(late(log, y))

    return inner(x), inner.__name__


def nested_class(log: Log, x: int) -> Any:
    class Inner(said(log, Box)):  # type: ignore[misc]
        size = said(log, 3)

        def __init__(self, y: int) -> None:
            super().__init__(log)
            self.__y = sync.wait(late(log, y))

        def twice(self, z: int = said(log, 4)) -> Any:
            return super().of(self.__y) + sync.wait(late(log, z)) + self.size

        @staticmethod
        def static(y: int) -> Any:
            return sync.wait(late(log, y))

        @classmethod
        def made(cls, y: int) -> Any:
            return cls(sync.wait(late(log, y)))

        @property
        def y(self) -> Any:
            return self.__y

    return Inner(x).twice(), Inner.static(1), Inner.made(2).twice(1), Inner(1).y, Inner.twice(Inner(0))


def plain_pieces(log: Log, x: int) -> Any:
    squares = (n * n for n in range(x))

    def steps(n: int) -> Iterator[int]:
        while n:
            yield n
            n -= 1

    key = lambda n: -n  # noqa: E731
    found = sorted(list(steps(x)) + list(squares), key=key)
    return found, sync.wait(late(log, x)), list(map(key, found)), {**dict(zip("ab", found, strict=False))}


def locals_and_friends(log: Log, x: int) -> Any:
    y = sync.wait(late(log, x))
    names = sorted(locals())
    return names, eval("x + y"), string.Template("$y").substitute(locals())


def stops(log: Log, x: int) -> Any:
    numbers = iter([sync.wait(late(log, x))])
    try:
        while True:
            log.append(numbers.__next__())
    except StopIteration:
        return "stopped"


def wrong_arguments(log: Log, x: int) -> Any:
    def inner(a: int) -> Any:
        return sync.wait(late(log, a))

    return inner(said(log, 1), said(log, 2))  # type: ignore[call-arg]


def not_callable(log: Log, x: Any) -> Any:
    return x(said(log, 1))


def no_attribute(log: Log, x: int) -> Any:
    return log.nothing(said(log, 1))  # type: ignore[attr-defined]


def unbound(log: Log, x: int) -> Any:
    return never(said(log, 1))  # type: ignore[name-defined] # noqa: F821


def unbound_local(log: Log, x: int) -> Any:
    if not x:
        y = 1
    return said(log, y)
