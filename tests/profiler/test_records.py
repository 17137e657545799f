"""The records: plain values that nothing changes afterwards."""

import dataclasses
import pickle

import pytest

from asyncjit.profiler import Strand, Task, Wait
from tests.profiler.handmade import handmade

RECORDS = [
    Strand("a", 0, 1, 2, fork=None),
    Task(1, "a", "forked at a.py:1 in f", None, lane=0, forked_ns=1, started_ns=2, ended_ns=None, state="unfinished"),
    Wait(task=None, fork=1, lane=0, start_ns=1, end_ns=3),
]
records = pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)


@records
def test_a_record_is_a_value(record: Strand | Task | Wait) -> None:
    assert pickle.loads(pickle.dumps(record)) == record
    assert len({record, dataclasses.replace(record)}) == 1


@records
def test_a_record_is_not_changed(record: Strand | Task | Wait) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'lane'"):
        record.lane = 5  # type: ignore[misc]


def test_a_task_is_named_by_its_row() -> None:
    tables = handmade([("a", 0, 1), ("b", 1, 2)], [(1, 1, 2, 5), (2, 1, 5, 9)])
    assert [tables.name_of(task) for task in range(3)] == ["(outside of forks)", "a", "b"]
    assert [tables.site_of(task) for task in range(3)] == ["", *(f"forked at {x}.py:1 in {y}" for x, y in NAMED)]


NAMED = [("a", "(outside of forks)"), ("b", "a")]
