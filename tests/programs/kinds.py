"""What the expressions and functions of a random program give, and how their writers choose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """What an expression gives: an array, a future, or a tuple, list or dict of others."""

    name: str
    parts: tuple[Kind, ...] = ()
    may_fail: bool = False  #: of a future

    def paths(self, expression: str) -> Iterator[tuple[str, Kind]]:
        """Yield what can be reached from an expression without a wait."""
        yield expression, self
        if self.name in ("tuple", "list", "dict"):
            for index, part in enumerate(self.parts):
                yield from part.paths(f'{expression}["k{index}"]' if self.name == "dict" else f"{expression}[{index}]")

    @property
    def is_plain(self) -> bool:
        """Whether no future is in it."""
        return self.name != "future" and all(part.is_plain for part in self.parts)


ARRAY = Kind("array")


def future_of(kind: Kind, *, may_fail: bool = False) -> Kind:
    return Kind("future", (kind,), may_fail)


def literal(name: str, items: list[str]) -> str:
    """Return the text of a tuple, list or dict."""
    if name == "dict":
        pairs = [f'"k{index}": {item}' for index, item in enumerate(items)]
        return f"{{{', '.join(pairs)}}}"
    return f"[{', '.join(items)}]" if name == "list" else f"({', '.join(items)},)"


class Function(NamedTuple):
    """What was written: `name` is what to call or to fork."""

    name: str
    is_async: bool
    params: tuple[tuple[str, Kind | None], ...]  #: None for an integer
    result: Kind
    may_fail: bool
    work: int


class Choices:
    """Draws; `may_fail` allows what can't be traced: errors, and decisions by values."""

    def __init__(self, random: Random, *, may_fail: bool) -> None:
        self.random = random
        self.may_fail = may_fail
        self._num_names = 0

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def one_of(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)

    def new_name(self, stem: str) -> str:
        self._num_names += 1
        return f"{stem}{self._num_names}"
