"""The words of both doors without any parallelism: every fork is called at once. What all other runs are held to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable
from typing import Any


class Failed(Exception):
    """What programs raise."""


def same(x: Any) -> Any:
    return x


class Done:
    """A future that was born finished."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self._value = value
        self._error = error

    def result(self, timeout: float | None = None) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    wait = value = result

    def exception(self) -> Exception | None:
        return self._error

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self.result()


def fork(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Done:
    try:
        value = fn(*args, **kwargs)
        return Done(_driven(value) if inspect.iscoroutine(value) else value)
    except Exception as error:
        return Done(error=error)


def _driven(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("nothing is ever waited for")


def wait(fut: Done, timeout: float | None = None) -> Any:
    return fut.result()


def wait_all(futs: Iterable[Done], timeout: float | None = None, *, return_exceptions: bool = False) -> list[Any]:
    if return_exceptions:
        return [fut.exception() or fut.result() for fut in futs]
    return [fut.result() for fut in futs]


def collect_all(futs: Iterable[Done]) -> Done:
    futures = list(futs)
    errors = [error for error in (fut.exception() for fut in futures) if error is not None]
    return Done(error=errors[0]) if errors else Done(futures)


def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return fork(fn, *args, **kwargs).result()


class Awaited:
    """The door for async code."""

    fork = staticmethod(fork)
    collect_all = staticmethod(collect_all)

    @staticmethod
    async def wait(fut: Done) -> Any:
        return fut.result()

    @staticmethod
    async def wait_all(futs: Iterable[Done], *, return_exceptions: bool = False) -> list[Any]:
        return wait_all(futs, return_exceptions=return_exceptions)

    @staticmethod
    async def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return call(fn, *args, **kwargs)
