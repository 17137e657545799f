"""What a profile tells: plain records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strand:
    """One uninterrupted stretch of execution of a fork, or of a `record_function` range."""

    name: str
    lane: int  #: the index of its thread, 0 for the one that opened the profile
    start_ns: int  #: of the profile's clock, from the start of the profile
    end_ns: int
    fork: int | None  #: the number of its fork, None for a range


@dataclass(frozen=True, slots=True)
class Task:
    """One fork, as a profile saw it. Times are as in `Strand`; None is what had not happened yet."""

    number: int
    name: str
    site: str
    parent: int | None
    lane: int  #: where it was forked
    forked_ns: int
    ended_ns: int | None
    state: str
