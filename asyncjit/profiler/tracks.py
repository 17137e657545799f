"""The notes of each thread as those of a lane: times from the start of the recording, forks by their rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asyncjit.profiler.notes import (
    NOT_MEASURED,
    OUTSIDE_WAITED,
    OUTSIDE_WAITS,
    STARTED,
    STOPPED,
    WAITED,
    Columns,
    Ints,
    Notes,
)
from asyncjit.profiler.records import OUTSIDE


class Track(NamedTuple):
    """The notes of one lane: times from the start, forks by their rows."""

    is_loop: bool
    marks: Ints
    forks: Ints
    ends: Ints


def by_lane(notes: Notes, end_ns: int) -> tuple[list[Track], Ints]:
    """Return the tracks in the order of their lanes, and the numbers of the forks in the order of their rows."""
    found = [
        (track, Columns(*(part[part[:, 1 + (i < 1)] <= end_ns] for i, part in enumerate(columns))))
        for track, columns in notes.by_track()
    ]
    found = [(track, columns) for track, columns in found if any(map(len, columns)) or track.thread == notes.thread]
    found.sort(key=lambda pair: (pair[0].thread != notes.thread, _first_ns(pair[1])))
    forks = np.concatenate([columns.forks[:, 0] for _, columns in found])
    numbers = np.concatenate(([0], np.sort(forks)))
    return [_track(columns, track.is_loop, numbers, notes.start_ns) for track, columns in found], numbers


def _first_ns(columns: Columns) -> int:
    firsts = [part[0, column] for part, column in ((columns.marks, 2), (columns.forks, 1)) if len(part)]
    return int(min(firsts, default=0))


def _track(columns: Columns, is_loop: bool, numbers: Ints, start_ns: int) -> Track:
    """Return a lane's notes with rows in place of numbers; forks from before the recording have none, and no notes."""
    marks, forks, ends = columns
    marks[:, 2] -= start_ns
    forks[:, 1] -= start_ns
    ends[ends[:, 1] != 0, 1] -= start_ns
    of_forks = np.isin(marks[:, 0], (STARTED, STOPPED, WAITED))
    rows = rows_of(numbers, marks[:, 1])
    known = ~of_forks | (rows != OUTSIDE) | (marks[:, 1] == 0)
    waits = np.isin(marks[:, 0], (OUTSIDE_WAITS, OUTSIDE_WAITED))
    is_loop |= bool((marks[waits, 3] != NOT_MEASURED).any())  # a plain task has waited there
    marks[:, 1] = np.where(of_forks | waits, rows, marks[:, 1])
    targets = marks[:, 0] == WAITED
    marks[targets, 3] = rows_of(numbers, marks[targets, 3])
    forks[:, 0], forks[:, 2] = rows_of(numbers, forks[:, 0]), rows_of(numbers, forks[:, 2])
    ends[:, 0] = rows_of(numbers, ends[:, 0])
    return Track(is_loop, marks[known], forks, ends[ends[:, 0] != OUTSIDE])


def rows_of(numbers: Ints, wanted: Ints) -> Ints:
    """Return the rows of forks by their numbers; OUTSIDE for any that is none of the recording's."""
    places = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return np.asarray(np.where(numbers[places] == wanted, places, OUTSIDE), np.int64)
