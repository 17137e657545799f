"""What a program would take on other lanes: its steps run through once more by the runtime's rules, with a fake clock.

Kernels queue in the order of their forks and start when a permit is free; code outside of forks and coroutines run
beside the lanes, all on one thread. A kernel that waits gives its permit back; a target that has not started runs in
place; when a target ends, its waiter goes on at once with its permit, and where there is none to pass on (several
waiters, a coroutine's end) the excess is repaid before the next kernel starts. That is `_core/pool.py`,
`_core/waiting.py` and `_core/forks.py`, told without threads: a task here is a row of a profile's records, and what
takes time is the heap's only business.

Greedy scheduling of that kind keeps Brent's bounds: work / P <= time <= work / P + span (R. L. Graham, Bounds for
certain multiprocessing anomalies, 1966; R. P. Brent, The parallel evaluation of general arithmetic expressions, 1974).
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heappushpop
from typing import NamedTuple

from asyncjit._core.forks import MAX_DEPTH
from asyncjit.profiler.plan import Plan
from asyncjit.profiler.records import OUTSIDE

ARRIVAL = -1  # in the heap, in a task's place: a thread that was woken looks for a kernel; below it: a sleeper is back
NOBODY = -1


class Overheads(NamedTuple):
    """What the runtime takes between strands, in nanoseconds; see `overheads.py` for how they are measured."""

    hop_ns: int = 0  #: from a fork to the start of its kernel on a thread that slept
    next_ns: int = 0  #: from a kernel's end to the start of the next in the same thread
    claim_ns: int = 0  #: from a wait to the start of its target in place
    resume_ns: int = 0  #: from the end of a target that ran in place to its waiter's going on
    wake_ns: int = 0  #: from the end of a target elsewhere to its waiter's going on
    loop_ns: int = 0  #: from what a coroutine awaited to its going on, if the loop slept
    turn_ns: int = 0  #: from the end of one strand on the loop to the next one's start, if that was ready


FREE = Overheads()


class Outcome(NamedTuple):
    """What a simulation found."""

    time_ns: int  #: until the last task has ended
    is_bounded: bool  #: some kernel would have started earlier with more lanes
    num_others: float  #: how many threads were busy beside a busy one, on average


def simulate(plan: Plan, num_lanes: int, overheads: Overheads = FREE) -> Outcome:
    """Run a plan on `num_lanes` lanes, each on a processor of its own.

    Parameters
    ----------
    plan : Plan
        As `plan_of` in plan.py makes it.
    num_lanes : int
        How many kernels may run at once, positive.
    overheads : Overheads
        What the runtime takes; nothing by default.

    Raises
    ------
    ValueError
        If `num_lanes` is not positive.
    """
    if num_lanes < 1:
        raise ValueError(f"num_lanes must be positive, not {num_lanes}: a kernel needs a lane to run on")
    return _Schedule(plan, num_lanes, overheads).run()


class _Schedule:
    """The state of one simulation. It never hangs: waits that nothing can end, in damaged records, are passed over."""

    def __init__(self, plan: Plan, num_lanes: int, overheads: Overheads) -> None:
        num_tasks = len(plan.first)
        self.plan = plan
        self.before_ns: list[int] = plan.before_ns.tolist()
        self.doing = plan.doing.copy()  # the waits of a `wait_all` change places
        self.at = plan.first.copy()  # of each task, what it does next
        self.overheads = overheads
        self.limit = num_lanes
        self.running = 0  # permits taken
        self.searching = 0  # threads that were woken and have not looked yet
        self.sleeping = 0  # coroutines that wait for something else
        self.queued = 0  # kernels that have not started
        self.queue: deque[int] = deque()  # of kernels; those that a waiter claimed are passed over
        self.pending = bytearray(num_tasks)  # kernels that were forked and have not started
        self.ended = bytearray(num_tasks)
        self.outer: dict[int, int] = {}  # of a kernel that runs in place, who waits for it
        self.depth: dict[int, int] = {}
        self.waiters: dict[int, list[int]] = {}
        self.ready: deque[int] = deque()  # for the loop's thread
        self.loop_is_busy = plan.is_on_loop[OUTSIDE]
        self.is_bounded = False
        self.end_ns = 0
        self.heap: list[tuple[int, int]] = []  # when, and which task has come to its next doing

    def run(self) -> Outcome:
        """Go through all tasks."""
        heap, at, doing, before_ns, ended = self.heap, self.at, self.doing, self.before_ns, self.ended
        num_tasks = len(ended)
        now, task = before_ns[at[OUTSIDE]], OUTSIDE
        last = busy_ns = shared_ns = 0
        while True:
            if now > last:
                num_others = max(0, len(heap) - self.searching - self.sleeping)
                busy_ns += (now - last) * (num_others + 1)
                shared_ns += (now - last) * (num_others + 1) * num_others
                last = now
            what = doing[at[task]] if task >= 0 else 0
            if task < 0:
                self._arrive(now) if task == ARRIVAL else self._wake_up(ARRIVAL - 1 - task, now)
                goes_on = False
            elif what == 0:
                self._end(task, now)
                goes_on = False
            elif what < 0:
                goes_on = bool(ended[-what])
                if not goes_on:
                    self._wait(task, -what, now)
            elif what < num_tasks:
                self._fork(what, now)
                goes_on = True
            else:
                self.sleeping += 1
                heappush(heap, (now + what - num_tasks, ARRIVAL - 1 - task))
                self._leave_loop(now)
                goes_on = False
            if goes_on:
                at[task] = i = at[task] + 1
                now, task = heappushpop(heap, (now + before_ns[i], task))
            elif heap or self._free_stuck(now):
                now, task = heappop(heap)
            else:
                return Outcome(self.end_ns, self.is_bounded, shared_ns / max(1, busy_ns))

    # -- what a task does

    def _fork(self, task: int, now: int) -> None:
        if not self.plan.is_kernel[task]:
            self._begin_on_loop(task, now)
            return
        self.pending[task] = 1
        self.queue.append(task)
        self.queued += 1
        self._replenish(now)

    def _wait(self, task: int, target: int, now: int) -> None:
        """Wait for a target that has not ended: run it in place, or leave the thread."""
        plan = self.plan
        holds, is_on_loop = plan.is_kernel[task], plan.is_on_loop[task]
        if not is_on_loop:
            target = self._unstarted(task, target)
        if self.pending[target] and (not is_on_loop or plan.is_cheap[target]):
            depth = self.depth.get(task, 0)
            if (holds or self.running < self.limit) and depth < MAX_DEPTH:
                self.running += not holds
                self.queued -= 1
                self.outer[target] = task
                self.depth[target] = depth + 1
                self._start(target, now + self.overheads.claim_ns)
                return
            self.is_bounded = True
        self.waiters.setdefault(target, []).append(task)
        if holds:
            self.running -= 1
            self._replenish(now)
        elif is_on_loop:
            self._leave_loop(now)

    def _unstarted(self, task: int, target: int) -> int:
        """Return the target of a wait; of a `wait_all`, whose waits follow at once, the first that has not started."""
        doing, pending = self.doing, self.pending
        i = j = self.at[task]
        while doing[j] < 0 and (j == i or not self.before_ns[j]):
            if pending[-doing[j]]:
                doing[i], doing[j] = doing[j], doing[i]
                return -doing[i]
            j += 1
        return target

    def _end(self, task: int, now: int) -> None:
        self.end_ns = now
        self.ended[task] = 1
        waiters = self.waiters.pop(task, None)
        if not self.plan.is_kernel[task]:
            if waiters is not None:
                self.running += self._wake(waiters, now)
            if self.plan.is_on_loop[task]:
                self._leave_loop(now)
            return
        num_woken = 0 if waiters is None else self._wake(waiters, now)
        outer = self.outer.pop(task, NOBODY)
        if outer == NOBODY:
            self.running += num_woken - 1  # the first of them has the permit of this lane, which the lane may take anew
            self._take_next(now + self.overheads.next_ns)
            return
        del self.depth[task]
        if self.plan.is_kernel[outer]:
            self.running += num_woken
        else:
            self.running += num_woken - 1
            self._replenish(now)
        self._go_on(outer, now + self.overheads.resume_ns)

    # -- the lanes

    def _replenish(self, now: int) -> None:
        """Wake threads while a kernel is queued and may start."""
        while self.searching < self.queued:
            if self.running + self.searching >= self.limit:
                self.is_bounded = True
                return
            self.searching += 1
            heappush(self.heap, (now + self.overheads.hop_ns, ARRIVAL))

    def _arrive(self, now: int) -> None:
        self.searching -= 1
        self._take_next(now)

    def _take_next(self, now: int) -> None:
        """Start the first kernel that nobody claimed, if there is a permit."""
        if not self.queued:
            return
        if self.running >= self.limit:
            self.is_bounded = True
            return
        queue, pending = self.queue, self.pending
        task = queue.popleft()
        while not pending[task]:
            task = queue.popleft()
        self.queued -= 1
        self.running += 1
        self._start(task, now)

    def _start(self, task: int, at_ns: int) -> None:
        self.pending[task] = 0
        heappush(self.heap, (at_ns + self.before_ns[self.at[task]], task))

    def _go_on(self, task: int, at_ns: int) -> None:
        """Let a task go on behind its wait."""
        self.at[task] = i = self.at[task] + 1
        heappush(self.heap, (at_ns + self.before_ns[i], task))

    def _wake(self, waiters: list[int], now: int) -> int:
        """Let those go on who waited; return how many of them need a permit."""
        num_kernels = 0
        for task in waiters:
            if self.plan.is_on_loop[task]:
                self._call_loop(task, now)
            else:
                num_kernels += self.plan.is_kernel[task]
                self._go_on(task, now + self.overheads.wake_ns)
        return num_kernels

    # -- the loop

    def _begin_on_loop(self, task: int, now: int) -> None:
        """Let a coroutine begin on the loop."""
        self.at[task] -= 1  # as if it stood at a wait before its first doing
        self._call_loop(task, now)

    def _call_loop(self, task: int, now: int) -> None:
        """Let a task go on on the loop's thread: now, or in its turn."""
        if self.loop_is_busy:
            self.ready.append(task)
        else:
            self.loop_is_busy = True
            self._go_on(task, now + self.overheads.loop_ns)

    def _wake_up(self, task: int, now: int) -> None:
        self.sleeping -= 1
        self._call_loop(task, now)

    def _leave_loop(self, now: int) -> None:
        if self.ready:
            self._go_on(self.ready.popleft(), now + self.overheads.turn_ns)
        else:
            self.loop_is_busy = False

    def _free_stuck(self, now: int) -> bool:
        """Let those go on who wait for what can never end, until something happens; tell whether it does."""
        while self.waiters and not self.heap:
            self.running += self._wake(self.waiters.pop(next(iter(self.waiters))), now)
        return bool(self.heap)
