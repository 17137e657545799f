"""Chrome traces: the JSON that Perfetto and chrome://tracing read.

Strands are complete events on their lane, a fork's lifetime is an async pair, flows lead from fork to run and from run
to wait, counters show what runs and what is queued. The first key is no event: it holds the records (`saved.py`).

Traps that this file knows, checked against Perfetto's own engine: ids of 0 are swallowed; slices of one lane must nest
(`slices.py`); lanes are sorted by name; a flow's id serves one pair only, and a flow without an enclosing slice is
dropped.

A million strands are a gigabyte of JSON: it is written in pieces, each made of columns by one format string.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.arrows import Arrows, arrows_of
from asyncjit.profiler.counters import counters_of
from asyncjit.profiler.records import OUTSIDE, STATES, UNKNOWN, Records, Table
from asyncjit.profiler.saved import packed
from asyncjit.profiler.slices import slices_of

PIECE = 1 << 15  #: rows that are formatted at once: some 5 MB of text
LEVEL = 3  #: of gzip; measured with 100,000 strands: 9.9 MB in 1.6 s (1: 10.5 in 1.6, 6: 8.7 in 2.1, with a fast zlib)


def write_trace(path: str | os.PathLike[str], records: Records) -> None:
    """Write a trace; a file that is there is overwritten, and stays as it is if the writing fails.

    Parameters
    ----------
    path : str or path
        Ends in `.json`, or in `.json.gz` for a compressed file.
    records : Records
        What to write.

    Raises
    ------
    ValueError
        If the name ends in neither.
    OSError
        If the file can't be written.
    """
    target = Path(path).resolve()
    if not target.name.endswith((".json", ".json.gz")):
        raise ValueError(f"a trace's name ends in .json or .json.gz, got {os.fspath(path)!r}")
    partial = target.with_name(f".{os.getpid()}-{threading.get_ident()}.trace")
    try:
        with partial.open("wb") as raw:
            with gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) if target.suffix == ".gz" else nullcontext(raw) as file:
                for text in _texts(records):
                    file.write(text.encode("ascii"))
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _texts(records: Records) -> Iterator[str]:
    """Yield the file, piece by piece."""
    arrows = arrows_of(records)
    yield f'{{"asyncjit":{packed(records)},\n"traceEvents":[\n'
    yield ",\n".join(_metadata(records))
    for events in (_slices(records, arrows), _lifetimes(records), _flows(arrows), _counters(records)):
        for lines in events:
            yield "".join([",\n" + line for line in lines])
    yield f'\n],"displayTimeUnit":"ms","otherData":{{"num_dropped":{records.num_dropped}}}}}\n'


# -- columns of text


def _lines(form: str, *columns: Iterable[Any]) -> list[str]:
    """Return one event, or what the form holds, for each row of the columns."""
    return list(map(form.__mod__, zip(*columns, strict=True)))


def _pieces(rows: Any) -> Iterator[Any]:
    for first in range(0, len(rows), PIECE):
        yield rows[first : first + PIECE]


def _micros(times_ns: Any) -> list[str]:
    """Return times in microseconds, to the nanosecond; a float's text would cost three times as much."""
    whole, rest = np.divmod(times_ns, 1000)
    return _lines("%d.%03d", whole.tolist(), rest.tolist())


def _picked(texts: Sequence[str], rows: Any) -> list[str]:
    return list(map(texts.__getitem__, rows.tolist()))


def _escaped(texts: Iterable[str]) -> list[str]:
    return list(map(json.dumps, texts))


# -- what stands on the lanes


def _metadata(records: Records) -> Iterator[str]:
    """Yield the names of the process and its lanes, and the whole block, which encloses what lane 0 does."""
    digits = max(2, len(str(len(records.lanes) - 1)))
    yield '{"ph":"M","name":"process_name","pid":1,"tid":1,"args":{"name":"asyncjit"}}'
    for number, lane in enumerate(records.lanes):
        name = json.dumps(f"{number:0{digits}d} {lane.name}")
        yield f'{{"ph":"M","name":"thread_name","pid":1,"tid":{number + 1},"args":{{"name":{name}}}}}'
    args = f'{{"num_lanes":{records.num_lanes},"num_dropped":{records.num_dropped}}}'
    dur = _micros(np.array([records.duration_ns]))[0]
    yield f'{{"ph":"X","cat":"profile","name":"profile","ts":0.000,"dur":{dur},"pid":1,"tid":1,"args":{args}}}'


def _slices(records: Records, arrows: Arrows) -> Iterator[list[str]]:
    """Yield strands and ranges as they open, and as they close where that is an event of its own."""
    strands, is_pair, slices, closes = slices_of(records, arrows)
    ranges = records.ranges
    names = _escaped(records.names)
    about = ["", *(f',"site":{site},"state":"{state}"' for site in _escaped(records.sites) for state in STATES)]
    for rows in _pieces(np.arange(len(slices))):
        number = slices[rows]
        lines = np.empty(len(number), object)
        is_strand, is_end = number < len(strands), closes[rows]
        strand_opens, range_opens = is_strand & ~is_end, ~is_strand & ~is_end
        opened = number[strand_opens]
        lines[strand_opens] = _strands(records, names, about, strands[opened], is_pair[opened])
        opened = number[range_opens]
        lines[range_opens] = _ranges(names, ranges[opened - len(strands)], is_pair[opened])
        lines[is_strand & is_end] = _ends(strands[number[is_strand & is_end]])
        lines[~is_strand & is_end] = _ends(ranges[number[~is_strand & is_end] - len(strands)])
        yield lines.tolist()


def _strands(
    records: Records, names: list[str], about: list[str], strands: Table, is_pair: NDArray[np.bool_]
) -> list[str]:
    """Return how strands open; `about` holds what is told of each site and state, after nothing for row 0."""
    form = '{"ph":%s,"cat":"%s","name":%s,"ts":%s,"pid":1,"tid":%d,"args":{"task":%d%s%s}}'
    number = strands["task"]
    tasks = records.tasks[number]
    is_fork = (number != OUTSIDE).astype(np.int64)
    site_and_state = tasks["site"].astype(np.int64) * len(STATES) + tasks["state"] + 1
    known = strands["cpu_ns"] != UNKNOWN
    cpu = np.full(len(strands), "", object)
    cpu[known] = [f',"cpu_us":{micros}' for micros in _micros(strands["cpu_ns"][known])]
    return _lines(
        form,
        _openings(strands, is_pair),
        _picked(("outside", "strand"), is_fork),
        _picked(names, tasks["name"]),
        _micros(strands["start_ns"]),
        (strands["lane"] + 1).tolist(),
        number.tolist(),
        _picked(about, is_fork * site_and_state),
        cpu.tolist(),
    )


def _ranges(names: list[str], ranges: Table, is_pair: NDArray[np.bool_]) -> list[str]:
    form = '{"ph":%s,"cat":"range","name":%s,"ts":%s,"pid":1,"tid":%d}'
    name, lane = _picked(names, ranges["name"]), (ranges["lane"] + 1).tolist()
    return _lines(form, _openings(ranges, is_pair), name, _micros(ranges["start_ns"]), lane)


def _ends(slices: Table) -> list[str]:
    return _lines('{"ph":"E","ts":%s,"pid":1,"tid":%d}', _micros(slices["end_ns"]), (slices["lane"] + 1).tolist())


def _openings(slices: Table, is_pair: NDArray[np.bool_]) -> list[str]:
    """Return how the events begin: those of a pair with their phase, complete ones with their duration too."""
    texts = np.full(len(slices), '"B"', object)
    lengths = (slices["end_ns"] - slices["start_ns"])[~is_pair]
    texts[~is_pair] = [f'"X","dur":{micros}' for micros in _micros(lengths)]
    found: list[str] = texts.tolist()
    return found


# -- forks, waits, counters


def _lifetimes(records: Records) -> Iterator[list[str]]:
    """Yield a pair for each fork that has ended, from its making on."""
    form = (
        '{"ph":"b","cat":"fork","id":"%s","name":%s,"ts":%s,"pid":1,"tid":%d,"args":{"site":%s}},\n'
        '{"ph":"e","cat":"fork","id":"%s","name":%s,"ts":%s,"pid":1,"tid":%d,"args":{"state":"%s"}}'
    )
    names, sites = _escaped(records.names), _escaped(records.sites)
    ended = np.flatnonzero(records.tasks["ended_ns"] != UNKNOWN)
    for rows in _pieces(ended[ended != OUTSIDE]):
        tasks = records.tasks[rows]
        key = (list(map(hex, rows.tolist())), _picked(names, tasks["name"]))
        lane = (tasks["lane"] + 1).tolist()
        site, state = _picked(sites, tasks["site"]), _picked(STATES, tasks["state"])
        yield _lines(form, *key, _micros(tasks["forked_ns"]), lane, site, *key, _micros(tasks["ended_ns"]), lane, state)


def _flows(arrows: Arrows) -> Iterator[list[str]]:
    form = (
        '{"ph":"s","cat":"flow","id":%d,"name":"%s","ts":%s,"pid":1,"tid":%d,"bp":"e"},\n'
        '{"ph":"f","cat":"flow","id":%d,"name":"%s","ts":%s,"pid":1,"tid":%d,"bp":"e"}'
    )
    for rows in _pieces(np.arange(len(arrows.number))):
        number, is_wait, from_ns, from_lane, to_ns, to_lane = (column[rows] for column in arrows)
        key = (number.tolist(), _picked(("fork", "wait"), is_wait.astype(np.int64)))
        begin, end = (_micros(from_ns), (from_lane + 1).tolist()), (_micros(to_ns), (to_lane + 1).tolist())
        yield _lines(form, *key, *begin, *key, *end)


def _counters(records: Records) -> Iterator[list[str]]:
    for name, (times_ns, values) in counters_of(records).items():
        form = f'{{"ph":"C","name":"{name}","ts":%s,"pid":1,"tid":1,"args":{{"{name}":%d}}}}'
        for rows in _pieces(np.arange(len(values))):
            yield _lines(form, _micros(times_ns[rows]), values[rows].tolist())
