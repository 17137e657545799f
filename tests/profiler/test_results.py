"""What a profile tells: small programs under a fake clock, worked out by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from asyncjit import sync
from asyncjit.profiler import Prediction, SavedProfile, Strand, Task, Wait, load, profile, record_function
from asyncjit.profiler.analysis import burden_ns
from asyncjit.testing import deterministic
from tests.profiler.handmade import handmade
from tests.support import optional

# Two lanes for 100 ns: `long` takes 80 of them, `short` 30; the code outside runs for 10 before and 10 after.
DIAMOND = SavedProfile(
    handmade(
        [("long", 0, 5), ("short", 0, 10)],
        [(0, 0, 0, 10), (1, 1, 10, 90), (2, 0, 12, 42), (0, 0, 90, 100)],
        [(0, 1, 0, 10, 90)],
    )
)


def test_strands_tasks_and_waits_are_told_one_by_one() -> None:
    assert DIAMOND.events() == [Strand("short", 0, 12, 42, 2, 30), Strand("long", 1, 10, 90, 1, 80)]
    site = "forked at {}.py:1 in (outside of forks)"
    assert DIAMOND.tasks() == [
        Task(1, "long", site.format("long"), None, 0, 5, 10, 90, "finished"),
        Task(2, "short", site.format("short"), None, 0, 10, 12, 42, "finished"),
    ]
    assert DIAMOND.waits() == [Wait(None, 1, 0, 10, 90)]


def test_work_span_and_what_follows_are_those_worked_out_by_hand() -> None:
    assert DIAMOND.duration_ns == 100
    assert DIAMOND.work_s == pytest.approx(130e-9)
    assert DIAMOND.span_s == pytest.approx(95e-9)  # 5 up to the fork, 80, 10
    assert DIAMOND.parallelism == pytest.approx(130 / 95)
    assert DIAMOND.utilisation() == pytest.approx(110 / 200)
    assert DIAMOND.max_running() == 2
    assert [(piece.name, piece.end_ns - piece.start_ns) for piece in DIAMOND.critical_path()] == [
        ("(outside of forks)", 5),
        ("long", 80),
        ("(outside of forks)", 10),
    ]


def test_the_burdened_span_and_the_loads_are_those_of_the_records() -> None:
    assert DIAMOND.burdened_span_s == pytest.approx((95 + burden_ns(DIAMOND.records)) * 1e-9)
    assert burden_ns(DIAMOND.records) > 0
    loads = {load.name: load for load in DIAMOND.function_loads()}
    assert list(loads) == ["long", "short"]
    assert (loads["long"].calls, loads["long"].all.wall_ns) == (1, 80)


def test_predictions_and_averages_are_of_the_records() -> None:
    assert isinstance(DIAMOND.predict(2), Prediction)
    assert DIAMOND.predict(2).num_lanes == 2
    assert DIAMOND.what_if("long", 2).time_s < DIAMOND.predict(2).time_s
    rows = {row.key: (row.count, row.self_wall_time_total) for row in DIAMOND.key_averages()}
    assert rows == {"(outside of forks)": (1, 0.02), "long": (1, 0.08), "short": (1, 0.03)}


def test_a_program_under_a_fake_clock_gives_exactly_these_tables() -> None:
    ticks = itertools.count()

    def outer() -> int:
        with record_function("inside"):
            return sync.wait(sync.fork(abs, -1))

    with deterministic(0), profile(clock=lambda: next(ticks), cpu_clock=lambda: 0) as prof:  # 0
        sync.call(outer)
    assert [(e.name, e.lane, e.start_ns, e.end_ns, e.fork) for e in prof.events()] == [
        ("test_a_program_under_a_fake_clock_gives_exactly_these_tables.<locals>.outer", 0, 3, 6, 1),
        ("inside", 0, 4, 6, None),
        ("abs", 0, 7, 8, 2),
        ("test_a_program_under_a_fake_clock_gives_exactly_these_tables.<locals>.outer", 0, 10, 12, 1),
        ("inside", 0, 10, 11, None),
    ]
    assert [(t.parent, t.forked_ns, t.started_ns, t.ended_ns) for t in prof.tasks()] == [(None, 1, 3, 12), (1, 5, 7, 8)]
    assert prof.waits() == [Wait(1, 2, 0, 6, 10), Wait(None, 1, 0, 2, 13)]
    assert prof.duration_ns == 14
    assert prof.work_s == pytest.approx((2 + 3 + 1 + 2 + 1) * 1e-9)


def test_a_profile_comes_back_from_its_trace(tmp_path: Path) -> None:
    with profile() as prof:
        sync.wait_all([sync.fork(np.negative, np.ones(3)) for _ in range(5)])
    path = tmp_path / "trace.json.gz"
    prof.export_chrome_trace(path)
    again = load(path)
    assert again.events() == prof.events()
    assert again.tasks() == prof.tasks()
    assert again.waits() == prof.waits()
    assert str(again.explain()) == str(prof.explain())


def test_files_and_pages_are_written_from_the_same_findings(tmp_path: Path) -> None:
    optional("plotly")
    DIAMOND.report(tmp_path / "page.html", title="A diamond")
    assert "A diamond" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "asyncjit-profile" in DIAMOND._repr_html_()
    SavedProfile(handmade([("a", 0, 1)], [(1, 1, 2, 7_002)])).export_stacks(tmp_path / "stacks.txt")
    assert (tmp_path / "stacks.txt").read_text() == "(outside of forks);a 7\n"


def test_a_profile_that_still_records_tells_what_there_is() -> None:
    with profile() as prof:
        sync.call(abs, -1)
        first = len(prof.tasks())
        sync.call(abs, -1)
        assert (first, len(prof.tasks())) == (1, 2)


def test_an_empty_profile_answers_all_questions(tmp_path: Path) -> None:
    with profile() as prof:
        pass
    assert (prof.events(), prof.tasks(), prof.waits()) == ([], [], [])
    assert prof.utilisation() == 0
    assert prof.max_running() == 0
    assert prof.predict(4).speedup == pytest.approx(1, abs=0.01)
    assert prof.explain()
    assert prof.summary()
    assert prof._repr_html_()
