"""Who waited for whom, and how long."""

from __future__ import annotations

import pytest

from asyncjit.profiler.notes import NOT_MEASURED, Notes, Unended
from asyncjit.profiler.records import UNKNOWN
from tests.profiler.noted import Recording, waits


def forks(num: int = 2) -> Recording:
    recording = Recording()
    for number in range(1, num + 1):
        recording.here.fork(number, number)
    return recording


@pytest.mark.parametrize(("is_async", "end_ns"), [(False, 30), (True, 32)], ids=["a thread", "a loop"])
def test_the_wait_of_a_fork_lies_between_its_strands(is_async: bool, end_ns: int) -> None:
    recording = forks()
    here = recording.here
    here.run(1, 10, 20)
    here.start(1, 30)
    here.waited(1, 32 if is_async else 29, target=2)
    here.stop(1, 40)
    here.end(1, "waiter", is_async=is_async)
    assert waits(recording.records()) == [(1, 2, 0, 20, end_ns)]


def test_a_wait_goes_on_where_the_fork_does() -> None:
    recording = forks()
    recording.here.run(1, 10, 20)
    recording.there.waited(1, 29, target=2)
    recording.there.run(1, 30, 40)
    assert waits(recording.records()) == [(1, 2, 1, 20, 30)]


def test_a_wait_for_what_is_no_fork_of_the_profile_names_no_target() -> None:
    recording = forks()
    recording.here.run(1, 10, 20)
    recording.here.waited(1, 29, target=77)
    recording.here.run(1, 30, 40)
    recording.here.wait_outside(50, 60)
    assert [row[:2] for row in waits(recording.records())] == [(1, UNKNOWN), (0, UNKNOWN)]


def test_waits_outside_of_forks_tell_both_their_ends() -> None:
    recording = forks()
    recording.here.wait_outside(10, 20, target=1)
    recording.there.wait_outside(12, 15, target=2)
    recording.here.wait_outside(30, None, target=2)
    assert waits(recording.records()) == [(0, 2, 1, 12, 15), (0, 1, 0, 10, 20), (0, 2, 0, 30, UNKNOWN)]


def test_of_two_that_wait_for_one_target_at_once_each_has_an_end() -> None:
    recording = forks(1)
    here = recording.here
    here.wait_outside(10, None, target=1)
    here.wait_outside(12, 20, target=1)
    here.track.mark((4, 1, 21, -1))
    assert [row[3:] for row in waits(recording.records())] == [(12, 20), (10, 21)]


@pytest.mark.parametrize("is_over", [False, True], ids=["while it records", "at its end"])
def test_a_fork_that_waits_at_the_end_has_a_wait_without_an_end(is_over: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = forks()
    unended = [Unended(1, recording.notes.name("waiter"), False, waits_for=2), Unended(2, 0, True, NOT_MEASURED)]
    monkeypatch.setattr(Notes, "_now_unended", lambda self: unended)
    recording.here.run(1, 10, 20)
    if is_over:
        recording.notes.end(100)
        unended = []
    records = recording.records()
    assert waits(records) == [(1, 2, 0, 20, UNKNOWN)]
    assert records.name_of(1) == "waiter"
    assert records.tasks["is_async"].tolist() == [0, 0, 1]
