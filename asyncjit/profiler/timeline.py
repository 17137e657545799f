"""What a profile's notes say: strands on lanes, forks, waits.

The notes of one thread are in the order of its time, so each thread is told by a stack of what is open there. On one
lane stretches must nest, or a timeline can't show them; but a range may lie across the waits of its fork, and the
ranges of two tasks of one loop across each other. So there is one rule: a stretch is cut where one that it would
cross begins or ends. A fork's ranges are cut where its strand ends and go on with its next, which may be on another
lane, and a strand is cut by another fork's, where a loop runs a kernel itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from asyncjit._core.cell import STATE_NAMES
from asyncjit.profiler.records import Strand, Task, Wait

STARTED, STOPPED, WAITED, OPENED, CLOSED = range(5)  # and the end of a fork is its negative state

Note = tuple[Any, Any, int, int]


class Timeline:
    """The records of one profile; times in the notes are the clock's, in the records from the start."""

    def __init__(self, forks: list[Any], marks: list[Any], thread: int, start_ns: int, end_ns: int) -> None:
        self.span_ns = end_ns - start_ns
        self._start_ns = start_ns
        self._forks = [note for note in _notes(forks) if note[2] <= end_ns]
        marked = [note for note in _notes(marks) if note[2] <= end_ns]
        self.numbers = {fork: number for number, (fork, *_) in enumerate(self._forks, 1)}
        self._ended = {fork: (at, -mark) for mark, fork, at, _ in marked if mark < 0}
        seen = sorted((*self._forks, *(note for note in marked if note[0] >= 0)), key=itemgetter(2))
        self._lanes = {thread: 0}
        for *_, at_thread in seen:
            self._lanes.setdefault(at_thread, len(self._lanes))
        self.strands: list[Strand] = []
        self.waits: list[Wait] = []
        self.kept: dict[Any, list[Any]] = {}  # by fork, what of it is open while it does not execute
        lanes = {lane: _Lane(self, lane) for lane in self._lanes.values()}
        for mark, what, at, at_thread in marked:
            if at_thread in self._lanes:
                lanes[self._lanes[at_thread]].tell(mark, what, at)
        for lane in lanes.values():
            lane.end(end_ns)
        self.strands = [
            strand for found in lanes.values() for _, strand in sorted(found.strands, key=lambda s: _nesting(*s))
        ]

    def tasks(self) -> list[Task]:
        """Return the forks in the order of their making."""
        return [self._task(*note) for note in self._forks]

    def _task(self, fork: Any, parent: Any, at_ns: int, thread: int) -> Task:
        while parent is not None and parent not in self.numbers:
            parent = parent.parent
        ended_ns, state = self._ended.get(fork, (None, None))
        return Task(
            number=self.numbers[fork],
            name=fork.display_name(),
            site=fork.site(),
            parent=self.numbers.get(parent),
            lane=self._lanes[thread],
            forked_ns=at_ns - self._start_ns,
            ended_ns=None if ended_ns is None else ended_ns - self._start_ns,
            state="unfinished" if state is None else STATE_NAMES[state],
        )

    def strand(self, what: Any, lane: int, start_ns: int, end_ns: int) -> Strand:
        """Return the record of a stretch of a fork or a range."""
        return Strand(
            what.display_name(), lane, start_ns - self._start_ns, end_ns - self._start_ns, self.numbers.get(what)
        )

    def wait(self, source: Any, lane: int, at_ns: int) -> None:
        """Keep the end of a wait, if it was one for a fork of the profile."""
        number = self.numbers.get(source)
        if number is not None:
            self.waits.append(Wait(number, lane, at_ns - self._start_ns))


class _Open:
    """A stretch that is open on a lane since `start_ns`; `order` tells the outer from the inner at equal times."""

    __slots__ = ("order", "start_ns", "what")

    def __init__(self, what: Any, start_ns: int, order: int) -> None:
        self.what = what
        self.start_ns = start_ns
        self.order = order


class _Lane:
    """The stack of one thread."""

    def __init__(self, timeline: Timeline, number: int) -> None:
        self.timeline = timeline
        self.number = number
        self.strands: list[tuple[int, Strand]] = []
        self.stack: list[_Open] = []
        self.forks: list[Any] = []  # those with a strand here, the last one executes
        self.waited: list[tuple[Any, int]] = []  # what was waited for up to now, and until when
        self.num_opened = 0

    def tell(self, mark: int, what: Any, at_ns: int) -> None:
        """Take a note."""
        if mark != WAITED and self.waited:
            self._end_waits(what if mark == STARTED else None, at_ns)
        if mark == STARTED:
            if self.forks:
                self._interrupt(self.forks[-1], at_ns)
            self.forks.append(what)
            self._go_on(what, at_ns)
        elif mark == STOPPED:
            if what in self.forks:
                if self.forks[-1] is what:
                    self._interrupt(what, at_ns)
                self.forks.remove(what)
                if self.forks:
                    self._go_on(self.forks[-1], at_ns)
        elif mark == OPENED:
            self._open(what, at_ns)
        elif mark == CLOSED:
            self._close(what, at_ns)
        elif mark == WAITED:
            self.waited.append((what, at_ns))
        else:
            self.timeline.kept.pop(what, None)

    def end(self, at_ns: int) -> None:
        """Close what is open."""
        self._end_waits(None, at_ns)
        self._cut(0, at_ns)

    def _open(self, what: Any, at_ns: int) -> None:
        self.num_opened += 1
        self.stack.append(_Open(what, at_ns, self.num_opened))

    def _cut(self, index: int, at_ns: int) -> list[Any]:
        """Close the stretches from `index` on, and return what they were of, outer before inner."""
        cut, self.stack[index:] = self.stack[index:], []
        for piece in cut:
            self.strands.append((piece.order, self.timeline.strand(piece.what, self.number, piece.start_ns, at_ns)))
        return [piece.what for piece in cut]

    def _index(self, what: Any) -> int | None:
        return next((index for index, piece in enumerate(self.stack) if piece.what is what), None)

    def _interrupt(self, fork: Any, at_ns: int) -> None:
        """Cut the fork's strand, and the ranges in it, which go on with its next."""
        index = self._index(fork)
        if index is not None:
            self.timeline.kept[fork] = self._cut(index, at_ns)[1:]

    def _go_on(self, fork: Any, at_ns: int) -> None:
        for what in (fork, *self.timeline.kept.pop(fork, ())):
            self._open(what, at_ns)

    def _close(self, what: Any, at_ns: int) -> None:
        """Close a range; those that began inside of it and are still open are cut there."""
        index = self._index(what)
        if index is None:  # the code of a fork that does not execute: a generator that is closed
            for kept in self.timeline.kept.values():
                kept[:] = [other for other in kept if other is not what]
            return
        for other in self._cut(index, at_ns)[1:]:
            self._open(other, at_ns)

    def _end_waits(self, fork: Any, at_ns: int) -> None:
        """Bind the ends of waits to the strand of the kernel that goes on after them; else to their own time."""
        goes_on = fork in self.timeline.kept and not fork.is_async
        for source, ended_ns in self.waited:
            self.timeline.wait(source, self.number, at_ns if goes_on else ended_ns)
        self.waited.clear()


def _notes(flat: list[Any]) -> list[Note]:
    """Return the notes of a flat list."""
    fields = iter(flat)
    return list(zip(fields, fields, fields, fields, strict=False))


def _nesting(order: int, strand: Strand) -> tuple[int, int, int]:
    return strand.start_ns, -strand.end_ns, order


def most_at_once(strands: Iterable[Strand]) -> int:
    """Return how many of the strands overlap, at most."""
    ends = sorted(end for strand in strands for end in ((strand.start_ns, 1), (strand.end_ns, -1)))
    running = most = 0
    for _, change in ends:
        running += change
        most = max(most, running)
    return most
