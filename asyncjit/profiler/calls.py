"""The tree of calls behind a profile: forks, and the pieces of `record_function` blocks in them, with their own times.

Each call stands below the innermost one that was open where it began: a fork below the block or the fork that made it,
a piece of a block below the block around it or its fork. So each nanosecond of a strand belongs to one call alone, and
the calls' own times add up to those of the strands.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import UNKNOWN, Records, Table

Ints = NDArray[np.int64]


class Own(NamedTuple):
    """What calls executed themselves, without the calls below them; in nanoseconds, a number each."""

    wall_ns: Ints
    measured_ns: Ints  # the part of it in strands whose CPU time is known
    cpu_ns: Ints


class Calls(NamedTuple):
    """A row for each task, then one for each piece of a range; `parent` of row 0 is UNKNOWN."""

    parent: Ints
    own: Own
    goes_on: NDArray[np.bool_]  # a piece of a block that began in an earlier piece


def calls_of(records: Records) -> Calls:
    """Return the tree of calls."""
    tasks, ranges, strands = records.tasks, records.ranges, records.strands
    num_tasks = len(tasks)
    above, events = _nesting(ranges)
    # A piece may lie in one of another task on its lane, which is not its own block.
    is_inner = (above >= 0) & (np.append(ranges["task"], UNKNOWN)[above] == ranges["task"])
    parent_of_ranges = np.where(is_inner, num_tasks + above, ranges["task"])
    lasts_ns = strands["end_ns"] - strands["start_ns"]
    is_measured = strands["cpu_ns"] != UNKNOWN
    of_strands = Own(lasts_ns, np.where(is_measured, lasts_ns, 0), np.where(is_measured, strands["cpu_ns"], 0))
    has_ranges = np.bincount(ranges["task"], minlength=num_tasks)[strands["task"]] > 0
    around = strands[has_ranges]
    of_ranges = _executed_in(ranges, around, Own(*(column[has_ranges] for column in of_strands)))
    own = []
    for in_strands, in_ranges in zip(of_strands, of_ranges, strict=True):
        whole = np.concatenate((_sums(strands["task"], in_strands, num_tasks), in_ranges))
        own.append(whole - _sums(parent_of_ranges, in_ranges, len(whole)))
    return Calls(
        parent=np.concatenate((_parents_of_forks(records, events), parent_of_ranges)),
        own=Own(*own),
        goes_on=np.concatenate((np.zeros(num_tasks, bool), _goes_on(ranges, around))),
    )


def _sums(index: NDArray[np.integer], values: Ints, length: int) -> Ints:
    """Return the sums of the values with each index; exact below 2**53 ns, three months."""
    return np.bincount(index, values, length).astype(np.int64)


class _Events(NamedTuple):
    """Which piece is the innermost on a lane, from a time on; -1 for none. By lane and time."""

    lane: Ints
    at_ns: Ints
    piece: Ints


def _nesting(ranges: Table) -> tuple[Ints, _Events]:
    """Return the piece around each piece, -1 for none, and where they begin and end."""
    lanes, starts, ends = (ranges[column].tolist() for column in ("lane", "start_ns", "end_ns"))
    above: list[int] = []
    events: list[int] = []  # flat: a tuple for each would call the garbage collector
    stack: list[int] = []
    for piece, (lane, start_ns) in enumerate(zip(lanes, starts, strict=True)):
        while stack and (lanes[stack[-1]] != lane or ends[stack[-1]] <= start_ns):
            closed = stack.pop()
            events += lanes[closed], ends[closed], stack[-1] if stack else -1
        above.append(stack[-1] if stack else -1)
        stack.append(piece)
        events += lane, start_ns, piece
    while stack:
        closed = stack.pop()
        events += lanes[closed], ends[closed], stack[-1] if stack else -1
    columns = np.fromiter(events, np.int64, len(events)).reshape(-1, 3)
    return np.array(above, np.int64), _Events(*columns.T)


def _parents_of_forks(records: Records, events: _Events) -> Ints:
    """Return the call in which each task was forked."""
    tasks, ranges = records.tasks, records.ranges
    parent = tasks["parent"].astype(np.int64)
    parent[0] = UNKNOWN
    if not len(ranges):
        return parent
    lane = tasks["lane"].astype(np.int64)
    scale = max(events.at_ns.max(), tasks["forked_ns"].max()) + 1  # lane and time as one number
    places = np.searchsorted(events.lane * scale + events.at_ns, lane * scale + tasks["forked_ns"], "right") - 1
    pieces = events.piece[places]  # before the first event of a lane stands the last of another, which leaves none open
    is_in = (pieces >= 0) & (ranges["task"][pieces] == parent)
    return np.where(is_in, len(tasks) + pieces, parent)


def _executed_in(ranges: Table, strands: Table, of_strands: Own) -> list[Ints]:
    """Return what the ranges' own tasks executed in them; of a strand's CPU time a range has the share of its time."""
    if not len(ranges) or not len(strands):
        return [np.zeros(len(ranges), np.int64) for _ in of_strands]
    num_strands = len(strands)
    lane, task = (np.concatenate((strands[c], ranges[c])).astype(np.int64) for c in ("lane", "task"))
    _, track = np.unique(lane * (task.max() + 1) + task, return_inverse=True)  # a task's part of a lane
    order = np.lexsort((strands["start_ns"], track[:num_strands]))
    on_track, of_range = track[order], track[num_strands:]
    start_ns, end_ns = strands["start_ns"][order], strands["end_ns"][order]
    totals = [np.concatenate(([0], np.cumsum(column[order]))) for column in of_strands]

    def up_to(at_ns: Ints) -> list[Ints]:
        """Return the sums of the strands of each range's track up to a time, and of all tracks before it."""
        _, rank = np.unique(np.concatenate((start_ns, at_ns)), return_inverse=True)
        scale = len(rank)
        last = (
            np.searchsorted(on_track * scale + rank[:num_strands], of_range * scale + rank[num_strands:], "right") - 1
        )
        share = np.clip((at_ns - start_ns[last]) / np.maximum(1, end_ns[last] - start_ns[last]), 0, 1)
        share[(last < 0) | (on_track[last] != of_range)] = 1
        # Rounded here, so that the parts of a strand add up to it and none is below 0.
        return [total[last] + np.rint(share * (total[last + 1] - total[last])).astype(np.int64) for total in totals]

    return [end - start for start, end in zip(up_to(ranges["start_ns"]), up_to(ranges["end_ns"]), strict=True)]


def _goes_on(ranges: Table, strands: Table) -> NDArray[np.bool_]:
    """Say of each piece of a range whether its block began in an earlier one.

    A block is cut where its task's strand ends, and goes on where the next one begins. It is also cut where a block
    ends that it would cross, and goes on in the same moment.
    """
    num_ranges, never = len(ranges), UNKNOWN
    if not num_ranges:
        return np.zeros(0, bool)
    strands = strands[np.lexsort((strands["end_ns"], strands["start_ns"], strands["task"]))]
    is_last = np.append(strands["task"][1:] != strands["task"][:-1], True)[: len(strands)]
    next_ns = np.where(is_last, never, np.append(strands["start_ns"][1:], never)[: len(strands)])
    times = (np.array([never]), ranges["start_ns"], ranges["end_ns"], strands["end_ns"], next_ns)
    _, rank = np.unique(np.concatenate(times), return_inverse=True)
    scale = len(rank)
    start, end, strand_end, strand_next = np.split(rank[1:], np.cumsum([len(part) for part in times[1:-1]]))
    ends = strands["task"].astype(np.int64) * scale + strand_end
    by_end = np.argsort(ends, kind="stable")
    wanted = ranges["task"].astype(np.int64) * scale + end
    place = np.searchsorted(ends, wanted, "right", by_end) - 1
    found = np.append(by_end, 0)[place]
    is_cut = (place >= 0) & (np.append(ends, UNKNOWN)[found] == wanted)
    resumes = np.where(is_cut, np.append(strand_next, 0)[found], np.where(end > start, end, 0))
    _, block = np.unique(ranges["name"].astype(np.int64) * (2**31) + ranges["task"], return_inverse=True)
    begin, resume = block * scale + start, np.sort(block * scale + resumes)
    num_resumes = np.searchsorted(resume, begin, "right") - np.searchsorted(resume, begin, "left")
    by_begin = np.argsort(begin, kind="stable")
    number = np.empty(num_ranges, np.int64)
    number[by_begin] = np.arange(num_ranges) - np.searchsorted(begin, begin[by_begin], "left", by_begin)
    return number < num_resumes
