"""The process's runtimes: which one is the current, the default one, and their end with the process.

There is one default runtime per process, made on first use. Entering a runtime makes it the process's current one until
it is closed (the last entered that is still open), because a service's handlers do not see the context variables of its
lifespan; `local=True` keeps it to the context. What runs inside a fork sees the fork's own runtime.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings

from asyncjit._core.blas import blas
from asyncjit._core.context import Process, current, lock, new_slot
from asyncjit._core.forks import Fork
from asyncjit._core.loops import forget_loops
from asyncjit._core.runtime import Runtime
from asyncjit._core.tasks import refuse_loop

EXIT_GRACE_S = 1.0  # specified by the design: what running kernels get at interpreter exit

_default: Runtime | None = None


def current_runtime() -> Runtime:
    """Return the runtime that a fork made here would use; makes the default one if there is no other."""
    global _default  # the process's default is what this module is for
    scope = current.get()
    while scope is not None:
        if scope.runtime is not None and not scope.runtime.is_closed:
            return scope.runtime  # type: ignore[no-any-return]
        scope = scope.parent
    if Process.entered:
        return Process.entered[-1]  # type: ignore[no-any-return]
    runtime = _default
    if runtime is None or runtime.is_closing:
        with lock:
            if _default is None or _default.is_closing:
                _default = Runtime()
            runtime = _default
    Process.runtime = runtime
    return runtime


def unended_forks() -> list[Fork]:
    """Return the forks of all runtimes whose bodies have not ended."""
    return [fork for runtime in tuple(Process.open) for fork in runtime.unfinished()]


def close(*, cancel: bool = False, timeout: float | None = None) -> list[str]:
    """Close the default runtime, if there is one; the next fork makes a fresh one. See `Runtime.close`."""
    refuse_loop("asyncjit.close()", "await current_runtime().aclose()")
    return [] if _default is None else _default.close(cancel=cancel, timeout=timeout)


def _at_exit() -> None:
    Process.is_exiting = True
    dropped = sum(runtime.exit() for runtime in tuple(Process.open) if not runtime.is_closed)
    if dropped:
        warnings.warn(
            f"asyncjit: {dropped} queued forks were dropped at interpreter exit", RuntimeWarning, stacklevel=1
        )
    deadline = time.monotonic() + EXIT_GRACE_S
    bell = threading.Event()
    while any(runtime.pool.running for runtime in Process.open) and time.monotonic() < deadline:
        bell.wait(0.01)


def _after_fork_in_child() -> None:
    global _default
    Process.generation += 1
    lock._at_fork_reinit()  # type: ignore[attr-defined]  # as the standard library's own locks do
    new_slot()
    current.set(None)
    _default = Process.runtime = None
    for runtime in tuple(Process.open):
        runtime.is_plain = False
        runtime.pool.limit = 0  # no waiter claims what only the parent may run
    Process.entered.clear()
    Process.open.clear()
    forget_loops()
    blas.reset_after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
