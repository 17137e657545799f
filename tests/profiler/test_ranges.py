"""`record_function`: names for stretches of code."""

from __future__ import annotations

import itertools

import pytest

import asyncjit
from asyncjit import sync
from asyncjit.profiler import profile, record_function


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


async def test_a_coroutine_function_can_be_named_too() -> None:
    @record_function("named")
    async def body() -> int:
        return 1

    with profile() as prof:
        assert await asyncjit.call(body) == 1
    assert "named" in {strand.name for strand in prof.events()}


def test_a_range_needs_a_name() -> None:
    with pytest.raises(TypeError, match="needs a name, got 3"):
        record_function(3)  # type: ignore[arg-type]


def names_of(prof: profile) -> list[str]:
    return [strand.name for strand in prof.events()]


def test_a_range_without_a_profile_is_noted_by_none() -> None:
    with record_function("before"):
        with profile() as prof, record_function("inside"):
            pass
    with record_function("after"):
        pass
    assert names_of(prof) == ["inside"]


def test_one_object_may_be_entered_inside_itself_and_again() -> None:
    ticks = itertools.count()
    label = record_function("again")
    with profile(clock=lambda: next(ticks)) as prof:
        with label, label:
            pass
        with label:
            pass
    assert [(strand.start_ns, strand.end_ns) for strand in prof.events()] == [(1, 4), (2, 3), (5, 6)]


def test_a_range_that_is_left_by_an_error_ends_there() -> None:
    ticks = itertools.count()
    with profile(clock=lambda: next(ticks)) as prof:
        with pytest.raises(ValueError, match="lost"), record_function("fails"):
            raise ValueError("lost")
        with record_function("next"):
            pass
    assert [(strand.name, strand.start_ns, strand.end_ns) for strand in prof.events()] == [
        ("fails", 1, 2),
        ("next", 3, 4),
    ]


def test_a_range_inside_two_profiles_is_seen_by_both() -> None:
    ticks = itertools.count()
    with profile(clock=lambda: next(ticks)) as outer, profile(clock=lambda: next(ticks)) as inner:
        with record_function("seen"):
            pass
        with record_function("next"):
            pass
    for prof in (outer, inner):
        seen, following = prof.events()
        assert (seen.name, following.name) == ("seen", "next")
        assert seen.end_ns < following.start_ns


def test_a_decorated_function_is_still_itself() -> None:
    @record_function("named")
    def kernel(x: int, *, y: int = 2) -> int:
        """Add."""
        return x + y

    assert (kernel.__name__, kernel.__doc__) == ("kernel", "Add.")
    assert kernel(1, y=3) == 4
