"""A profile's records in a trace file: packed into its first line, and read back from there.

The events of a trace are for a timeline's eyes; making records of them again would lose what no event tells. So the
first key of the file holds the tables themselves. It stands on a line of its own, so reading takes one line, however
many events follow. A column is packed as the differences of its numbers, zigzag coded (small ones of either sign become
small ones), byte by byte (the high bytes, nearly all zero, stand together), then zlib and base64: some ten bytes a
strand instead of eighty.

A file may come from anywhere, so nothing in it is believed: what is read is bounded, and each number that computing
functions use as an index or a time is checked. All that is wrong with a file is a ValueError.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, fields
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import (
    BURST,
    OUTSIDE,
    RANGE,
    STATES,
    STRAND,
    TASK,
    UNKNOWN,
    WAIT,
    Lane,
    Machine,
    Records,
    Table,
)

T = TypeVar("T")

VERSION = 1  #: of the first line's form
START = b'{"asyncjit":'
LIMIT_BYTES = 1 << 30  #: of the first line, and of the tables unpacked; chosen: 7 million strands, with fork and wait
MAX_NS = 1 << 53  #: 104 days; a float still holds each nanosecond, and sums of times fit their integers
MAX_THREADS = 1 << 16  #: chosen: beyond any machine, and small enough to loop over
TABLES = {"strands": STRAND, "tasks": TASK, "waits": WAIT, "ranges": RANGE, "bursts": BURST}
NUMBERS = ("duration_ns", "num_lanes", "num_dropped", "turn_ns")
TEXTS = ("names", "sites", "shapes")


def packed(records: Records) -> str:
    """Return the records as JSON in ASCII, without a line break."""
    head: dict[str, Any] = {"version": VERSION}
    head |= {key: int(getattr(records, key)) for key in NUMBERS}
    head |= {key: getattr(records, key) for key in TEXTS}
    head["lanes"] = [asdict(lane) for lane in records.lanes]
    head["machine"] = asdict(records.machine)
    for key, dtype in TABLES.items():
        table = getattr(records, key)
        columns = {name: _pack(table[name].astype(np.int64)) for name in dtype.names or ()}
        head[key] = {"rows": len(table), "columns": columns}
    return json.dumps(head, allow_nan=False, separators=(",", ":"))


def read_trace(path: str | os.PathLike[str]) -> Records:
    """Read the records of a profile from the trace that it exported.

    Parameters
    ----------
    path : str or path
        A file of `export_chrome_trace`, compressed or not, whatever its name. Only its first line is read.

    Returns
    -------
    Records
        Equal to those that were exported.

    Raises
    ------
    OSError
        If the file can't be read.
    ValueError
        If it is empty, damaged, longer than is safe to read, of a newer asyncjit, or no trace of asyncjit's.
    """
    line = _first_line(Path(path))
    try:
        return _records(json.loads(line.decode("ascii"))["asyncjit"])
    except _OtherVersion as error:
        raise ValueError(f"the trace {os.fspath(path)!r} {error}") from None
    except (ValueError, RecursionError, zlib.error) as error:
        raise ValueError(f"the trace {os.fspath(path)!r} is damaged ({error}): export the profile again") from error


class _OtherVersion(ValueError):
    """The file is of a newer form than its reader."""


# -- the line


def _first_line(path: Path) -> bytes:
    """Return the JSON object that the first line of a trace begins."""
    with path.open("rb") as raw:
        try:
            if raw.peek(2)[:2] == b"\x1f\x8b":  # gzip (RFC 1952, 2.3.1)
                with gzip.GzipFile(fileobj=raw) as file:
                    return _line(file, path)
            return _line(raw, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"the trace {str(path)!r} is damaged ({error}): export the profile again") from error


def _line(file: BufferedReader | gzip.GzipFile, path: Path) -> bytes:
    start = file.read(len(START))
    if not start:
        raise ValueError(f"the trace {str(path)!r} is empty: export the profile again")
    if start != START and not START.startswith(start):
        what = "was not written by asyncjit" if start.lstrip()[:1] in (b"{", b"[") else "is not JSON"
        raise ValueError(
            f"the trace {str(path)!r} {what}: it takes the file of a profile as exported, "
            "`with asyncjit.profiler.profile() as prof: ...`, then `prof.export_chrome_trace(path)`"
        )
    rest = file.readline(LIMIT_BYTES)
    if len(rest) == LIMIT_BYTES:
        raise ValueError(f"the trace {str(path)!r} begins with more than {LIMIT_BYTES} bytes of records: record less")
    if not rest.endswith(b",\n"):
        raise ValueError(f"the trace {str(path)!r} is cut off within its records: export the profile again")
    return start + rest[:-2] + b"}"


# -- the records


def _records(head: Any) -> Records:
    version = _get(head, "version", int)
    if version > VERSION:
        raise _OtherVersion(
            f"is of a newer asyncjit (its form is {version}, this one reads {VERSION}): upgrade asyncjit"
        )
    if version < 1:
        raise ValueError(f"version is {version}")
    rows = {key: _get(_get(head, key, dict), "rows", int) for key in TABLES}
    size = sum(8 * len(dtype.names or ()) * rows[key] for key, dtype in TABLES.items())
    if min(rows.values()) < 0 or size > LIMIT_BYTES:
        raise ValueError(f"tables of {rows} rows, where {LIMIT_BYTES} bytes are the most")
    values: dict[str, Any] = {key: _texts(_get(head, key, list), key) for key in TEXTS}
    values |= {key: _get(head, key, int) for key in NUMBERS}
    values["lanes"] = tuple(_made(Lane, lane) for lane in _get(head, "lanes", list))
    values["machine"] = _made(Machine, _get(head, "machine", dict))
    for key, dtype in TABLES.items():
        values[key] = _table(_get(head[key], "columns", dict), dtype, rows[key], key)
    records = Records(**values)
    _check_numbers(records)
    _check_tables(records)
    return records


def _get(mapping: Any, key: str, kind: type[T]) -> T:
    """Return a value of exactly this type: a bool is no int."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    if type(value) is not kind:
        raise ValueError(f"{key} is no {kind.__name__}")
    return value


def _made(cls: Callable[..., T], values: Any) -> T:
    """Return a `Lane` or `Machine` of its values."""
    kinds: dict[str, type] = {"int": int, "bool": bool, "str": str}
    return cls(**{field.name: _get(values, field.name, kinds[str(field.type)]) for field in fields(cls)})  # type: ignore[arg-type]


def _texts(values: list[Any], key: str) -> tuple[str, ...]:
    if not all(type(value) is str for value in values):
        raise ValueError(f"{key} are not all texts")
    return tuple(values)


# -- columns


def _pack(values: NDArray[np.int64]) -> str:
    steps = np.diff(values, prepend=np.int64(0))
    zigzag = (steps << 1) ^ (steps >> 63)
    planes = zigzag.astype("<i8").view(np.uint8).reshape(-1, 8).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 1)).decode("ascii")


def _unpack(text: str, rows: int) -> NDArray[np.int64]:
    stream = zlib.decompressobj()
    data = stream.decompress(base64.b64decode(text, validate=True), 8 * rows + 1)
    if len(data) != 8 * rows or not stream.eof or stream.unused_data:
        raise ValueError(f"a column has not its {rows} rows")
    zigzag = np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(8, rows).T).view("<u8").ravel()
    steps = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    return np.cumsum(steps, dtype=np.int64)


def _table(columns: dict[str, Any], dtype: np.dtype[np.void], rows: int, key: str) -> Table:
    table = np.empty(rows, dtype)
    for name in dtype.names or ():
        values = _unpack(_get(columns, name, str), rows)
        limits = np.iinfo(dtype[name])
        _check(values, limits.min, limits.max, f"{key}.{name}")
        table[name] = values
    return table


# -- what computing functions rely on


def _check(values: Any, low: int, high: int, what: str) -> None:
    """Refuse numbers that are not all from `low` to `high`, both included."""
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        raise ValueError(f"{what} has {values[wrong[0]]} in row {wrong[0]}, which is not in {low}…{high}")


def _check_that(holds: NDArray[np.bool_], what: str) -> None:
    if not holds.all():
        raise ValueError(f"{what}, but not in row {int(np.argmin(holds))}")


def _check_numbers(records: Records) -> None:
    machine = records.machine
    for what, value, low, high in (
        ("the number of lanes", len(records.lanes), 1, MAX_THREADS),
        ("num_lanes", records.num_lanes, 0, MAX_THREADS),
        ("num_cpus", machine.num_cpus, 1, MAX_THREADS),
        ("num_dropped", records.num_dropped, 0, MAX_NS),
        ("duration_ns", records.duration_ns, 0, MAX_NS),
        ("turn_ns", records.turn_ns, UNKNOWN, MAX_NS),
        ("process_cpu_ns", machine.process_cpu_ns, UNKNOWN, MAX_NS),
        ("others_cpu_ns", machine.others_cpu_ns, UNKNOWN, MAX_NS),
        ("core_wait_ns", machine.core_wait_ns, UNKNOWN, MAX_NS),
        ("the number of tasks", len(records.tasks), 1, LIMIT_BYTES),
        *(("cpu_ns", lane.cpu_ns, UNKNOWN, MAX_NS) for lane in records.lanes),
    ):
        if not low <= value <= high:
            raise ValueError(f"{what} is {value}, which is not in {low}…{high}")


def _check_tables(records: Records) -> None:
    strands, tasks, waits, ranges = records.strands, records.tasks, records.waits, records.ranges
    for key in ("strands", "tasks", "waits", "ranges"):
        table = getattr(records, key)
        _check(table["lane"], 0, len(records.lanes) - 1, f"{key}.lane")
        if key != "tasks":
            _check(table["task"], 0, len(tasks) - 1, f"{key}.task")
            _check(table["start_ns"], 0, MAX_NS, f"{key}.start_ns")
            over = table["end_ns"] != UNKNOWN if key == "waits" else np.ones(len(table), bool)
            _check(table["end_ns"][over], 0, MAX_NS, f"{key}.end_ns")
            _check_that(~over | (table["end_ns"] >= table["start_ns"]), f"{key} end after they start")
    _check(tasks["name"], 0, len(records.names) - 1, "tasks.name")
    _check(tasks["site"], 0, len(records.sites) - 1, "tasks.site")
    _check(tasks["shapes"], UNKNOWN, len(records.shapes) - 1, "tasks.shapes")
    _check(tasks["parent"][:1], UNKNOWN, OUTSIDE, "the first of tasks.parent")
    _check_that((tasks["parent"] >= 0)[1:] & (tasks["parent"] < np.arange(len(tasks)))[1:], "parents come first")
    _check(tasks["state"], 0, len(STATES) - 1, "tasks.state")
    _check(tasks["is_async"], 0, 1, "tasks.is_async")
    _check(tasks["forked_ns"], 0, MAX_NS, "tasks.forked_ns")
    _check(tasks["ended_ns"], UNKNOWN, MAX_NS, "tasks.ended_ns")
    _check_that((tasks["ended_ns"] == UNKNOWN) | (tasks["ended_ns"] >= tasks["forked_ns"]), "tasks end after they fork")
    _check(strands["cpu_ns"], UNKNOWN, MAX_NS, "strands.cpu_ns")
    _check(waits["target"], UNKNOWN, len(tasks) - 1, "waits.target")
    _check(ranges["name"], 0, len(records.names) - 1, "ranges.name")
    for name in records.bursts.dtype.names or ():
        _check(records.bursts[name], 0, MAX_NS, f"bursts.{name}")
    at_ns = np.column_stack((records.bursts["start_ns"], records.bursts["end_ns"])).ravel()
    _check_that(np.diff(at_ns) >= 0, "bursts come one after the other")
    for key, table in (("strands", strands), ("ranges", ranges)):
        lane, start_ns = table["lane"], table["start_ns"]
        in_order = (lane[1:] > lane[:-1]) | ((lane[1:] == lane[:-1]) & (start_ns[1:] >= start_ns[:-1]))
        _check_that(in_order, f"{key} are by lane and start")
