"""Searching in tables that are grouped, held against the plain loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.tables import following, preceding

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=12)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(rows, rows)
def test_each_row_finds_the_nearest_of_its_group(mine: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    after = following(*columns(mine), *columns(others)).tolist()
    before = preceding(*columns(mine), *columns(others)).tolist()
    for (group, at), later, earlier in zip(mine, after, before, strict=True):
        times = [time for other, time in others if other == group]
        assert (others[later] if later >= 0 else None) == min(
            ((group, time) for time in times if time >= at), default=None
        )
        assert (others[earlier] if earlier >= 0 else None) == max(
            ((group, time) for time in times if time <= at), default=None
        )
