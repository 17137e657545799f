"""`profile`: notes what happens to the forks of a block and below.

A profile is an instrument that puts itself into the context, so it sees the forks made in its block and below,
wherever they run. While it records it only lengthens two flat lists; names, lanes and counters are worked out when
they are asked for (`timeline.py`). The lists are flat, four entries a note, because tuples kept by the thousand
would call the garbage collector: that was half of what a profile cost (`benchmarks/fork_wait.py`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Token
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from asyncjit._core.context import ROOT, Instrument, Scope, current
from asyncjit._core.process import current_runtime
from asyncjit._core.tasks import here
from asyncjit.profiler.chrome import write_trace
from asyncjit.profiler.records import Strand, Task, Wait
from asyncjit.profiler.timeline import CLOSED, OPENED, STARTED, STOPPED, WAITED, Timeline, most_at_once

get_ident = threading.get_ident


class profile(Instrument):  # noqa: N801  # torch's name
    """Record the forks of the block and below: `with profile() as prof: model(x)`.

    It works in scripts and in async code, and one profile inside another; the inner forks are seen by both. What
    still runs when the block ends is shown up to there. A profile keeps no arguments and no results alive.

    Parameters
    ----------
    clock : callable
        Returns the time in nanoseconds.

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

    def __init__(self, *, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._scope: Scope | None = None
        self._token: Token[Scope | None] | None = None
        self._thread = 0
        self._forks: list[Any] = []  # fork, its parent at that time, time, thread
        self._marks: list[Any] = []  # which mark, fork or range, time, thread
        self._note_fork: Callable[[tuple[Any, ...]], None] = self._forks.extend
        self._note: Callable[[tuple[Any, ...]], None] = self._marks.extend
        self.start_ns = 0  #: of the clock
        self.end_ns: int | None = None  #: of the clock; None while it records
        self.num_lanes = 0  #: the inter-op threads at the start

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
        self._thread = get_ident()
        self.num_lanes = current_runtime().num_interop_threads
        self._token = current.set(scope)
        self.start_ns = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        assert self._scope is not None
        self.end_ns = self._clock()
        self._note_fork = self._note = deque[Any](maxlen=0).extend  # forks that go on are heard, and forgotten
        current.reset(self._token)
        self._scope.close()

    # -- what the runtime tells

    def forked(self, fork: Any) -> None:
        """Note a fork."""
        self._note_fork((fork, fork.parent, self._clock(), get_ident()))

    def strand_started(self, fork: Any) -> None:
        """Note that a fork begins or goes on."""
        self._note((STARTED, fork, self._clock(), get_ident()))

    def strand_ended(self, fork: Any) -> None:
        """Note that a fork ended or waits."""
        self._note((STOPPED, fork, self._clock(), get_ident()))

    def wait_ended(self, scope: Any, future: Any) -> None:
        """Note that a wait is over."""
        self._note((WAITED, future._source, self._clock(), get_ident()))

    def ended(self, fork: Any) -> None:
        """Note the end of a fork's body, and what became of it."""
        future = fork.future  # gone if Ctrl-C had the end told twice
        if future is not None:
            self._note((-future._state, fork, self._clock(), get_ident()))

    # -- what record_function tells

    def range_opened(self, opened: Range) -> None:
        """Note that a named range begins."""
        self._note((OPENED, opened, self._clock(), get_ident()))

    def range_closed(self, opened: Range) -> None:
        """Note that a named range ends."""
        self._note((CLOSED, opened, self._clock(), get_ident()))

    # -- what it tells

    @property
    def span_ns(self) -> int:
        """How long the block took, so far."""
        return (self.end_ns if self.end_ns is not None else self._clock()) - self.start_ns

    def _timeline(self) -> Timeline:
        return Timeline(
            self._forks.copy(), self._marks.copy(), self._thread, self.start_ns, self.start_ns + self.span_ns
        )

    def events(self) -> list[Strand]:
        """Return all strands and ranges, by lane and start, outer before inner; on one lane they nest."""
        return self._timeline().strands

    def tasks(self) -> list[Task]:
        """Return the forks in the order of their making."""
        return self._timeline().tasks()

    def waits(self) -> list[Wait]:
        """Return the ends of the waits for these forks."""
        return self._timeline().waits

    def utilisation(self) -> float:
        """Return the share of the lanes' time in which forks executed, 0 to 1."""
        busy = sum(strand.end_ns - strand.start_ns for strand in self.events() if strand.fork is not None)
        return min(1.0, busy / max(1, self.span_ns * self.num_lanes))

    def max_running(self) -> int:
        """Return how many forks executed at once, at most."""
        return most_at_once(strand for strand in self.events() if strand.fork is not None)

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the profile as a Chrome trace, for ui.perfetto.dev or chrome://tracing.

        Parameters
        ----------
        path : str or Path
            Ends in `.json` or `.json.gz`. A file that is there is overwritten.

        Raises
        ------
        ValueError
            For any other ending.
        OSError
            If the file can't be written.
        """
        timeline = self._timeline()
        block = Strand("profile", 0, 0, timeline.span_ns, None)  # what the flows of a script's own code bind to
        write_trace(Path(path), [block, *timeline.strands], timeline.tasks(), timeline.waits)


class Range:
    """One entry into a `record_function` block."""

    __slots__ = ("name", "profiles")

    def __init__(self, name: str, profiles: tuple[profile, ...]) -> None:
        self.name = name
        self.profiles = profiles

    def display_name(self) -> str:
        """Return the range's name."""
        return self.name
