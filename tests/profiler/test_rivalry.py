"""The rival for the GIL: what it tells of itself, and what strands feel of it."""

from __future__ import annotations

import threading
import time

import numpy as np

from asyncjit.profiler.records import BURST, STRAND
from asyncjit.profiler.rivalry import TURN_NS, Rival, Rivalry, felt_by


def strands(*times: tuple[int, int]) -> np.ndarray:
    return np.array([(1, 1, start, end, end - start) for start, end in times], STRAND)


BURSTS = Rivalry(np.array([(100, 200, 4), (1000, 1100, 2)], BURST), turn_ns=20)  # it waited 20, and 60


def test_a_strand_feels_what_falls_into_it() -> None:
    felt = felt_by(strands((0, 50), (0, 250), (150, 250), (150, 1050), (0, 2000), (300, 900), (1200, 1300)), BURSTS)
    assert felt.burst_ns.tolist() == [0, 100, 50, 100, 200, 0, 0]
    assert felt.waited_ns.tolist() == [0, 20, 10, 40, 80, 0, 0]
    assert felt.num_turns.tolist() == [0, 4, 2, 3, 6, 0, 0]


def test_a_rival_that_did_nothing_is_not_felt() -> None:
    felt = felt_by(strands((0, 50)), Rivalry(np.array([], BURST), 20))
    assert [values.tolist() for values in felt] == [[0], [0], [0]]


def test_a_rival_works_in_bursts_until_it_is_stopped() -> None:
    before = threading.active_count()
    start_ns = time.perf_counter_ns()
    rival = Rival()
    rival.start(start_ns)
    bursts, turn_ns = rival.stop()
    length_ns = time.perf_counter_ns() - start_ns
    assert threading.active_count() == before
    assert turn_ns > TURN_NS / 100
    assert len(bursts) >= 1
    assert np.all(bursts["num_turns"] >= 1)
    assert np.all((bursts["start_ns"] >= 0) & (bursts["start_ns"] < bursts["end_ns"]) & (bursts["end_ns"] <= length_ns))
    assert np.all(bursts["start_ns"][1:] >= bursts["end_ns"][:-1])


def test_a_rival_asks_its_clock() -> None:
    ticks = iter(range(0, 10**12, 300_000))
    rival = Rival(clock=lambda: next(ticks))
    rival.start(0)
    bursts, _ = rival.stop()
    assert bursts[0].tolist() == (0, 1_200_000, 4)  # to the first tick a millisecond later
