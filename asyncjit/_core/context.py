"""What the whole core shares: one lock, the tree of scopes, and each thread's own slot.

**The lock.** One re-entrant lock guards every state in the core: futures, permits, queues and the tree. Its sections
are tiny, call nobody's code, and, on the paths of a wait, contain no call and no loop. CPython delivers signals only
at function entries, at the ends of calls and at backward jumps, so Ctrl-C cannot fall *into* such a section, only
between two; and what stands between two is told by the thread's slot, which a `finally` settles. It is re-entrant
because a `__del__` may cancel a fork at any allocation. No section contains a loop of its own (it may call one):
CPython 3.13 does not leave a `with` block when a signal falls on certain jumps back inside it.

**The tree.** A `Scope` is a node of who forked whom: a fork, a plain asyncio task that forks, a group, or a stretch
of code under a deadline. The scope that code runs in stands in one context variable, so it travels wherever the
context does. A scope never refers to a result: a context that is kept somewhere pins none.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from asyncio import Task
    from types import FrameType

lock = threading.RLock()


class Process:
    """What the whole process shares."""

    generation = 0  #: of `os.fork`: in a child nobody completes the futures it inherits
    runtime: Any = None  #: what code outside of every scope forks on, once that is known
    open: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()  #: the runtimes
    entered: ClassVar[list[Any]] = []  #: those that were entered, in that order; guarded by the lock
    is_exiting = False  #: the interpreter ends: nothing new starts


class Instrument:
    """Sees what a runtime does; every method may be overridden, none may raise, none is called under the lock.

    Instruments come from `Runtime(instruments=)`, which sees all forks of that runtime, or from a context (as `profile`
    does), which sees the forks made in it and below. Without one, each event costs one check.
    """

    def forked(self, fork: Any) -> None:
        """Note that `fork` was made; called in the forking thread before anything can start it."""

    def strand_started(self, fork: Any) -> None:
        """Note that `fork` begins, or goes on, to execute in the calling thread."""

    def strand_ended(self, fork: Any) -> None:
        """Note that `fork` ended, or waits, and no longer executes in the calling thread."""

    def wait_started(self, scope: Scope | None, future: Any) -> None:
        """Note that the code of `scope` (None: a script) begins to wait for `future`, which is not done."""

    def wait_ended(self, scope: Scope | None, future: Any) -> None:
        """Note that the wait is over: `future` is done, or the waiter was interrupted."""

    def ended(self, fork: Any) -> None:
        """Note that the body of `fork` has ended, or will never start."""


class Handler:
    """Takes what code does into its own hands, as a tracer does; without one, each look costs one check.

    It comes with a scope's environment, so that it handles what is done in that scope and below. Its futures are done
    from the beginning, and of a class of its own, whose `_outcome` tells it of each wait.
    """

    def fork(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> Any:
        """Return the future of a call that is to be forked; `frame` is the place to name."""
        raise NotImplementedError

    def called(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what calling a `Module`, or a function of `nn.functional`, gives."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Environment:
    """What a scope hands down: one immutable record, shared by all forks made in the same place."""

    deadline: float | None = None  #: in seconds of the runtime's clock
    inbox: Any = None  #: of the loop at the root of this context (`loops.Inbox`)
    instruments: tuple[Instrument, ...] = ()
    handler: Handler | None = None


ROOT = Environment()
ROOM = 32  # chosen: how many children a scope has before it looks which of them have ended


class Scope:
    """A node of the tree of who forked whom.

    `children` are the forks below; those whose *bodies* have ended are dropped now and then, as their number doubles,
    which is cheaper than to have each of them say goodbye. A scope that `counts` has none but unended ones. `cause` is
    set once the scope is cancelled, to the exception class that tells why. `task` is the asyncio task that runs this
    scope's code, if one does. `blocked` is the wait its code sleeps in, so that a cancel can end it; `waits_for` is the
    future it waits for, asleep or running it in place, so that a deadlock can be told.
    """

    __slots__ = (
        "__weakref__",
        "blocked",
        "cause",
        "children",
        "ended",
        "env",
        "instruments",
        "parent",
        "room",
        "runtime",
        "task",
        "waits_for",
    )

    number = 0  #: of a fork that an instrument has counted
    counts = False
    room: int  # how many children there may be before those that have ended are dropped

    def __init__(self, parent: Scope | None, runtime: Any, env: Environment) -> None:
        self.parent = parent
        self.runtime = runtime
        self.env = env
        self.instruments = env.instruments
        self.children: Any = None
        self.cause: type[Exception] | None = None
        self.task: Task[Any] | None = None
        self.blocked: Any = None
        self.waits_for: Any = None
        self.ended = False

    def adopt(self, fork: Any) -> Scope | None:
        """Make `fork` a child of this scope or, if it has ended, of its nearest open ancestor. Under the lock."""
        scope: Scope | None = self
        while scope is not None and scope.ended:
            scope = scope.parent
        if scope is not None:
            if scope.counts:
                scope.count(fork)
            elif scope.children is None:
                scope.children = [fork]
                scope.room = ROOM
            else:
                scope.children.append(fork)
                if len(scope.children) > scope.room:
                    scope.children = [child for child in scope.children if not child.ended]
                    scope.room = max(ROOM, 2 * len(scope.children))
        return scope

    def open_below(self, above: Scope | None) -> None:
        """Put a stretch of code into the tree: a cancel from above reaches its waits and what is forked in it."""
        with lock:
            self.parent = above.adopt(self) if above is not None else None
            if self.parent is not None:
                self.cause = self.parent.cause

    def close(self) -> None:
        """End a stretch of code."""
        self.end()
        if self.parent is not None:
            with lock:
                self.parent.leave(self)

    def cancel_body(self, cause: type[Exception]) -> bool:
        """Do nothing: a stretch of code sees its cancel in its waits; forks override this."""
        return False

    def cancel_unstarted(self, cause: type[Exception]) -> None:
        """Do nothing: a stretch of code has started; forks override this."""

    def count(self, fork: Any) -> None:
        """Add a child of a scope that counts. Under the lock."""
        raise NotImplementedError

    def leave(self, fork: Any) -> None:
        """Drop a child now: a stretch of code, or any child of a scope that counts. Under the lock."""
        children: Any = self.children or ()
        for index in range(len(children) - 1, -1, -1):  # a stretch is among the last
            if children[index] is fork:
                del children[index]
                break

    def end(self) -> None:
        """Take note that this scope's own code has ended: its unfinished forks go to its parent.

        Doing it twice does no harm, so an interrupted call is made again.
        """
        with lock:
            self.ended = True
            self._hand_over()
            self.children = None

    def _hand_over(self) -> None:
        for fork in tuple(self.children or ()):
            if not fork.ended:
                fork.parent = self.adopt(fork)

    def cancel_below(self, cause: type[Exception]) -> None:
        """Cancel all that was forked below, and whatever will be; the waits of cancelled code raise from now on."""
        scopes = [self]
        for scope in scopes:  # it grows
            with lock:
                scope.cause = scope.cause or cause
                children = tuple(scope.children or ())
            scopes += children
        for fork in scopes[1:]:  # first what has not started: bodies that end by their cancel set threads free
            fork.cancel_unstarted(cause)
        for scope in scopes:
            blocked = scope.blocked
            if blocked is not None:
                blocked.wake()
            if scope is not self:
                scope.cancel_body(cause)

    def failed(self, fork: Any, error: BaseException) -> None:
        """Take note that the child `fork` has failed with `error`; groups override this."""


class ThreadSlot:
    """What one thread holds at this moment; only the thread itself writes it."""

    __slots__ = (
        "__weakref__",
        "bell",
        "blas_before",
        "blas_generation",
        "depth",
        "ending",
        "executor",
        "fork",
        "inbox",
        "lender",
        "loan",
        "num_awaiting",
        "permit",
        "pool",
        "searching",
    )

    def __init__(self) -> None:
        self.permit: Any = None  #: the pool whose permit this thread holds
        self.fork: Any = None  #: the kernel that it runs, or has claimed to run next
        self.ending: Any = None  #: the kernel whose end it is telling to those concerned
        self.depth = 0  #: how many kernels it runs in place, one inside the other
        self.pool: Any = None  #: the pool whose own thread this is
        self.executor: Any = None  #: the executor whose thread stands for a pool thread that waits for it
        self.searching = False  #: it was woken to look for work and has not looked yet
        self.loan: Any = None  #: the pool to which the loop that runs inside the kernel here has lent its permit
        self.lender: Any = None  #: that kernel
        self.num_awaiting = 0  #: how many tasks of its loop wait
        self.bell: Any = None  #: what a parked pool thread sleeps on
        self.inbox: Any = None  #: of the loop that ran here last
        self.blas_generation = 0  #: of the OpenMP limits this thread has set for itself
        self.blas_before: list[Any] = []  #: and what it had before, if it is a script's thread


_slots = threading.local()
all_slots: weakref.WeakSet[ThreadSlot] = weakref.WeakSet()  # of all threads alive; to tell what runs, for people


def this_thread() -> ThreadSlot:
    """Return the calling thread's slot."""
    try:
        return _slots.slot  # type: ignore[no-any-return]
    except AttributeError:
        return new_slot()


def new_slot() -> ThreadSlot:
    """Give the calling thread an empty slot."""
    slot = _slots.slot = ThreadSlot()
    with lock:
        all_slots.add(slot)
    return slot


current: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("asyncjit_scope", default=None)


def current_handler() -> Handler | None:
    """Return what handles the calling code's forks, if anything but the runtime does."""
    scope = current.get()
    return None if scope is None else scope.env.handler
