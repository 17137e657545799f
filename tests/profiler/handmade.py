"""Records written by hand, in the units of the example: one tick is a nanosecond."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from asyncjit.profiler.records import FINISHED, RANGE, STRAND, TASK, UNKNOWN, WAIT, Lane, Machine, Records

Row = tuple[Any, ...]


def handmade(
    tasks: Sequence[Row],
    strands: Iterable[Row],
    waits: Iterable[Row] = (),
    *,
    ranges: Iterable[Row] = (),
    num_lanes: int = 2,
    duration_ns: int | None = None,
    lanes: Sequence[Lane] | None = None,
    machine: Machine | None = None,
    num_dropped: int = 0,
) -> Records:
    """Return records of forks 1, 2, ... and the code outside of them, 0.

    A task is (name, parent, forked_ns[, state[, is_async]]); it ends with its last strand.
    A strand is (task, lane, start_ns, end_ns[, cpu_ns]); by default it computed all the time.
    A wait is (task, target, lane, start_ns, end_ns), a range (name, task, lane, start_ns, end_ns).
    """
    rows = sorted(strand if len(strand) == 5 else (*strand, strand[3] - strand[2]) for strand in strands)
    strand_table = np.array(sorted(rows, key=lambda row: (row[1], row[2])), STRAND)
    names = ["(outside of forks)"]
    sites = [""]

    def index(texts: list[str], text: str) -> int:
        if text not in texts:
            texts.append(text)
        return texts.index(text)

    task_rows: list[Row] = [(0, 0, UNKNOWN, UNKNOWN, 0, 0, 0, 0, UNKNOWN)]
    for number, row in enumerate(tasks, 1):
        name, parent, forked_ns, state, is_async = (row + (FINISHED, 0)[len(row) - 3 :])[:5]
        ends = [row[3] for row in rows if row[0] == number]
        ended_ns = max(ends, default=forked_ns) if state else UNKNOWN
        site = index(sites, f"forked at {name}.py:1 in {names[task_rows[parent][0]]}")
        name_index = index(names, name)
        lane = next((row[1] for row in rows if row[0] == parent and row[2] <= forked_ns <= row[3]), 0)
        task_rows.append((name_index, site, UNKNOWN, parent, lane, state, int(is_async), forked_ns, ended_ns))
    range_rows = [(index(names, row[0]), *row[1:]) for row in ranges]
    last = max((row[3] for row in rows), default=0)
    num_rows = 1 + max((row[1] for row in rows), default=0)
    return Records(
        strands=strand_table,
        tasks=np.array(task_rows, TASK),
        waits=np.array(sorted(waits, key=lambda row: (row[4] == UNKNOWN, row[4])), WAIT),
        ranges=np.array(range_rows, RANGE),
        names=tuple(names),
        sites=tuple(sites),
        lanes=tuple(lanes or [Lane("main"), *(Lane(f"lane {n}") for n in range(1, num_rows))]),
        duration_ns=last if duration_ns is None else duration_ns,
        num_lanes=num_lanes,
        machine=machine or Machine(num_cpus=num_lanes),
        num_dropped=num_dropped,
    )
