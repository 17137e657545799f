"""Where the lanes' time went: each part worked out by hand, and in sum always all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.accounts import HANDOVER_NS, MIN_SLEEP_NS, Account, account_of
from asyncjit.profiler.records import FINISHED, UNKNOWN, Lane, Machine, Records
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

S = 1_000_000_000  # so long that handing over is below a thousandth
HANDED = HANDOVER_NS * 2  # for a fork on two lanes


def parts(account: Account) -> dict[str, float]:
    """Return what there is of each part, whole nanoseconds."""
    names = Account._fields[1 : Account._fields.index("asleep_ns") + 1]
    values = {name: round(getattr(account, name)) for name in names}
    return {name: value for name, value in values.items() if value}


def pair(cpu_ns: int, machine: Machine, lanes: Any = None) -> Records:
    """Return two kernels side by side for a second, with so much CPU time each."""
    return handmade(
        [("f", 0, 0), ("g", 0, 0)], [(1, 1, 0, S, cpu_ns), (2, 2, 0, S, cpu_ns)], machine=machine, lanes=lanes
    )


@given(
    st.integers(0, 500),
    st.integers(0, 60),
    st.builds(Machine, st.integers(1, 3), *[st.integers(UNKNOWN, 2000)] * 3),
    st.integers(UNKNOWN, 500),
)
def test_the_parts_add_up_to_all_of_the_time(seed: int, num_tasks: int, machine: Machine, lane_cpu_ns: int) -> None:
    records = random_records(seed, num_tasks=num_tasks)
    lanes = tuple(replace(lane, cpu_ns=lane_cpu_ns) for lane in records.lanes)
    account = account_of(replace(records, machine=machine, lanes=lanes))
    values = account[1 : Account._fields.index("asleep_ns") + 1]
    assert sum(values) == pytest.approx(account.all_ns, abs=1e-3)
    assert min(values) >= -1e-6
    assert account.to_gil.sum() <= account.gil_ns + 1e-3
    assert account.to_sleep.sum() == pytest.approx(account.asleep_ns)


def test_what_computes_all_the_time_leaves_nothing() -> None:
    assert parts(account_of(pair(S, Machine(2, 2 * S, 0, 0)))) == {"computed_ns": 2 * S}


def test_the_gil_has_what_no_other_cause_explains() -> None:
    account = account_of(pair(S // 2, Machine(2, S, 0, 0)))
    assert parts(account) == {"computed_ns": S, "handover_ns": 2 * HANDED, "gil_ns": S - 2 * HANDED}
    assert account.to_gil.tolist() == [0, S / 2 - HANDED, S / 2 - HANDED]


def test_waits_for_processors_that_other_processes_had_are_theirs() -> None:
    account = account_of(pair(S // 2, Machine(2, S, S, S * 3 // 4)))
    assert parts(account) == {
        "computed_ns": S,
        "handover_ns": 2 * HANDED,
        "gil_ns": S // 4 - 2 * HANDED,
        "others_ns": S * 3 // 4,
    }


def test_a_limit_shows_as_waits_that_nobody_else_explains() -> None:
    assert parts(account_of(pair(S // 2, Machine(2, S, 0, S // 4))))["others_ns"] == S // 4


@pytest.mark.parametrize(
    ("process_cpu_ns", "others_cpu_ns", "waited_ns"),
    [
        (S, S, S),  # no processor was idle
        (S, S // 4, 0),  # one was for three quarters: the others could have had that
        (UNKNOWN, S // 2, S // 2),
        (UNKNOWN, UNKNOWN, 0),
    ],
)
def test_waits_that_the_system_does_not_count_are_guessed(
    process_cpu_ns: int, others_cpu_ns: int, waited_ns: int
) -> None:
    account = account_of(pair(S // 2, Machine(2, process_cpu_ns, others_cpu_ns)))
    assert account.others_ns == pytest.approx(waited_ns, rel=1e-3)


def test_threads_without_a_lane_have_what_they_computed() -> None:
    lanes = (Lane("main", cpu_ns=0), Lane("lane 1", cpu_ns=S // 2), Lane("lane 2", cpu_ns=S // 2))
    account = account_of(pair(S // 2, Machine(2, S + S // 4, 0, 0), lanes))
    assert account.foreign_cpu_ns == S // 4
    assert account.foreign_ns == S // 4
    assert account.gil_ns == S // 2 + S // 4 - 2 * HANDED
    account = account_of(pair(S // 2, Machine(2, 2 * S, 0, S // 2), lanes))  # partly as waits for processors
    assert account.foreign_ns == S - 2 * HANDED


def test_threads_without_a_lane_kept_nobody_waiting_for_longer_than_they_computed() -> None:
    lanes = (Lane("main", cpu_ns=0), Lane("lane 1", cpu_ns=S // 2), Lane("lane 2", cpu_ns=S // 2))
    account = account_of(pair(S // 2, Machine(2, S + S // 100, 0, S // 2), lanes))
    assert (account.foreign_ns, account.others_ns) == (S // 100, S // 2 - S // 100)


def test_a_lane_without_cpu_time_leaves_the_other_threads_unknown() -> None:
    lanes = (Lane("main"), Lane("lane 1", cpu_ns=S // 2), Lane("lane 2", cpu_ns=S // 2))
    assert account_of(pair(S // 2, Machine(2, 2 * S, 0, 0), lanes)).foreign_cpu_ns == 0


def test_more_strands_than_processors_keep_each_other_waiting() -> None:
    account = account_of(pair(S // 2, Machine(1, S, 0, S // 2)))
    assert parts(account)["crowd_ns"] == S // 2


def test_handing_over_and_waiting_for_a_processor_share_what_both_explain() -> None:
    records = handmade(
        [("f", 0, 0), ("g", 0, 0)],
        [(1, 1, 0, HANDED, 0), (2, 2, 0, HANDED, HANDED)],
        machine=Machine(2, HANDED, HANDED, HANDED),
    )
    assert parts(account_of(records)) == {
        "computed_ns": HANDED,
        "handover_ns": HANDED // 2,
        "others_ns": HANDED // 2,
    }


def test_kernels_sleep_while_nobody_computes() -> None:
    account = account_of(pair(S // 4, Machine(2, S // 2, 0, 0)))  # half of the time nobody has the GIL
    assert account.asleep_ns == S * 3 // 4
    assert account.to_sleep.tolist() == [0, S * 3 / 8, S * 3 / 8]


def test_sleep_is_all_that_is_left_beside_waits_for_processors_if_nobody_computes() -> None:
    account = account_of(pair(0, Machine(2, 0, S, S // 2)))
    assert (account.asleep_ns, account.others_ns) == (S * 3 // 2, S // 2)


def test_nobody_sleeps_while_the_runtime_computes_between_strands() -> None:
    assert account_of(pair(S // 4, Machine(2, S, 0, 0))).asleep_ns == 0


def test_what_a_kernel_loses_alone_it_sleeps_beside_others_too() -> None:
    records = handmade(
        [("f", 0, 0), ("f", 0, S), ("g", 0, S)],
        [(1, 1, 0, S, S // 4), (2, 1, S, 2 * S, S // 4), (3, 2, S, 2 * S, S)],
        machine=Machine(2, S * 3 // 2, 0, 0),
    )
    account = account_of(records)
    assert (account.asleep_ns, account.gil_ns) == (S * 3 // 2, 0)


@pytest.mark.parametrize(("length_ns", "asleep_ns"), [(MIN_SLEEP_NS, MIN_SLEEP_NS), (MIN_SLEEP_NS - 1, 0)])
def test_a_short_strand_does_not_sleep(length_ns: int, asleep_ns: int) -> None:
    account = account_of(handmade([("f", 0, 0)], [(1, 1, 0, length_ns, 0)], machine=Machine(2, 0, 0, 0)))
    assert (account.asleep_ns, account.handover_ns) == (asleep_ns, length_ns - asleep_ns)


def test_of_what_is_lost_the_loop_has_its_share_of_the_computing_beside() -> None:
    records = handmade(
        [("f", 0, 0), ("g", 0, 0), ("glue", 0, 0, FINISHED, True)],
        [(1, 1, 0, S, 0), (2, 2, 0, S), (3, 0, 0, S)],
        lanes=(Lane("loop", is_loop=True), Lane("lane 1"), Lane("lane 2")),
        num_lanes=3,
        machine=Machine(3, 2 * S, 0, 0),
    )
    handed_ns = 3 * 3 * HANDOVER_NS
    assert parts(account_of(records)) == {
        "computed_ns": 2 * S,
        "handover_ns": handed_ns,
        "gil_ns": S // 2 - handed_ns,
        "loop_ns": S // 2,
    }


def test_what_the_loop_loses_is_not_its_own_doing() -> None:
    records = handmade(
        [("f", 0, 0), ("glue", 0, 0, FINISHED, True)],
        [(1, 1, 0, S), (2, 0, 0, S, 0)],
        lanes=(Lane("loop", is_loop=True), Lane("lane 1")),
        machine=Machine(2, S, 0, 0),
    )
    assert parts(account_of(records)) == {"computed_ns": S, "handover_ns": 2 * HANDED, "gil_ns": S - 2 * HANDED}


def test_a_profile_of_no_length_has_an_account() -> None:
    account = account_of(handmade([("f", 0, 0)], [(1, 1, 0, 0)]))
    assert parts(account) == {}
