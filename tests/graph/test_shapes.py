"""Shapes that tell what is read of them."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit.graph.shapes import TracedShape

EVERY = {"ndim", 0, 1, 2}


def read(use: Callable[[Any], Any]) -> tuple[Any, set[int | str]]:
    """Return what using a shape gives, and what it read."""
    seen: set[int | str] = set()
    result = use(TracedShape((2, 3, 4), seen.add))
    return result, seen


@pytest.mark.parametrize(
    ("use", "expected", "seen"),
    [
        (lambda s: s[0], 2, {0}),
        (lambda s: s[-1], 4, {"ndim", 2}),
        (lambda s: s[1:], (3, 4), {"ndim", 1, 2}),
        (lambda s: s[:-1], (2, 3), {"ndim", 0, 1}),
        (lambda s: len(s), 3, {"ndim"}),
        (lambda s: bool(s), True, {"ndim"}),
    ],
)
def test_items_are_told_one_by_one(use: Any, expected: Any, seen: set[Any]) -> None:
    assert read(use) == (expected, seen)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda s: tuple(s), (2, 3, 4)),
        (lambda s: [*s], [2, 3, 4]),
        (lambda s: (*s, 1), (2, 3, 4, 1)),
        (lambda s: (lambda a, b, c: a + b + c)(*s), 9),
        (lambda s: s == (2, 3, 4), True),
        (lambda s: s == s, True),
        (lambda s: s != (2,), True),
        (lambda s: s < (3,), True),
        (lambda s: s <= (3,), True),
        (lambda s: s > (1,), True),
        (lambda s: s >= (1,), True),
        (lambda s: {(2, 3, 4): 1}[s], 1),
        (lambda s: 3 in s, True),
        (lambda s: s + (1,), (2, 3, 4, 1)),  # noqa: RUF005
        (lambda s: (1,) + s, (1, 2, 3, 4)),  # noqa: RUF005
        (lambda s: s * 2, (2, 3, 4, 2, 3, 4)),
        (lambda s: 1 * s, (2, 3, 4)),
        (lambda s: list(reversed(s)), [4, 3, 2]),
        (lambda s: sorted(s), [2, 3, 4]),
        (lambda s: s.index(3), 1),
        (lambda s: s.count(3), 1),
        (lambda s: math.prod(s), 24),
        (lambda s: max(s), 4),
        (lambda s: str(s), "(2, 3, 4)"),
        (lambda s: repr(s), "(2, 3, 4)"),
        (lambda s: f"{s}", "(2, 3, 4)"),
        (lambda s: copy.copy(s), (2, 3, 4)),
        (lambda s: copy.deepcopy(s), (2, 3, 4)),
        (lambda s: pickle.loads(pickle.dumps(s)), (2, 3, 4)),
        (lambda s: np.zeros(s).shape, (2, 3, 4)),
        (lambda s: np.full(shape=s, fill_value=1).shape, (2, 3, 4)),
        (lambda s: np.arange(24).reshape(s).shape, (2, 3, 4)),
        (lambda s: np.broadcast_to(1, s).shape, (2, 3, 4)),
        (lambda s: int(np.prod(s)), 24),
        (lambda s: np.random.default_rng(0).integers(3, size=s).shape, (2, 3, 4)),
        (lambda s: np.broadcast_shapes(s, (1,)), (2, 3, 4)),
    ],
)
def test_whatever_needs_all_sizes_tells_them_all(use: Any, expected: Any) -> None:
    result, seen = read(use)
    assert result == expected
    assert type(result) is not TracedShape
    assert seen == EVERY


def test_what_is_not_there_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        read(lambda s: s[3])
