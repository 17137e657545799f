"""The ways to run a scripted function, and to see what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncjit
from asyncjit import fork, sync
from asyncjit._core.stepping import script_of


async def awaited(fn: Callable[..., Any], *args: Any) -> Any:
    return await asyncjit.call(fn, *args)


async def awaited_fork(fn: Callable[..., Any], *args: Any) -> Any:
    return await fork(fn, *args)


WAYS: dict[str, Callable[..., Any]] = {
    "in a script": lambda fn, *args: fn(*args),
    "forked": lambda fn, *args: sync.wait(fork(fn, *args)),
    "forked with a timeout": lambda fn, *args: sync.wait(fork(fn, *args), 60.0),
    "in a kernel": lambda fn, *args: sync.wait(fork(lambda: fn(*args))),
    "on a loop": lambda fn, *args: asyncio.run(awaited(fn, *args)),
    "forked on a loop": lambda fn, *args: asyncio.run(awaited_fork(fn, *args)),
}


def outcome(fn: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    """Return the value of a call or the error, as text that tells both by type and content."""
    try:
        return "value", repr(fn(*args))
    except Exception as error:
        return type(error).__name__, (str(error), repr(error.__cause__))


def is_suspended(fn: Callable[..., Any], *args: Any) -> bool:
    """Whether a call of a scripted function gives its thread back where it waits."""
    steps = script_of(fn)
    assert steps is not None
    coroutine = steps(*args)
    try:
        coroutine.send(None)
    except StopIteration:
        return False
    coroutine.close()
    return True
