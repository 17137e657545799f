"""Predictions: exact for programs worked out by hand, and what they say of changes."""

from __future__ import annotations

import functools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjit.profiler import prediction
from asyncjit.profiler.contention import GROWTH_BY_LOSS
from asyncjit.profiler.prediction import LANES, Prediction, curve, predict, what_if
from asyncjit.profiler.records import Lane, Records
from tests.profiler.generated import random_records
from tests.profiler.handmade import Row, handmade


def four_kernels() -> Records:
    """Return the profile of four kernels of 100 and 20 of the script's own, on one lane."""
    forks = [(name, 0, 10) for name in ("a", "a", "b", "b")]
    kernels = [(number, 1, 10 + 100 * (number - 1), 10 + 100 * number) for number in (1, 2, 3, 4)]
    waits = [(0, number, 0, max(10, 100 * number - 90), 10 + 100 * number) for number in (1, 2, 3, 4)]
    return handmade(forks, [(0, 0, 0, 10), *kernels, (0, 0, 410, 420)], waits, num_lanes=1)


def seconds(prediction: Prediction) -> tuple[int, float]:
    """Return the nanoseconds and the speed-up."""
    return round(prediction.time_s * 1e9), prediction.speedup


def test_a_prediction_for_the_lanes_of_the_profile_is_the_time_that_was_recorded() -> None:
    records = four_kernels()
    assert seconds(predict(records, 1)) == (records.duration_ns, 1.0) == (420, 1.0)


def test_more_lanes_take_less_time_until_all_kernels_have_one() -> None:
    assert [seconds(point) for point in curve(four_kernels(), (1, 2, 3, 4, 128))] == [
        (420, 1.0),
        (220, 420 / 220),
        (220, 420 / 220),
        (120, 420 / 120),
        (120, 420 / 120),
    ]


def test_a_curve_is_drawn_up_to_128_lanes() -> None:
    assert [point.num_lanes for point in curve(four_kernels())] == list(LANES) == [1, 2, 4, 8, 16, 32, 64, 128]


def test_a_faster_function_shortens_its_own_strands_only() -> None:
    records = four_kernels()
    assert seconds(what_if(records, "a", 2)) == (320, 420 / 320)
    assert seconds(what_if(records, "a", 2, num_lanes=4)) == (120, 1.0)  # b is on the path as well
    assert seconds(what_if(records, "b", math.inf)) == (220, 420 / 220)
    assert seconds(what_if(records, "a", 0.5)) == (620, 420 / 620)
    assert seconds(what_if(records, "(outside of forks)", 10)) == (402, 420 / 402)


def test_a_function_can_be_given_itself() -> None:
    def b() -> None: ...

    b.__qualname__ = "b"
    assert what_if(four_kernels(), b, 2) == what_if(four_kernels(), "b", 2)
    assert what_if(four_kernels(), functools.partial(b), 2) == what_if(four_kernels(), "b", 2)


def test_an_unknown_function_is_refused_with_those_that_there_are_the_nearest_first() -> None:
    records = handmade([("Model.forward", 0, 1), ("embed", 0, 2)], [(0, 0, 0, 5), (1, 1, 2, 3), (2, 1, 3, 4)])
    with pytest.raises(ValueError, match=r"no fork is called 'forward'; the profile has 'Model.forward', "):
        what_if(records, "forward", 2)
    many = handmade([(f"f{number}", 0, number) for number in range(20)], [(0, 0, 0, 30)])
    with pytest.raises(ValueError, match=r"no fork is called 'f19x'; the profile has 'f19', .*, and 11 more$"):
        what_if(many, "f19x", 2)


@pytest.mark.parametrize("factor", [0, -1, math.nan])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=rf"factor must be above 0, not {factor}: 2 stands for twice as fast"):
        what_if(four_kernels(), "a", factor)


def test_no_lanes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_lanes must be positive, not 0"):
        predict(four_kernels(), 0)
    with pytest.raises(ValueError, match="num_lanes must be positive, not -1"):
        what_if(four_kernels(), "a", 2, num_lanes=-1)


def test_contention_that_was_seen_on_two_lanes_goes_where_there_is_one_and_grows_where_there_are_more() -> None:
    def run(task: int, lane: int, start_ns: int) -> Row:
        return (task, lane, start_ns, start_ns + 1000, 900)

    forks = [("k", 0, 0)] * 6
    kernels = [run(task, 1 + task % 2, 1000 * ((task - 1) // 2)) for task in range(1, 7)]
    waits = [(0, task, 0, 1000 * ((task - 1) // 2), 1000 * ((task + 1) // 2)) for task in range(1, 7)]
    records = handmade(forks, [*kernels, (0, 0, 3000, 3001)], waits)
    alone = 1000 * (1 - 0.1 * GROWTH_BY_LOSS)
    slope = (1000 - alone) / alone
    found = [round(point.time_s * 1e9) for point in curve(records, (1, 2, 3))]
    assert found == pytest.approx([6 * alone, 3000, 2 * alone * (1 + 2 * slope)], abs=8)


def test_contention_is_that_of_the_records_though_threads_took_long_to_wake() -> None:
    # Two kernels side by side, begun 50 after their forks, and again: a tenth of their time is lost.
    forks = [("k", 0, 0), ("k", 0, 1), ("k", 0, 1100), ("k", 0, 1101)]
    kernels = [(1, 1, 50, 1050, 900), (2, 2, 51, 1051, 900), (3, 1, 1150, 2150, 900), (4, 2, 1151, 2151, 900)]
    waits = [(0, 1, 0, 2, 1060), (0, 2, 0, 1061, 1062), (0, 3, 0, 1102, 2160), (0, 4, 0, 2161, 2162)]
    script = [(0, 0, 0, 2), (0, 0, 1060, 1061), (0, 0, 1062, 1102), (0, 0, 2160, 2161), (0, 0, 2162, 2163)]
    records = handmade(forks, [*kernels, *script], waits, lanes=[Lane("loop", is_loop=True), Lane("a"), Lane("b")])
    assert predict(records, 2).time_s * 1e9 == pytest.approx(records.duration_ns, rel=0.01)


def test_an_empty_profile_takes_no_time() -> None:
    assert predict(handmade([], []), 4) == Prediction(4, 0.0, 1.0)


@given(st.integers(0, 10**6), st.integers(1, 16), st.floats(0.1, 10))
@settings(deadline=None)
def test_any_records_have_predictions(seed: int, num_lanes: int, factor: float) -> None:
    records = random_records(seed, num_tasks=30, latency_ns=seed % 4)
    point = predict(records, num_lanes)
    assert point.time_s >= 0
    same = what_if(records, "(outside of forks)", 1.0, num_lanes)  # but for rounding each step
    assert same.time_s == pytest.approx(point.time_s, abs=5e-9)
    changed = what_if(records, "(outside of forks)", factor, num_lanes)
    assert changed.speedup > 0 or changed.time_s == 0


def test_too_many_forks_are_not_simulated_but_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    records = handmade([("a", 0, 0), ("b", 0, 0)], [(1, 1, 0, 60), (2, 2, 0, 40)])
    monkeypatch.setattr(prediction, "MANY", 2)
    found = curve(records, (1, 2, 4))
    assert [(point.num_lanes, point.is_bound) for point in found] == [(1, True), (2, True), (4, True)]
    assert [round(point.time_s * 1e9) for point in found] == [100, 80, 70]  # work by lanes, and span for the others
    assert [point.speedup for point in found] == pytest.approx([1, 100 / 80, 100 / 70])
    monkeypatch.setattr(prediction, "MANY", 3)
    assert not any(point.is_bound for point in curve(records, (1, 2, 4)))
