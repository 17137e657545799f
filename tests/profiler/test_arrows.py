"""The arrows from fork to run and from run to wait."""

from __future__ import annotations

import pytest

from asyncjit.profiler.arrows import arrows_of
from asyncjit.profiler.records import OUTSIDE, UNKNOWN
from tests.profiler.handmade import handmade

TASK = ("a", OUTSIDE, 20)
RUN = (1, 1, 30, 50)
SCRIPT = (OUTSIDE, 0, 0, 25)


def arrows(
    strands: list[tuple[int, ...]],
    waits: list[tuple[int, ...]],
    *,
    task: tuple[object, ...] = TASK,
    fork_lane: int = 0,
    duration_ns: int = 100,
) -> list[tuple[int, ...]]:
    """Return (number, is_wait, from_ns, from_lane, to_ns, to_lane) of each."""
    records = handmade([task], strands, waits, duration_ns=duration_ns)
    records.tasks["lane"][1] = fork_lane
    return list(zip(*(column.tolist() for column in arrows_of(records)), strict=True))


FORK = (1, False, 20, 0, 30, 1)
WAIT = (2, True, 30, 1, 70, 0)


def test_arrows_lead_from_fork_to_run_and_from_run_to_wait() -> None:
    assert arrows([SCRIPT, RUN], [(OUTSIDE, 1, 0, 25, 70)]) == [FORK, WAIT]


def test_the_first_strand_is_run_to_and_the_last_one_led_from() -> None:
    found = arrows([SCRIPT, RUN, (1, 2, 55, 60)], [(OUTSIDE, 1, 0, 25, 70)])
    assert found == [FORK, (2, True, 55, 2, 70, 0)]


@pytest.mark.parametrize(
    "wait",
    [
        (OUTSIDE, 1, 0, 25, 40),
        (OUTSIDE, 1, 0, 25, UNKNOWN),
        (OUTSIDE, UNKNOWN, 0, 25, 70),
        (OUTSIDE, 1, 1, 25, 70),
        (OUTSIDE, 1, 0, 25, 100),
    ],
    ids=["before the fork's end", "not over", "for no fork", "where nothing is drawn", "after the block"],
)
def test_a_wait_without_a_run_before_it_or_a_slice_has_no_arrow(wait: tuple[int, ...]) -> None:
    assert arrows([SCRIPT, RUN], [wait]) == [FORK]


def test_a_fork_on_another_lane_needs_a_strand_there_and_its_end_is_no_part_of_it() -> None:
    for start_ns, end_ns, num in ((20, 30, 1), (10, 21, 1), (10, 20, 0), (21, 30, 0)):
        assert len(arrows([RUN, (OUTSIDE, 2, start_ns, end_ns)], [], fork_lane=2)) == num


def test_a_run_that_began_before_its_fork_by_two_threads_clocks_has_no_arrow() -> None:
    assert arrows([SCRIPT, RUN], [], task=("a", OUTSIDE, 31)) == []


def test_a_fork_that_never_ran_has_no_arrows() -> None:
    assert arrows([SCRIPT], [(OUTSIDE, 1, 0, 25, 70)]) == []
