"""What `auto_fork` measured and decided, to be read by people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

MAX_SHOWN = 20  # chosen: lines of each list that a report shows


class Part(NamedTuple):
    """Nodes that run one after the other."""

    name: str  #: their operations
    place: str  #: of the first in the traced code
    cost_ns: int
    reason: str  #: why it was not forked; empty if it was


@dataclass(frozen=True)
class Report:
    """The figures of `auto_fork`, all measured on its example.

    Attributes
    ----------
    work_ns : int
        What all nodes take, one after the other (T1).
    span_ns : int
        What the longest path through them takes, which no number of threads can beat (T∞).
    expected_ns : int
        What the graph should take on `num_threads` threads, by list scheduling.
    hop_ns : int
        What a fork costs that another thread runs.
    forked, unforked : list of Part
    serial_ns, forked_ns : int
        What whole runs took; 0 if forking was not tried.
    """

    work_ns: int
    span_ns: int
    expected_ns: int
    num_threads: int
    hop_ns: int
    forked: list[Part]
    unforked: list[Part]
    serial_ns: int = 0
    forked_ns: int = 0

    @property
    def expected_speedup(self) -> float:
        """How many times faster than serially the graph should run."""
        return self.work_ns / self.expected_ns if self.expected_ns else 1.0

    def __str__(self) -> str:
        limit = self.work_ns / self.span_ns if self.span_ns else 1.0
        lines = [
            f"work {_ms(self.work_ns)}, span {_ms(self.span_ns)}: at most {limit:.2f}x on any number of threads",
            f"expected on {self.num_threads} threads: {_ms(self.expected_ns)}, {self.expected_speedup:.2f}x",
            *([f"run: serially {_ms(self.serial_ns)}, forked {_ms(self.forked_ns)}"] if self.forked_ns else []),
            f"a fork on another thread costs {self.hop_ns / 1e3:.0f} us",
            f"forked: {len(self.forked)}",
            *_shown([f"  {_ms(part.cost_ns)}  {part.name}{part.place}" for part in self.forked]),
        ]
        reasons = Counter(part.reason for part in self.unforked)
        for reason, count in reasons.items():
            parts = [part for part in self.unforked if part.reason == reason]
            lines.append(f"not forked, {reason}: {count}, {_ms(sum(part.cost_ns for part in parts))}")
            lines += _shown([f"  {_ms(part.cost_ns)}  {part.name}{part.place}" for part in parts])
        return "\n".join(lines)


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.3f} ms"


def _shown(lines: list[str]) -> list[str]:
    rest = len(lines) - MAX_SHOWN
    return [*lines[:MAX_SHOWN], f"  and {rest} more"] if rest > 0 else lines
