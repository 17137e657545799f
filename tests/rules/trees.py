"""Trees of forks, each node of which waits for those below it: of kernels, of coroutines, and of both."""

import asyncjit
from asyncjit import call, fork, sync


def tree(*widths: int) -> int:
    """Count the nodes of a tree of kernels."""
    if not widths:
        return 1
    return 1 + sum(sync.wait_all([fork(tree, *widths[1:]) for _ in range(widths[0])]))


async def tree_async(*widths: int) -> int:
    """Count the nodes of a tree of coroutine forks whose leaves are kernels."""
    if not widths:
        return await call(tree)
    return 1 + sum(await asyncjit.wait_all([fork(tree_async, *widths[1:]) for _ in range(widths[0])]))


def tree_mixed(*widths: int) -> int:
    """Count the nodes of a tree that is a coroutine fork at every second level, and a kernel in between."""
    if not widths:
        return 1
    return 1 + sum(sync.wait_all([fork(tree_mixed_async, *widths[1:]) for _ in range(widths[0])]))


async def tree_mixed_async(*widths: int) -> int:
    if not widths:
        return 1
    return 1 + sum(await asyncjit.wait_all([fork(tree_mixed, *widths[1:]) for _ in range(widths[0])]))
