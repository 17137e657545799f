"""What threads take from each other: worked out by hand, where it is seen and where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjit.profiler.contention import CLAIMS_BY_STRAND, GROWTH_BY_LOSS, MEETINGS, OWN_KIND, Contention, contention_of
from asyncjit.profiler.overheads import overheads_of
from asyncjit.profiler.records import BURST, UNKNOWN, Machine, Records
from asyncjit.profiler.rivalry import Rivalry
from asyncjit.profiler.simulation import FREE, Overheads
from tests.profiler.generated import random_records
from tests.profiler.handmade import Row, handmade


def beside(*strands: Row, num_cpus: int = 2) -> Records:
    """Return records of kernels "a" (1), "b" (2), "c" (3) with the given strands."""
    forks = [(name, 0, 0) for name in "abc"]
    return handmade(forks, strands, machine=Machine(num_cpus=num_cpus))


def found(records: Records, name: str, overheads: Overheads = FREE) -> list[float]:
    contention = contention_of(records, overheads)
    row = records.names.index(name)
    return [float(contention.alone[row]), float(contention.slope[row])]


def test_what_is_lost_beside_others_is_put_down_to_them() -> None:
    records = beside((1, 1, 0, 1000, 800), (2, 2, 0, 1000, 900))
    alone = 1 - 0.2 * GROWTH_BY_LOSS
    assert found(records, "a") == pytest.approx([alone, 0.2 * GROWTH_BY_LOSS / alone])
    factors = contention_of(records, FREE).factors(1.0)
    assert factors[records.names.index("a")] == pytest.approx(1)  # as it was recorded


def test_what_a_function_loses_alone_as_well_is_its_own() -> None:
    records = beside((1, 1, 0, 1000, 800), (1, 1, 1000, 2000, 800), (2, 2, 1000, 2000, 1000))
    assert found(records, "a") == [1, 0]


def test_what_two_sleepers_lose_they_do_not_take_from_each_other() -> None:
    assert found(beside((1, 1, 0, 1000, 0), (2, 2, 0, 1000, 0)), "a") == [1, 0]
    alone, _ = found(beside((1, 1, 0, 1000, 0), (2, 2, 0, 1000, 100)), "a")
    assert alone == pytest.approx(1 - 0.1 * GROWTH_BY_LOSS)


def test_each_of_several_others_takes_its_part() -> None:
    records = beside((1, 1, 0, 1000, 800), (2, 2, 0, 1000, 1000), (3, 3, 0, 1000, 1000), num_cpus=3)
    alone = 1 - 0.2 * GROWTH_BY_LOSS
    assert found(records, "a") == pytest.approx([alone, 0.2 * GROWTH_BY_LOSS / alone / 2])


def test_a_strand_without_a_processor_lost_nothing_to_the_gil() -> None:
    records = beside((1, 1, 0, 1000, 500), (2, 2, 0, 1000, 500), num_cpus=1)
    assert found(records, "a") == [0.5, 0]


def test_what_other_processes_took_is_not_put_down_to_threads() -> None:
    records = beside((1, 1, 0, 1000, 800), (2, 2, 0, 1000, 800))
    for core_wait_ns, others_cpu_ns, left in (
        (100, 9000, 0.15),
        (9000, 250, 0.075),
        (9000, 9000, 0),
        (9000, 150, 0.2),  # less than a tenth of two processors
        (UNKNOWN, 9000, 0.2),
        (9000, UNKNOWN, 0.2),
    ):
        machine = Machine(2, others_cpu_ns=others_cpu_ns, core_wait_ns=core_wait_ns)
        alone, _ = found(replace(records, machine=machine), "a")
        assert alone == pytest.approx(1 - left * GROWTH_BY_LOSS)


def test_a_strand_keeps_some_time_of_its_own() -> None:
    alone, slope = found(beside((1, 1, 0, 1000, 0), (2, 2, 0, 1000, 1000)), "a")
    assert alone == pytest.approx(0.1)
    assert slope == pytest.approx(9)


def test_unseen_contention_is_that_of_the_strands_ends() -> None:
    records = beside((1, 1, 0, 1000), (1, 1, 1000, 3000), (2, 1, 3000, 9000))
    overheads = Overheads(claim_ns=100)
    assert found(records, "a", overheads) == pytest.approx([1, 2 * CLAIMS_BY_STRAND * 100 / 3000])
    assert found(records, "b", overheads) == pytest.approx([1, CLAIMS_BY_STRAND * 100 / 6000])
    assert contention_of(records, overheads).slope.max() == pytest.approx(2 * CLAIMS_BY_STRAND * 100 / 3000)


MS = 1_000_000


def rivalry(num_turns: int, turn_ns: int = 10_000) -> Rivalry:
    """Return three bursts of a millisecond."""
    bursts = [(start_ns * MS, (start_ns + 1) * MS, num_turns) for start_ns in (2, 12, 22)]
    return Rivalry(np.array(bursts, BURST), turn_ns)


def test_what_strands_lose_to_a_rival_they_would_lose_to_another_lane() -> None:
    # In 3 ms beside the rival 0.6 ms were lost; it took 10 us for a turn of 10 us, so nobody else held the GIL.
    records = beside((1, 1, 0, 30 * MS, int(29.4 * MS)), (2, 2, 30 * MS, 40 * MS))
    contention = contention_of(records, FREE, rivalry(100))
    row = records.names.index("a")
    grown = 0.6 * GROWTH_BY_LOSS
    assert contention.inner[row] == pytest.approx(grown / (3 - grown))
    assert contention.held[row] == 0
    assert contention.factors(1.0)[row] == pytest.approx(1 + grown / (3 - grown))


def test_what_a_rival_waited_for_tells_how_much_of_the_gil_strands_hold() -> None:
    # Turns took 107 us each instead of 10: of 97 in vain 7 are a hand-over, 90 of 100 somebody else held the GIL.
    records = beside((1, 1, 0, 30 * MS))
    bursts = [(start_ns * MS, start_ns * MS + 10 * 107_000, 10) for start_ns in (2, 12, 22)]
    contention = contention_of(records, FREE, Rivalry(np.array(bursts, BURST), 10_000))
    row = records.names.index("a")
    assert contention.held[row] == pytest.approx(0.9)
    assert contention.inner[row] == 0
    assert contention.factors(0.0)[row] == 1
    assert contention.factors(1.0)[row] == pytest.approx(1.8)  # two can't hold it at once
    assert contention.factors(3.0)[row] == pytest.approx(3.6)


def test_what_strands_lose_without_the_rival_as_well_is_their_own() -> None:
    strands = [(1, 1, MS * at, MS * (at + 1), MS * 4 // 5) for at in range(30)]  # a fifth, and no more in the bursts
    contention = contention_of(beside(*strands), FREE, rivalry(100))
    assert contention.inner[1] == pytest.approx(0, abs=1e-9)


def test_kernels_that_hold_the_gil_lose_more_to_each_other_than_to_a_rival() -> None:
    # Turns of 25 us: 8 in vain, so 8 of 18 us it was held.
    contention = contention_of(beside((1, 1, 0, 30 * MS, int(29.4 * MS))), FREE, rivalry(40))
    held, grown = 8 / 18, 0.6 * GROWTH_BY_LOSS
    assert contention.held[1] == pytest.approx(held)
    assert contention.inner[1] == pytest.approx(grown / (3 - grown) * (1 + OWN_KIND * held))


def test_beside_another_process_a_rival_is_not_believed() -> None:
    records = beside((1, 1, 0, 30 * MS, int(29.4 * MS)))
    for others_cpu_ns, is_believed in ((5 * MS, True), (7 * MS, False)):  # of 60 ms on two processors
        contention = contention_of(replace(records, machine=Machine(2, 0, others_cpu_ns)), FREE, rivalry(40))
        assert (contention.inner[1] > 0) == (contention.held[1] > 0) == is_believed


def test_of_a_short_meeting_what_all_felt_is_taken() -> None:
    records = beside((1, 1, 0, 25 * MS, int(24.4 * MS)), (2, 2, 25 * MS, 30 * MS))
    contention = contention_of(records, FREE, rivalry(100))
    grown = 0.6 * GROWTH_BY_LOSS
    assert contention.inner.tolist() == pytest.approx([grown / (3 - grown)] * 4)


def test_a_rival_takes_no_more_than_its_own_time() -> None:
    contention = contention_of(beside((1, 1, 0, 30 * MS, MS)), FREE, rivalry(100))
    assert contention.inner[1] == 3


def test_hand_overs_come_on_top_of_what_can_only_be_done_in_turn() -> None:
    one, slope, inner, held = np.array([[1.0], [0.5], [0.2], [0.9]])
    both = Contention(one, slope, inner, held, 0.0)
    assert both.factors(1.0) == pytest.approx([0.9 * (2 + MEETINGS * 0.5)])
    assert both.largest_slope == pytest.approx(0.9 * (1 + MEETINGS * 0.5))
    free = Contention(one / 2, slope, inner + 1, held - 0.6, 0.0)
    assert free.factors(1.0) == pytest.approx([0.5 * 2.2])
    assert free.largest_slope == pytest.approx(1.2)


def test_what_was_seen_on_two_lanes_counts_more_than_a_rival() -> None:
    records = beside((1, 1, 0, 30 * MS, 27 * MS), (2, 2, 0, 30 * MS, 27 * MS))
    with_rival, without = contention_of(records, FREE, rivalry(10)), contention_of(records, FREE)
    assert with_rival.factors(1.0)[1:3].tolist() == without.factors(1.0)[1:3].tolist()


def test_without_cpu_times_nothing_is_seen() -> None:
    assert found(beside((1, 1, 0, 1000, UNKNOWN), (2, 2, 0, 1000, UNKNOWN)), "a") == [1, 0]


def test_an_empty_profile_has_no_contention() -> None:
    contention = contention_of(handmade([], []), FREE)
    assert contention.factors(3.0).tolist() == [1.0]
    assert contention.largest_slope == 0


def test_others_are_counted_where_most_of_the_time_was_beside_them() -> None:
    assert contention_of(beside((1, 1, 0, 1000), (2, 2, 0, 900)), FREE).num_others == pytest.approx(1800 / 1900)
    assert contention_of(beside((1, 1, 0, 1000), (2, 2, 0, 10)), FREE).num_others == 0


@given(st.integers(0, 10**6))
@settings(deadline=None)
def test_a_strand_never_lasts_longer_alone(seed: int) -> None:
    records = random_records(seed, num_tasks=30)
    contention = contention_of(records, overheads_of(records))
    assert np.all((contention.alone > 0) & (contention.alone <= 1))
    assert np.all((contention.slope >= 0) & np.isfinite(contention.slope))
