"""What the constructs call: forks and calls that tell of themselves, managers, an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from asyncjit import Future, fork

Log = list[Any]


class Failed(Exception):
    """What the constructs raise."""


def double(x: Any) -> Any:
    return 2 * x


def fail(x: Any) -> Any:
    raise Failed(x)


def late(log: Log, x: Any) -> Future[Any]:
    """Log the call and fork."""
    log.append(("late", x))
    return fork(double, x)


def said(log: Log, x: Any) -> Any:
    """Log the call and return its value."""
    log.append(("said", getattr(x, "__name__", x)))
    return x


@contextmanager
def logged(log: Log, name: str) -> Iterator[str]:
    log.append(("enter", name))
    try:
        yield name
    except Failed as error:
        log.append(("saw", str(error)))
        raise
    finally:
        log.append(("exit", name))


class Swallows:
    """A manager that suppresses errors."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def __enter__(self) -> Swallows:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.log.append(kind and kind.__name__)
        return True


class Box:
    """Has everything that an assignment can go to."""

    other: Any
    rest: Any

    def __init__(self, log: Log) -> None:
        self.log = log
        self.items = {0: 1, 1: 2}
        self.value = 5

    def of(self, x: Any) -> Any:
        self.log.append(("of", getattr(x, "__name__", x)))
        return x

    def __repr__(self) -> str:
        return f"Box({self.items}, {self.value})"

    def __getitem__(self, key: int) -> int:
        self.log.append(("get", key))
        return self.items[key]

    def __setitem__(self, key: int, value: int) -> None:
        self.log.append(("set", key, value))
        self.items[key] = value

    def __delitem__(self, key: int) -> None:
        self.log.append(("del", key))
        del self.items[key]


def constructs_of(module: ModuleType) -> list[Callable[..., Any]]:
    """Return the functions of a module that take a log and a number."""
    functions = [value for value in vars(module).values() if isinstance(value, FunctionType)]
    return [fn for fn in functions if fn.__module__ == module.__name__ and fn.__code__.co_varnames[:2] == ("log", "x")]
