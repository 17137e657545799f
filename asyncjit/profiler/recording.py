"""`profile`: notes what happens to the forks of a block and below.

A profile is an instrument that puts itself into the context, so it sees the forks made in its block and below,
wherever they run. While it records it only appends to lists (`notes.py`); what they say is worked out when it is asked
for (`timeline.py`), and what follows from that is told by `results.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from contextvars import Token
from dataclasses import replace
from types import TracebackType
from typing import Any

from asyncjit._core.cell import CANCELLED
from asyncjit._core.context import ROOT, Instrument, Scope, current
from asyncjit._core.forks import Fork
from asyncjit._core.process import current_runtime
from asyncjit._core.tasks import here
from asyncjit.cpus import checked_count
from asyncjit.profiler.machine import Meter
from asyncjit.profiler.notes import (
    CHUNK,
    CLOSED,
    NOT_MEASURED,
    OPENED,
    OUTSIDE_WAITED,
    OUTSIDE_WAITS,
    STARTED,
    STOPPED,
    WAITED,
    Full,
    Notes,
    Track,
)
from asyncjit.profiler.records import Records
from asyncjit.profiler.results import Results
from asyncjit.profiler.rivalry import Rival, Rivalry
from asyncjit.profiler.schedules import ProfilerAction
from asyncjit.profiler.timeline import records_of

MAX_EVENTS = 10_000_000  # chosen: some 330 MB, 1.7 million forks

numbers = itertools.count(1)  # of forks and ranges: several profiles may see the same ones


class profile(Instrument, Results):  # noqa: N801  # torch's name
    """Record the forks of the block and below: `with profile() as prof: model(x)`.

    It works in scripts and in async code, and one profile inside another; the inner forks are seen by both. What
    still runs when the block ends is shown up to there. A profile keeps no arguments and no results alive.

    Parameters
    ----------
    schedule : callable, optional
        Says for each step, by its number, what to do: see `schedule`. The block calls `step()` after each. By default
        the whole block is recorded.
    on_trace_ready : callable, optional
        Called with the profile whenever a recording is complete: at the end of the block, or of each cycle of the
        schedule.
    record_shapes : bool
        Note the shapes of the arguments of each fork, for `key_averages(group_by_input_shape=True)`.
    cpu_times : bool
        Note the CPU time of the thread in each strand: it takes a quarter of what a profile costs, and tells where time
        was lost to waiting for the GIL or for a core.
    rival : bool
        Let a thread ask for the GIL in short bursts, a tenth of the time, so that a profile on one lane can tell what
        two would take from each other: see `predict`. Programs of many short NumPy calls get some 3 to 13 % slower.
    max_events : int
        How many events are kept, some 33 bytes each; a fork and its wait make six. Where that is reached the recording
        ends, and what comes later is counted as dropped.
    clock : callable
        Returns the time in nanoseconds.
    cpu_clock : callable
        Returns the CPU time of the calling thread in nanoseconds.

    Raises
    ------
    RuntimeError
        If one profile is entered twice.

    Examples
    --------
    >>> from asyncjit import sync
    >>> with profile() as prof:
    ...     sync.call(sum, [1, 2])
    3
    >>> [strand.name for strand in prof.events()]
    ['sum']
    """

    def __init__(
        self,
        *,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], object] | None = None,
        record_shapes: bool = False,
        cpu_times: bool = True,
        rival: bool = False,
        max_events: int = MAX_EVENTS,
        clock: Callable[[], int] = time.perf_counter_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock if cpu_times else None
        self._schedule = schedule if schedule is not None else _whole_block
        self._on_trace_ready = on_trace_ready
        self._record_shapes = record_shapes
        self._has_rival = rival
        self._rival: Rival | None = None
        self._rivalry: Rivalry | None = None
        self._max_events = checked_count(max_events, "max_events")
        self._scope: Scope | None = None
        self._token: Token[Scope | None] | None = None
        self._action = ProfilerAction.NONE
        self._notes = Notes(0, 0)
        self._notes.end(0)
        self._meter = Meter()
        self._nothing: Any = Full()  # forks that go on are heard, and forgotten
        self._here: Any = self._nothing  # its `track` is the calling thread's
        self._step: Range | None = None
        self._known: Records | None = None
        self._num_permits = 0
        self.step_num = 0  #: how often `step()` was called

    # -- the block

    def __enter__(self) -> profile:
        if self._scope is not None:
            raise RuntimeError("Profiler context manager is not reentrant: make a new profile() for each block")
        above = here(asyncio._get_running_loop())
        env = above.env if above is not None else ROOT
        env = replace(env, instruments=(*env.instruments, self))
        scope = Scope(above, above.runtime if above is not None else None, env)
        if above is not None:
            scope.task = above.task
            scope.open_below(above)
        self._scope = scope
        self._num_permits = current_runtime().num_interop_threads
        self._token = current.set(scope)
        self._act(self._schedule(0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        assert self._scope is not None
        try:
            was_recording = self._action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
            self._stop()
        finally:
            current.reset(self._token)
            self._scope.close()
        if was_recording and self._on_trace_ready is not None:
            self._on_trace_ready(self)

    def step(self) -> None:
        """Take note that a step of the schedule has ended, and the next begins.

        Raises
        ------
        RuntimeError
            Outside of the block.
        """
        if self._scope is None or self._scope.ended:
            raise RuntimeError("step() has no meaning outside of the profile's block: call it in `with profile(...)`")
        self.step_num += 1
        action = self._schedule(self.step_num)
        if self._action is ProfilerAction.RECORD_AND_SAVE:
            self._stop()
            if self._on_trace_ready is not None:
                self._on_trace_ready(self)
        self._act(action)

    def _act(self, action: ProfilerAction) -> None:
        """Begin a step: record anew, go on, or pause."""
        before, self._action = self._action, action
        self._end_step()
        if action is ProfilerAction.NONE:
            self._stop()
            return
        is_warm = before is ProfilerAction.WARMUP and action is not ProfilerAction.WARMUP
        if is_warm or before in (ProfilerAction.NONE, ProfilerAction.RECORD_AND_SAVE):
            self._record()
        if self._schedule is not _whole_block:
            self._step = Range(f"ProfilerStep#{self.step_num}", ())
            self.range_opened(self._step)

    def _end_step(self) -> None:
        step, self._step = self._step, None
        if step is not None:
            self.range_closed(step)

    def _record(self) -> None:
        """Begin a recording."""
        self._stop_rival()
        self._known = self._rivalry = None
        rival = Rival(self._clock) if self._has_rival else None  # it calibrates for a moment
        self._meter.start()
        self._notes = notes = Notes(self._clock(), self._max_events)
        tracks = threading.local()
        tracks.track = notes.new_track()
        self._here = tracks
        self._note_thread(STARTED, notes.start_ns)
        if rival is not None:
            self._rival = rival
            rival.start(notes.start_ns)

    def _stop_rival(self) -> None:
        rival, self._rival = self._rival, None
        if rival is not None:
            self._rivalry = rival.stop()

    def _note_thread(self, mark: int, at_ns: int) -> None:
        """Note the CPU time of the thread of the block, for what runs there outside of forks."""
        self._here.track.mark((mark, 0, at_ns, self._cpu_ns()))

    def _cpu_ns(self) -> int:
        return NOT_MEASURED if self._cpu_clock is None else self._cpu_clock()

    def _stop(self) -> None:
        """End the recording; what was noted stays to be told."""
        if self._notes.end_ns is None:
            self._end_step()
            end_ns = self._clock()
            if threading.get_ident() == self._notes.thread:
                self._note_thread(STOPPED, end_ns)
            self._notes.end(end_ns)
        self._here = self._nothing
        self._stop_rival()
        self._meter.stop()

    def _new_track(self) -> Any:
        here = self._here
        if type(here) is Full:  # the recording has ended meanwhile
            return here
        track = here.track = self._notes.new_track()
        return track

    def _pack(self, track: Track) -> None:
        notes = self._notes
        if not notes.pack(track) and notes.end_ns is None:
            notes.end(self._clock())
            self._meter.stop()
            self._here = Full(notes.dropped.__next__)

    # -- what the runtime tells

    def forked(self, fork: Any) -> None:
        """Note a fork."""
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        number = fork.number
        if not number:
            number = fork.number = next(numbers)
        parent = fork.parent
        above = 0 if parent is self._scope else parent.number or self._actor(parent)
        track.fork((number, self._clock(), above, fork.instruction, fork.code))
        if self._record_shapes:
            self._notes.note_shapes(number, fork.args)
        if len(track.marks) > CHUNK:
            self._pack(track)

    def strand_started(self, fork: Any) -> None:
        """Note that a fork begins or goes on."""
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        cpu_clock = self._cpu_clock
        track.mark((STARTED, fork.number, self._clock(), NOT_MEASURED if cpu_clock is None else cpu_clock()))
        if len(track.marks) > CHUNK:
            self._pack(track)

    def strand_ended(self, fork: Any) -> None:
        """Note that a fork ended or waits."""
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        cpu_clock = self._cpu_clock
        track.mark((STOPPED, fork.number, self._clock(), NOT_MEASURED if cpu_clock is None else cpu_clock()))

    def wait_started(self, scope: Any, future: Any) -> None:
        """Note that a wait begins, if no strand ends with it that tells."""
        if scope is not self._scope and (scope.number or self._actor(scope)):
            return
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        source = future._source
        target = source.number if type(source) is Fork else 0
        track.mark((OUTSIDE_WAITS, target, self._clock(), NOT_MEASURED if scope.task is None else self._cpu_ns()))

    def wait_ended(self, scope: Any, future: Any) -> None:
        """Note that a wait is over."""
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        source = future._source
        target = source.number if type(source) is Fork else 0
        actor = 0 if scope is self._scope else scope.number or self._actor(scope)
        if actor:
            track.mark((WAITED, actor, self._clock(), target))
        else:
            track.mark((OUTSIDE_WAITED, target, self._clock(), NOT_MEASURED if scope.task is None else self._cpu_ns()))

    def ended(self, fork: Any) -> None:
        """Note the end of a fork's body, and what became of it."""
        future = fork.future
        if future is None:  # Ctrl-C had the end told twice
            return
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        state = future._state
        at_ns = self._clock() if state == CANCELLED else 0  # it may never have had a strand
        name = self._notes.names.get(fork.name)
        if name is None:
            name = self._notes.name(fork.display_name())
        track.end((fork.number, at_ns, name, 2 * state + fork.is_async))

    def _actor(self, scope: Scope | None) -> int:
        """Return the number of the fork whose code a stretch of code below it is; 0 if it is outside of all."""
        while scope is not None and scope is not self._scope:
            if scope.number:
                return scope.number
            scope = scope.parent
        return 0

    # -- what record_function tells

    def range_opened(self, opened: Range) -> None:
        """Note that a named range begins."""
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        track.mark((OPENED, opened.number, self._clock(), self._notes.name(opened.name)))
        if len(track.marks) > CHUNK:
            self._pack(track)

    def range_closed(self, opened: Range) -> None:
        """Note that a named range ends."""
        try:
            track = self._here.track
        except AttributeError:
            track = self._new_track()
        track.mark((CLOSED, opened.number, self._clock(), 0))

    # -- what it tells

    @property
    def records(self) -> Records:
        """All that was recorded, so far, in tables."""
        if self._known is not None:
            return self._known
        notes = self._notes
        end_ns = self._clock() if notes.end_ns is None else notes.end_ns
        machine = self._meter.machine()
        records = records_of(notes, end_ns, num_lanes=self._num_permits, machine=machine, rivalry=self._rivalry)
        if notes.end_ns is not None:
            self._known = records
        return records


def _whole_block(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


class Range:
    """One entry into a `record_function` block."""

    __slots__ = ("name", "number", "profiles")

    def __init__(self, name: str, profiles: tuple[profile, ...]) -> None:
        self.name = name
        self.number = next(numbers)
        self.profiles = profiles
