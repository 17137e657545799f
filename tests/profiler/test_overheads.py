"""What the runtime took between strands: each kind in a profile of its own, worked out by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjit.profiler.overheads import overheads_of
from asyncjit.profiler.plan import plan_of
from asyncjit.profiler.records import FINISHED, Lane
from asyncjit.profiler.simulation import FREE, Overheads, simulate
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

SCRIPT = [Lane("main"), Lane("lane 1"), Lane("lane 2")]


def test_a_hop_is_from_the_fork_to_the_start_on_a_thread_that_slept() -> None:
    forks = [("k", 0, at) for at in (10, 110, 210, 310)]
    kernels = [(1, 1, 99, 100), (2, 1, 116, 150), (3, 1, 218, 250), (4, 1, 400, 410)]  # 6, 8, and once 90
    assert overheads_of(handmade(forks, [(0, 0, 0, 500), *kernels])) == Overheads(hop_ns=7, wake_ns=7)


def test_the_hop_of_a_kernel_that_no_permit_was_free_for_is_not_counted() -> None:
    forks = [("k", 0, 10), ("k", 0, 110), ("k", 0, 210), ("b", 0, 205)]
    kernels = [(1, 1, 15, 90), (2, 1, 116, 190), (3, 1, 299, 300), (4, 2, 206, 290)]
    assert overheads_of(handmade(forks, [(0, 0, 0, 300), *kernels], num_lanes=1)).hop_ns == 6


def test_from_one_kernel_to_the_next_is_counted_where_that_was_queued() -> None:
    kernels = [(1, 1, 20, 50), (2, 1, 53, 90), (3, 1, 94, 120), (4, 1, 125, 130)]
    records = handmade([("k", 0, 10)] * 4, [(0, 0, 0, 15), *kernels, (0, 0, 140, 150)], num_lanes=1)
    assert overheads_of(records).next_ns == 4


def test_what_runs_in_place_is_claimed_and_resumed() -> None:
    strands = [(0, 0, 0, 10), (1, 0, 12, 20), (0, 0, 25, 30), (2, 0, 33, 40), (0, 0, 46, 50), (3, 0, 54, 60)]
    waits = [(0, 1, 0, 10, 25), (0, 2, 0, 30, 46), (0, 3, 0, 50, 67)]
    records = handmade([("k", 0, 5)] * 3, [*strands, (0, 0, 67, 70)], waits)
    assert overheads_of(records) == Overheads(claim_ns=3, resume_ns=6)


def test_a_wake_up_is_from_the_end_of_a_target_elsewhere() -> None:
    strands = [(0, 0, 0, 10), (1, 1, 12, 20), (0, 0, 27, 30), (2, 1, 33, 40), (0, 0, 48, 50), (3, 1, 54, 60)]
    waits = [(0, 1, 0, 10, 27), (0, 2, 0, 30, 48), (0, 3, 0, 50, 69)]
    forks = [("k", 0, 5), ("k", 0, 28), ("k", 0, 49)]
    assert overheads_of(handmade(forks, [*strands, (0, 0, 69, 70)], waits)).wake_ns == 8


def test_a_loop_is_woken_or_takes_what_is_ready_in_its_turn() -> None:
    forks = [("c", 0, at, FINISHED, True) for at in (10, 110, 210, 310, 311, 312, 313)]
    strands = [(1, 1, 14, 20), (2, 1, 116, 120), (3, 1, 218, 220)]  # its first, 6, 8
    strands += [(4, 1, 351, 352), (5, 1, 354, 356), (6, 1, 359, 360), (7, 1, 364, 370)]  # 41, too far, then 2, 3, 4
    lanes = [Lane("main"), Lane("loop", is_loop=True)]
    found = overheads_of(handmade(forks, [(0, 0, 0, 400), *strands], lanes=lanes))
    assert (found.loop_ns, found.turn_ns) == (7, 3)


def test_a_loop_that_slept_is_woken_by_the_end_of_what_its_code_awaits() -> None:
    strands = [(0, 0, 0, 10), (1, 1, 12, 20), (0, 0, 27, 30), (2, 1, 33, 40), (0, 0, 48, 50), (3, 1, 54, 60)]
    waits = [(0, 1, 0, 10, 28), (0, 2, 0, 30, 49), (0, 3, 0, 50, 69)]  # noted a little later
    forks = [("k", 0, 5), ("k", 0, 28), ("k", 0, 49), ("c", 0, 50, FINISHED, True)]
    busy = [(4, 0, 55, 65), (0, 0, 68, 70)]  # by the last wait's end, 60: no hurry to wake it
    lanes = [Lane("loop", is_loop=True), Lane("lane 1")]
    found = overheads_of(handmade(forks, [*strands, *busy], waits, lanes=lanes))
    assert (found.loop_ns, found.wake_ns) == (8, found.hop_ns)  # 7 and 8


def test_a_loop_may_be_woken_after_hours() -> None:
    hour = 3_600_000_000_000
    strands = [(0, 0, 0, 10), (1, 1, 12, hour), (0, 0, hour + 7, hour + 9)]
    lanes = [Lane("loop", is_loop=True), Lane("lane 1")]
    assert overheads_of(handmade([("k", 0, 5)], strands, [(0, 1, 0, 10, hour + 8)], lanes=lanes)).loop_ns == 7


def test_what_was_not_seen_counts_nothing() -> None:
    assert overheads_of(handmade([], [])) == FREE
    assert overheads_of(handmade([("k", 0, 10)], [(0, 0, 0, 300), (1, 1, 15, 50)])) == FREE


def test_overheads_give_back_the_time_that_was_recorded() -> None:
    # A chain of kernels, each forked by the script when the one before has ended: 7 to hop, 9 to wake.
    strands, waits, forks, now = [], [], [], 0
    for task in range(1, 6):
        strands.append((0, 0, now, now + 10))
        forks.append(("k", 0, now + 9))
        strands.append((task, 1, now + 9 + 7, now + 9 + 7 + 30))
        waits.append((0, task, 0, now + 10, now + 9 + 7 + 30 + 9))
        now += 55
    strands.append((0, 0, now, now + 10))
    records = handmade(forks, strands, waits, num_lanes=1)
    overheads = overheads_of(records)
    assert (overheads.hop_ns, overheads.wake_ns) == (7, 9)
    # The script waits 1 after the fork, when the thread that was woken is not there yet, and so would run it in place.
    on_a_loop = handmade(forks, strands, waits, num_lanes=1, lanes=[Lane("loop", is_loop=True), Lane("lane 1")])
    assert simulate(plan_of(on_a_loop), 1, overheads._replace(loop_ns=9)).time_ns == records.duration_ns


@given(st.integers(0, 10**6))
@settings(deadline=None)
def test_nothing_is_less_than_nothing(seed: int) -> None:
    assert min(overheads_of(random_records(seed, latency_ns=seed % 3))) >= 0
