"""What Perfetto's own engine makes of traces: no complaint, and the figures that the records give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncjit import demo, sync
from asyncjit.profiler import profile
from asyncjit.profiler.chrome import write_trace
from tests.profiler.generated import random_records
from tests.profiler.perfetto import Load, check_figures
from tests.profiler.programs import PROGRAMS
from tests.profiler.random_programs import Program, programs

# Tasks and generators that a closing loop leaves unfinished complain when they go.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*never awaited:RuntimeWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_perfettos_engine_has_no_complaint_and_counts_what_the_profile_counts(
    runtime: sync.Runtime, load: Load, program: Callable[[], None], name: str, tmp_path: Path
) -> None:
    with profile() as prof:
        program()
    path = tmp_path / name
    prof.export_chrome_trace(path)
    ask = load(path)
    check_figures(prof.records, ask)
    drawn = ask("select count(*) from slice where category in ('strand', 'range')")
    assert drawn == [(len(prof.events()),)]
    assert ask("select count(*) from flow")[0][0] > 0
    assert ask("select count(distinct name) from counter_track")[0][0] >= 2


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), latency_ns=st.integers(0, 2))
def test_perfettos_figures_of_random_records_are_our_own(
    load: Load, tmp_path: Path, seed: int, latency_ns: int
) -> None:
    records = random_records(seed, latency_ns=latency_ns)
    write_trace(tmp_path / "random.json", records)
    check_figures(records, load(tmp_path / "random.json"))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs())
def test_perfettos_figures_of_random_programs_that_ran_are_our_own(
    load: Load, tmp_path: Path, program: Program
) -> None:
    with sync.Runtime(2, blas_threads=None), profile() as prof:
        try:
            program()
        except asyncio.CancelledError:  # of a plain task, by what it waited for
            pass
    prof.export_chrome_trace(tmp_path / "ran.json")
    check_figures(prof.records, load(tmp_path / "ran.json"))


@pytest.mark.parametrize("form", demo.FORMS)
def test_perfettos_figures_of_the_ensemble_are_our_own(load: Load, tmp_path: Path, form: str) -> None:
    size = demo.Size(steps=3, batch=2, hidden=8, models=3)
    model, x = demo.make_forms(size)[form], demo.make_input(size)
    with asyncio.Runner() as runner, sync.Runtime(2):
        with profile() as prof:
            demo.run(model, x, runner)
        prof.export_chrome_trace(tmp_path / "ensemble.json.gz")
    check_figures(prof.records, load(tmp_path / "ensemble.json.gz"))
