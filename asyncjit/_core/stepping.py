"""Scripted functions: coroutines that run on the pool and yield what they wait for.

`scripting.py` compiles sync-looking code into a coroutine function whose waits are `await pause(cell)`. A pause yields
the cell; whoever drives the coroutine decides what that means. Forked, it gives its thread back (`forks.py`). Called
from a script or a kernel, the calling thread blocks, here.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from asyncjit._core.cell import FINISHED, Cell
from asyncjit._core.loops import trio_runs_here
from asyncjit._core.tasks import refuse_loop
from asyncjit._core.waiting import block

P = ParamSpec("P")
T = TypeVar("T")

Pause = tuple[Cell, float | None]  #: what a scripted coroutine yields: what it waits for, and how many seconds at most


@types.coroutine
def pause(cell: Cell, timeout: float | None = None) -> Generator[Pause, None, None]:
    """Wait until `cell` is done; whoever drives the coroutine raises here if that can't be waited for any longer."""
    if cell._state < FINISHED:
        yield cell, timeout


class ScriptFunction(Generic[P, T]):
    """A function whose waits give its thread back; made by `script`.

    Called from a script or a kernel it returns its value. On an event loop's thread, `await call(fn, ...)`.

    Attributes
    ----------
    original : callable
        The function as it was written.
    code : str
        The source that runs instead: each call that may wait is awaited.
    """

    __wrapped__: Callable[P, T]
    __name__: str
    __qualname__: str

    def __init__(
        self,
        original: Callable[P, T],
        steps: Callable[..., Coroutine[Pause, None, T]],
        code: str,
        *,
        is_nested: bool = False,
    ) -> None:
        update_wrapper(self, original)
        self.original = original
        self.steps = steps
        self.code = code
        self._is_nested = is_nested

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if asyncio._get_running_loop() is not None or "trio" in sys.modules:
            if self._is_nested and (asyncio._get_running_loop() is not None or trio_runs_here()):
                # Nobody scripted it: as a callback it may ask what is done, as it stands.
                return self.original(*args, **kwargs)
            name = self._name_for(args)
            refuse_loop(f"{name}(...)", f"await asyncjit.call({name}, ...)")
        return run_blocking(self.steps(*args, **kwargs))

    def _name_for(self, args: tuple[Any, ...]) -> str:
        """Name what is called, for an error: of a class's `__call__` the object, which is the first argument."""
        if args and getattr(type(args[0]), "__call__", None) is self:  # noqa: B004  # not whether it is callable
            return str(getattr(args[0], "__name__", type(args[0]).__name__))
        return self.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> ScriptFunction[P, T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., T]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled as functions are: by name

    def __repr__(self) -> str:
        return f"<asyncjit.ScriptFunction {self.__qualname__}>"


def run_blocking(coroutine: Coroutine[Pause, None, T]) -> T:
    """Run a scripted coroutine to its end in the calling thread, which blocks in its waits."""
    errors: list[BaseException] = []  # to be raised in it; no name in this frame holds one, nor a cell
    while True:
        try:
            block(*(coroutine.throw(errors.pop()) if errors else coroutine.send(None)))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except BaseException as error:
            if not coroutine.cr_suspended:  # type: ignore[attr-defined]  # every coroutine of Python code has it
                if isinstance(error.__cause__, StopIteration) and str(error) == "coroutine raised StopIteration":
                    raise error.__cause__ from None  # as the plain function does: an iterator's end (PEP 479)
                raise
            errors.append(error.with_traceback(None))


class ScriptBody:
    """What a pool thread calls for a forked scripted function: gives its coroutine, which the fork then drives."""

    __slots__ = ("func", "steps")

    def __init__(self, fn: Any, steps: Callable[..., Coroutine[Pause, None, Any]]) -> None:
        self.func = fn  # as functools.partial calls it, so that the fork bears its name
        self.steps = steps

    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Pause, None, Any]:
        """Return the coroutine, not begun."""
        return self.steps(*args, **kwargs)


def script_of(fn: Any) -> Callable[..., Coroutine[Pause, None, Any]] | None:
    """Return the coroutine function behind a scripted function, method, module or partial; None if `fn` is none."""
    kind = type(fn)
    if kind is ScriptFunction:
        return fn.steps  # type: ignore[no-any-return]
    if kind is types.MethodType:
        inner = fn.__func__
        return types.MethodType(inner.steps, fn.__self__) if type(inner) is ScriptFunction else None
    if kind is partial:
        steps = script_of(fn.func)
        return None if steps is None else partial(steps, *fn.args, **fn.keywords)
    call = getattr(kind, "__call__", None)  # noqa: B004  # not whether it is callable: what it calls
    return types.MethodType(call.steps, fn) if type(call) is ScriptFunction else None
