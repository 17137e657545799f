"""Chrome traces: the JSON that Perfetto and chrome://tracing read.

Strands are complete events on their lane, a fork's lifetime is an async pair, flows lead from fork to run to wait,
counters show what runs and what is queued. Traps that this file knows (checked against Perfetto's own engine): ids of 0
are swallowed; complete events on one lane must nest; a flow event without an enclosing slice is dropped; lanes are
sorted by name.
"""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncjit.profiler.records import Strand, Task, Wait

PID = 1


def write_trace(path: Path, strands: Sequence[Strand], tasks: Sequence[Task], waits: Iterable[Wait]) -> None:
    """Write the trace to `path`, compressed if it ends in `.gz`; ValueError for an ending that is neither."""
    text = json.dumps(
        {"traceEvents": trace_events(strands, tasks, waits), "displayTimeUnit": "ms"},
        allow_nan=False,
        separators=(",", ":"),
    )
    if path.name.endswith(".json.gz"):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    elif path.name.endswith(".json"):
        path.write_text(text, encoding="utf-8")
    else:
        raise ValueError(f"a trace's name ends in .json or .json.gz, got {str(path)!r}")


def trace_events(strands: Sequence[Strand], tasks: Sequence[Task], waits: Iterable[Wait]) -> list[dict[str, Any]]:
    """Return the events of the trace."""
    by_number = {task.number: task for task in tasks}
    events = [*_lanes(strands, tasks), *(_slice(strand, by_number) for strand in strands)]
    for task in tasks:
        events += _lifetime(task)
    events += _flows(strands, tasks, waits)
    events += _counters(strands, tasks)
    return events


def _event(phase: str, name: str, at_ns: int, lane: int, **more: Any) -> dict[str, Any]:
    return {"ph": phase, "name": name, "ts": at_ns / 1e3, "pid": PID, "tid": lane + 1, **more}


def _lanes(strands: Sequence[Strand], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    lanes = sorted({0, *(strand.lane for strand in strands), *(task.lane for task in tasks)})
    names = {lane: "00 main" if lane == 0 else f"{lane:02d} lane {lane}" for lane in lanes}
    process = {"ph": "M", "name": "process_name", "pid": PID, "tid": 1, "args": {"name": "asyncjit"}}
    return [
        process,
        *({"ph": "M", "name": "thread_name", "pid": PID, "tid": i + 1, "args": {"name": names[i]}} for i in lanes),
    ]


def _slice(strand: Strand, tasks: dict[int, Task]) -> dict[str, Any]:
    duration = (strand.end_ns - strand.start_ns) / 1e3
    task = tasks.get(strand.fork or 0)
    more = {"args": {"site": task.site, "state": task.state}} if task is not None else {}
    return _event("X", strand.name, strand.start_ns, strand.lane, dur=duration, cat="strand", **more)


def _lifetime(task: Task) -> list[dict[str, Any]]:
    if task.ended_ns is None:
        return []
    key = {"cat": "fork", "id": hex(task.number)}
    return [
        _event("b", task.name, task.forked_ns, task.lane, **key, args={"site": task.site}),
        _event("e", task.name, task.ended_ns, task.lane, **key, args={"state": task.state}),
    ]


def _flows(strands: Sequence[Strand], tasks: Sequence[Task], waits: Iterable[Wait]) -> list[dict[str, Any]]:
    """Return the arrows fork → run and run → wait, where both ends lie on a slice."""
    first: dict[int, Strand] = {}
    last: dict[int, Strand] = {}
    lanes: dict[int, list[Strand]] = {}
    for strand in sorted(strands, key=lambda strand: strand.start_ns):
        lanes.setdefault(strand.lane, []).append(strand)
        if strand.fork is not None:
            first.setdefault(strand.fork, strand)
            last[strand.fork] = strand
    events = []
    for task in tasks:
        run = first.get(task.number)
        if run is not None and _lies_on_slice(lanes.get(task.lane, ()), task.forked_ns):
            key = {"cat": "flow", "id": 2 * task.number, "bp": "e"}
            events.append(_event("s", "fork", task.forked_ns, task.lane, **key))
            events.append(_event("f", "fork", run.start_ns, run.lane, **key))
    for wait in waits:
        run = last.get(wait.fork)
        if run is not None and run.end_ns <= wait.at_ns and _lies_on_slice(lanes.get(wait.lane, ()), wait.at_ns):
            key = {"cat": "flow", "id": 2 * wait.fork + 1, "bp": "e"}
            events.append(_event("s", "wait", run.start_ns, run.lane, **key))
            events.append(_event("f", "wait", wait.at_ns, wait.lane, **key))
    return events


def _lies_on_slice(strands: Sequence[Strand], at_ns: int) -> bool:
    """Whether a moment lies on the last strand that began before it, or on the lane's first, which may enclose all."""
    index = bisect_right(strands, at_ns, key=lambda strand: strand.start_ns) - 1
    return index >= 0 and (at_ns <= strands[index].end_ns or at_ns <= strands[0].end_ns)


def _counters(strands: Sequence[Strand], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Return the counters of forks that execute and of forks that wait for their start."""
    first: dict[int, int] = {}
    changes: list[tuple[int, str, int]] = []
    for strand in strands:
        if strand.fork is not None:
            changes += [(strand.start_ns, "running", 1), (strand.end_ns, "running", -1)]
            first[strand.fork] = min(strand.start_ns, first.get(strand.fork, strand.start_ns))
    for task in tasks:
        started = first.get(task.number, task.ended_ns)
        changes.append((task.forked_ns, "queued", 1))
        if started is not None:
            changes.append((max(started, task.forked_ns), "queued", -1))
    counts = {"running": 0, "queued": 0}
    events = []
    for at_ns, name, change in sorted(changes, key=lambda item: (item[0], -item[2])):
        counts[name] += change
        events.append(_event("C", name, at_ns, 0, args={name: counts[name]}))
    return events
