"""Searching in tables that are grouped: by task, or by lane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def following(groups: Ints, times: Ints, other_groups: Ints, other_times: Ints) -> Ints:
    """Return, for each row, the first row of the others that is of its group and not earlier; -1 where there is none.

    Parameters
    ----------
    groups, times : ndarray of shape (N,), int64
        The group and time of each row.
    other_groups, other_times : ndarray of shape (M,), int64
        The same of the rows to be found.
    """
    num = len(groups)
    group = np.concatenate((groups, other_groups)).astype(np.int64)
    time = np.concatenate((times, other_times)).astype(np.int64)
    is_other = np.arange(len(group)) >= num
    order = np.lexsort((is_other, time, group))
    places = np.where(is_other[order], np.arange(len(order)), len(order))
    nearest = np.minimum.accumulate(places[::-1])[::-1]
    rows = np.flatnonzero(~is_other[order] & (nearest < len(order)))
    found = np.full(num, -1, np.int64)
    others = order[nearest[rows]]
    same = group[order[rows]] == group[others]
    found[order[rows][same]] = others[same] - num
    return found


def preceding(groups: Ints, times: Ints, other_groups: Ints, other_times: Ints) -> Ints:
    """Return, for each row, the last row of the others that is of its group and not later; -1 where there is none."""
    return following(groups, -times, other_groups, -other_times)
