"""`Memory`: who shares an array's memory, as far as a tracer can know.

Writing into a traced array becomes a new value of that array alone. Where another array would have seen the change
that is wrong, so a `Memory` knows all traced arrays that lie in it and are still alive.
"""

from __future__ import annotations

import weakref
from typing import Any


class Memory:
    """The memory of one array and its views; `is_foreign` if it is the caller's, or of an array not traced."""

    __slots__ = ("is_foreign", "members")

    def __init__(self, *, is_foreign: bool = False) -> None:
        self.is_foreign = is_foreign
        self.members: list[weakref.ref[Any]] = []

    def has_others(self, array: Any) -> bool:
        """Whether another array than this is alive in it."""
        return any(member() is not None and member() is not array for member in self.members)
