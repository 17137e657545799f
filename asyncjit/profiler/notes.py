"""The notes of one recording: flat lists of integers, one for each thread, packed into arrays as they grow.

A note is a few integers, appended by one C call, so Ctrl-C can't fall into one and threads need no lock. Flat, because
tuples kept by the thousand would call the garbage collector: that was half of what a profile cost.
Integers, because a fork that a note kept would keep 400 bytes more, and because an array
holds them in 8 each. A thread packs its own list; who reads the notes of others takes the lock that packing takes.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit._core.process import unended_forks

# Marks: what happened, and the other three integers of the note.
STARTED, STOPPED, WAITED, OUTSIDE_WAITS, OUTSIDE_WAITED, OPENED, CLOSED = range(7)
# STARTED         the fork, time, CPU time
# STOPPED         the fork, time, CPU time
# WAITED          the fork that waited, time, the fork it waited for: it began where its last strand ended
# OUTSIDE_WAITS   the fork waited for, time, CPU time if a plain task waits
# OUTSIDE_WAITED  the fork waited for, time, CPU time if a plain task waited
# OPENED          the range, time, its name
# CLOSED          the range, time, 0
MARK = 4  # integers

# Forks: the fork, time, its parent, the instruction that forked it, and the code of that, packed as its id.
FORK = 5

# Ends: the fork, time (0: that of its last strand), its name, its state * 2 + whether it is a coroutine.
END = 4

CHUNK = 200_000  # integers; chosen: packing takes some ms, and what is not packed yet some MB for each thread
NOT_MEASURED = -1
NAME_OF_OUTSIDE = "(outside of forks)"

Ints = NDArray[np.int64]


class Track:
    """The notes of one thread, and the methods that append to them."""

    __slots__ = ("codes", "end", "ends", "fork", "forks", "is_loop", "mark", "marks", "packed", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.is_loop = asyncio._get_running_loop() is not None
        self.marks: list[int] = []
        self.forks: list[Any] = []
        self.ends: list[int] = []
        self.mark: Callable[[tuple[int, int, int, int]], None] = self.marks.extend
        self.fork: Callable[[tuple[int, int, int, int, CodeType]], None] = self.forks.extend
        self.end: Callable[[tuple[int, int, int, int]], None] = self.ends.extend
        self.packed: list[Columns] = []
        self.codes: dict[int, CodeType] = {}  # by their ids, which they have while they are kept here

    def columns(self) -> Columns:
        """Return what is not packed, as rows."""
        forks = self.forks.copy()
        codes = {id(code): code for code in forks[FORK - 1 :: FORK]}
        self.codes |= codes
        forks[FORK - 1 :: FORK] = map(id, forks[FORK - 1 :: FORK])
        lists = (self.marks.copy(), MARK), (forks, FORK), (self.ends.copy(), END)
        return Columns(*(np.array(flat, np.int64).reshape(-1, width) for flat, width in lists))


class Columns(NamedTuple):
    """Notes as rows."""

    marks: Ints
    forks: Ints
    ends: Ints


class Notes:
    """What one recording noted, and what its numbers mean."""

    def __init__(self, start_ns: int, max_events: int) -> None:
        self.start_ns = start_ns
        self.end_ns: int | None = None
        self.max_events = max_events
        self.thread = threading.get_ident()
        self.is_on_loop = asyncio._get_running_loop() is not None
        self.names: dict[str, int] = {NAME_OF_OUTSIDE: 0}
        self.shapes: dict[str, int] = {}
        self.shapes_of: dict[int, int] = {}  # by fork
        self.dropped = itertools.count()  # advanced by one C call, from any thread; and by each who asks
        self._num_asked = 0
        self._unended: list[Unended] = []
        self._tracks: list[Track] = []
        self._num_packed = 0
        self._lock = threading.Lock()  # guards the tracks, what they packed, and how much that is

    def end(self, at_ns: int) -> None:
        """Take note that nothing more is noted."""
        self.end_ns = at_ns
        self._unended = self._now_unended()

    def unended_forks(self) -> list[Unended]:
        """Return the forks whose bodies have not ended, those of others among them."""
        return self._now_unended() if self.end_ns is None else self._unended

    def _now_unended(self) -> list[Unended]:
        """Look into the pools: to keep every fork at hand that might not end would cost each of them."""
        found = []
        for fork in unended_forks():
            if fork.number:
                target = fork.waits_for
                waits_for = getattr(target._source, "number", 0) if target is not None else NOT_MEASURED
                found.append(Unended(fork.number, self.name(fork.display_name()), fork.is_async, waits_for))
        return found

    def count_dropped(self) -> int:
        """Return how many notes came after the last for which there was room."""
        self._num_asked += 1
        return next(self.dropped) - (self._num_asked - 1)

    def new_track(self) -> Track:
        """Return a track for the calling thread."""
        track = Track(threading.get_ident())
        with self._lock:
            self._tracks.append(track)
        return track

    def pack(self, track: Track) -> bool:
        """Pack the calling thread's notes; return whether there is room for more."""
        with self._lock:
            packed = track.columns()
            track.packed.append(packed)
            for flat in (track.marks, track.forks, track.ends):
                flat.clear()
            self._num_packed += len(packed.marks) + len(packed.forks) + len(packed.ends)
            return self._num_packed < self.max_events

    def name(self, text: str) -> int:
        """Return the number of a name."""
        found = self.names.get(text)
        return self.names.setdefault(text, len(self.names)) if found is None else found

    def note_shapes(self, number: int, args: tuple[Any, ...]) -> None:
        """Note the shapes of a fork's arguments, as torch writes them: those without a shape have an empty one."""
        text = str([list(getattr(arg, "shape", ())) for arg in args])
        self.shapes_of[number] = self.shapes.setdefault(text, len(self.shapes))

    def by_track(self) -> list[tuple[Track, Columns]]:
        """Return the notes of each thread."""
        with self._lock:
            found = [(track, [*track.packed, track.columns()]) for track in self._tracks]
        return [(track, Columns(*map(np.concatenate, zip(*parts, strict=True)))) for track, parts in found]

    def code(self, key: int) -> CodeType:
        """Return the code with this id that has forked."""
        return next(track.codes[key] for track in self._tracks if key in track.codes)


class Unended(NamedTuple):
    """A fork whose body has not ended."""

    number: int
    name: int
    is_async: bool
    waits_for: int  #: the fork it waits for, 0 for another future, NOT_MEASURED if it does not wait


class Full:
    """Stands for the tracks of all threads where nothing is noted any more; it is told, and counts if it can."""

    marks: tuple[int, ...] = ()

    def __init__(self, count: Callable[[], object] | None = None) -> None:
        self.track = self
        self.count = count
        self.mark = self.fork = self.end = deque[Any](maxlen=0).extend if count is None else self._count

    def _count(self, note: object) -> None:
        if self.count is not None:
            self.count()
