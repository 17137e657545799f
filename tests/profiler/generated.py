"""Random programs, scheduled on a few lanes by a plain simulation, and recorded as a profile would have.

A program is a tree of forks that run, fork, wait for their own forks and for elder ones, leave a `wait_all`, sleep (the
coroutines) and fail. The schedule is greedy: no lane is idle while something that could run there is ready, so the
records of kernels alone keep Brent's bounds. Lane 0 is the thread of the script and the loop of the coroutines, beside
the lanes of the kernels.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace

import numpy as np

from asyncjit.profiler.records import (
    CANCELLED,
    FAILED,
    FINISHED,
    RANGE,
    STRAND,
    TASK,
    UNFINISHED,
    UNKNOWN,
    WAIT,
    Lane,
    Machine,
    Records,
)

RUN, FORK, AWAIT, JOIN, SLEEP = range(5)
NAMES = ("embed", "encode", "attend", "decode")
SHAPES = ("", "[3, 4]", "[16]")


@dataclass
class Planned:
    """A task of the program, and what became of it in the schedule."""

    name: str
    parent: int
    is_async: bool = False
    is_cancelled: bool = False
    fails: bool = False
    steps: list[tuple[int, int]] = field(default_factory=list)
    forks: list[int] = field(default_factory=list)
    at: int = 0  # in steps
    lane: int = 0
    began_ns: int = UNKNOWN  # its open strand
    wait_ns: int = UNKNOWN  # its open wait
    wait_target: int = UNKNOWN
    missing: int = 0  # how many it still waits for
    fork_lane: int = 0
    forked_ns: int = UNKNOWN
    ended_ns: int = UNKNOWN


def random_records(
    seed: int,
    *,
    num_tasks: int = 12,
    num_lanes: int | None = None,
    coroutines: bool = True,
    cut: bool = True,
    latency_ns: int = 0,
) -> Records:
    """Return the records of a random program: the same for the same arguments.

    Parameters
    ----------
    seed : int
        Of the choices.
    num_tasks : int
        Forks at most; some seeds have none.
    num_lanes : int, optional
        By default 1 to 4.
    coroutines : bool
        Whether some forks are coroutines, which run on lane 0 and sleep at times.
    cut : bool
        Whether the profile may end before the program, so that forks and waits are unfinished.
    latency_ns : int
        How long a lane takes to begin what was forked, or to go on after a wait.
    """
    rng = random.Random(seed)
    plan = _planned(rng, rng.randint(0, num_tasks), coroutines)
    lanes = num_lanes or rng.randint(1, 4)
    schedule = _Schedule(rng, plan, lanes, latency_ns)
    schedule.run()
    records = _recorded(rng, schedule)
    if cut and rng.random() < 0.3:
        return _cut(records, rng.randint(0, records.duration_ns))
    return records


def _planned(rng: random.Random, num_forks: int, coroutines: bool) -> list[Planned]:
    """Return the program; it can't get stuck, as no task waits for what a serial run had not ended by then."""
    plan = [Planned("(outside of forks)", 0)]

    def body(number: int, elders: list[int]) -> None:
        task = plan[number]
        elders = elders.copy()
        task.steps.append((RUN, rng.randint(1, 9)))
        for _ in range(rng.randint(1, 5) if number else 2 * num_forks + 2):
            choice = rng.random()
            if choice < 0.5 and len(plan) <= num_forks:
                child = len(plan)
                is_async = coroutines and rng.random() < 0.3
                fate = rng.random()
                plan.append(Planned(rng.choice(NAMES), number, is_async, fate < 0.05, fate > 0.95))
                if not plan[child].is_cancelled:
                    body(child, elders)
                elders.append(child)
                task.forks.append(child)
                task.steps.append((FORK, child))
            elif choice < 0.75 and elders:
                task.steps.append((AWAIT, rng.choice(elders)))
            elif choice < 0.85:
                task.steps.append((JOIN, len(task.forks)))
            elif choice < 0.9 and task.is_async:
                task.steps.append((SLEEP, rng.randint(1, 9)))
            # Always some time between two steps: at equal times the records do not tell which came first.
            task.steps.append((RUN, rng.choice((1, rng.randint(1, 9), rng.randint(1, 99)))))

    body(0, [])
    return plan


class _Schedule:
    """Lanes that take what is ready, and the records they leave."""

    def __init__(self, rng: random.Random, plan: list[Planned], num_lanes: int, latency_ns: int) -> None:
        self.rng = rng
        self.plan = plan
        self.num_lanes = num_lanes
        self.latency_ns = latency_ns
        self.now_ns = 0
        self.events: list[tuple[int, int, int, int]] = []  # when, serial number, task, lane or UNKNOWN for a sleeper
        self.num_events = 0
        self.ready: dict[bool, list[int]] = {True: [0], False: []}  # what runs on lane 0, and the kernels
        self.idle: dict[bool, list[int]] = {True: [0], False: list(range(1, num_lanes + 1))}
        self.waiters: dict[int, list[int]] = {}
        self.strands: list[tuple[int, int, int, int]] = []
        self.waits: list[tuple[int, int, int, int, int]] = []
        self.order: list[int] = [0]  # of the forks' making

    def run(self) -> None:
        """Go on until nothing is left to do."""
        self._dispatch()
        while self.events:
            self.now_ns, _, task, lane = heapq.heappop(self.events)
            if lane == UNKNOWN:
                self.ready[self._on_loop(task)].append(task)
            else:
                self._go_on(task, lane)
            if not self.events or self.events[0][0] > self.now_ns:
                self._dispatch()

    def _on_loop(self, task: int) -> bool:
        return task == 0 or self.plan[task].is_async

    def _later(self, after_ns: int, task: int, lane: int) -> None:
        self.num_events += 1
        heapq.heappush(self.events, (self.now_ns + after_ns, self.num_events, task, lane))

    def _dispatch(self) -> None:
        for on_loop in (True, False):
            ready, idle = self.ready[on_loop], self.idle[on_loop]
            while ready and idle:
                task = ready.pop(self.rng.randrange(len(ready)))
                self._later(self.latency_ns, task, idle.pop(self.rng.randrange(len(idle))))

    def _go_on(self, number: int, lane: int) -> None:
        task = self.plan[number]
        if task.began_ns == UNKNOWN:
            task.began_ns, task.lane = self.now_ns, lane
        if task.wait_ns != UNKNOWN:
            self.waits.append((number, task.wait_target, lane, task.wait_ns, self.now_ns))
            task.wait_ns = UNKNOWN
        while task.at < len(task.steps) and not (task.fails and 2 * task.at > len(task.steps)):
            kind, value = task.steps[task.at]
            task.at += 1
            if kind == RUN:
                return self._later(value, number, lane)
            if kind == FORK:
                self._fork(value, lane)
            elif kind == SLEEP:
                self._stop(number)
                return self._later(value, number, UNKNOWN)
            elif self._waits(number, [value] if kind == AWAIT else task.forks[:value], kind):
                return self._stop(number)
        self._stop(number)
        self._end(number)
        return None

    def _fork(self, number: int, lane: int) -> None:
        child = self.plan[number]
        child.fork_lane, child.forked_ns = lane, self.now_ns
        self.order.append(number)
        if child.is_cancelled:
            self._end(number)
        else:
            self.ready[child.is_async].append(number)

    def _waits(self, number: int, targets: list[int], kind: int) -> bool:
        task = self.plan[number]
        missing = [target for target in targets if self.plan[target].ended_ns == UNKNOWN]
        target = targets[0] if kind == AWAIT else UNKNOWN
        for each in missing:
            self.waiters.setdefault(each, []).append(number)
        if missing:
            task.wait_ns, task.wait_target, task.missing = self.now_ns, target, len(missing)
        else:
            self.waits.append((number, target, task.lane, self.now_ns, self.now_ns))
        return bool(missing)

    def _stop(self, number: int) -> None:
        task = self.plan[number]
        self.strands.append((number, task.lane, task.began_ns, self.now_ns))
        self.idle[self._on_loop(number)].append(task.lane)
        task.began_ns = UNKNOWN

    def _end(self, number: int) -> None:
        self.plan[number].ended_ns = self.now_ns
        for waiter in self.waiters.pop(number, ()):
            self.plan[waiter].missing -= 1
            if not self.plan[waiter].missing:
                self.ready[self._on_loop(waiter)].append(waiter)


def _recorded(rng: random.Random, schedule: _Schedule) -> Records:
    """Return the schedule as a profile's tables; forks are numbered in the order of their making."""
    plan = [schedule.plan[number] for number in schedule.order]
    row_of = {number: row for row, number in enumerate(schedule.order)} | {UNKNOWN: UNKNOWN}
    names = ["(outside of forks)", *NAMES]
    sites = [""]
    tasks = [(0, 0, UNKNOWN, 0, 0, UNFINISHED, 0, 0, UNKNOWN)]
    for task in plan[1:]:
        site = f"forked at {task.name}.py:1 in {schedule.plan[task.parent].name}"
        if site not in sites:
            sites.append(site)
        state = CANCELLED if task.is_cancelled else FAILED if task.fails else FINISHED
        where = (names.index(task.name), sites.index(site), rng.randrange(len(SHAPES)), row_of[task.parent])
        tasks.append((*where, task.fork_lane, state, int(task.is_async), task.forked_ns, task.ended_ns))
    strands, ranges = [], []
    has_cpu = rng.random() < 0.8
    for number, lane, start_ns, end_ns in sorted(schedule.strands, key=lambda strand: strand[1:]):
        cpu_ns = int((end_ns - start_ns) * rng.choice((1, 1, rng.random()))) if has_cpu else UNKNOWN
        strands.append((row_of[number], lane, start_ns, end_ns, cpu_ns))
        if rng.random() < 0.2 and end_ns - start_ns > 2:
            ranges.append((0, row_of[number], lane, start_ns + 1, end_ns - 1))
    if ranges:
        names.append("block")
        ranges = [(len(names) - 1, *row[1:]) for row in ranges]
    waits = sorted(schedule.waits, key=lambda wait: wait[-1])
    lanes = [Lane("main", is_loop=any(task.is_async for task in plan))]
    return Records(
        strands=np.array(strands, STRAND),
        tasks=np.array(tasks, TASK),
        waits=np.array([(row_of[wait[0]], row_of[wait[1]], *wait[2:]) for wait in waits], WAIT),
        ranges=np.array(ranges, RANGE),
        names=tuple(names),
        sites=tuple(sites),
        lanes=(*lanes, *(Lane(f"lane {number}") for number in range(1, schedule.num_lanes + 1))),
        duration_ns=schedule.now_ns + rng.choice((0, 0, rng.randint(1, 20))),
        num_lanes=schedule.num_lanes,
        shapes=SHAPES,
        machine=Machine(num_cpus=schedule.num_lanes),
    )


def _cut(records: Records, end_ns: int) -> Records:
    """Return the records of a profile that ended at `end_ns`."""
    tasks = records.tasks[records.tasks["forked_ns"] <= end_ns].copy()
    unended = tasks["ended_ns"] > end_ns
    tasks["ended_ns"][unended] = UNKNOWN
    tasks["state"][unended] = UNFINISHED
    strands = records.strands[records.strands["start_ns"] <= end_ns].copy()
    known = strands["cpu_ns"] != UNKNOWN
    strands["end_ns"] = np.minimum(strands["end_ns"], end_ns)
    lengths = strands["end_ns"] - strands["start_ns"]
    strands["cpu_ns"][known] = np.minimum(strands["cpu_ns"], lengths)[known]
    waits = records.waits[records.waits["start_ns"] <= end_ns].copy()
    waits["end_ns"][waits["end_ns"] > end_ns] = UNKNOWN
    waits = waits[np.argsort(waits["end_ns"] == UNKNOWN, kind="stable")]
    ranges = records.ranges[records.ranges["start_ns"] <= end_ns].copy()
    ranges["end_ns"] = np.minimum(ranges["end_ns"], end_ns)
    return replace(records, tasks=tasks, strands=strands, waits=waits, ranges=ranges, duration_ns=end_ns)
