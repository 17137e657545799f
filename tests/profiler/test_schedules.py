"""Schedules: torch.profiler's actions, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.schedules import ProfilerAction, schedule

LETTERS = {
    ProfilerAction.NONE: ".",
    ProfilerAction.WARMUP: "w",
    ProfilerAction.RECORD: "r",
    ProfilerAction.RECORD_AND_SAVE: "S",
}

# Arguments (wait, warmup, active, repeat, skip_first, skip_first_wait) and the first 16 actions; made with torch 2.13.
OF_TORCH = [
    ((0, 0, 1, 0, 0, 0), "SSSSSSSSSSSSSSSS"),
    ((1, 0, 1, 0, 0, 0), ".S.S.S.S.S.S.S.S"),
    ((1, 1, 2, 0, 0, 0), ".wrS.wrS.wrS.wrS"),
    ((1, 1, 2, 1, 0, 0), ".wrS............"),
    ((1, 1, 2, 2, 3, 0), "....wrS.wrS....."),
    ((2, 1, 1, 0, 1, 0), "...wS..wS..wS..w"),
    ((2, 1, 1, 0, 1, 1), ".wS..wS..wS..wS."),
    ((3, 0, 2, 1, 0, 1), "rS.............."),
    ((3, 0, 2, 2, 0, 1), "rS...rS........."),
    ((0, 2, 3, 2, 2, 1), "..wwrrSwwrrS...."),
]


@pytest.mark.parametrize(("arguments", "expected"), OF_TORCH)
def test_the_actions_are_torchs(arguments: tuple[int, ...], expected: str) -> None:
    names = ("wait", "warmup", "active", "repeat", "skip_first", "skip_first_wait")
    actions = schedule(**dict(zip(names, arguments, strict=True)))
    assert "".join(LETTERS[actions(step)] for step in range(len(expected))) == expected


@given(st.integers(0, 3), st.integers(0, 3), st.integers(1, 3), st.integers(0, 3), st.integers(0, 5), st.booleans())
def test_the_actions_are_those_of_the_cycles_written_out(
    wait: int, warmup: int, active: int, repeat: int, skip_first: int, skip_first_wait: bool
) -> None:
    cycle = "." * wait + "w" * warmup + "r" * (active - 1) + "S"
    cycles = cycle * (repeat or 20)
    written = "." * skip_first + (cycles[wait:] if skip_first_wait else cycles) + ("" if repeat else cycle)
    actions = schedule(
        wait=wait,
        warmup=warmup,
        active=active,
        repeat=repeat,
        skip_first=skip_first,
        skip_first_wait=skip_first_wait,
    )
    expected = written.ljust(40, ".")[: 40 if repeat else min(40, len(written))]
    assert "".join(LETTERS[actions(step)] for step in range(len(expected))) == expected


def test_the_values_of_the_actions_are_torchs() -> None:
    assert {action.name: action.value for action in ProfilerAction} == {
        "NONE": 0,
        "WARMUP": 1,
        "RECORD": 2,
        "RECORD_AND_SAVE": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"active": 0}, "active must be at least 1, got 0"),
        ({"wait": -1}, "wait must be at least 0, got -1"),
        ({"warmup": -2}, "warmup must be at least 0, got -2"),
        ({"repeat": -3}, "repeat must be at least 0, got -3"),
        ({"skip_first": -4}, "skip_first must be at least 0, got -4"),
    ],
)
def test_a_number_below_the_least_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule(**{"wait": 0, "warmup": 0, "active": 1, **arguments})


def test_what_is_no_integer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"warmup must be an integer, got 1\.5 of type float"):
        schedule(wait=0, warmup=1.5, active=1)  # type: ignore[arg-type]


def test_steps_are_counted_from_0() -> None:
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        schedule(wait=0, warmup=0, active=1)(-1)
