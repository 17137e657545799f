"""`profile` and `record_function`: what ran where and when.

A profile is an instrument that puts itself into the context: it sees the forks made in its block and below, wherever
they run. While it records it only appends tuples; names, lanes and counters are worked out when they are asked for.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Callable
from contextvars import Token
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from asyncjit._core.context import ROOT, Instrument, Scope, current
from asyncjit._core.runtime import current_runtime
from asyncjit._core.tasks import here
from asyncjit.profiler.chrome import write_trace
from asyncjit.profiler.records import Strand, Task

F = TypeVar("F", bound=Callable[..., Any])


class profile(Instrument):  # noqa: N801  # torch's name
    """Record the forks of the block and below: `with profile() as prof: model(x)`.

    Parameters
    ----------
    clock : callable
        Returns the time in nanoseconds.

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
        self._forks: list[tuple[Any, int, int]] = []  # fork, time, thread
        self._marks: list[tuple[int, Any, int, int]] = []  # +1 start or -1 end, fork or range's name, time, thread
        self._waits: list[tuple[Any, Any, int, int]] = []  # waiter, target's source, time, thread
        self._ended: dict[Any, tuple[int, str]] = {}
        self.start_ns = 0
        self.end_ns: int | None = None
        self.num_lanes = 0  #: the inter-op threads at the start

    # -- the block

    def __enter__(self) -> profile:
        if self._scope is not None:
            raise RuntimeError("Profiler context manager is not reentrant: make a new profile() for each block")
        runtime = current_runtime()
        above = here(asyncio._get_running_loop())
        env = above.env if above is not None else ROOT
        scope = Scope(above, above.runtime if above is not None else None, env)
        scope.env = env._replace(instruments=(*env.instruments, self))
        scope.instruments = scope.env.instruments
        if above is not None:
            scope.task = above.task
            scope.open_below(above)
        self._scope = scope
        self._thread = threading.get_ident()
        self.num_lanes = runtime.num_interop_threads
        self._token = current.set(scope)
        self.start_ns = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_ns = self._clock()
        assert self._token is not None
        assert self._scope is not None
        current.reset(self._token)
        self._scope.close()

    # -- what the runtime tells; appends only

    def forked(self, fork: Any) -> None:
        """Note a fork."""
        self._forks.append((fork, self._clock(), threading.get_ident()))

    def strand_started(self, fork: Any) -> None:
        """Note that a fork begins or goes on."""
        self._marks.append((1, fork, self._clock(), threading.get_ident()))

    def strand_ended(self, fork: Any) -> None:
        """Note that a fork ended or waits."""
        self._marks.append((-1, fork, self._clock(), threading.get_ident()))

    def wait_ended(self, scope: Any, future: Any) -> None:
        """Note that a wait is over."""
        self._waits.append((scope, future._source, self._clock(), threading.get_ident()))

    def ended(self, fork: Any) -> None:
        """Note the end of a fork's body."""
        future = fork.future
        self._ended[fork] = (self._clock(), repr(future).split()[1].rstrip(">") if future is not None else "ended")

    # -- what it tells

    @property
    def span_ns(self) -> int:
        """How long the block took, so far."""
        return (self.end_ns if self.end_ns is not None else self._clock()) - self.start_ns

    def lanes(self) -> list[int]:
        """Return the threads by their lanes' numbers: the one that opened the profile is lane 0."""
        threads = {self._thread: None}
        threads |= dict.fromkeys(thread for *_, thread in self._marks)
        return list(threads)

    def tasks(self) -> list[Task]:
        """Return the forks in the order of their making."""
        numbers = {fork: number for number, (fork, _, _) in enumerate(self._forks, 1)}
        lanes = {thread: lane for lane, thread in enumerate(self.lanes())}
        found = []
        for fork, forked, thread in self._forks:
            ended, state = self._ended.get(fork, (None, "running"))
            parent = fork.parent
            while parent is not None and parent not in numbers:
                parent = parent.parent
            found.append(
                Task(
                    number=numbers[fork],
                    name=fork.display_name(),
                    site=fork.site(),
                    parent=numbers.get(parent) if parent is not None else None,
                    lane=lanes.get(thread, 0),
                    forked_ns=forked - self.start_ns,
                    ended_ns=None if ended is None else ended - self.start_ns,
                    state=state,
                )
            )
        return found

    def events(self) -> list[Strand]:
        """Return all strands and ranges, in the order of their ends; what still runs ends with the profile."""
        numbers = {fork: number for number, (fork, _, _) in enumerate(self._forks, 1)}
        lanes = {thread: lane for lane, thread in enumerate(self.lanes())}
        open_marks: dict[tuple[int, Any], list[int]] = {}
        strands = []

        def close(what: Any, thread: int, start: int, end: int) -> None:
            name = what if isinstance(what, str) else what.display_name()
            span = (start - self.start_ns, max(start, end) - self.start_ns)
            strands.append(Strand(name, lanes[thread], *span, None if isinstance(what, str) else numbers.get(what)))

        for sign, what, at, thread in self._marks:
            stack = open_marks.setdefault((thread, what), [])
            if sign > 0:
                stack.append(at)
            elif stack:
                close(what, thread, stack.pop(), at)
        for (thread, what), stack in open_marks.items():
            for start in stack:
                close(what, thread, start, self.start_ns + self.span_ns)
        return strands

    def waits(self) -> list[tuple[int, int, int]]:
        """Return, for each wait that is over, the number of the fork waited for, the lane and the time of going on."""
        numbers = {fork: number for number, (fork, _, _) in enumerate(self._forks, 1)}
        lanes = {thread: lane for lane, thread in enumerate(self.lanes())}
        return [
            (numbers[source], lanes.get(thread, 0), at - self.start_ns)
            for _, source, at, thread in self._waits
            if source in numbers
        ]

    def utilisation(self) -> float:
        """Return the share of the lanes' time in which forks executed, 0 to 1."""
        busy = sum(strand.end_ns - strand.start_ns for strand in self.events() if strand.fork is not None)
        return min(1.0, busy / max(1, self.span_ns * self.num_lanes))

    def max_running(self) -> int:
        """Return how many forks executed at once, at most."""
        moments = sorted(
            mark for s in self.events() if s.fork is not None for mark in ((s.start_ns, 1), (s.end_ns, -1))
        )
        running = most = 0
        for _, change in moments:
            running += change
            most = max(most, running)
        return most

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the profile as a Chrome trace, for ui.perfetto.dev or chrome://tracing.

        Parameters
        ----------
        path : str or Path
            Ends in `.json` or `.json.gz`.

        Raises
        ------
        ValueError
            For any other ending.
        """
        block = Strand("profile", 0, 0, self.span_ns, None)  # what the flows of a script's own code bind to
        write_trace(Path(path), [block, *self.events()], self.tasks(), self.waits())


class record_function:  # noqa: N801  # torch's name
    """Name a stretch of code on its lane while a profile records; `with record_function("embed"):`, or a decorator.

    As a decorator it takes functions and coroutine functions. A stretch that contains an `await` spans it.

    Parameters
    ----------
    name : str
        What the timeline shows.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"record_function needs a name, got {name!r} of type {type(name).__name__}")
        self.name = name
        self._profiles: tuple[Any, ...] = ()

    def __enter__(self) -> record_function:
        scope = current.get()
        if scope is not None and scope.instruments:
            self._profiles = tuple(i for i in scope.instruments if isinstance(i, profile))
            for profiler in self._profiles:
                profiler.strand_started(self.name)
        return self

    def __exit__(self, *error: object) -> None:
        for profiler in self._profiles:
            profiler.strand_ended(self.name)
        self._profiles = ()

    def __call__(self, fn: F) -> F:
        """Return `fn` with its calls recorded under the name."""
        name = self.name
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def recorded_async(*args: Any, **kwargs: Any) -> Any:
                with record_function(name):
                    return await fn(*args, **kwargs)

            return recorded_async  # type: ignore[return-value]

        @functools.wraps(fn)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with record_function(name):
                return fn(*args, **kwargs)

        return recorded  # type: ignore[return-value]
