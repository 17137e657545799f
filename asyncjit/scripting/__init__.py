"""`script`: sync-looking code compiled into coroutines that give their thread back at every unfinished wait.

Where things are::

    sources.py    a function's definition in its file
    names.py      what its names mean: what is known plain, and what is known to wait
    rewriting.py  the one transformation of the syntax tree, and what it refuses
    compiling.py  code that stands where the plain one stands, with its cells
    functions.py  functions, methods, decorators
    modules.py    modules and their submodules

What the rewritten code calls is in `_core/scripts.py`; how it is driven in `_core/stepping.py` and `_core/driving.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from asyncjit._core.stepping import ScriptFunction
from asyncjit.scripting.functions import script_callable
from asyncjit.scripting.modules import is_module, script_module

__all__ = ["ScriptFunction", "script"]

P = ParamSpec("P")
T = TypeVar("T")


class ModuleLike(Protocol):
    """What is scripted as a module."""

    @property
    def forward(self) -> Callable[..., Any]:
        """Compute the module's value."""

    def named_children(self) -> Any:
        """Return the submodules by name."""


M = TypeVar("M", bound=ModuleLike)


@overload
def script(fn: ScriptFunction[P, T]) -> ScriptFunction[P, T]: ...  # type: ignore[overload-overlap]
@overload
def script(fn: M) -> M: ...
@overload
def script(  # type: ignore[overload-overlap]  # a coroutine function is a callable too, and is meant first
    fn: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]: ...
@overload
def script(fn: Callable[P, T]) -> ScriptFunction[P, T]: ...
def script(fn: Any) -> Any:
    """Compile sync-looking code so that its waits suspend it, and block no thread.

    In the function's own code, in its comprehensions and nested functions, calls of `wait`, `wait_all` and `call` of
    either door, of a future's `wait()`, `result()` and `exception()`, and of whatever is scripted become points at
    which it gives its thread and permit back until the value is there. It is forked, called from scripts and kernels,
    and awaited (`await call(fn, x)`) like any kernel. All else is the same Python; tracebacks and debuggers show your
    file.

    Parameters
    ----------
    fn : function, method or Module
        Of a module, `forward`, all other methods that wait and all submodules are scripted, in a copy that shares the
        arrays. What is scripted or async already is returned unchanged; so is a module that never waits.

    Returns
    -------
    ScriptFunction, or a Module
        `.original` is what was given, `.code` the source that runs.

    Raises
    ------
    ScriptError
        If its source can't be had; if a call known to wait stands where it can't be awaited (a lambda, a generator, a
        class body, a property, the `key` of a sort) or in a `with` whose manager is tied to its thread. The message
        names the file, the line, and what to write instead.

    Examples
    --------
    >>> from asyncjit import sync
    >>> @script
    ... def squares(n):
    ...     futures = [sync.fork(pow, k, 2) for k in range(n)]
    ...     return [sync.wait(future) for future in futures]
    >>> squares(4)
    [0, 1, 4, 9]
    >>> print(squares.code)
    async def squares(n):
        futures = [sync.fork(pow, k, 2) for k in range(n)]
        return [await _finish(_begin(sync.wait)(future)) for future in futures]
    """
    return script_module(fn) if is_module(fn) else script_callable(fn)
