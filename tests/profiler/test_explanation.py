"""Which sentences an explanation has: the largest causes first, five at most, and what the profile does not tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.explanation import MAX_SENTENCES, MIN_SHARE, explain
from asyncjit.profiler.prediction import curve
from asyncjit.profiler.records import FINISHED, UNFINISHED, UNKNOWN, Lane, Machine
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

S = 1_000_000_000
QUIET = Machine(2, 0, 0, 0)
TENTH = S // 10


def test_the_largest_cause_comes_first_and_small_ones_do_not_come() -> None:
    # Of 40 tenths on two lanes 9 are computed, 14 idle beside f and g, 8 in the pause, 7 lost by them, all alone, and 2
    # idle beside the code outside of forks.
    records = handmade(
        [("f", 0, 2 * TENTH), ("g", 0, 10 * TENTH)],
        [
            (0, 0, 0, 2 * TENTH),
            (1, 1, 2 * TENTH, 10 * TENTH, 6 * TENTH),
            (2, 1, 10 * TENTH, 16 * TENTH, 1 * TENTH),
        ],
        [(0, 1, 0, 2 * TENTH, 10 * TENTH)],
        duration_ns=20 * TENTH,
        machine=QUIET,
    )
    explanation = explain(records)
    assert [(cause.name, round(cause.share or 0, 6)) for cause in explanation] == [
        ("long path", 14 / 40),
        ("pauses", 8 / 40),
        ("sleep", 7 / 40),
    ]
    assert str(explanation).splitlines() == [str(cause) for cause in explanation]


def test_notes_have_room_among_the_five() -> None:
    # An eighth each: nothing runs; glue runs alone; f runs alone; two naps; two loops on the GIL.
    records = handmade(
        [
            ("glue", 0, 20 * S, FINISHED, True),
            ("f", 0, 60 * S),
            *[("nap", 0, 100 * S)] * 2,
            *[("python", 0, 120 * S)] * 2,
        ],
        [
            (1, 0, 20 * S, 60 * S),
            (2, 1, 60 * S, 100 * S),
            *((3 + lane, 1 + lane, 100 * S, 120 * S, 0) for lane in (0, 1)),
            *((5 + lane, 1 + lane, 120 * S, 160 * S, 20 * S) for lane in (0, 1)),
        ],
        lanes=[Lane("loop", is_loop=True), Lane("lane 1"), Lane("lane 2")],
        machine=QUIET,
    )
    causes = explain(records)
    assert {cause.name for cause in causes} == {"pauses", "loop", "few forks", "sleep", "GIL"}
    assert explain(replace(records, num_dropped=1))[:-1] == causes[:-1]


@given(st.integers(0, 300), st.booleans())
def test_there_are_five_sentences_at_most_and_their_shares_are_of_one_whole(seed: int, full: bool) -> None:
    records = random_records(seed, num_tasks=40)
    explanation = explain(replace(records, num_dropped=3 if full else 0))
    assert 1 <= len(explanation) <= MAX_SENTENCES
    shares = [cause.share for cause in explanation if cause.share is not None]
    assert shares == sorted(shares, reverse=True)
    assert all(share >= MIN_SHARE for share in shares)
    assert sum(shares) <= 1 + 1e-9
    assert all(cause.text for cause in explanation)


def test_an_empty_profile_says_so() -> None:
    assert str(explain(handmade([], []))) == "The profile is empty: nothing ran in its block."


@pytest.mark.parametrize(("num_lanes", "share"), [(1, None), (4, 0.75)])
def test_a_profile_without_forks_says_so(num_lanes: int, share: float | None) -> None:
    [cause] = explain(handmade([], [(0, 0, 0, 100)], num_lanes=num_lanes))
    assert (cause.share, cause.name) == (share, "few forks")
    assert cause.text == "Nothing was forked, so nothing ran on the lanes."
    assert cause.advice == "Fork the calls that do not need each other's results."


def test_on_one_lane_it_tells_what_more_would_give() -> None:
    records = handmade(
        [("f", 0, 0), ("f", 0, 0)], [(1, 1, 0, S), (2, 1, S, 2 * S)], [(0, UNKNOWN, 0, 0, 2 * S)], num_lanes=1
    )
    _, two, four, eight = curve(records, (1, 2, 4, 8))
    assert f"{two.speedup:.2f} {four.speedup:.2f} {eight.speedup:.2f}" == "2.00 2.00 2.00"
    assert str(explain(records)) == (
        "On one lane nothing runs side by side; 2 lanes are predicted to be 2.00 × as fast, 4 lanes 2.00 × and 8 lanes "
        "2.00 ×."
    )


def test_a_cause_on_one_lane_comes_after_what_more_would_give() -> None:
    records = handmade([("f", 0, 0)], [(1, 1, 0, S, S // 10)], num_lanes=1, machine=QUIET)
    assert [cause.name for cause in explain(records)] == ["", "sleep"]


def test_forks_that_had_not_ended_are_told() -> None:
    records = handmade([("f", 0, 0, UNFINISHED), ("f", 0, 0)], [(1, 1, 0, S), (2, 2, 0, S)], machine=QUIET)
    well, note = explain(records)
    assert well.text.startswith("No cause stands out")
    assert str(note) == (
        "1 of 2 forks had not ended when the profile did. What they did later is not in it: end the block after the "
        "last wait."
    )


def test_a_full_buffer_is_told_and_then_not_what_had_not_ended() -> None:
    records = handmade(
        [("f", 0, 0, UNFINISHED), ("f", 0, 0)], [(1, 1, 0, S), (2, 2, 0, S)], machine=QUIET, num_dropped=1234
    )
    _, note = explain(records)
    assert str(note) == (
        "The buffer was full: 1,234 events came later, and all that is said is of before. Give profile(max_events=...) "
        "more, or record fewer steps with a schedule."
    )


def test_missing_cpu_times_are_told() -> None:
    records = handmade([("f", 0, 0), ("f", 0, 0)], [(1, 1, 0, S, UNKNOWN), (2, 2, 0, S, UNKNOWN)])
    _, note = explain(records)
    assert str(note) == (
        "Without CPU times, what was lost to the GIL or to other processes does not show. Record them: "
        "profile(cpu_times=True)."
    )
