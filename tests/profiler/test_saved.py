"""Records in a trace file: the same when read back, and a clear error for whatever else is found."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncjit.profiler import saved
from asyncjit.profiler.chrome import write_trace
from asyncjit.profiler.records import BURST, OUTSIDE, STRAND, TASK, UNFINISHED, UNKNOWN, Lane, Machine, Records
from asyncjit.profiler.saved import packed, read_trace
from tests.profiler.generated import random_records
from tests.profiler.handmade import handmade

ONE_FILE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_same(found: Records, expected: Records) -> None:
    for each in fields(Records):
        ours, theirs = getattr(found, each.name), getattr(expected, each.name)
        assert type(ours) is type(theirs)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            assert ours.tolist() == theirs.tolist()
        else:
            assert ours == theirs


def example() -> Records:
    """Return one of everything, with the greatest and least numbers there are."""
    records = handmade(
        [('"a"\n\ud800', OUTSIDE, 10), ("ü", 1, 20, UNFINISHED, True)],
        [(OUTSIDE, 0, 0, 15), (1, 1, 30, 50, UNKNOWN), (2, 0, 40, saved.MAX_NS)],
        [(OUTSIDE, 1, 0, 15, 60), (OUTSIDE, UNKNOWN, 0, 70, UNKNOWN)],
        ranges=[("block", 1, 1, 35, 45)],
        lanes=[Lane("main", is_loop=True, cpu_ns=123), Lane("lane 1")],
        machine=Machine(num_cpus=4, process_cpu_ns=5, others_cpu_ns=6, core_wait_ns=8),
        num_dropped=7,
    )
    records.tasks["shapes"][1] = 0
    return replace(records, shapes=("[3, 4]",))


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Records]:
    """Read what a file holds."""

    def read_back(data: bytes) -> Records:
        path = tmp_path / "some.json"
        path.write_bytes(data)
        return read_trace(path)

    return read_back


Read = Callable[[bytes], Records]


def file_of(records: Records) -> bytes:
    return f'{{"asyncjit":{packed(records)},\n"traceEvents":[]}}'.encode()


def head_of(records: Records) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(packed(records))
    return found


def file_with(head: Any) -> bytes:
    return b'{"asyncjit":' + json.dumps(head).encode() + b',\n"traceEvents":[]}'


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
@pytest.mark.parametrize("records", [example(), handmade([], [])], ids=["one of everything", "nothing"])
def test_a_trace_gives_back_the_records_that_it_was_written_from(name: str, records: Records, tmp_path: Path) -> None:
    write_trace(tmp_path / name, records)
    check_same(read_trace(tmp_path / name), records)
    check_same(read_trace(str(tmp_path / name)), records)


@ONE_FILE
@given(seed=st.integers(0, 10**6))
def test_random_records_come_back_as_they_were(read: Read, seed: int) -> None:
    records = random_records(seed, num_tasks=30)
    check_same(read(file_of(records)), records)


def test_only_the_first_line_is_read(read: Read) -> None:
    data = file_of(example())
    line = data[: data.index(b"\n") + 1]
    check_same(read(line + b"no JSON at all"), example())
    compressed = gzip.compress(line + bytes(1 << 20))
    check_same(read(compressed[:-100]), example())


def test_a_column_of_any_numbers_takes_few_bytes_and_is_exact() -> None:
    info = np.iinfo(np.int64)
    for values in ([], [info.min, info.max, 0, -1, info.min], list(range(0, 100_000, 7))):
        column = np.array(values, np.int64)
        text = saved._pack(column)
        assert saved._unpack(text, len(column)).tolist() == values
        assert len(text) < 1000


# -- errors


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        read_trace(tmp_path / "nowhere.json")


WHOLE = file_of(example())
TORCH = b'{\n  "schemaVersion": 1,\n  "traceEvents": []}'
HOW = r"with asyncjit.profiler.profile\(\) as prof: ...`, then `prof.export_chrome_trace\(path\)`"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "some.json' is empty: export the profile again"),
        (gzip.compress(b""), "is empty"),
        (WHOLE[:5], "is cut off within its records"),
        (WHOLE[:300], "is cut off within its records: export the profile again"),
        (gzip.compress(WHOLE[:300]), "is cut off within its records"),
        (gzip.compress(WHOLE)[:200], "is damaged .Compressed file ended before.*: export the profile again"),
        (b"\x1f\x8b and no more of gzip", "is damaged .*: export the profile again"),
        (TORCH, f"was not written by asyncjit: it takes .*{HOW}"),
        (gzip.compress(TORCH), "was not written by asyncjit"),
        (b'[{"ph":"X"}]', "was not written by asyncjit"),
        (json.dumps(json.loads(WHOLE), indent=1).encode(), "was not written by asyncjit"),
        (b"name,start\n1,2", f"is not JSON: .*{HOW}"),
        (bytes(1000), "is not JSON"),
        (b'{"asyncjit":' + b"[" * 100_000 + b",\n", "is damaged .*: export"),
        (b'{"asyncjit":{"version":1,},\n', "is damaged .*: export"),
        (b'{"asyncjit":{"version":\xff},\n', "is damaged .*: export"),
        (b'{"asyncjit":{"version":' + b"9" * 5000 + b"},\n", "is damaged .*: export"),
    ],
)
def test_what_is_no_trace_of_ours_is_told(read: Read, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(data)


def test_a_newer_form_asks_for_a_newer_asyncjit(read: Read) -> None:
    with pytest.raises(
        ValueError, match=r"some.json' is of a newer asyncjit \(its form is 2, .* 1\): upgrade asyncjit"
    ):
        read(file_with(head_of(example()) | {"version": 2}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0}, "version is 0"),
        ({"version": True}, "version is no int"),
        ({"num_lanes": None}, "num_lanes is no int"),
        ({"num_lanes": 10**9}, "num_lanes is 1000000000, which is not in"),
        ({"duration_ns": -1}, "duration_ns is -1, which is not in 0"),
        ({"names": "abc"}, "names is no list"),
        ({"names": ["a", 1]}, "names are not all texts"),
        ({"lanes": []}, "the number of lanes is 0"),
        ({"lanes": [[]]}, "name is no str"),
        ({"lanes": [{"name": "main", "is_loop": 1, "cpu_ns": 1}]}, "is_loop is no bool"),
        ({"machine": {"num_cpus": 0, "process_cpu_ns": 1, "others_cpu_ns": 1, "core_wait_ns": 1}}, "num_cpus is 0"),
        ({"strands": {"rows": 1}}, "columns is no dict"),
        ({"strands": {"rows": -1, "columns": {}}}, "tables of .* rows"),
        ({"strands": {"rows": 10**9, "columns": {}}}, r"tables of .* rows, where \d+ bytes are the most"),
        ({"strands": {"rows": 0, "columns": {}}}, "task is no str"),
        (
            {"tasks": {"rows": 0, "columns": dict.fromkeys(TASK.names or (), saved._pack(np.zeros(0, int)))}},
            "tasks",
        ),
    ],
)
def test_a_value_that_can_not_be_is_told(read: Read, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"is damaged .*{message}"):
        read(file_with(head_of(example()) | change))


def column(*values: int) -> str:
    return saved._pack(np.array(values, np.int64))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no base64!", "base64|Only base64"),
        (base64.b64encode(b"no zlib").decode(), "Error -3"),
        (column(0, 1), "a column has not its 3 rows"),
        (column(0, 1, 2, 0), "a column has not its 3 rows"),
        (base64.b64encode(zlib.compress(bytes(24))[:-1]).decode(), "a column has not its 3 rows"),
        (base64.b64encode(zlib.compress(bytes(24)) + b"more").decode(), "a column has not its 3 rows"),
        (column(0, 1, 2**31), "strands.task has 2147483648 in row 2, which is not in"),
    ],
)
def test_a_damaged_column_is_told(read: Read, text: str, message: str) -> None:
    head = head_of(example())
    head["strands"]["columns"]["task"] = text
    with pytest.raises(ValueError, match=f"is damaged .*({message})"):
        read(file_with(head))


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "message"),
    [
        ("strands", "task", 1, 3, "strands.task has 3 in row 1, which is not in 0…2"),
        ("strands", "task", 1, -1, "strands.task has -1"),
        ("strands", "lane", 2, 2, "strands.lane has 2"),
        ("strands", "lane", 0, 1, "strands are by lane and start, but not in row 0"),
        ("strands", "start_ns", 1, 16, "strands are by lane|strands end"),
        ("strands", "start_ns", 0, -1, "strands.start_ns has -1"),
        ("strands", "end_ns", 0, -1, "strands.end_ns has -1"),
        ("strands", "end_ns", 2, 29, "strands end after they start, but not in row 2"),
        ("strands", "end_ns", 0, saved.MAX_NS + 1, "strands.end_ns has"),
        ("strands", "cpu_ns", 0, -2, "strands.cpu_ns has -2"),
        ("tasks", "name", 1, 4, "tasks.name has 4"),
        ("tasks", "site", 1, 9, "tasks.site has 9"),
        ("tasks", "shapes", 1, 1, "tasks.shapes has 1"),
        ("tasks", "parent", 0, 1, "the first of tasks.parent has 1"),
        ("tasks", "parent", 1, 1, "parents come first, but not in row 0"),
        ("tasks", "parent", 2, -1, "parents come first, but not in row 1"),
        ("tasks", "lane", 2, 2, "tasks.lane has 2"),
        ("tasks", "state", 2, 4, "tasks.state has 4"),
        ("tasks", "is_async", 2, 2, "tasks.is_async has 2"),
        ("tasks", "forked_ns", 1, -1, "tasks.forked_ns has -1"),
        ("tasks", "forked_ns", 1, 51, "tasks end after they fork, but not in row 1"),
        ("waits", "task", 1, 3, "waits.task has 3"),
        ("waits", "target", 1, 3, "waits.target has 3"),
        ("waits", "end_ns", 0, 14, "waits end after they start, but not in row 0"),
        ("ranges", "name", 0, 4, "ranges.name has 4"),
        ("ranges", "end_ns", 0, 34, "ranges end after they start"),
    ],
)
def test_tables_that_contradict_themselves_are_told(
    read: Read, table: str, column: str, row: int, value: int, message: str
) -> None:
    records = example()
    if (table, column, row) == ("strands", "start_ns", 1):
        records.strands["start_ns"][0] = 17
    getattr(records, table)[column][row] = value
    with pytest.raises(ValueError, match=message):
        read(file_of(records))


def test_reading_is_bounded(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "LIMIT_BYTES", 100_000)
    check_same(read(WHOLE), example())
    with pytest.raises(ValueError, match="begins with more than 100000 bytes of records: record less"):
        read(gzip.compress(saved.START + bytes(200_000)))
    with pytest.raises(ValueError, match=r"tables of .* rows, where 100000 bytes are the most"):
        read(file_of(replace(example(), strands=np.zeros(3000, STRAND))))


def test_a_column_that_unpacks_to_more_than_its_rows_takes_no_memory(read: Read) -> None:
    head = head_of(example())
    head["strands"]["columns"]["task"] = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
    data = file_with(head)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a column has not its 3 rows"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# -- whatever a file holds

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def read_or_refuse(read: Read, data: bytes, tmp_path: Path) -> None:
    """What is read can be written again; what can't be read is a ValueError."""
    try:
        records = read(data)
    except ValueError as error:
        message = str(error)
    else:
        message = "some.json"
        write_trace(tmp_path / "again.json", records)
    assert "some.json" in message


@ONE_FILE
@given(data=st.data(), compressed=st.booleans())
def test_changed_bytes_are_read_or_refused(read: Read, tmp_path: Path, data: st.DataObject, compressed: bool) -> None:
    changed = bytearray(gzip.compress(WHOLE) if compressed else WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    read_or_refuse(read, bytes(changed), tmp_path)


@ONE_FILE
@given(data=st.data(), value=JSON)
def test_changed_values_are_read_or_refused(read: Read, tmp_path: Path, data: st.DataObject, value: Any) -> None:
    head: Any = {"head": head_of(example())}
    inside, key = head, "head"
    while isinstance(inside[key], dict | list) and inside[key] and data.draw(st.booleans()):
        inside = inside[key]
        key = data.draw(st.sampled_from(list(inside) if isinstance(inside, dict) else range(len(inside))))
    inside[key] = value
    read_or_refuse(read, file_with(head["head"]), tmp_path)


@ONE_FILE
@given(data=st.data(), seed=st.integers(0, 100), value=st.integers(-2, 20) | st.integers(-(2**31), 2**31 - 1))
def test_changed_numbers_are_read_or_refused(
    read: Read, tmp_path: Path, data: st.DataObject, seed: int, value: int
) -> None:
    records = random_records(seed)
    table = getattr(records, data.draw(st.sampled_from(list(saved.TABLES))))
    if len(table):
        table[data.draw(st.sampled_from(table.dtype.names))][data.draw(st.integers(0, len(table) - 1))] = value
    read_or_refuse(read, file_of(records), tmp_path)


def test_the_bursts_of_a_rival_come_back(tmp_path: Path) -> None:
    bursts = np.array([(0, 10, 3), (90, 100, 4)], BURST)
    records = replace(handmade([("a", 0, 1)], [(1, 1, 2, 5)]), bursts=bursts, turn_ns=10_000)
    write_trace(tmp_path / "trace.json", records)
    again = read_trace(tmp_path / "trace.json")
    assert again.bursts.tolist() == bursts.tolist()
    assert again.turn_ns == 10_000
    crossing = replace(records, bursts=bursts[::-1].copy())
    write_trace(tmp_path / "trace.json", crossing)
    with pytest.raises(ValueError, match="bursts come one after the other, but not in row 1"):
        read_trace(tmp_path / "trace.json")
