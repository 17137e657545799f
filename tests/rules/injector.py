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

import asyncjit._core

CORE = str(Path(asyncjit._core.__file__).parent)


def _checks_signals(opname: str) -> bool:
    return opname.startswith(("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")) and opname != "JUMP_BACKWARD_NO_INTERRUPT"


@functools.cache
def _points(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions at whose end signals are delivered."""
    return frozenset(i.offset for i in dis.get_instructions(code) if _checks_signals(i.opname))


class Injector:
    """Raises KeyboardInterrupt at the `at`-th signal point of the core's code in this thread; `hit` tells where."""

    def __init__(self, at: int) -> None:
        self.hit: tuple[str, int, str] | None = None
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
