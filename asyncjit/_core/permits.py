"""How many kernels may run, and how many do: the arithmetic of rule "no kernel starts while N or more run".

A permit is no object: `running` counts the threads that execute kernels, and a kernel may start when it is below
`limit`. A thread that waits takes itself out of the count and, when its target is done, puts itself back *at once*,
whatever the count is: queueing for a permit to go on would deadlock, because a waiter may hold a lock that the running
kernels want. Most often the kernel that finished passes its place on (`heir` in `forks.py`), so that the count does not
change; where there is none to pass, `running` exceeds `limit` for a while, and the comparison with `limit` repays it
before the next kernel starts.

The alternative, tokens in a queue, costs the same and needs a second count for the debt; and with a count a new limit
is one assignment.
"""

from __future__ import annotations

MAX_BLOCKED_THREADS = 256  # specified by the design: beyond it, a blocking wait raises instead of hanging


class Permits:
    """The counts of one pool. All fields are guarded by `context.lock`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0  #: threads that execute kernels
        self.blocked = 0  #: threads that gave their permit back to wait
        self.queued = 0  #: kernels not started
        self.searching = 0  #: threads woken to look for a kernel that have not looked yet
        self.finished = 0
        self.failed = 0
        self.cancelled = 0

    @property
    def excess(self) -> int:
        """Kernels above the limit: waiters that went on with no permit to pass, or a limit that was lowered."""
        return max(0, self.running - self.limit)

    def replenish(self) -> None:
        """Wake or start a thread if a kernel is queued and may start. The pool knows how."""
        raise NotImplementedError
