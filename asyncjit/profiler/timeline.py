"""From notes to records: which thread is which lane, which number which row, and what ran outside of forks."""

from __future__ import annotations

import numpy as np

from asyncjit._core import cell
from asyncjit._core.nodes import site_of
from asyncjit.profiler.lanes import cut
from asyncjit.profiler.notes import (
    CLOSED,
    NOT_MEASURED,
    OPENED,
    OUTSIDE_WAITED,
    OUTSIDE_WAITS,
    STARTED,
    STOPPED,
    Ints,
    Notes,
)
from asyncjit.profiler.outside import of_loop, of_script
from asyncjit.profiler.records import (
    CANCELLED,
    FAILED,
    FINISHED,
    OUTSIDE,
    TASK,
    UNKNOWN,
    Lane,
    Machine,
    Records,
    Table,
)
from asyncjit.profiler.rivalry import Rivalry
from asyncjit.profiler.tracks import Track, by_lane, rows_of
from asyncjit.profiler.waits import waits_of

STATES = np.zeros(5, np.int64)  # by the state of the fork's future
STATES[[cell.FINISHED, cell.FAILED, cell.CANCELLED]] = FINISHED, FAILED, CANCELLED


def records_of(
    notes: Notes, end_ns: int, *, num_lanes: int, machine: Machine, rivalry: Rivalry | None = None
) -> Records:
    """Return what the notes say; what is open at `end_ns` is shown up to there."""
    tracks, numbers = by_lane(notes, end_ns)
    duration_ns = end_ns - notes.start_ns
    strands, ranges = cut([_of_strands(track.marks) for track in tracks], duration_ns)
    tasks, sites = _tasks(notes, tracks, numbers)
    is_loop = [track.is_loop for track in tracks]
    for lane in np.unique(strands["lane"][tasks["is_async"][strands["task"]] == 1]).tolist():
        is_loop[lane] = True
    waits = waits_of(notes, tracks, numbers, strands, tasks)
    outside = _outside(tracks, waits, strands, duration_ns, is_loop=is_loop, is_on_loop=notes.is_on_loop)
    strands = np.concatenate((strands, *outside))
    strands = strands[np.lexsort((strands["end_ns"], strands["start_ns"], strands["lane"]))]
    tasks["is_async"][OUTSIDE] = notes.is_on_loop
    _end_with_last_strand(tasks, strands)
    return Records(
        strands=strands,
        tasks=tasks,
        waits=waits,
        ranges=ranges,
        names=tuple(notes.names),
        sites=sites,
        shapes=tuple(notes.shapes),
        lanes=_lanes(tracks, is_loop),
        duration_ns=duration_ns,
        num_lanes=num_lanes,
        num_dropped=notes.count_dropped(),
        machine=machine,
        **({} if rivalry is None else rivalry._asdict()),
    )


def _of_strands(marks: Ints) -> Ints:
    """Return the notes of strands and ranges."""
    of_forks = np.isin(marks[:, 0], (STARTED, STOPPED)) & (marks[:, 1] != OUTSIDE)
    return np.asarray(marks[of_forks | np.isin(marks[:, 0], (OPENED, CLOSED))], np.int64)


def _tasks(notes: Notes, tracks: list[Track], numbers: Ints) -> tuple[Table, tuple[str, ...]]:
    """Return a row for each fork, and one before for what is outside of them; and the sites."""
    tasks = np.zeros(len(numbers), TASK)
    tasks["shapes"] = tasks["ended_ns"] = UNKNOWN
    tasks["parent"][OUTSIDE] = UNKNOWN
    for lane, track in enumerate(tracks):
        rows, forked_ns, parents, _, _ = track.forks.T
        tasks["lane"][rows], tasks["forked_ns"][rows], tasks["parent"][rows] = lane, forked_ns, parents
        rows, ended_ns, names, states = track.ends.T
        tasks["name"][rows], tasks["ended_ns"][rows] = names, ended_ns
        tasks["state"][rows], tasks["is_async"][rows] = STATES[states >> 1], states & 1
    unended = notes.unended_forks()
    rows = rows_of(numbers, np.array([fork.number for fork in unended], np.int64))
    for row, fork in zip(rows.tolist(), unended, strict=True):
        if row and not tasks["state"][row]:
            tasks["name"][row], tasks["is_async"][row] = fork.name, fork.is_async
    shapes = notes.shapes_of
    tasks["shapes"][rows_of(numbers, np.array(list(shapes), np.int64))] = list(shapes.values())
    tasks["shapes"][OUTSIDE] = UNKNOWN
    return tasks, _set_sites(tasks, np.concatenate([track.forks[:, (0, 3, 4)] for track in tracks]), notes)


def _set_sites(tasks: Table, places: Ints, notes: Notes) -> tuple[str, ...]:
    """Set where the tasks were forked, and return the texts, in the order of the first fork of each."""
    places = places[np.argsort(places[:, 0])]
    _, first, which = np.unique(places[:, 1:], axis=0, return_index=True, return_inverse=True)
    texts = {"": 0}
    numbers = np.zeros(len(first), np.int64)
    for place in np.argsort(first).tolist():
        _, instruction, code = places[first[place]].tolist()
        numbers[place] = texts.setdefault(site_of(notes.code(code), instruction), len(texts))
    tasks["site"][places[:, 0]] = numbers[which.reshape(-1)]
    return tuple(texts)


def _end_with_last_strand(tasks: Table, strands: Table) -> None:
    """Set when the bodies ended that tell no time of their own: with their last strand."""
    last = np.zeros(len(tasks), np.int64)
    np.maximum.at(last, strands["task"], strands["end_ns"])
    untold = (tasks["state"] != 0) & (tasks["ended_ns"] == 0)
    tasks["ended_ns"][untold] = np.maximum(last, tasks["forked_ns"])[untold]


def _outside(
    tracks: list[Track], waits: Table, strands: Table, duration_ns: int, *, is_loop: list[bool], is_on_loop: bool
) -> list[Table]:
    """Return the strands of the code outside of forks: those of plain tasks on loops, and a script's on lane 0."""
    found = []
    for lane, track in enumerate(tracks):
        here = np.sort(strands[strands["lane"] == lane], order="start_ns")
        is_script = lane == 0 and not is_on_loop
        if is_loop[lane]:
            is_wait = np.isin(track.marks[:, 0], (OUTSIDE_WAITS, OUTSIDE_WAITED))
            found.append(of_loop(lane, track.marks[is_wait] if is_script else track.marks, here))
        if is_script:
            mine = waits[(waits["task"] == OUTSIDE) & (waits["lane"] == 0)]
            found.append(of_script(mine, here, track.marks, duration_ns))
    return found


def _lanes(tracks: list[Track], is_loop: list[bool]) -> tuple[Lane, ...]:
    lanes = []
    for number, track in enumerate(tracks):
        name = "loop" if is_loop[number] else "main" if number == 0 else f"lane {number}"
        timed = track.marks[np.isin(track.marks[:, 0], (STARTED, STOPPED, OUTSIDE_WAITS, OUTSIDE_WAITED))]
        cpu = timed[timed[:, 3] != NOT_MEASURED, 3]
        lanes.append(Lane(name, is_loop[number], int(cpu[-1] - cpu[0]) if len(cpu) else UNKNOWN))
    return tuple(lanes)
