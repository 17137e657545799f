"""A letter that tells what became of it, and a loop that counts how often it is woken."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class Note:
    """A letter that tells what became of it."""

    def __init__(self, log: list[Any], name: Any = None, then: Callable[[], object] = lambda: None) -> None:
        self.log = log
        self.name = name
        self.then = then

    def arrive(self) -> None:
        self.log.append(("arrived", self.name, threading.get_ident()))
        self.then()

    def strand(self) -> None:
        self.log.append(("stranded", self.name))


class CountingLoop(asyncio.SelectorEventLoop):
    """A loop that counts how often other threads wake it."""

    num_calls = 0

    def call_soon_threadsafe(  # type: ignore[override]  # its own is generic
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        self.num_calls += 1
        return super().call_soon_threadsafe(callback, *args, context=context)
