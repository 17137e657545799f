"""How many forks execute and wait: exact for few, by extremes for many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler import counters
from asyncjit.profiler.counters import counters_of, thinned
from asyncjit.profiler.records import CANCELLED, OUTSIDE, UNFINISHED
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade


def counted(tasks: list[tuple[object, ...]], strands: list[tuple[int, ...]]) -> dict[str, list[tuple[int, int]]]:
    found = counters_of(handmade(tasks, strands))
    return {name: list(zip(times.tolist(), values.tolist(), strict=True)) for name, (times, values) in found.items()}


def test_a_fork_is_queued_until_it_starts_and_runs_in_its_strands() -> None:
    found = counted([("a", OUTSIDE, 10), ("b", OUTSIDE, 20)], [(1, 1, 30, 50), (2, 2, 40, 60), (1, 1, 70, 80)])
    assert found == {
        "queued": [(10, 1), (20, 2), (30, 1), (40, 0)],
        "running": [(30, 1), (40, 2), (50, 1), (60, 0), (70, 1), (80, 0)],
    }


def test_what_follows_at_once_changes_nothing_and_the_code_outside_of_forks_does_not_count() -> None:
    found = counted([("a", OUTSIDE, 10), ("b", OUTSIDE, 10)], [(OUTSIDE, 0, 0, 99), (1, 1, 10, 50), (2, 1, 50, 60)])
    assert found == {"queued": [(10, 1), (50, 0)], "running": [(10, 1), (60, 0)]}


def test_a_run_that_began_before_its_fork_by_two_threads_clocks_was_never_queued() -> None:
    assert counted([("a", OUTSIDE, 31)], [(1, 1, 30, 50)])["queued"] == []


def test_a_fork_that_never_starts_is_queued_until_that_is_clear_or_to_the_end() -> None:
    assert counted([("a", OUTSIDE, 10, CANCELLED)], [])["queued"] == [], "cancelled in the moment of its making"
    assert counted([("a", OUTSIDE, 10, UNFINISHED)], [])["queued"] == [(10, 1)]


def test_many_changes_are_thinned_to_the_first_last_least_and_greatest_of_each_stretch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counters, "MAX_STRETCHES", 2)
    times_ns = np.arange(0, 100, 10)  # two stretches of 46 ns
    values = np.array([1, 2, 3, 0, 1, 2, 9, 8, 7, 6])
    found, kept = thinned(times_ns, values)
    assert found.tolist() == [0, 20, 30, 40, 50, 60, 90]
    assert kept.tolist() == [1, 3, 0, 1, 2, 9, 6]
    assert thinned(times_ns[:8], values[:8])[0].tolist() == times_ns[:8].tolist(), "few are kept as they are"


@given(seed=st.integers(0, 10**6))
def test_counts_begin_and_end_with_nothing_and_never_exceed_the_lanes(seed: int) -> None:
    records = random_records(seed, cut=False)
    for name, (times_ns, values) in counters_of(records).items():
        assert (np.diff(times_ns) > 0).all()
        assert (values >= 0).all()
        assert values[-1:].tolist() in ([], [0])
        if name == "running":
            assert max(values.tolist(), default=0) <= records.num_lanes + 1
