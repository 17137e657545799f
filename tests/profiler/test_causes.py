"""Each cause in words: one small profile for each, written by hand in milliseconds."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjit.profiler.causes import Cause
from asyncjit.profiler.explanation import explain
from asyncjit.profiler.records import FINISHED, UNKNOWN, Lane, Machine, Records
from tests.profiler.handmade import Row, handmade

MS = 1_000_000
QUIET = Machine(num_cpus=2, process_cpu_ns=0, others_cpu_ns=0, core_wait_ns=0)
LOOP = (Lane("loop", is_loop=True), Lane("lane 1"), Lane("lane 2"))


def profiled(tasks: list[Row], strands: list[Row], waits: list[Row] | None = None, **more: Any) -> Records:
    """Return records of which all times are in milliseconds."""
    return handmade(
        [(name, parent, round(forked * MS), *rest) for name, parent, forked, *rest in tasks],
        [(task, lane, *(round(time * MS) for time in times)) for task, lane, *times in strands],
        [(*row, start * MS, end * MS) for *row, start, end in waits or ()],
        **{"machine": QUIET, **more},
    )


def only(records: Records) -> str:
    """Return the one sentence of an explanation."""
    [cause] = explain(records)
    return str(cause)


def machine(*cpu_ms: int, num_cpus: int = 2) -> Machine:
    return Machine(num_cpus, *(time * MS for time in cpu_ms))


def pair(name: str, cpu_ms: int, **more: Any) -> Records:
    """Return two kernels side by side, of 100 ms each."""
    return profiled([(name, 0, 0), (name, 0, 0)], [(1, 1, 0, 100, cpu_ms), (2, 2, 0, 100, cpu_ms)], **more)


def test_the_code_outside_of_forks_runs_alone() -> None:
    records = profiled([("f", 0, 60)], [(0, 0, 0, 60), (1, 1, 60, 100)], [(0, 1, 0, 60, 100)])
    assert only(records) == (  # 60 ms of one lane, then 40 of the other
        "50 % of the lanes' time: Only the code outside of forks ran for 60 ms of 100 ms: it forks too little. "
        "Fork what it calls, and wait only when all is forked."
    )


def test_forks_are_too_few() -> None:
    records = profiled([("f", 0, 0)] * 3, [(1, 1, 0, 40), (2, 2, 0, 40), (3, 1, 40, 80)], [(0, UNKNOWN, 0, 0, 80)])
    assert only(records) == (
        "25 % of the lanes' time: Lanes had nothing to do while others ran: 3 forks, too few, too unlike in length, or "
        "made too late. Fork more and smaller pieces, the longest first, and wait only when all are forked."
    )


def test_one_path_is_long() -> None:
    records = profiled(
        [("cell_b", 0, 0), ("cell_f", 0, 0), ("cell_b", 0, 40)],
        [(1, 1, 0, 40), (2, 2, 0, 20), (3, 1, 40, 80)],
        [(0, 1, 0, 0, 40), (0, 3, 0, 40, 80), (0, 2, 0, 80, 80)],
        duration_ns=100 * MS,
    )
    assert str(explain(records)[0]) == (
        "30 % of the lanes' time: One long path through `cell_b`, forked at cell_b.py:1 in (outside of forks), which "
        "takes 80 ms of 100 ms: any number of lanes makes the whole 1.25 × as fast at most. Cut `cell_b` into parts "
        "that can run side by side, or let its calls not wait for one another."
    )


def test_one_path_may_lead_through_what_is_awaited() -> None:
    records = profiled(
        [("g", 0, 0, FINISHED, True), ("f", 0, 0)],
        [(1, 0, 0, 1), (2, 1, 0, 50), (1, 0, 99, 100)],
        [(0, 2, 0, 0, 50), (0, 1, 0, 50, 100)],
        lanes=LOOP,
    )
    long, *_ = (cause for cause in explain(records) if cause.name == "long path")
    assert "One long path through `(awaiting)`, forked at g.py:1 in (outside of forks), which takes 98 ms" in long.text


def test_kernels_are_short() -> None:
    tasks = [("f", 0, number / 10) for number in range(100)]
    strands = [(1 + number, 1, number / 10 + 0.07, number / 10 + 0.1) for number in range(100)]
    assert str(explain(profiled(tasks, strands))[0]) == (
        "70 % of the lanes' time: Kernels of 30 µs, the median of 100: forking, queueing and waking threads for them "
        "takes the time. Fork fewer, larger pieces: several of these calls in one function."
    )


def test_kernels_wait_for_the_gil() -> None:
    assert only(pair("loop_py", 50, machine=machine(100, 0, 0))) == (
        "50 % of the lanes' time: `loop_py` lost 50 % of its time to the GIL: while one thread runs Python code, the "
        "others wait. Do the work of Python loops in few NumPy calls on large arrays, which let the GIL go."
    )


def test_the_code_outside_of_forks_waits_for_the_gil() -> None:
    records = profiled([("f", 0, 0)], [(0, 0, 0, 100, 20), (1, 1, 0, 100, 80)], machine=machine(100, 0, 0))
    assert str(explain(records)[0]).startswith("50 % of the lanes' time: The code outside of forks lost 80 % of its ")


def test_kernels_wait_for_the_gil_before_they_start() -> None:
    records = profiled([("f", 0, 0), ("g", 0, 0)], [(1, 1, 0, 100), (2, 2, 80, 100)], machine=machine(120, 0, 0))
    assert only(records).startswith(
        "40 % of the lanes' time: Lanes could not take up what was queued, for want of the GIL: while one thread runs "
    )


def test_a_loop_computes() -> None:
    records = profiled(
        [("glue", 0, 0, FINISHED, True), ("f", 1, 50)],
        [(1, 0, 0, 90), (2, 1, 50, 90, 10), (0, 0, 90, 100)],
        lanes=LOOP,
    )
    assert only(records) == (  # 60 ms beside free lanes, and 30 that f lost
        "45 % of the lanes' time: Glue on the loop: the event loop's thread ran for 100 ms of 100 ms, most of it in "
        "`glue`, and lanes waited. Move what computes there into functions that you fork; coroutines should only fork "
        "and await."
    )


def test_the_plain_code_of_a_loop_is_glue_too() -> None:
    records = profiled([("f", 0, 90)], [(0, 0, 0, 90), (1, 1, 90, 100)], lanes=LOOP)
    assert "most of it in the code outside of forks, and lanes waited" in only(records)


def test_other_threads_compute() -> None:
    lanes = (Lane("main", cpu_ns=0), Lane("lane 1", cpu_ns=50 * MS), Lane("lane 2", cpu_ns=50 * MS))
    assert only(pair("f", 50, lanes=lanes, machine=machine(200, 0, 0))) == (
        "50 % of the lanes' time: Threads that are not asyncjit's, as of BLAS or OpenMP, used 1.0 CPU beside the "
        "lanes: 2.0 CPUs in all, where there are 2. Leave blas_threads at 1; print(asyncjit.parallel_info()) tells how "
        "many threads each library has."
    )


def test_other_processes_compute() -> None:
    assert only(pair("f", 40, machine=machine(80, 120, 120))) == (
        "60 % of the lanes' time: Other processes used 1.2 CPUs of 2, and lanes waited. Stop them, or give this "
        "program CPUs of its own (taskset), and measure again."
    )


@pytest.mark.parametrize(
    ("others_ms", "text"),
    [
        (0, "Lanes waited for CPUs: other processes had them, or a limit on this one's CPU time kept it from them."),
        (59, "Lanes waited for CPUs: other processes had them, or a limit on this one's CPU time kept it from them."),
        (61, "Other processes used 0.6 CPUs of 2, and lanes waited."),
    ],
)
def test_lanes_wait_for_processors_longer_than_others_computed(others_ms: int, text: str) -> None:
    [cause] = explain(pair("f", 40, machine=machine(80, others_ms, 120)))
    assert cause.text == text


def test_lanes_are_more_than_processors() -> None:
    strands = [(number, number, 0, 100, 50) for number in (1, 2, 3, 4)]
    records = profiled([("f", 0, 0)] * 4, strands, num_lanes=4, machine=machine(200, 0, 200))
    assert only(records) == (
        "50 % of the lanes' time: More threads ran than there are CPUs: 4 lanes, and what computes beside them, on 2 "
        "CPUs. Set no more lanes than CPUs: asyncjit.set_num_interop_threads(2)."
    )


def test_kernels_sleep() -> None:
    assert only(pair("nap", 0)) == (
        "100 % of the lanes' time: `nap` spent 100 % of its time asleep or in I/O, on a lane that could compute. Await "
        "that in a coroutine, or have more lanes than CPUs."
    )


def test_the_program_awaits_something_else() -> None:
    records = profiled(
        [("f", 0, 0), ("f", 0, 0), ("f", 0, 80), ("f", 0, 80)],
        [(1, 1, 0, 20), (2, 2, 0, 20), (3, 1, 80, 100), (4, 2, 80, 100)],
        lanes=LOOP,
    )
    assert only(records) == (
        "60 % of the lanes' time: Nothing ran and nothing was queued for 60 ms of 100 ms: the program awaited "
        "something else, as I/O or a sleep. Fork, before such an await, what can go on meanwhile."
    )


def test_all_is_well() -> None:
    assert only(pair("f", 100, machine=machine(200, 0, 0))) == (
        "No cause stands out: 200 ms of work took 100 ms on 2 lanes, 2.00 × as fast as one after the other."
    )


def test_a_sentence_without_share_or_advice_is_its_text() -> None:
    assert str(Cause("All is well.")) == "All is well."
    assert str(Cause("One path.", 0.5, "Cut it.", "long path")) == "50 % of the lanes' time: One path. Cut it."
