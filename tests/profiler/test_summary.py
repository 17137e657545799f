"""A profile as plain text."""

from __future__ import annotations

from asyncjit.profiler.explanation import Cause
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.results import SavedProfile
from tests.profiler.handmade import handmade

RECORDS = handmade(
    [("long", 0, 5_000), ("short", 0, 10_000)],
    [(0, 0, 0, 10_000), (1, 1, 10_000, 90_000), (2, 0, 12_000, 42_000), (0, 0, 90_000, 100_000)],
    [(0, 1, 0, 10_000, 90_000)],
)


def test_the_summary_tells_figures_causes_functions_path_and_predictions() -> None:
    text = SavedProfile(RECORDS).summary()
    figures, *_, path, predictions = text.split("\n\n")
    assert figures.splitlines() == [
        "100 µs on 2 lanes: 2 forks, 4 strands",
        "work 130 µs, span 95 µs, parallelism 1.37, lanes busy 55 %",
    ]
    assert str(SavedProfile(RECORDS).explain()[0]) in text
    assert path.splitlines() == [
        "critical path, 95 µs:",
        "    84 %  long, forked at long.py:1 in (outside of forks)",
        "    16 %  (outside of forks)",
    ]
    assert [line.split()[0] for line in predictions.splitlines()] == ["lanes", "predicted", "speed-up"]
    assert predictions.splitlines()[0].split()[1:] == ["1", "2", "4", "8", "16", "32", "64", "128"]
    assert "long" in text.split("\n\n")[2]


def test_a_profile_that_was_cut_short_says_so() -> None:
    cut = handmade([("a", 0, 1)], [(1, 1, 2, 5)], num_dropped=1234)
    assert "1,234 later events are not in it" in SavedProfile(cut).summary()


def test_an_empty_profile_is_one_line() -> None:
    findings = Findings(handmade([], [], duration_ns=2_000_000, num_lanes=1), causes=[Cause("not shown")])
    assert SavedProfile(findings.records).summary() == "2 ms on 1 lane: 0 forks, 0 strands"
