"""A shower of real signals while the main thread forks and waits; prints "whole after ..." if nothing was lost."""

from __future__ import annotations

import logging
import signal

from asyncjit import sync
from asyncjit.errors import ForkCancelled

ROUNDS = 300
INTERVAL_S = 0.0007


def tree(depth: int) -> int:
    """Count the leaves of a binary tree of forks."""
    return 1 if depth == 0 else sum(sync.wait(f) for f in [sync.fork(tree, depth - 1) for _ in range(2)])


def main() -> None:
    """Interrupt trees of forks at random moments, then check that permits, counts and pool are whole."""
    logging.disable()  # what an interrupted tree leaves unretrieved is no news here
    rain: list[bool] = []

    def drop(signum: int, frame: object) -> None:
        if rain:
            rain.clear()  # one for each tree: another, while the first is told, would break the standard library too
            raise KeyboardInterrupt

    def is_interrupted() -> bool:
        try:
            rain.append(True)
            sync.wait(sync.fork(tree, 4))
            rain.clear()
        except (KeyboardInterrupt, ForkCancelled):
            return True
        return False

    signal.signal(signal.SIGALRM, drop)
    with sync.Runtime(2) as runtime:
        signal.setitimer(signal.ITIMER_REAL, INTERVAL_S, INTERVAL_S)
        caught = sum(is_interrupted() for _ in range(ROUNDS))
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert sync.wait(sync.fork(tree, 4), timeout=30) == 16
    statistics = runtime.statistics()
    assert caught > 0
    assert (statistics.running, statistics.queued, statistics.blocked) == (0, 0, 0), statistics
    assert statistics.forked == statistics.finished + statistics.failed + statistics.cancelled, statistics
    print(f"whole after {caught} interrupts of {ROUNDS} trees")


if __name__ == "__main__":
    main()
