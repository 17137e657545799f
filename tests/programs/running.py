"""How random programs are run, and what comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import asyncjit
from asyncjit import Future, fork, sync
from tests.at_rest import PATIENCE_S
from tests.programs.serial import Done
from tests.programs.writing import HEADS
from tests.scripting.importing import imported

X, Y = np.array([0.5, -0.75, 1.0], np.float32), np.array([-1.0, 0.1, 0.3], np.float32)


def load(body: str, folder: Path) -> dict[str, Callable[..., Any]]:
    """Write a program under each head, and return what is `main` of each, by the heads' names."""
    return {name: imported(head + body, folder).main for name, head in HEADS.items()}


def in_script(fn: Callable[..., Any], *args: Any) -> Any:
    return told(fn(*args))


def forked(fn: Callable[..., Any], *args: Any) -> Any:
    return told(sync.wait(fork(fn, *args)))


def called(fn: Callable[..., Any], *args: Any) -> Any:
    return told(sync.call(fn, *args))


def awaited(fn: Callable[..., Any], *args: Any) -> Any:
    async def main() -> Any:
        return await awaited_and_told(await asyncjit.call(fn, *args))

    return asyncio.run(main())


def awaited_fork(fn: Callable[..., Any], *args: Any) -> Any:
    async def main() -> Any:
        return await awaited_and_told(await fork(fn, *args))

    return asyncio.run(main())


WAYS = (in_script, forked, called, awaited, awaited_fork)


def outcome(way: Callable[..., Any], fn: Callable[..., Any], *args: Any) -> Any:
    """Return what a run gives, or its error, so that it can be compared bit for bit."""
    try:
        return way(fn, *args)
    except Exception as error:
        return told_error(error)


def told_error(error: Exception) -> tuple[str, str, str]:
    return "error", type(error).__name__, str(error)


def told(value: Any) -> Any:
    """Tell a value by types and bits; a future by what it gives."""
    if isinstance(value, Future | Done):
        try:
            return "future", told(value.result(PATIENCE_S))
        except Exception as error:
            return "future", told_error(error)
    if isinstance(value, dict):
        return "dict", {key: told(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value).__name__, [told(item) for item in value]
    assert isinstance(value, np.ndarray)
    return value.dtype, value.shape, value.tobytes()


async def awaited_and_told(value: Any) -> Any:
    """Do what `told` does, on a loop."""
    if isinstance(value, Future):
        try:
            return "future", await awaited_and_told(await value)
        except Exception as error:
            return "future", told_error(error)
    if isinstance(value, dict):
        return "dict", {key: await awaited_and_told(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value).__name__, [await awaited_and_told(item) for item in value]
    return told(value)
