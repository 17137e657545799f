"""What each task did, step by step: the program behind a profile, without the times at which it happened to run.

A task runs, forks, runs on, waits. What the records place in time becomes a list of such steps for each task, which the
span (critical.py) and the simulated schedules (simulation.py) go through again under other conditions. The dependences
are those that were seen: a fork begins after the step that forked it, and what follows a wait begins after the end of
its target, unless the wait was given up before. Some waits do not tell for what: leaving a group, `wait_all`, a gather
of asyncio's. Such a wait stands for the task's own forks that had ended by then and that it had not waited for before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import UNKNOWN, Records, Table

WAIT, START, FORK, END = range(4)  # what is noted; at equal times in this order
RUN, FORKS, WAITS, SLEEPS = range(4)  # what a task does

Ints = NDArray[np.int64]


class Program(NamedTuple):
    """The steps of all tasks in one list; those of task `i` are `first[i]` up to `first[i + 1]`.

    `kind` is RUN (`value`: nanoseconds), FORKS (which task), WAITS (for which task) or SLEEPS (nanoseconds in which a
    coroutine awaited what is not asyncjit's).
    """

    first: Ints
    kind: Ints
    value: Ints


def program_of(records: Records) -> Program:
    """Return what each task did."""
    return timed_program_of(records)[0]


def timed_program_of(records: Records) -> tuple[Program, Ints]:
    """Return what each task did, and when each of its steps began in the profile."""
    task, at_ns, kind, value = _events(records)
    order = np.lexsort((kind, at_ns, task))
    task, at_ns, kind, value = task[order], at_ns[order], kind[order], value[order]
    depth = np.cumsum((kind == START).astype(np.int64) - (kind == END))  # 0 again where another task begins
    is_last = np.ones(len(task), bool)
    is_last[:-1] = task[1:] != task[:-1]
    lasts = np.zeros(len(task), np.int64)
    lasts[:-1] = np.where(is_last[:-1], 0, at_ns[1:] - at_ns[:-1])
    runs = depth > 0
    waits = kind == WAIT
    sleeps = np.zeros(len(task), bool)  # from a strand's end to the next one's start, with no wait between
    sleeps[:-1] = (kind[:-1] == END) & (kind[1:] == START) & ~runs[:-1]
    sleeps &= (records.tasks["is_async"][task] == 1) & ~_is_waiting(records, task, at_ns, waits)
    # Each note becomes up to two steps: itself, and what follows until the next.
    kept = np.empty(2 * len(task), bool)
    kept[0::2] = waits | (kind == FORK)
    kept[1::2] = (runs | sleeps) & (lasts > 0)
    places = np.flatnonzero(kept)
    notes, follows = places >> 1, (places & 1).astype(bool)
    steps_kind = np.where(follows, np.where(runs, RUN, SLEEPS)[notes], np.where(waits, WAITS, FORKS)[notes])
    first = np.searchsorted(task[notes], np.arange(len(records.tasks) + 1))
    return Program(first, steps_kind, np.where(follows, lasts[notes], value[notes])), at_ns[notes]


def _events(records: Records) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the task, time, kind and value of all that is noted."""
    strands, tasks = records.strands, records.tasks
    waits = records.waits[records.waits["end_ns"] != UNKNOWN]
    known = waits[waits["target"] != UNKNOWN]
    known = known[_has_ended(records, known)]
    joins_task, joins_ns, joins_target = _joins(tasks, waits)
    forks = np.arange(1, len(tasks))
    parts: list[tuple[Ints, Ints, int, Ints]] = [
        (strands["task"], strands["start_ns"], START, np.zeros(len(strands), np.int64)),
        (strands["task"], strands["end_ns"], END, np.zeros(len(strands), np.int64)),
        (tasks["parent"][1:], tasks["forked_ns"][1:], FORK, forks),
        (known["task"], known["end_ns"], WAIT, known["target"]),
        (joins_task, joins_ns, WAIT, joins_target),
    ]
    return (
        np.concatenate([part[0] for part in parts]).astype(np.int64),
        np.concatenate([part[1] for part in parts]).astype(np.int64),
        np.concatenate([np.full(len(part[0]), part[2]) for part in parts]),
        np.concatenate([part[3] for part in parts]).astype(np.int64),
    )


def _is_waiting(records: Records, task: Ints, at_ns: Ints, ends_wait: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return at which of the notes a wait that is a step of its task has begun and is not over.

    A coroutine that goes on is noted to run a moment before its wait is noted to be over.
    """
    length = records.duration_ns + 1  # tasks one after another on one axis
    notes, waits = task * length + at_ns, records.waits
    is_step = np.isin(waits["task"].astype(np.int64) * length + waits["end_ns"], notes[ends_wait])
    begun, over = (
        np.sort(waits["task"][is_step].astype(np.int64) * length + waits[field][is_step])
        for field in ("start_ns", "end_ns")
    )
    return np.asarray(np.searchsorted(begun, notes, side="right") > np.searchsorted(over, notes, side="right"))


def _has_ended(records: Records, waits: Table) -> NDArray[np.bool_]:
    """Return which waits outlasted the strands of their target; the others were given up, or it was cancelled.

    The end that is noted for the target itself is no help: another thread may note a moment earlier that it goes on.
    """
    last_ns = np.zeros(len(records.tasks), np.int64)
    np.maximum.at(last_ns, records.strands["task"], records.strands["end_ns"])
    ended = records.tasks["ended_ns"] != UNKNOWN
    return np.asarray(ended[waits["target"]] & (last_ns[waits["target"]] <= waits["end_ns"]))


def _joins(tasks: Table, waits: Table) -> tuple[Ints, Ints, Ints]:
    """Return what the waits that name no target stand for: which task waited, until when, for which fork of its own."""
    unnamed = waits[waits["target"] == UNKNOWN]
    ended = np.flatnonzero(tasks["ended_ns"] != UNKNOWN)
    ended = ended[ended > 0]
    waiter = np.concatenate((tasks["parent"][ended], unnamed["task"])).astype(np.int64)
    at_ns = np.concatenate((tasks["ended_ns"][ended], unnamed["end_ns"])).astype(np.int64)
    is_wait = np.arange(len(waiter)) >= len(ended)
    order = np.lexsort((is_wait, at_ns, waiter))
    places = np.where(is_wait[order], np.arange(len(order)), len(order))
    following = np.minimum.accumulate(places[::-1])[::-1] if len(order) else places
    forks = np.flatnonzero(~is_wait[order] & (following < len(order)))
    joins = following[forks]
    found = waiter[order][forks] == waiter[order][joins]
    forks, joins = forks[found], joins[found]
    return waiter[order][joins], at_ns[order][joins], ended[order[forks]]
