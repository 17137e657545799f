"""Scripted functions written by hand, as `script` would have rewritten them: without the rewriting."""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from asyncjit import Future, fork, sync
from asyncjit._core.scripts import begin, finish
from asyncjit._core.stepping import Pause, ScriptFunction

P = ParamSpec("P")
T = TypeVar("T")


def scripted(steps: Callable[P, Coroutine[Any, Any, T]]) -> ScriptFunction[P, T]:
    """Return the scripted function whose rewritten code is `steps`, with `await run(sync.wait, fut)` for each wait."""
    rewritten: Any = steps
    return ScriptFunction(rewritten, rewritten, "")


async def run(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call `fn` as rewritten code does."""
    return await finish(begin(fn)(*args, **kwargs))  # type: ignore[no-any-return]


@scripted
async def tree(*widths: int) -> Any:
    """Count the nodes of a tree of scripted forks, each of which waits for those below it."""
    if not widths:
        return 1
    return 1 + sum(await run(sync.wait_all, [fork(tree, *widths[1:]) for _ in range(widths[0])]))


@scripted
async def recurse(depth: int) -> int:
    """Return `depth`, by as many scripted forks, one below the other."""
    return 1 + await run(sync.wait, fork(recurse, depth - 1)) if depth else 0


@scripted
async def wait_for(future: Future[T]) -> T:
    """Wait for one future and return its value."""
    return await run(sync.wait, future)


__all__ = ["Pause", "recurse", "run", "scripted", "tree", "wait_for"]
