"""Strands and ranges on their lanes.

Most threads begin and end one fork after the other, so that their strands are read off in pairs. But a range may lie
across the waits of its fork, the ranges of two tasks of one loop across each other, and a loop may run a kernel within
the step of a coroutine; on one lane stretches must nest, or a timeline can't show them. So there is one rule: a stretch
is cut where one that it would cross begins or ends. A fork's ranges are cut where its strand ends and go on with its
next, which may be on another lane, and a strand is cut by another fork's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asyncjit.profiler.notes import CLOSED, NOT_MEASURED, OPENED, STARTED, STOPPED, Ints
from asyncjit.profiler.records import OUTSIDE, RANGE, STRAND, Table


def cut(tables: Sequence[Ints], duration_ns: int) -> tuple[Table, Table]:
    """Return the strands and the ranges of all lanes.

    Parameters
    ----------
    tables : sequence of ndarray of shape (N, 4), int64
        For each lane its notes STARTED, STOPPED, OPENED and CLOSED, in the order of time; forks by their rows.
    duration_ns : int
        Where what is open ends.
    """
    if all(_is_plain(table) for table in tables):
        return np.concatenate([_pairs(table, lane, duration_ns) for lane, table in enumerate(tables)]), np.empty(
            0, RANGE
        )
    lanes = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    notes = np.column_stack((np.concatenate(tables), lanes))
    cutter = _Cutter(len(tables))
    for mark, what, at_ns, third, lane in notes[np.argsort(notes[:, 2], kind="stable")].tolist():
        cutter.lanes[lane].tell(mark, what, at_ns, third)
    for lane in cutter.lanes:
        lane.end(duration_ns)
    return cutter.tables()


def _is_plain(table: Ints) -> bool:
    """Whether a lane only begins and ends one fork after the other."""
    marks, forks = table[:, 0], table[:, 1]
    num = len(table) // 2
    return bool(
        (marks[0::2] == STARTED).all()
        and (marks[1::2] == STOPPED).all()
        and (forks[0 : 2 * num : 2] == forks[1::2]).all()
    )


def _pairs(table: Ints, lane: int, duration_ns: int) -> Table:
    started, stopped = table[0::2], table[1::2]
    strands = np.empty(len(started), STRAND)
    strands["task"], strands["lane"], strands["start_ns"] = started[:, 1], lane, started[:, 2]
    strands["end_ns"], strands["cpu_ns"] = duration_ns, NOT_MEASURED
    num = len(stopped)
    strands["end_ns"][:num] = stopped[:, 2]
    if num and started[0, 3] != NOT_MEASURED:
        strands["cpu_ns"][:num] = stopped[:, 3] - started[:num, 3]
    return strands


class _Open:
    """A stretch that is open on a lane; `order` tells the outer from the inner where they begin and end alike."""

    __slots__ = ("cpu_ns", "is_range", "name", "order", "start_ns", "task", "what")

    def __init__(self, what: int, *, is_range: bool, task: int, name: int = 0) -> None:
        self.what = what
        self.is_range = is_range
        self.task = task
        self.name = name
        self.start_ns = self.cpu_ns = self.order = 0


class _Cutter:
    """What all lanes share."""

    def __init__(self, num_lanes: int) -> None:
        self.kept: dict[int, list[_Open]] = {}  # by fork, the ranges that are open in it while it does not execute
        self.strands: list[tuple[int, ...]] = []
        self.ranges: list[tuple[int, ...]] = []
        self.lanes = [_Lane(self, number) for number in range(num_lanes)]

    def tables(self) -> tuple[Table, Table]:
        """Return the strands, and the ranges, outer before inner."""
        ranges = sorted(self.ranges, key=lambda row: (row[2], row[3], -row[4], row[5]))
        return np.array(self.strands, STRAND), np.array([row[:5] for row in ranges], RANGE)


class _Lane:
    """The stack of one thread."""

    def __init__(self, cutter: _Cutter, number: int) -> None:
        self.cutter = cutter
        self.number = number
        self.stack: list[_Open] = []
        self.forks: list[int] = []  # those with a strand here, the last one executes
        self.num_opened = 0

    def tell(self, mark: int, what: int, at_ns: int, third: int) -> None:
        """Take a note."""
        if mark == STARTED:
            if self.forks:
                self._interrupt(self.forks[-1], at_ns, third)
            self.forks.append(what)
            self._go_on(what, at_ns, third)
        elif mark == STOPPED:
            self._stop(what, at_ns, third)
        elif mark == OPENED:
            task = self.forks[-1] if self.forks else OUTSIDE
            self._open(_Open(what, is_range=True, task=task, name=third), at_ns, NOT_MEASURED)
        elif mark == CLOSED:
            self._close(what, at_ns)

    def _stop(self, fork: int, at_ns: int, cpu_ns: int) -> None:
        if fork not in self.forks:
            return
        is_executing = self.forks[-1] == fork
        self.forks.remove(fork)
        if is_executing:
            self._interrupt(fork, at_ns, cpu_ns)
            if self.forks:
                self._go_on(self.forks[-1], at_ns, cpu_ns)

    def end(self, at_ns: int) -> None:
        """Close what is open."""
        self._cut(0, at_ns, NOT_MEASURED)

    def _open(self, piece: _Open, at_ns: int, cpu_ns: int) -> None:
        self.num_opened += 1
        piece.start_ns, piece.cpu_ns, piece.order = at_ns, cpu_ns, self.num_opened
        self.stack.append(piece)

    def _cut(self, index: int, at_ns: int, cpu_ns: int) -> list[_Open]:
        """Close the stretches from `index` on, and return them, outer before inner."""
        pieces, self.stack[index:] = self.stack[index:], []
        for piece in pieces:
            place = (piece.task, self.number, piece.start_ns, at_ns)
            if piece.is_range:
                self.cutter.ranges.append((piece.name, *place, piece.order))
            else:
                is_measured = piece.cpu_ns != NOT_MEASURED != cpu_ns
                self.cutter.strands.append((*place, cpu_ns - piece.cpu_ns if is_measured else NOT_MEASURED))
        return pieces

    def _index(self, what: int, *, is_range: bool) -> int | None:
        found = (index for index, piece in enumerate(self.stack) if piece.what == what and piece.is_range == is_range)
        return next(found, None)

    def _interrupt(self, fork: int, at_ns: int, cpu_ns: int) -> None:
        """Cut the fork's strand, and the ranges in it, which go on with its next."""
        index = self._index(fork, is_range=False)
        if index is not None:
            self.cutter.kept[fork] = self._cut(index, at_ns, cpu_ns)[1:]

    def _go_on(self, fork: int, at_ns: int, cpu_ns: int) -> None:
        self._open(_Open(fork, is_range=False, task=fork), at_ns, cpu_ns)
        for piece in self.cutter.kept.pop(fork, ()):
            self._open(piece, at_ns, NOT_MEASURED)

    def _close(self, what: int, at_ns: int) -> None:
        """Close a range; what began inside of it and is still open is cut there."""
        index = self._index(what, is_range=True)
        if index is None:  # the code of a fork that does not execute: a generator that is closed
            for kept in self.cutter.kept.values():
                kept[:] = [piece for piece in kept if piece.what != what]
            return
        for piece in self._cut(index, at_ns, NOT_MEASURED)[1:]:
            self._open(piece, at_ns, NOT_MEASURED)
