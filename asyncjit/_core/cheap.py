"""Which kernels are cheaper than a hop: what an event loop may run itself.

An await normally hops: loop → pool thread → loop, some 50 µs. A ufunc on a few elements takes half of one. So a task
may run its target in place if it is a C callable that was measured, for inputs of that size class, to cost less than
a hop; one overrun bars that size class until it was cheap on the pool for a while, and a budget per turn of the loop
limits how much is run before others get their turn. Only functions of NumPy on arrays and numbers qualify: they
compute and end, where any other C callable might block.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from asyncjit._core.loops import Inbox

HOP_S = 50e-6  # measured: one await at a time on uvloop, benchmarks/fork_wait.py
TERM = 32  # chosen: a machine's hiccup shall not bar a ufunc for ever; one that is dear proves it again within these
BUDGET_S = 1e-3  # chosen: what a turn of the loop may be delayed, a fifth of the GIL's switch interval

_NUMBERS = (int, float, complex, np.generic)


class Costs:
    """What ufuncs have cost at best, by ufunc and size class; the entry of a barred class is infinite.

    It is CPU time: a wait for the GIL or a core says nothing about the ufunc.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._costs: dict[tuple[Any, int], float] = {}
        self._terms: dict[tuple[Any, int], int] = {}  # how often each that is barred has yet to prove cheap on the pool
        self._runs = 0

    def is_cheap(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], inbox: Inbox) -> bool:
        """Whether `fn` on these arguments may run in place, and fits into what is left of the loop's turn."""
        key = self._key(fn, args, kwargs)
        cost = self._costs.get(key) if key is not None else None
        if cost is None or cost > HOP_S:
            return False
        if inbox.budget_s <= 0:
            return self._begin_turn(inbox)
        inbox.budget_s -= cost
        return True

    def is_due(self) -> bool:
        """Whether to measure a kernel on a pool thread: one in sixteen; those that a loop runs are all measured."""
        self._runs += 1
        return not self._runs & 15

    def run(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `fn` and note what it cost, if it is of the kind that may run in place."""
        key = self._key(fn, args, kwargs)
        if key is None:
            return fn(*args, **kwargs)
        start = self._clock()
        try:
            return fn(*args, **kwargs)
        finally:
            self._note(key, self._clock() - start)

    def _note(self, key: tuple[Any, int], cost: float) -> None:
        if cost > HOP_S:
            self._costs[key] = math.inf
            self._terms[key] = TERM
        elif key not in self._terms:
            self._costs[key] = min(cost, self._costs.get(key, HOP_S))
        else:
            self._terms[key] -= 1
            if self._terms[key] <= 0:
                del self._terms[key]
                self._costs[key] = cost

    @staticmethod
    def _begin_turn(inbox: Inbox) -> bool:
        loop = inbox.loop
        if loop is not None and not inbox.awaits_turn and asyncio._get_running_loop() is loop:
            inbox.awaits_turn = True
            loop.call_soon(inbox.new_turn, BUDGET_S)
        return False

    @staticmethod
    def _key(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int] | None:
        if type(fn) is not np.ufunc or fn.ntypes == 1 or kwargs:  # one type is what np.frompyfunc makes of a function
            return None
        size = 1
        for arg in args:
            if type(arg) is np.ndarray:
                if arg.dtype.hasobject:
                    return None
                size = max(size, arg.size)
            elif not isinstance(arg, _NUMBERS):
                return None
        return fn, size.bit_length()


COSTS = Costs()
