"""What the processors did: the difference of two readings of counters."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncjit.cpus import usable_cpus
from asyncjit.profiler.machine import Meter
from asyncjit.profiler.records import UNKNOWN, Machine

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 10_000_000


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process use CPUs 1 and 3 of the table."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 1_000_000_000 // TICK_NS, raising=False)


def stat(*, cpu1: str, cpu3: str) -> str:
    """Return a table as of proc_stat(5), in which CPUs 0 and 2 work without end."""
    busy = " ".join(["9" * len(cpu1)] * 10)
    return f"cpu  {busy}\ncpu0 {busy}\ncpu1 {cpu1}\ncpu2 {busy}\ncpu3 {cpu3}\nintr 5 6 7\nctxt 8\n"


#                     user nice system idle iowait irq softirq steal guest guest_nice
BEFORE = stat(cpu1="10 20 30 40 50 60 70 80 90 100", cpu3="0 0 0 0 0 0 0 0 0 0")
AFTER = stat(cpu1="11 22 34 1040 1050 68 86 112 190 200", cpu3="64 0 0 500 0 0 0 0 64 0")
BUSY_TICKS = (1 + 2 + 4 + 8 + 16 + 32) + 64


def measured(path: Path, before: str, after: str, process_cpu_ns: Iterator[int]) -> Machine:
    """Return what a meter says of an interval from one table to another."""
    meter = Meter(path, path.parent / "no threads", process_clock=process_cpu_ns.__next__)
    path.write_text(before)
    meter.start()
    path.write_text(after)
    meter.stop()
    return meter.machine()


def test_the_others_time_is_the_busy_time_of_the_usable_cpus_without_the_process(tmp_path: Path) -> None:
    machine = measured(tmp_path / "stat", BEFORE, AFTER, iter([5, 5 + 27 * TICK_NS]))
    assert machine == Machine(usable_cpus().count, 27 * TICK_NS, (BUSY_TICKS - 27) * TICK_NS)


def test_the_others_time_is_never_below_0(tmp_path: Path) -> None:
    machine = measured(tmp_path / "stat", BEFORE, BEFORE, iter([0, 3 * TICK_NS]))
    assert (machine.process_cpu_ns, machine.others_cpu_ns) == (3 * TICK_NS, 0)


def test_a_cpu_that_came_or_went_does_not_count(tmp_path: Path) -> None:
    after = AFTER.replace("cpu3", "cpu4")
    assert measured(tmp_path / "stat", BEFORE, after, iter([0, 0])).others_cpu_ns == (BUSY_TICKS - 64) * TICK_NS


@pytest.mark.parametrize(
    "text", ["", "cpu\n", "cpu 1\ncpu1 1 2\n", "cpu\ncpu1 a b c d e f g h\n", "\n\n", "cpu\nintr 1\n"]
)
def test_a_table_that_cannot_be_read_leaves_the_others_time_unknown(tmp_path: Path, text: str) -> None:
    assert measured(tmp_path / "stat", text, text, iter([0, 7])) == Machine(usable_cpus().count, 7, UNKNOWN)


def test_without_a_table_the_others_time_is_unknown(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "none", tmp_path / "none", process_clock=iter([1, 4]).__next__)
    meter.start()
    meter.stop()
    assert meter.machine() == Machine(usable_cpus().count, 3, UNKNOWN)


def test_without_affinity_the_others_time_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert measured(tmp_path / "stat", BEFORE, AFTER, iter([0, 7])).others_cpu_ns == UNKNOWN


def test_the_interval_ends_at_the_first_stop_and_begins_anew_at_a_start(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "none", tmp_path / "none", process_clock=iter([1, 4, 10, 15]).__next__)
    meter.start()
    meter.stop()
    meter.stop()
    assert meter.machine().process_cpu_ns == 3
    meter.start()
    meter.stop()
    assert meter.machine().process_cpu_ns == 5


def test_a_meter_that_is_not_stopped_tells_of_the_time_up_to_now(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "none", tmp_path / "none", process_clock=iter([1, 4, 9]).__next__)
    meter.start()
    assert [meter.machine().process_cpu_ns for _ in range(2)] == [3, 8]


def test_a_meter_that_never_started_knows_only_the_cpus() -> None:
    meter = Meter()
    meter.stop()
    assert meter.machine() == Machine(usable_cpus().count)


def threads(path: Path, **schedstats: str) -> Path:
    """Write a folder of threads."""
    for thread, text in schedstats.items():
        (path / thread).mkdir(parents=True, exist_ok=True)
        (path / thread / "schedstat").write_text(text)
    return path


def test_the_wait_for_a_cpu_is_that_of_all_threads_added_up(tmp_path: Path) -> None:
    folder = threads(tmp_path / "task", old="100 7 1\n", gone="50 9 1\n")
    meter = Meter(tmp_path / "none", folder, process_clock=iter([0, 1000]).__next__)
    meter.start()
    shutil.rmtree(folder / "gone")
    threads(folder, old="600 17 3\n", new="400 5 2\n")
    meter.stop()
    assert meter.machine().core_wait_ns == 10 + 5


def test_the_wait_for_a_cpu_is_unknown_if_threads_that_computed_are_gone(tmp_path: Path) -> None:
    folder = threads(tmp_path / "task", old="100 7 1\n")
    meter = Meter(tmp_path / "none", folder, process_clock=iter([0, 1000]).__next__)
    meter.start()
    threads(folder, old="999 17 3\n")  # 899 of 1000
    meter.stop()
    assert meter.machine().core_wait_ns == UNKNOWN


@pytest.mark.parametrize("text", ["", "1 2\n", "a b c\n"])
def test_counts_of_threads_that_cannot_be_read_leave_the_wait_unknown(tmp_path: Path, text: str) -> None:
    folder = threads(tmp_path / "task", one=text, other="1 2 3\n")
    meter = Meter(tmp_path / "none", folder, process_clock=iter([0, 1]).__next__)
    meter.start()
    meter.stop()
    assert meter.machine().core_wait_ns == UNKNOWN


def test_this_systems_own_counters_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if not Path("/proc/stat").exists():
        pytest.skip("this system has no /proc/stat")
    meter = Meter()
    meter.start()
    meter.stop()
    assert meter.machine().process_cpu_ns > 0
    assert meter.machine().others_cpu_ns >= 0
    if Path("/proc/self/schedstat").exists():
        assert meter.machine().core_wait_ns >= 0
