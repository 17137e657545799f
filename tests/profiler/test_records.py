"""The records: plain values that nothing changes afterwards."""

import dataclasses
import pickle

import pytest

from asyncjit.profiler import Strand, Task, Wait

RECORDS = [
    Strand("a", 0, 1, 2, fork=None),
    Task(1, "a", "forked at a.py:1 in f", parent=None, lane=0, forked_ns=1, ended_ns=None, state="unfinished"),
    Wait(fork=1, lane=0, at_ns=3),
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
