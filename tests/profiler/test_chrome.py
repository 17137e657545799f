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
from asyncjit.profiler.chrome import write_trace
from asyncjit.profiler.records import CANCELLED, FAILED, OUTSIDE, UNFINISHED, UNKNOWN, Lane, Records
from asyncjit.testing import deterministic
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade
from tests.profiler.perfetto import Load, check_figures


def test_a_small_program_under_a_fake_clock_gives_exactly_this_trace(tmp_path: Path) -> None:
    """The clock is asked at the start, the fork, the wait, the run in place and its end, the wait's end, the end."""
    ticks = itertools.count(0, 1000)
    with deterministic(0):
        with profile(clock=lambda: next(ticks), cpu_times=False) as prof:
            sync.wait(sync.fork(abs, -1))
        path = tmp_path / "exact.json"
        prof.export_chrome_trace(path)
    task = prof.tasks()[0]
    assert (task.name, task.state, task.forked_ns, task.ended_ns) == ("abs", "finished", 1000, 4000)
    assert task.site.startswith("forked at test_chrome.py:")
    events = json.loads(path.read_text())["traceEvents"]
    assert [(e["cat"], e["name"], e["ts"], e["dur"], e["tid"], e["args"]) for e in events if e["ph"] == "X"] == [
        ("profile", "profile", 0.0, 6.0, 1, {"num_lanes": 1, "num_dropped": 0}),
        ("outside", "(outside of forks)", 0.0, 2.0, 1, {"task": 0}),
        ("strand", "abs", 3.0, 1.0, 1, {"task": 1, "site": task.site, "state": "finished"}),
        ("outside", "(outside of forks)", 5.0, 1.0, 1, {"task": 0}),
    ]
    assert [(e["ph"], e["ts"], e["id"]) for e in events if e["ph"] in "sf"] == [
        ("s", 1.0, 1),
        ("f", 3.0, 1),
        ("s", 3.0, 2),
        ("f", 5.0, 2),
    ]
    assert [(e["name"], e["ts"], e["args"]) for e in events if e["ph"] == "C"] == [
        ("queued", 1.0, {"queued": 1}),
        ("queued", 3.0, {"queued": 0}),
        ("running", 3.0, {"running": 1}),
        ("running", 4.0, {"running": 0}),
    ]


def test_a_trace_needs_a_name_that_says_its_form(tmp_path: Path) -> None:
    with profile() as prof:
        pass
    with pytest.raises(ValueError, match=r"ends in .json or .json.gz, got '.*trace.txt'"):
        prof.export_chrome_trace(tmp_path / "trace.txt")
    prof.export_chrome_trace(tmp_path / "trace.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]


# -- hand-made records: the script forks a at 2 µs and waits for it from 2.5 to 7; a runs from 3 to 5 on lane 1

TASK = ("a", OUTSIDE, 2000, FAILED)
RUN = (1, 1, 3000, 5000, 1500)
SCRIPT = (OUTSIDE, 0, 0, 2500, UNKNOWN)
AFTER = (OUTSIDE, 0, 7000, 9000, UNKNOWN)
WAITED = (OUTSIDE, 1, 0, 2500, 7000)
SITE = "forked at a.py:1 in (outside of forks)"


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[Records], dict[str, Any]]:
    def of(records: Records) -> dict[str, Any]:
        write_trace(tmp_path / "handmade.json", records)
        found: dict[str, Any] = json.loads((tmp_path / "handmade.json").read_text())
        return found

    return of


Trace = Callable[[Records], dict[str, Any]]


def events_of(trace: dict[str, Any], phases: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] in phases]


def test_a_small_program_is_exactly_these_events(trace: Trace) -> None:
    block = ("block", 1, 1, 3500, 4500)
    records = handmade([TASK], [SCRIPT, RUN, AFTER], [WAITED], ranges=[block], duration_ns=9999, num_dropped=4)
    main, lane = {"pid": 1, "tid": 1}, {"pid": 1, "tid": 2}
    of_a = {"cat": "fork", "id": "0x1", "name": "a"}
    found = trace(records)
    assert found["traceEvents"] == [
        {"ph": "M", "name": "process_name", "args": {"name": "asyncjit"}, **main},
        {"ph": "M", "name": "thread_name", "args": {"name": "00 main"}, **main},
        {"ph": "M", "name": "thread_name", "args": {"name": "01 lane 1"}, **lane},
        {
            "ph": "X",
            "cat": "profile",
            "name": "profile",
            "ts": 0.0,
            "dur": 9.999,
            "args": {"num_lanes": 2, "num_dropped": 4},
            **main,
        },
        {"ph": "X", "cat": "outside", "name": "(outside of forks)", "ts": 0.0, "dur": 2.5, "args": {"task": 0}, **main},
        {
            "ph": "X",
            "cat": "strand",
            "name": "a",
            "ts": 3.0,
            "dur": 2.0,
            "args": {"task": 1, "site": SITE, "state": "failed", "cpu_us": 1.5},
            **lane,
        },
        {"ph": "B", "cat": "range", "name": "block", "ts": 3.5, **lane},
        {"ph": "E", "ts": 4.5, **lane},
        {"ph": "X", "cat": "outside", "name": "(outside of forks)", "ts": 7.0, "dur": 2.0, "args": {"task": 0}, **main},
        {"ph": "b", "ts": 2.0, "args": {"site": SITE}, **of_a, **main},
        {"ph": "e", "ts": 5.0, "args": {"state": "failed"}, **of_a, **main},
        {"ph": "s", "cat": "flow", "id": 1, "name": "fork", "ts": 2.0, "bp": "e", **main},
        {"ph": "f", "cat": "flow", "id": 1, "name": "fork", "ts": 3.0, "bp": "e", **lane},
        {"ph": "s", "cat": "flow", "id": 2, "name": "wait", "ts": 3.0, "bp": "e", **lane},
        {"ph": "f", "cat": "flow", "id": 2, "name": "wait", "ts": 7.0, "bp": "e", **main},
        {"ph": "C", "name": "queued", "ts": 2.0, "args": {"queued": 1}, **main},
        {"ph": "C", "name": "queued", "ts": 3.0, "args": {"queued": 0}, **main},
        {"ph": "C", "name": "running", "ts": 3.0, "args": {"running": 1}, **main},
        {"ph": "C", "name": "running", "ts": 5.0, "args": {"running": 0}, **main},
    ]
    assert found["otherData"] == {"num_dropped": 4}
    assert next(iter(found)) == "asyncjit"


def test_a_strand_without_a_cpu_time_tells_none(trace: Trace) -> None:
    (run,) = (e for e in events_of(trace(handmade([TASK], [(*RUN[:4], UNKNOWN)])), "X") if e["cat"] == "strand")
    assert run["args"] == {"task": 1, "site": SITE, "state": "failed"}


def test_a_lifetime_goes_from_the_fork_to_the_bodys_end_and_needs_both(trace: Trace) -> None:
    begin, end = events_of(trace(handmade([TASK], [SCRIPT, RUN])), "be")
    assert (begin["ts"], end["ts"], begin["id"], end["id"]) == (2.0, 5.0, "0x1", "0x1")
    assert events_of(trace(handmade([("a", OUTSIDE, 2000, UNFINISHED)], [SCRIPT, RUN])), "be") == []


@pytest.mark.parametrize(
    ("strands", "duration_ns"),
    [([RUN], 1000), ([SCRIPT], 9000)],
    ids=["no slice to lead from", "no run"],
)
def test_an_arrow_without_a_slice_at_each_end_is_left_out(
    trace: Trace, strands: list[tuple[int, ...]], duration_ns: int
) -> None:
    assert events_of(trace(handmade([TASK], strands, [WAITED], duration_ns=duration_ns)), "sf") == []


def test_each_of_many_waits_for_one_fork_has_an_arrow(trace: Trace, load: Load, tmp_path: Path) -> None:
    waits = [(OUTSIDE, 1, 0, 2500, end_ns) for end_ns in (7000, 7500, 8000)]
    records = handmade([TASK], [SCRIPT, RUN, AFTER], waits)
    arrows = events_of(trace(records), "sf")
    assert [(e["name"], e["id"]) for e in arrows[::2]] == [("fork", 1), ("wait", 2), ("wait", 3), ("wait", 4)]
    assert load(tmp_path / "handmade.json")("select count(*) from flow") == [(4,)]


def test_arrows_bind_to_what_is_open_where_they_begin_and_end(trace: Trace, load: Load, tmp_path: Path) -> None:
    """Inside a strand after its range has ended, in the block after its strand has, and in a range."""
    tasks = [("a", OUTSIDE, 2000), ("b", 1, 5000), ("c", OUTSIDE, 8000), ("d", 3, 9500)]
    strands = [(OUTSIDE, 0, 0, 2500), (1, 0, 3000, 6000), (2, 1, 6000, 7000), (3, 1, 9000, 9900), (4, 0, 9600, 9700)]
    ranges = [("early", 1, 0, 3500, 4500), ("late", 3, 1, 9400, 9800)]
    trace(handmade(tasks, strands, ranges=ranges, duration_ns=10_000))
    ask = load(tmp_path / "handmade.json")
    ends = "from flow f join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id"
    assert ask(f"select a.name as source, b.name as target {ends} order by b.ts") == [
        ("(outside of forks)", "a"),
        ("a", "b"),
        ("profile", "c"),
        ("late", "d"),
    ]


def test_what_stands_on_a_lane_nests_even_where_it_touches(trace: Trace, load: Load, tmp_path: Path) -> None:
    strands = [(1, 0, 1000, 2000), (2, 0, 2000, 3000), (3, 0, 3000, 3000)]
    ranges = [
        ("outer", 1, 0, 1000, 2000),
        ("inner", 1, 0, 1000, 2000),
        ("next", 2, 0, 2000, 3000),
        ("none", 2, 0, 2500, 2500),
    ]
    trace(handmade([(name, OUTSIDE, 0) for name in "abc"], strands, ranges=ranges))
    slices = load(tmp_path / "handmade.json")(
        "select s.name, s.ts, s.dur, s.depth from slice s join thread_track k on s.track_id = k.id"
    )
    assert slices == [
        ("profile", 0, 3000, 0),
        ("a", 1000, 1000, 1),
        ("outer", 1000, 1000, 2),
        ("inner", 1000, 1000, 3),
        ("b", 2000, 1000, 1),
        ("next", 2000, 1000, 2),
        ("none", 2500, 0, 3),
        ("c", 3000, 0, 0),
    ]


def test_what_runs_is_cut_where_a_range_of_a_script_crosses_it(trace: Trace, load: Load, tmp_path: Path) -> None:
    """A script's range lies across its wait, and over the fork that runs in place meanwhile."""
    strands = [SCRIPT, (1, 0, 3000, 5000), AFTER]
    records = handmade([TASK], strands, [WAITED], ranges=[("block", OUTSIDE, 0, 1000, 8000)])
    trace(records)
    ask = load(tmp_path / "handmade.json")
    lane = "from slice s join thread_track k on s.track_id = k.id where s.name != 'profile'"
    assert ask(f"select s.name, s.ts, s.dur, s.depth {lane}") == [
        ("(outside of forks)", 0, 1000, 1),
        ("block", 1000, 7000, 1),
        ("(outside of forks)", 1000, 1500, 2),
        ("a", 3000, 2000, 2),
        ("(outside of forks)", 7000, 1000, 2),
        ("(outside of forks)", 8000, 1000, 1),
    ]
    check_figures(records, ask)


def test_lanes_have_names_that_sort_as_their_numbers_do(trace: Trace) -> None:
    lanes = [Lane("main"), Lane("loop", is_loop=True), *(Lane(f"lane {number}") for number in range(2, 101))]
    named = [e for e in events_of(trace(handmade([], [SCRIPT], lanes=lanes)), "M") if e["name"] == "thread_name"]
    names = [event["args"]["name"] for event in named]
    assert names == sorted(names)
    assert [names[0], names[1], names[2], names[100]] == ["000 main", "001 loop", "002 lane 2", "100 lane 100"]
    assert [event["tid"] for event in named] == list(range(1, 102)), "Perfetto swallows an id of 0"


def test_counters_tell_what_runs_and_what_is_queued(trace: Trace) -> None:
    tasks = [("never", OUTSIDE, 1000, CANCELLED), TASK]
    records = handmade(tasks, [SCRIPT, (2, 1, 3000, 5000)])
    records.tasks["ended_ns"][1] = 4000
    counters = events_of(trace(records), "C")
    assert [(event["ts"], event["args"]) for event in counters] == [
        (1.0, {"queued": 1}),
        (2.0, {"queued": 2}),
        (3.0, {"queued": 1}),
        (4.0, {"queued": 0}),
        (3.0, {"running": 1}),
        (5.0, {"running": 0}),
    ]


def test_names_of_any_text_are_told(trace: Trace, load: Load, tmp_path: Path) -> None:
    name = 'a "quoted"\\ %s\n<b>ünïcode</b> \ud800 \0'
    records = handmade([(name, OUTSIDE, 0)], [SCRIPT, RUN], lanes=[Lane("main"), Lane('"%d')])
    (run,) = (e for e in events_of(trace(records), "X") if e["cat"] == "strand")
    assert run["name"] == name
    assert run["args"]["site"] == f"forked at {name}.py:1 in (outside of forks)"
    load(tmp_path / "handmade.json")


def test_a_compressed_trace_holds_the_same_and_no_time_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("plain.json", "small.json.gz")]
    for path in paths:
        write_trace(path, handmade([TASK], [SCRIPT, RUN]))
    plain, small = (path.read_bytes() for path in paths)
    assert gzip.decompress(small) == plain
    assert small[4:8] == bytes(4), "the time that gzip would note"


def test_a_trace_overwrites_and_one_that_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("an older one")
    records = handmade([TASK], [SCRIPT, RUN])
    with pytest.raises(IndexError):
        write_trace(path, replace(records, sites=()))
    assert path.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [path]
    write_trace(path, records)
    assert json.loads(path.read_text())["traceEvents"]
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_trace(tmp_path / "nowhere" / "trace.json", records)


def test_many_rows_are_written_piece_by_piece_as_at_once(
    tmp_path: Path, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = random_records(3, num_tasks=40)
    at_once = trace(records)
    monkeypatch.setattr("asyncjit.profiler.chrome.PIECE", 3)
    assert trace(records) == at_once
