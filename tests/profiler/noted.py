"""Notes written by hand, as the threads of a recording would write them."""

from __future__ import annotations

import sys
from typing import Any

from asyncjit._core import cell
from asyncjit.profiler.notes import (
    CLOSED,
    NOT_MEASURED,
    OPENED,
    OUTSIDE_WAITED,
    OUTSIDE_WAITS,
    STARTED,
    STOPPED,
    WAITED,
    Notes,
    Track,
)
from asyncjit.profiler.records import Machine, Records
from asyncjit.profiler.timeline import records_of

RANGES = 1000  # ranges are numbered from here on


class Thread:
    """One thread of a hand-made recording; its methods are what it notes."""

    def __init__(self, notes: Notes, track: Track) -> None:
        self.notes = notes
        self.track = track

    def fork(self, number: int, at_ns: int, parent: int = 0) -> None:
        self.track.fork((number, at_ns, parent, 0, sys._getframe(1).f_code))

    def run(self, number: int, start_ns: int, end_ns: int, cpu: tuple[int, int] = (NOT_MEASURED, NOT_MEASURED)) -> None:
        self.start(number, start_ns, cpu[0])
        self.stop(number, end_ns, cpu[1])

    def start(self, number: int, at_ns: int, cpu_ns: int = NOT_MEASURED) -> None:
        self.track.mark((STARTED, number, at_ns, cpu_ns))

    def stop(self, number: int, at_ns: int, cpu_ns: int = NOT_MEASURED) -> None:
        self.track.mark((STOPPED, number, at_ns, cpu_ns))

    def waited(self, number: int, at_ns: int, target: int = 0) -> None:
        self.track.mark((WAITED, number, at_ns, target))

    def wait_outside(self, start_ns: int, end_ns: int | None, target: int = 0, cpu: Any = (NOT_MEASURED,) * 2) -> None:
        self.track.mark((OUTSIDE_WAITS, target, start_ns, cpu[0]))
        if end_ns is not None:
            self.track.mark((OUTSIDE_WAITED, target, end_ns, cpu[1]))

    def open(self, name: str, number: int, at_ns: int) -> None:
        self.track.mark((OPENED, RANGES + number, at_ns, self.notes.name(name)))

    def close(self, number: int, at_ns: int) -> None:
        self.track.mark((CLOSED, RANGES + number, at_ns, 0))

    def end(
        self, number: int, name: str, state: int = cell.FINISHED, at_ns: int = 0, *, is_async: bool = False
    ) -> None:
        self.track.end((number, at_ns, self.notes.name(name), 2 * state + is_async))


class Recording:
    """A recording that begins at 0 in its first thread."""

    def __init__(self, start_ns: int = 0) -> None:
        self.notes = Notes(start_ns, 1000)
        self.here = self.thread()
        self.there = self.thread()
        self.there.track.thread = -1

    def thread(self) -> Thread:
        return Thread(self.notes, self.notes.new_track())

    def records(self, end_ns: int = 100) -> Records:
        return records_of(self.notes, end_ns, num_lanes=2, machine=Machine())


def strands(records: Records) -> list[tuple[int, ...]]:
    """Return the strands of forks: task, lane, start, end."""
    return [row[:4] for row in records.strands.tolist() if row[0]]


def outside(records: Records) -> list[tuple[int, ...]]:
    """Return the strands of the code outside of forks: lane, start, end."""
    return [row[1:4] for row in records.strands.tolist() if not row[0]]


def ranges(records: Records) -> list[tuple[Any, ...]]:
    """Return the ranges: name, task, lane, start, end."""
    return [(records.names[name], *rest) for name, *rest in records.ranges.tolist()]


def waits(records: Records) -> list[tuple[int, ...]]:
    """Return the waits: task, target, lane, start, end."""
    return records.waits.tolist()  # type: ignore[no-any-return]
