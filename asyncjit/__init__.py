"""asyncjit: dynamic inter-op parallelism for NumPy models. `fork` a call, go on, `wait` for its value.

This door is for async code; `asyncjit.sync` has the same words for scripts.

Where things are::

    _core/context.py    the lock, the tree of scopes, each thread's slot
    _core/permits.py    how many may run: the counts
    _core/loops.py      the way into an event loop
    _core/facade.py     the event loop of those who have none
    _core/tasks.py      plain asyncio tasks as parents
    _core/cell.py       a value that arrives once, and who waits for it
    _core/waiting.py    how a thread waits: block
    _core/suspending.py how a task waits: suspend
    _core/stepping.py   scripted functions as the core sees them
    _core/suspension.py a forked one that waits
    _core/driving.py    how it gives its thread back
    _core/future.py     Future
    _core/cheap.py      which kernels a loop may run itself
    _core/hosting.py    coroutine forks and the tasks that drive them
    _core/nodes.py      a fork in the tree: how its body ends, cancelling
    _core/forks.py      one forked call: claim, run, finish
    _core/blas.py       BLAS and OpenMP held at one thread
    _core/products.py   which matrix products NumPy's BLAS is good at
    _core/pool.py       the queue and the threads
    _core/shipping.py   kernels whose bodies run in a runtime's executor
    _core/teams.py      threads that run one kernel's pieces together
    _core/runtime.py    Runtime, closing
    _core/process.py    the current runtime, the default one, exit, os.fork
    _core/intraop.py    parallel_for, and how kernels are split
    _core/splitting.py  forked NumPy functions on large arrays
    _core/settings.py   thread counts, parallel_info
    _core/forking.py    fork, check_cancelled
    _core/gathering.py  collect_all and what waits for many
    _core/awaiting.py   wait, call, wait_all, as_completed, map: awaiting
    _core/blocking.py   the same, blocking
    _core/groups.py     fork_group, fail_after
    _core/scripts.py    what the code of a scripted function calls
    cpus.py, errors.py  pure
    scripting/          script
    graph/              trace, graphs and what runs and changes them
    nn/, profiler/, testing.py, cli.py
"""

from asyncjit._core.awaiting import as_completed, call, map, wait, wait_all
from asyncjit._core.context import Instrument
from asyncjit._core.forking import check_cancelled, fork
from asyncjit._core.future import Future
from asyncjit._core.gathering import collect_all
from asyncjit._core.groups import fail_after, fork_group
from asyncjit._core.intraop import parallel_for
from asyncjit._core.process import close, current_runtime
from asyncjit._core.runtime import Runtime, Statistics
from asyncjit._core.settings import (
    get_num_interop_threads,
    get_num_threads,
    parallel_info,
    set_num_interop_threads,
    set_num_threads,
)
from asyncjit.graph.tracing import trace
from asyncjit.scripting import script

__version__ = "0.1.0"

__all__ = [
    "Future",
    "Instrument",
    "Runtime",
    "Statistics",
    "as_completed",
    "call",
    "check_cancelled",
    "close",
    "collect_all",
    "current_runtime",
    "fail_after",
    "fork",
    "fork_group",
    "get_num_interop_threads",
    "get_num_threads",
    "map",
    "parallel_for",
    "parallel_info",
    "script",
    "set_num_interop_threads",
    "set_num_threads",
    "trace",
    "wait",
    "wait_all",
]
