"""Who waited for whom, and how long.

The wait of a fork interrupts its strand, so it is noted once, when it is over: it began where the strand before it
ended, and ends where the next one begins. Code outside of forks has no strands but what lies between its waits, so
both ends of these are noted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asyncjit.profiler.notes import NOT_MEASURED, OUTSIDE_WAITED, OUTSIDE_WAITS, WAITED, Ints, Notes
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, WAIT, Table
from asyncjit.profiler.tables import following, preceding
from asyncjit.profiler.tracks import Track, rows_of


def waits_of(notes: Notes, tracks: Sequence[Track], numbers: Ints, strands: Table, tasks: Table) -> Table:
    """Return all waits, by their ends; those that are not over come last."""
    parts = (_of_forks(tracks, strands, tasks), _outside(tracks), _unended(notes, numbers, strands))
    waits = np.concatenate(parts)
    return waits[np.lexsort((waits["end_ns"], waits["end_ns"] == UNKNOWN))]


def _marked(tracks: Sequence[Track], *marks: int) -> Ints:
    """Return the notes with these marks, and the lane of each as a fifth column."""
    found = [(track.marks[np.isin(track.marks[:, 0], marks)], lane) for lane, track in enumerate(tracks)]
    return np.concatenate([np.column_stack((rows, np.full(len(rows), lane))) for rows, lane in found])


def _table(task: Ints | int, target: Ints, lane: Ints, start_ns: Ints, end_ns: Ints | int) -> Table:
    waits = np.empty(len(target), WAIT)
    waits["task"], waits["lane"], waits["start_ns"], waits["end_ns"] = task, lane, start_ns, end_ns
    waits["target"] = np.where(target == OUTSIDE, UNKNOWN, target)
    return waits


def _of_forks(tracks: Sequence[Track], strands: Table, tasks: Table) -> Table:
    """Return the waits of forks: from the end of the last strand to where the next one begins, on whatever lane."""
    _, task, end_ns, target, lane = _marked(tracks, WAITED).T
    goes_on = following(task, end_ns, strands["task"], strands["start_ns"])
    moved = (goes_on >= 0) & (tasks["is_async"][task] == 0)  # a coroutine has gone on when it tells
    end_ns = np.where(moved, strands["start_ns"][goes_on], end_ns) if len(strands) else end_ns
    lane = np.where(moved, strands["lane"][goes_on], lane) if len(strands) else lane
    began = preceding(task, end_ns, strands["task"], strands["end_ns"])
    start_ns = np.where(began >= 0, strands["end_ns"][began], end_ns) if len(strands) else end_ns
    return _table(task, target, lane, start_ns, end_ns)


def _outside(tracks: Sequence[Track]) -> Table:
    """Return the waits of code outside of forks: each ends the last that was begun for that target."""
    rows = _marked(tracks, OUTSIDE_WAITS, OUTSIDE_WAITED)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1]))]
    is_end = rows[:, 0] == OUTSIDE_WAITED
    begins = np.flatnonzero((rows[1:, 1] == rows[:-1, 1]) & is_end[1:] & ~is_end[:-1])
    ends = begins + 1
    if len(ends) < is_end.sum():
        begins, ends = _paired(rows)
    left = np.setdiff1d(np.flatnonzero(~is_end), begins)
    over = _table(OUTSIDE, rows[begins, 1], rows[ends, 4], rows[begins, 2], rows[ends, 2])
    return np.concatenate((over, _table(OUTSIDE, rows[left, 1], rows[left, 4], rows[left, 2], UNKNOWN)))


def _paired(rows: Ints) -> tuple[Ints, Ints]:
    """Return which notes of waits belong together, where several wait for one target at once."""
    begun: dict[int, list[int]] = {}
    pairs = []
    for index, (mark, target, *_) in enumerate(rows.tolist()):
        if mark == OUTSIDE_WAITS:
            begun.setdefault(target, []).append(index)
        elif begun.get(target):
            pairs.append((begun[target].pop(), index))
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _unended(notes: Notes, numbers: Ints, strands: Table) -> Table:
    """Return the waits in which forks were at the end; they began with the end of the last strand."""
    waiting = [fork for fork in notes.unended_forks() if fork.waits_for != NOT_MEASURED]
    task = rows_of(numbers, np.array([fork.number for fork in waiting], np.int64))
    target = rows_of(numbers, np.array([fork.waits_for for fork in waiting], np.int64))
    latest = np.full(len(task), np.iinfo(np.int64).max)
    began = preceding(task, latest, strands["task"], strands["end_ns"])
    known = (task != OUTSIDE) & (began >= 0)
    last = strands[began[known]]
    return _table(task[known], target[known], last["lane"], last["end_ns"], UNKNOWN)
