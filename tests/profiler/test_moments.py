"""What ran side by side: stretches, levels, free lanes and lost time, worked out by hand; one tick is a nanosecond."""

from __future__ import annotations

import pytest

from asyncjit.profiler.moments import MIN_PAUSE_NS, Free, free_of, lost_of, moments_of
from asyncjit.profiler.records import CANCELLED, FINISHED, UNKNOWN, Lane
from tests.profiler.handmade import handmade

LOOP = (Lane("loop", is_loop=True), Lane("lane 1"), Lane("lane 2"))


def test_the_time_is_cut_where_strands_and_queues_begin_and_end() -> None:
    records = handmade(  # the coroutine g never queues for a lane
        [("f", 0, 10), ("g", 0, 0, FINISHED, True)],
        [(0, 1, 0, 20), (1, 2, 15, 35, 5), (2, 0, 30, 50, UNKNOWN)],
        lanes=LOOP,
    )
    moments = moments_of(records)
    long = moments.lasts_ns > 0
    assert moments.lasts_ns[long].tolist() == [10, 5, 5, 10, 5, 15]
    assert moments.outside[long].tolist() == [1, 1, 1, 0, 0, 0]
    assert moments.queued[long].tolist() == [0, 1, 0, 0, 0, 0]
    assert moments.kernels[long].tolist() == [0, 0, 1, 1, 1, 0]
    assert moments.loops[long].tolist() == [0, 0, 0, 0, 1, 1]
    assert moments.running[long].tolist() == [1, 1, 2, 1, 2, 1]
    assert moments.rate[long].tolist() == [1, 1, 1.25, 0.25, 1.25, 1]  # g's CPU time is not known: all of it
    assert moments.loop_rate[long].tolist() == [0, 0, 0, 0, 1, 1]
    assert moments.sum(moments.kernels) == 20
    assert sorted(moments.sums(moments.running).tolist()) == [25, 25, 30]


def test_lanes_are_free_beside_a_loop_a_queue_a_script_a_kernel_or_nothing() -> None:
    records = handmade(
        [("f", 0, 8), ("f", 0, 25), ("g", 0, 40, FINISHED, True)],
        [(0, 1, 0, 10), (1, 1, 10, 20), (2, 2, 30, 40), (3, 0, 40, 47)],
        lanes=LOOP,
        num_lanes=3,
        duration_ns=50,
    )
    assert free_of(moments_of(records), 3) == Free(
        loop_ns=2 * 7,
        late_ns=1 * 2 + 3 * 5,  # f beside the script; then the other f, for which all lanes wait
        outside_ns=2 * 8 + 1 * 2,
        idle_ns=2 * 10 + 2 * 10,
        pause_ns=0,
        wake_up_ns=3 * (5 + 3),
    )


@pytest.mark.parametrize(("length_ns", "is_pause"), [(MIN_PAUSE_NS - 1, False), (MIN_PAUSE_NS, True)])
def test_a_long_pause_is_no_wake_up(length_ns: int, is_pause: bool) -> None:
    records = handmade([("f", 0, 0), ("f", 0, 10 + length_ns)], [(1, 1, 0, 10), (2, 1, 10 + length_ns, 20 + length_ns)])
    free = free_of(moments_of(records), 2)
    assert (free.pause_ns, free.wake_up_ns) == ((2 * length_ns, 0) if is_pause else (0, 2 * length_ns))


def test_a_cancelled_fork_was_queued_until_then() -> None:
    records = handmade([("f", 0, 0), ("f", 0, 5, CANCELLED)], [(1, 1, 0, 40)])
    records.tasks["ended_ns"][2] = 25
    moments = moments_of(records)
    assert moments.sum(moments.queued) == 20


def test_a_strand_lost_what_its_thread_did_not_compute() -> None:
    records = handmade([("f", 0, 0), ("f", 0, 0)], [(1, 1, 0, 100, 30), (2, 2, 0, 50, 50)])
    assert lost_of(moments_of(records), 2).tolist() == [70, 0]


def test_what_runs_beyond_the_lanes_costs_them_nothing() -> None:
    # Three threads on two lanes, of which one computes: the lanes lost one lane's time, half of it in each of the two.
    records = handmade(
        [("f", 0, 0), ("f", 0, 0), ("g", 0, 0, FINISHED, True)],
        [(1, 1, 0, 100, 0), (2, 2, 0, 100, 0), (3, 0, 0, 100, 100)],
        lanes=LOOP,
    )
    assert lost_of(moments_of(records), 2).tolist() == [0, 50, 50]
