"""`key_averages`: what each function cost, itself and with all that it forked.

A function's `self` times are those of its own strands, outside of the `record_function` blocks in them, which have rows
of their own; so the rows of a table add up to the time of all strands. Its totals are the sum over all calls that are a
call of it or lie below one. Each call counts once, also where the function forks itself: fib's total is that of the
whole tree. (torch counts the inner calls again, so its totals exceed 100 %.)

Totals are sums over subtrees, a million of them: the calls are numbered in preorder, where a subtree is one stretch and
its sum the difference of two running sums. Of the calls of one key only the topmost count, and those are the ones that
begin behind the ends of all before them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.calls import Ints, calls_of
from asyncjit.profiler.records import OUTSIDE, UNKNOWN, Records
from asyncjit.profiler.table import EventList, FunctionEventAvg

NS_PER_US = 1e3


def key_averages(records: Records, *, group_by_input_shape: bool = False) -> EventList:
    """Return the costs of each function and each range, in the order of their first calls.

    The code outside of all forks is the first row, if it has strands. Functions and ranges of the same name are told
    apart. CPU times are those of the strands where they were measured, None where they were measured in none; of a
    strand with ranges in it, each has the share of CPU time that it has of the wall time.

    Parameters
    ----------
    records : Records
        What a profile recorded.
    group_by_input_shape : bool
        Calls of one function with other shapes of arguments have a row of their own. Where no shapes were recorded,
        they are empty.

    Returns
    -------
    EventList
        A list of FunctionEventAvg; times in microseconds.
    """
    calls = calls_of(records)
    key, keys = _keys(records, group_by_input_shape)
    num_keys = len(keys)
    begin, end = preorder(calls.parent)
    topmost = topmost_of(key, begin, end)
    in_preorder = np.argsort(begin)
    own = [np.bincount(key, part, num_keys) for part in calls.own]
    totals = []
    for part in calls.own:
        running = np.concatenate(([0], np.cumsum(part[in_preorder])))
        totals.append(np.bincount(key[topmost], (running[end] - running[begin])[topmost], num_keys))
    count = np.bincount(key, ~calls.goes_on, num_keys)
    queued_ns = np.bincount(key[1 : len(records.tasks)], _queued_ns(records)[1:], num_keys)
    is_top_level = np.bincount(key, calls.parent <= OUTSIDE, num_keys) > 0
    averages = EventList()
    for i, (name, is_range, is_outside, shapes) in enumerate(keys):
        averages.append(
            FunctionEventAvg(
                key=name,
                count=int(count[i]),
                self_wall_time_total=float(own[0][i]) / NS_PER_US,
                wall_time_total=float(totals[0][i]) / NS_PER_US,
                self_cpu_time_total=_cpu_us(*(float(column[i]) for column in own)),
                cpu_time_total=_cpu_us(*(float(column[i]) for column in totals)),
                queue_time_total=None if is_range or is_outside else float(queued_ns[i]) / NS_PER_US,
                input_shapes=shapes,
                is_user_annotation=is_range,
                is_top_level=bool(is_top_level[i]),
            )
        )
    has_outside = bool((records.strands["task"] == OUTSIDE).any())
    return averages if has_outside else EventList(averages[1:])


Key = tuple[str, bool, bool, str]


def _keys(records: Records, with_shapes: bool) -> tuple[Ints, list[Key]]:
    """Return the number of each call's key, and the keys: name, whether it is a range, or the outside, and shapes."""
    tasks, ranges = records.tasks, records.ranges
    name = np.concatenate((tasks["name"], ranges["name"])).astype(np.int64)
    kind = np.repeat([1, 2], [len(tasks), len(ranges)])
    kind[OUTSIDE] = 0
    shapes = np.full(len(name), UNKNOWN)
    if with_shapes:
        shapes[: len(tasks)] = tasks["shapes"]
    at_ns = np.concatenate((tasks["forked_ns"], ranges["start_ns"]))
    at_ns[OUTSIDE] = UNKNOWN  # before all others
    code = (name * 3 + kind) * (len(records.shapes) + 1) + shapes + 1
    _, first, key = np.unique(code, return_index=True, return_inverse=True)
    first_ns = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(first_ns, key, at_ns)
    order = np.lexsort((first, first_ns))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    found = [(records.names[name[i]], kind[i] == 2, kind[i] == 0, int(shapes[i])) for i in first[order].tolist()]
    texts = (*records.shapes, "")  # the last is that of UNKNOWN, -1
    return place[key], [(text, bool(a), bool(b), texts[number]) for text, a, b, number in found]


def preorder(parent: Ints) -> tuple[Ints, Ints]:
    """Return where each call's subtree begins and ends in preorder; call 0 is the root."""
    num_calls = len(parent)
    by_parent = np.argsort(parent[1:], kind="stable") + 1
    children = by_parent.tolist()
    first = np.searchsorted(parent[by_parent], np.arange(num_calls + 1)).tolist()
    order: list[int] = []
    stack = [0]
    while stack:  # what is above a call on the stack is its subtree, so that comes next
        call = stack.pop()
        order.append(call)
        stack += children[first[call] : first[call + 1]]
    size = [1] * num_calls
    parents = parent.tolist()
    for call in reversed(order):
        if call:
            size[parents[call]] += size[call]
    begin = np.zeros(num_calls, np.int64)
    begin[order] = np.arange(len(order))
    return begin, begin + np.array(size)


def topmost_of(key: Ints, begin: Ints, end: Ints) -> NDArray[np.bool_]:
    """Say of each call whether none of those above it has its key."""
    order = np.lexsort((begin, key))
    offset = key[order] * len(key)  # a key's stretches lie behind those of the keys before it
    ends = np.maximum.accumulate(end[order] + offset)
    topmost = np.ones(len(key), bool)
    topmost[order[1:]] = (begin[order] + offset)[1:] >= ends[:-1]
    return topmost


def _queued_ns(records: Records) -> Ints:
    """Return how long each task was queued: up to its first strand, or to its end or the profile's if it has none."""
    tasks = records.tasks
    never = np.iinfo(np.int64).max
    until_ns = np.full(len(tasks), never)
    np.minimum.at(until_ns, records.strands["task"], records.strands["start_ns"])
    ended_ns = np.where(tasks["ended_ns"] == UNKNOWN, records.duration_ns, tasks["ended_ns"])
    queued_ns: Ints = np.maximum(0, np.where(until_ns == never, ended_ns, until_ns) - tasks["forked_ns"])
    return queued_ns


def _cpu_us(wall_ns: float, measured_ns: float, cpu_ns: float) -> float | None:
    """Return the CPU time in microseconds, None if it was measured in none of the strands."""
    return None if wall_ns > 0 and measured_ns <= 0 else cpu_ns / NS_PER_US
