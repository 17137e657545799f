"""Which steps of a long run a profile records: torch.profiler's schedules, with its names and its values.

A recording of a whole day says less than one of three steps. A schedule tells for each step, by its number, what the
profile does in it; the block calls `profile.step()` after each.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from asyncjit.cpus import checked_count


class ProfilerAction(Enum):
    """What a profile does in one step (torch.profiler.ProfilerAction)."""

    NONE = 0  #: nothing
    WARMUP = 1  #: records, and forgets it when RECORD begins
    RECORD = 2  #: records
    RECORD_AND_SAVE = 3  #: records, and tells `on_trace_ready` after the step


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Return a schedule of cycles: `wait` steps of nothing, `warmup` to get warm, `active` that are recorded.

    The actions are those of torch.profiler.schedule (torch 2.13). Unlike torch it does not warn where `warmup` is 0.

    Parameters
    ----------
    wait, warmup : int
        How many steps of a cycle are not recorded, and how many are recorded and forgotten; at least 0.
    active : int
        How many steps of a cycle are recorded; at least 1. The last of them is RECORD_AND_SAVE.
    repeat : int
        How many cycles there are; 0: as many as there are steps for.
    skip_first : int
        How many steps come before the first cycle.
    skip_first_wait : int
        Anything but 0 leaves out the `wait` steps of the first cycle, which then begins with its warm-up.

    Returns
    -------
    callable
        Takes the number of a step, from 0, and returns its ProfilerAction. It raises ValueError for a number below 0.

    Raises
    ------
    TypeError
        If an argument is no integer.
    ValueError
        If one is below its least value.

    Examples
    --------
    >>> actions = schedule(wait=1, warmup=1, active=2, repeat=1)
    >>> [actions(step).name for step in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    wait, warmup = checked_count(wait, "wait", 0), checked_count(warmup, "warmup", 0)
    active = checked_count(active, "active")
    repeat, skip_first = checked_count(repeat, "repeat", 0), checked_count(skip_first, "skip_first", 0)
    num_steps = wait + warmup + active
    first = skip_first - (wait if skip_first_wait else 0)  # where the first cycle would begin if it were whole

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}: steps are counted from 0")
        cycle, place = divmod(step - first, num_steps)
        if step < skip_first or place < wait or (repeat and cycle >= repeat):
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if place < num_steps - 1 else ProfilerAction.RECORD_AND_SAVE

    return action
