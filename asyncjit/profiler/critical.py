"""Span and critical path: the longest way through a program, if every task began the moment it was forked.

The span (T∞) is the time on as many lanes as one likes: dependence alone decides. One walk finds it and the path. It
goes through each task's forks and waits as far as it can, parks the task at a wait for one that has not ended yet, and
notes at each wait which of the two came last, the waiter or its target. Back from the last end, these notes are the
path. The time between forks and waits needs no steps in the walk: a running total over all steps gives it, so a task is
known by its lead, its own clock minus that total, and only a wait that is decided by its target changes that.

With a burden on each fork the length is the burdened span of Cilkview's burdened dag (He, Leiserson, Leiserson: The
Cilkview Scalability Analyzer, SPAA 2010): what is left of the parallelism where a fork costs something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asyncjit.profiler.program import FORKS, RUN, SLEEPS, WAITS, Ints, Program, program_of, timed_program_of
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records

AWAITING = "(awaiting)"  #: the name of a piece in which a coroutine awaited what is not asyncjit's


@dataclass(frozen=True, slots=True)
class PathPiece:
    """A stretch of the critical path, on one lane, as it lay in the profile."""

    name: str  #: of the task, or AWAITING
    site: str  #: where the task was forked
    task: int
    lane: int
    start_ns: int
    end_ns: int


class LongestPath(NamedTuple):
    """The longest way through a program: its length, burdens included, and the steps on it, in order."""

    span_ns: int
    steps: Ints


def span_ns(records: Records, burden_ns: int = 0) -> int:
    """Return the time that the program takes on any number of lanes.

    Parameters
    ----------
    records : Records
    burden_ns : int
        What each fork costs between being queued and running; nanoseconds. `analysis.burden_ns` measures it.
    """
    return longest_path(program_of(records), burden_ns).span_ns


def critical_path(records: Records) -> list[PathPiece]:
    """Return the pieces of the longest path, in order; their lengths add up to the span.

    In the profile there may be time between two pieces: queueing, or waiting for something that would have been over
    on more lanes.
    """
    program, at_ns = timed_program_of(records)
    steps = longest_path(program).steps
    if not len(steps):
        return []
    task = np.searchsorted(program.first, steps, side="right") - 1
    start_ns, is_run = at_ns[steps], program.kind[steps] == RUN
    end_ns = start_ns + program.value[steps]
    lane = _lanes(records, task, start_ns)
    begins = np.ones(len(steps), bool)
    begins[1:] = (
        (task[1:] != task[:-1]) | (lane[1:] != lane[:-1]) | (is_run[1:] != is_run[:-1]) | (start_ns[1:] != end_ns[:-1])
    )
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(steps)) - 1
    columns = (task[firsts], lane[firsts], start_ns[firsts], end_ns[lasts], is_run[firsts])
    return [
        PathPiece(records.name_of(number) if runs else AWAITING, records.site_of(number), number, *rest)
        for number, *rest, runs in zip(*(column.tolist() for column in columns), strict=True)
    ]


def longest_path(program: Program, burden_ns: int = 0) -> LongestPath:
    """Return the longest path; each fork on it begins `burden_ns` after it was forked.

    A wait for a task that never ended in the profile waits for as much of it as there is. Waits that could never end,
    as in a circle, which only a wait that was given up can close, are passed.
    """
    joints = _joints(program)
    ends, decided = _walk(joints, burden_ns)
    last = int(np.argmax(ends))
    return LongestPath(ends[last], _steps_back(program, joints, decided, last))


class _Joints(NamedTuple):
    """The forks and waits of a program, without what is between them; those of a task are `first` up to `stop`."""

    step: list[int]  # in the program
    other: list[int]  # the task that is forked; ~task, so below 0, for one that is waited for
    total_ns: list[int]  # of all that comes before, in this and earlier tasks
    first: list[int]
    stop: list[int]
    begin_ns: list[int]  # the total where a task begins
    end_ns: list[int]  # and where it ends


def _joints(program: Program) -> _Joints:
    is_joint = (program.kind == FORKS) | (program.kind == WAITS)
    total_ns = np.zeros(len(program.kind) + 1, np.int64)
    np.cumsum(np.where(is_joint, 0, program.value), out=total_ns[1:])
    step = np.flatnonzero(is_joint)
    value = program.value[step]
    bounds = np.searchsorted(step, program.first).tolist()
    totals = total_ns[program.first].tolist()
    return _Joints(
        step.tolist(),
        np.where(program.kind[step] == FORKS, value, ~value).tolist(),
        total_ns[step].tolist(),
        bounds[:-1],
        bounds[1:],
        totals[:-1],
        totals[1:],
    )


def _walk(joints: _Joints, burden_ns: int) -> tuple[list[int], bytearray]:
    """Return when each task ends, and 1 for each joint that is a wait whose target ends after the waiter came."""
    _, others, totals, first, stop, begin_ns, end_ns = joints
    at = first.copy()
    ends = [UNKNOWN] * len(first)
    leads = [0] * len(first)
    decided = bytearray(len(others))
    parked: dict[int, list[int]] = {}
    ready = [OUTSIDE]
    while ready:
        task = ready.pop()
        lead = leads[task]
        for joint in range(at[task], stop[task]):
            other = others[joint]
            if other >= 0:
                leads[other] = lead + totals[joint] + burden_ns - begin_ns[other]
                ready.append(other)
                continue
            end = ends[~other]
            if end == UNKNOWN:
                at[task] = joint
                leads[task] = lead
                parked.setdefault(~other, []).append(task)
                break
            if end > lead + totals[joint]:
                lead = end - totals[joint]
                decided[joint] = 1
        else:
            ends[task] = lead + end_ns[task]
            if task in parked:
                ready += parked.pop(task)
        if not ready and parked:  # in a circle, or for what was never forked
            ready = parked.pop(next(iter(parked)))
            for task in ready:
                at[task] += 1
    return ends, decided


def _steps_back(program: Program, joints: _Joints, decided: bytearray, task: int) -> Ints:
    """Return the steps that run or sleep on the path that ends with a task."""
    forked_at = {other: joint for joint, other in enumerate(joints.other) if other >= 0}
    owners = np.searchsorted(program.first, joints.step, side="right") - 1
    begins, stops = [], []  # of stretches of steps, the last first
    joint = joints.stop[task]
    stops.append(int(program.first[task + 1]))
    while True:
        wait = decided.rfind(1, joints.first[task], joint)
        if wait >= 0:
            begins.append(joints.step[wait])
            task = ~joints.other[wait]
            joint = joints.stop[task]
            stops.append(int(program.first[task + 1]))
        else:
            begins.append(int(program.first[task]))
            if task == OUTSIDE:
                break
            joint = forked_at[task]
            task = int(owners[joint])
            stops.append(joints.step[joint])
    begin, stop = np.array(begins[::-1]), np.array(stops[::-1])
    lengths = stop - begin
    steps = np.repeat(begin - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    kind = program.kind[steps]
    return np.asarray(steps[(kind == RUN) | (kind == SLEEPS)])


def _lanes(records: Records, task: Ints, at_ns: Ints) -> Ints:
    """Return on which lane each task executed at a time; of a team's lanes, and while it slept, the last to end."""
    strands = records.strands
    by_end = np.lexsort((strands["end_ns"], strands["task"]))
    rank = np.empty(len(strands) + len(task), np.int64)
    rank[by_end] = np.arange(len(strands))
    rank[len(strands) :] = 0
    is_asked = np.arange(len(rank)) >= len(strands)
    order = np.lexsort(
        (is_asked, np.concatenate((strands["start_ns"], at_ns)), np.concatenate((strands["task"], task)))
    )
    # Ranks rise from task to task, so what a task has is never from one before it.
    last = np.maximum.accumulate(rank[order])
    asked = is_asked[order]
    lanes = np.empty(len(task), np.int64)
    lanes[order[asked] - len(strands)] = strands["lane"][by_end[last[asked]]]
    return lanes
