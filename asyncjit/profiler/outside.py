"""The code outside of all forks: when it ran.

Nobody tells of it but its waits. In a script it runs whenever the thread of the block neither waits nor runs a fork in
place. On an event loop a plain task that does not wait for asyncjit may await something else, or others run; but the
CPU time that the loop's thread took between two of its notes, less that of the forks in between, is what such code
has used. It is laid where the lane is free, from the earlier note on.
"""

from __future__ import annotations

import numpy as np

from asyncjit.profiler.notes import NOT_MEASURED, OUTSIDE_WAITED, OUTSIDE_WAITS, STARTED, STOPPED, Ints
from asyncjit.profiler.records import OUTSIDE, STRAND, UNKNOWN, Table

MIN_NS = 1000  # chosen: what is shorter is the notes' own time


def of_script(waits: Table, strands: Table, notes: Ints, duration_ns: int) -> Table:
    """Return the strands of a script's own code on lane 0.

    Parameters
    ----------
    waits : ndarray of WAIT
        Those of the code outside of forks, on that lane.
    strands : ndarray of STRAND
        Those of the forks that ran on it.
    notes : ndarray of shape (N, 4), int64
        All notes of the lane; where plain tasks waited a loop ran, and the time is theirs.
    duration_ns : int
        Of the profile.
    """
    ends = np.where(waits["end_ns"] == UNKNOWN, duration_ns, waits["end_ns"])
    taken = [*zip(waits["start_ns"].tolist(), ends.tolist(), strict=True)]
    taken += zip(strands["start_ns"].tolist(), strands["end_ns"].tolist(), strict=True)
    is_edge = np.isin(notes[:, 0], (STARTED, STOPPED)) & (notes[:, 1] == OUTSIDE)
    edges, of_tasks = notes[is_edge & (notes[:, 3] != NOT_MEASURED)], _told_by_tasks(notes[~is_edge])
    if len(of_tasks):
        taken.append((int(of_tasks[0, 0]), int(of_tasks[-1, 0])))
    found = _table(0, _gaps(taken, 0, duration_ns))
    if len(edges) == 2 and not len(of_tasks):
        # What its thread took beside the forks; which piece took how much of it is not known, so each its share.
        left_ns = int(edges[1, 3] - edges[0, 3]) - int(np.maximum(strands["cpu_ns"], 0).sum())
        lengths = found["end_ns"] - found["start_ns"]
        found["cpu_ns"] = lengths * min(1.0, max(0, left_ns) / max(1, int(lengths.sum())))
    return found


def of_loop(lane: int, notes: Ints, strands: Table) -> Table:
    """Return the strands of the plain tasks of a loop.

    Parameters
    ----------
    notes : ndarray of shape (N, 4), int64
        All notes of the lane, in the order of time.
    strands : ndarray of STRAND
        Those of the forks that ran on it, by start.
    """
    told = _told_by_tasks(notes)
    before = np.concatenate(([0], np.cumsum(np.maximum(strands["cpu_ns"], 0))))
    ends = strands["end_ns"]
    pieces: list[tuple[int, int]] = []
    for (start_ns, start_cpu), (end_ns, end_cpu) in zip(told[:-1].tolist(), told[1:].tolist(), strict=True):
        first, last = np.searchsorted(ends, [start_ns, end_ns], side="right").tolist()
        left_ns = end_cpu - start_cpu - int(before[last] - before[first])
        inside = zip(strands["start_ns"][first:last].tolist(), ends[first:last].tolist(), strict=True)
        for begin_ns, stop_ns in _gaps(list(inside), start_ns, end_ns):
            piece_ns = min(left_ns, stop_ns - begin_ns)
            if piece_ns < MIN_NS:
                break
            pieces.append((begin_ns, begin_ns + piece_ns))
            left_ns -= piece_ns
    found = _table(lane, pieces)
    found["cpu_ns"] = found["end_ns"] - found["start_ns"]
    return found


def _told_by_tasks(notes: Ints) -> Ints:
    """Return the time and the thread's CPU time of the notes that the code outside of forks has made."""
    is_edge = np.isin(notes[:, 0], (STARTED, STOPPED)) & (notes[:, 1] == OUTSIDE)
    is_wait = np.isin(notes[:, 0], (OUTSIDE_WAITS, OUTSIDE_WAITED))
    return np.asarray(notes[(is_edge | is_wait) & (notes[:, 3] != NOT_MEASURED)][:, 2:4], np.int64)


def _gaps(taken: list[tuple[int, int]], begin_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return what is left of a stretch of time."""
    free = []
    at_ns = begin_ns
    for start_ns, stop_ns in sorted(taken):
        if start_ns > at_ns:
            free.append((at_ns, min(start_ns, end_ns)))
        at_ns = max(at_ns, stop_ns)
    if at_ns < end_ns:
        free.append((at_ns, end_ns))
    return [(start_ns, stop_ns) for start_ns, stop_ns in free if stop_ns > start_ns]


def _table(lane: int, pieces: list[tuple[int, int]]) -> Table:
    rows = [(OUTSIDE, lane, start_ns, end_ns, NOT_MEASURED) for start_ns, end_ns in pieces]
    return np.array(rows, STRAND)
