"""Every exception asyncjit raises on purpose.

::

    AsyncJitError
    ├── ForkCancelled          also concurrent.futures.CancelledError
    ├── DeadlineExceeded       also TimeoutError
    ├── Overloaded
    └── (each also a RuntimeError)
        ├── WaitOnEventLoopError
        ├── DeadlockError
        ├── RuntimeClosed
        ├── InvalidStateError
        ├── CallbackError
        ├── ScriptError
        └── TraceError

An error raised inside a fork is none of these: it surfaces as itself, with its own type and traceback.
"""

from __future__ import annotations

import concurrent.futures

__all__ = [
    "AsyncJitError",
    "CallbackError",
    "DeadlineExceeded",
    "DeadlockError",
    "ForkCancelled",
    "InvalidStateError",
    "Overloaded",
    "RuntimeClosed",
    "ScriptError",
    "TraceError",
    "WaitOnEventLoopError",
]


class AsyncJitError(Exception):
    """The root of every error that asyncjit itself raises."""


class ForkCancelled(AsyncJitError, concurrent.futures.CancelledError):
    """The fork waited for was cancelled, or the fork that waits was.

    Never `asyncio.CancelledError`: that would say the waiter's own task was cancelled.
    """


class DeadlineExceeded(AsyncJitError, TimeoutError):
    """A deadline set by `fail_after` passed: the waiter's own, or the one that ended the fork waited for."""


class Overloaded(AsyncJitError):
    """A bound was reached: too many queued forks (`max_queued`) or too many blocked threads."""


class WaitOnEventLoopError(AsyncJitError, RuntimeError):
    """A blocking call was made on an event loop's thread; its message shows the `await` to write."""


class DeadlockError(AsyncJitError, RuntimeError):
    """A fork waits, directly or through others, for itself; its message shows the chain."""


class RuntimeClosed(AsyncJitError, RuntimeError):
    """The runtime, or the event loop that hosted a coroutine fork, is closed."""


class InvalidStateError(AsyncJitError, RuntimeError):
    """The operation does not fit the state the future or runtime is in."""


class CallbackError(AsyncJitError, RuntimeError):
    """A callback given to `Future.then` raised; `__cause__` is what it raised."""


class ScriptError(AsyncJitError, RuntimeError):
    """A function can't be scripted as it stands; its message names the file, the line and what to write instead."""


class TraceError(AsyncJitError, RuntimeError):
    """A function can't be traced, or a graph not run on these inputs; its message names the place and the way out."""
