"""asyncjit for scripts: the same words as `asyncjit`, blocking the calling thread.

    >>> import numpy as np
    >>> from asyncjit import sync
    >>> future = sync.fork(np.sum, np.ones(3))
    >>> float(sync.wait(future))
    3.0

A waiting thread lends itself: what it waits for and has not started runs there. On an event loop's thread every
blocking call raises and shows the `await` to write.
"""

from asyncjit._core.blocking import as_completed, call, map, wait, wait_all
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
