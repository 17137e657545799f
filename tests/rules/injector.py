"""Ctrl-C at a chosen one of the points where CPython delivers signals.

CPython runs signal handlers at function entries, at the ends of calls and at backward jumps, and nowhere else. The
injector traces the core's own code opcode by opcode, counts these points, and raises KeyboardInterrupt at the n-th: so
a loop over n interrupts a scenario at each of them, once.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import asyncjit._core
from asyncjit._core.context import lock

CORE = str(Path(asyncjit._core.__file__).parent)

Hit = tuple[str, int, str]  # file, line and function of a point

traced_by_nothing_else = pytest.mark.skipif(
    sys.gettrace() is not None, reason="the injector needs the trace function for itself"
)


def _checks_signals(opname: str) -> bool:
    return opname.startswith(("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")) and opname != "JUMP_BACKWARD_NO_INTERRUPT"


@functools.cache
def _points(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions at whose end signals are delivered."""
    return frozenset(i.offset for i in dis.get_instructions(code) if _checks_signals(i.opname))


class Injector:
    """Raises KeyboardInterrupt at the `at`-th signal point of the core's code in this thread; `hit` tells where."""

    def __init__(self, at: int) -> None:
        self.hit: Hit | None = None
        self._at = at
        self._count = 0
        self._ended_call: set[FrameType] = set()

    def run(self, scenario: Callable[[], object]) -> None:
        """Run `scenario`, interrupted; the interrupt itself is swallowed."""
        sys.settrace(self._trace)
        try:
            scenario()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(CORE):
            return None
        frame.f_trace_opcodes = True
        if event == "call":
            self._point(frame)
        elif event == "opcode":
            if frame in self._ended_call:
                self._ended_call.discard(frame)
                self._point(frame)
            if frame.f_lasti in _points(code):
                self._ended_call.add(frame)
        elif event in ("return", "exception"):
            self._ended_call.discard(frame)
        return self._trace

    def _point(self, frame: FrameType) -> None:
        self._count += 1
        if self._count == self._at:
            self.hit = (Path(frame.f_code.co_filename).name, frame.f_lineno, frame.f_code.co_name)
            raise KeyboardInterrupt


def interrupt_everywhere(interrupt: Callable[[int], Hit | None], least: int, most_missed: int = 1) -> None:
    """Interrupt a scenario at each of its points in turn; the core's lock is free afterwards.

    Parameters
    ----------
    interrupt : callable
        Runs the scenario with Ctrl-C at the point of the given number, from 1 on, and checks that all is whole; returns
        the point, or None if the run had no such point.
    least : int
        How many points are to be hit.
    most_missed : int
        How many numbers may hit none in all before the loop ends; more than one where the number of points is chance.
    """
    interrupt(10**9)  # on 3.12 the first traced run sees no opcodes
    num_hits = num_missed = at = 0
    while num_missed < most_missed:
        at += 1
        is_hit = interrupt(at) is not None
        num_hits += is_hit
        num_missed += not is_hit
    assert num_hits >= least
    assert lock.acquire(timeout=30)
    lock.release()
