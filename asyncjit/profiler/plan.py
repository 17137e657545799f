"""A program laid out for the simulation: each task's doings one after the other, with the time before each.

What a task does (`program.py`) is mostly to run, so the runs are folded into what comes behind them: one entry for a
fork, a wait, a sleep or the task's end, instead of two. In flat lists a simulation goes through a million forks in
seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.program import FORKS, RUN, SLEEPS, WAITS, Ints, Program, program_of
from asyncjit.profiler.records import CANCELLED, OUTSIDE, UNKNOWN, Records, Table


class Plan(NamedTuple):
    """A program laid out for the simulation: each task's doings one after the other, each after some time of its own.

    `before_ns[i]` passes, then `doing[i]` happens: 0 is the task's end, -t a wait for task t, t a fork of it, and
    `num_tasks + n` a sleep of n nanoseconds. The doings of task t begin at `first[t]`.
    """

    first: list[int]
    before_ns: NDArray[np.int64]
    doing: list[int]
    task: NDArray[np.int64]  #: whose doing it is
    is_kernel: list[bool]  #: it holds a permit while it runs
    is_on_loop: list[bool]  #: it runs on the loop's thread
    is_cheap: list[bool]  #: a kernel that a loop ran by itself

    @property
    def work_ns(self) -> int:
        """All the time that strands take, on all threads."""
        return int(self.before_ns.sum())

    def scaled(self, factors: NDArray[np.float64]) -> Plan:
        """Return the plan with the time of each task multiplied; `factors` is of shape (num_tasks,)."""
        return self._replace(before_ns=np.rint(self.before_ns * factors[self.task]).astype(np.int64))


def plan_of(records: Records) -> Plan:
    """Lay a profile's program out."""
    loops = np.array([lane.is_loop for lane in records.lanes], bool)
    was_on_loop = np.zeros(len(records.tasks), bool)
    was_on_loop[records.strands["task"][loops[records.strands["lane"]]]] = True
    return lay_out(program_of(records), records.tasks, was_on_loop)


def lay_out(program: Program, tasks: Table, was_on_loop: NDArray[np.bool_]) -> Plan:
    """Lay a program out; what did not end in the records, or was cancelled, is not waited for.

    Parameters
    ----------
    program : Program
        Of all tasks.
    tasks : ndarray of TASK
        As in the records.
    was_on_loop : ndarray of shape (num_tasks,), bool
        Which tasks had strands on a loop's thread.
    """
    num_tasks = len(tasks)
    first, kind, value = program
    is_waitable = (tasks["ended_ns"] != UNKNOWN) & (tasks["state"] != CANCELLED)
    is_waitable[OUTSIDE] = False
    is_wait = kind == WAITS
    is_async = tasks["is_async"] == 1
    task = np.repeat(np.arange(num_tasks), np.diff(first))
    kept = (kind == FORKS) | (is_wait & is_waitable[np.where(is_wait, value, OUTSIDE)])
    kept |= (kind == SLEEPS) & is_async[task]
    # Before each doing passes what ran since the one before; a task's end comes behind the last of its steps.
    ran_ns = np.concatenate(([0], np.cumsum(np.where(kind == RUN, value, 0))))
    step = np.concatenate((np.flatnonzero(kept), first[1:]))
    task = np.concatenate((task[kept], np.arange(num_tasks)))
    doing = np.concatenate((_codes(kind, value, num_tasks)[kept], np.zeros(num_tasks, np.int64)))
    order = np.lexsort((step, task))
    is_fork = np.arange(num_tasks) > OUTSIDE
    return Plan(
        first=np.searchsorted(task[order], np.arange(num_tasks)).tolist(),
        before_ns=np.diff(ran_ns[step[order]], prepend=0),
        doing=doing[order].tolist(),
        task=task[order],
        is_kernel=(is_fork & ~is_async).tolist(),
        is_on_loop=(is_async | (~is_fork & was_on_loop)).tolist(),
        is_cheap=(is_fork & ~is_async & was_on_loop).tolist(),
    )


def _codes(kind: Ints, value: Ints, num_tasks: int) -> Ints:
    """Return the steps as numbers, as a plan has them."""
    return np.where(kind == FORKS, value, np.where(kind == WAITS, -value, value + num_tasks))
