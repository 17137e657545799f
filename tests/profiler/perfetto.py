"""Perfetto's figures of a trace, held against those of the records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asyncjit.profiler.arrows import arrows_of
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records

Ask = Callable[[str], list[tuple[Any, ...]]]
Load = Callable[[Path], Ask]


def busy_ns(records: Records) -> list[tuple[str, int]]:
    """Return for how long each lane ran forks."""
    strands = records.strands[records.strands["task"] != OUTSIDE]
    lengths = strands["end_ns"] - strands["start_ns"]
    return [
        (f"{lane:02d} {records.lanes[lane].name}", int(lengths[strands["lane"] == lane].sum()))
        for lane in np.unique(strands["lane"]).tolist()
    ]


def check_figures(records: Records, ask: Ask) -> None:
    """Perfetto's figures are those that the records give."""
    on_lanes = "from slice s join thread_track k on s.track_id = k.id join thread t using (utid)"
    assert ask(f"select t.name, sum(s.dur) {on_lanes} where category = 'strand' group by 1 order by 1") == busy_ns(
        records
    )
    outside = records.strands[records.strands["task"] == OUTSIDE]
    length = int((outside["end_ns"] - outside["start_ns"]).sum())
    assert ask(f"select coalesce(sum(s.dur), 0) {on_lanes} where category = 'outside'") == [(length,)]
    ranges = records.ranges
    length = int((ranges["end_ns"] - ranges["start_ns"]).sum())
    assert ask(f"select count(*), coalesce(sum(s.dur), 0) {on_lanes} where category = 'range'") == [
        (len(ranges), length)
    ]
    ended = int((records.tasks["ended_ns"][1:] != UNKNOWN).sum())
    assert ask("select count(*) from slice where category = 'fork'") == [(ended,)]
    assert ask("select count(*) from flow") == [(len(arrows_of(records).number),)]
