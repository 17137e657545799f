"""What a profile tells: plain records. Times are nanoseconds of its clock since its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strand:
    """One uninterrupted stretch of execution of a fork, or of a `record_function` range."""

    name: str
    lane: int  #: the index of its thread, 0 for the one that opened the profile
    start_ns: int
    end_ns: int
    fork: int | None  #: the number of its fork, None for a range


@dataclass(frozen=True, slots=True)
class Task:
    """One fork, as a profile saw it; None is what had not happened yet when the profile ended."""

    number: int
    name: str
    site: str
    parent: int | None  #: the number of the fork that forked it, if the profile saw that
    lane: int  #: where it was forked
    forked_ns: int
    ended_ns: int | None  #: when its body had ended, or when it was clear that it never starts
    state: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The end of one wait for a fork."""

    fork: int  #: the number of the fork waited for
    lane: int  #: where the waiting code goes on
    at_ns: int
