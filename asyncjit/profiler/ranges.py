"""`record_function`: names for stretches of code, seen by the profiles that record there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from asyncjit._core.context import current
from asyncjit.profiler.recording import Range, profile

F = TypeVar("F", bound=Callable[..., Any])


class record_function:  # noqa: N801  # torch's name
    """Name a stretch of code on its lane while a profile records; `with record_function("embed"):`, or a decorator.

    A decorator takes functions and coroutine functions. Without a profile it costs one look at a context variable.
    In the timeline a stretch is shown in pieces, where its fork waits or awaits in it.

    Parameters
    ----------
    name : str
        What the timeline shows.

    Raises
    ------
    TypeError
        If `name` is no string, as in `@record_function` without a name.

    Examples
    --------
    >>> from asyncjit.profiler import profile
    >>> with profile() as prof:
    ...     with record_function("embed"):
    ...         pass
    >>> [strand.name for strand in prof.events()]
    ['embed']
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(
                f"record_function needs a name, got {name!r} of type {type(name).__name__}: record_function('name')"
            )
        self.name = name
        self._open: list[Range | None] = []  # a stack, since the block of one object may be entered again inside it

    def __enter__(self) -> record_function:
        scope = current.get()
        opened = None
        if scope is not None and scope.instruments:
            profiles = tuple(i for i in scope.instruments if isinstance(i, profile))
            if profiles:
                opened = Range(self.name, profiles)
                for profiler in profiles:
                    profiler.range_opened(opened)
        self._open.append(opened)
        return self

    def __exit__(self, *error: object) -> None:
        opened = self._open.pop()
        if opened is not None:
            for profiler in opened.profiles:
                profiler.range_closed(opened)

    def __call__(self, fn: F) -> F:
        """Return `fn` with its calls recorded under the name."""
        name = self.name
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def recorded_async(*args: Any, **kwargs: Any) -> Any:
                with record_function(name):
                    return await fn(*args, **kwargs)

            return cast("F", recorded_async)

        @functools.wraps(fn)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with record_function(name):
                return fn(*args, **kwargs)

        return cast("F", recorded)
