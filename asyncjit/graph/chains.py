"""Which nodes run together: a graph without forks, cut into chains worth a fork of their own.

It is clustering by linear chains with merging of small ones (after Gerasoulis and Yang, 1992: "A Comparison of
Clustering Heuristics for Scheduling DAGs on Multiprocessors"). A node that alone follows another joins its chain. What
is then too small for a fork joins its like (siblings that take from, and give to, the same), the one that it follows,
or the one that follows it. No step can make a circle, because each joins only what has no other way around.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from asyncjit.graph.ir import Graph

MAX_BATCHES_PER_THREAD = 4  # chosen: siblings in so many groups a thread keep threads evenly busy


class Chain:
    """Nodes that run one after the other in one thread."""

    def __init__(self, number: int, cost_ns: int) -> None:
        self.nodes = [number]  #: their numbers in the graph's body
        self.cost_ns = cost_ns
        self.before: set[Chain] = set()
        self.after: set[Chain] = set()
        self.is_forked = False
        self.reason = ""  #: why it is not

    def join(self, other: Chain) -> None:
        """Take the nodes of `other`, which is no more."""
        self.nodes += other.nodes
        self.cost_ns += other.cost_ns
        for chain in other.before:
            chain.after.discard(other)
            chain.after.add(self)
        for chain in other.after:
            chain.before.discard(other)
            chain.before.add(self)
        self.before |= other.before
        self.after |= other.after
        self.before -= {self, other}
        self.after -= {self, other}


def find_chains(graph: Graph, costs: Sequence[int], min_cost_ns: int, num_threads: int) -> list[Chain]:
    """Return the graph's nodes in chains, each before those that need it; nothing is forked yet."""
    chains = [Chain(number, cost) for number, cost in enumerate(costs)]
    giver = {id(value): chain for node, chain in zip(graph.body, chains, strict=True) for value in node.targets}
    for node, chain in zip(graph.body, chains, strict=True):
        chain.before = {giver[id(value)] for value in node.arguments if id(value) in giver}
        for other in chain.before:
            other.after.add(chain)
    chains = _join_series(chains)
    chains = _join_siblings(chains, min_cost_ns, num_threads)
    chains = _join_small(chains, min_cost_ns, "before")
    chains = _join_small(chains[::-1], min_cost_ns, "after")
    for chain in chains:
        chain.nodes.sort()
    return in_order(chains)


def _join_series(chains: list[Chain]) -> list[Chain]:
    kept = []
    for chain in chains:
        if len(chain.before) == 1 and len(next(iter(chain.before)).after) == 1:
            next(iter(chain.before)).join(chain)
        else:
            kept.append(chain)
    return kept


def _join_siblings(chains: list[Chain], min_cost_ns: int, num_threads: int) -> list[Chain]:
    families: dict[tuple[frozenset[Chain], frozenset[Chain]], list[Chain]] = defaultdict(list)
    for chain in chains:
        if chain.cost_ns < min_cost_ns:
            families[frozenset(chain.before), frozenset(chain.after)].append(chain)
    gone = set()
    for family in families.values():
        total = sum(chain.cost_ns for chain in family)
        enough = max(min_cost_ns, total // (MAX_BATCHES_PER_THREAD * num_threads))
        if total < 2 * enough:
            continue
        batch = family[0]
        for chain in family[1:]:
            if batch.cost_ns >= enough:
                batch = chain
            else:
                batch.join(chain)
                gone.add(chain)
    return [chain for chain in chains if chain not in gone]


def _join_small(chains: list[Chain], min_cost_ns: int, side: Literal["before", "after"]) -> list[Chain]:
    """Have each small chain join the one on that side, if there is only one; what is joined comes first in `chains`."""
    kept = []
    for chain in chains:
        neighbours = chain.before if side == "before" else chain.after
        if chain.cost_ns < min_cost_ns and len(neighbours) == 1:
            next(iter(neighbours)).join(chain)
        else:
            kept.append(chain)
    return kept


def in_order(chains: Iterable[Chain]) -> list[Chain]:
    """Return chains so that each comes before those that need it (Kahn, 1962)."""
    missing = {chain: len(chain.before) for chain in chains}
    order = [chain for chain, count in missing.items() if not count]
    for chain in order:  # it grows
        for other in sorted(chain.after, key=lambda chain: chain.nodes):  # a set has no order of its own
            missing[other] -= 1
            if not missing[other]:
                order.append(other)
    return order


def mark_forks(chains: Sequence[Chain], min_cost_ns: int) -> None:
    """Decide which chains, given in order, are forked: those worth it that another worth it can run beside."""
    bits = {chain: 1 << number for number, chain in enumerate(chains)}
    related = dict(bits)  # itself, and all that comes before or after it
    for chain in chains:
        for other in chain.before:
            related[chain] |= related[other]
    below = dict(bits)
    for chain in reversed(chains):
        for other in chain.after:
            below[chain] |= below[other]
        related[chain] |= below[chain]
    worth = sum(bits[chain] for chain in chains if chain.cost_ns >= min_cost_ns)
    for chain in chains:
        chain.is_forked = bool(bits[chain] & worth and worth & ~related[chain])
        if not bits[chain] & worth:
            chain.reason = "too small for a fork"
        elif not chain.is_forked:
            chain.reason = "nothing of weight can run beside it"


def span_of(graph: Graph, costs: Sequence[int]) -> int:
    """Return what the longest path through a graph's nodes takes, in ns."""
    ends: dict[int, int] = {}  # when each value is there, on threads without number
    for node, cost in zip(graph.body, costs, strict=True):
        end = cost + max((ends.get(id(value), 0) for value in node.arguments), default=0)
        ends.update((id(value), end) for value in node.targets)
    return max(ends.values(), default=0)


def makespan(chains: Sequence[Chain], num_threads: int, hop_ns: int) -> int:
    """Return what the chains, given in order, would take on so many threads, by list scheduling, in ns."""
    remaining: dict[Chain, int] = {}
    for chain in reversed(chains):
        remaining[chain] = chain.cost_ns + max((remaining[other] for other in chain.after), default=0)
    missing = {chain: len(chain.before) for chain in chains}
    ready = [(-remaining[chain], number) for number, chain in enumerate(chains) if not chain.before]
    heapq.heapify(ready)
    numbers = {chain: number for number, chain in enumerate(chains)}
    running: list[tuple[int, int]] = []
    now = 0
    while ready or running:
        while ready and len(running) < num_threads:
            number = heapq.heappop(ready)[1]
            extra = hop_ns if chains[number].is_forked else 0
            heapq.heappush(running, (now + chains[number].cost_ns + extra, number))
        now, number = heapq.heappop(running)
        for other in chains[number].after:
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(ready, (-remaining[other], numbers[other]))
    return now
