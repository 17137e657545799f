"""The order in which a graph's nodes run, worked out once: `schedule`.

It is list scheduling by critical path (Graham 1969; Hu 1961): of the nodes whose arguments are there, the one with the
longest remaining cost comes next. Over that, forks come first, then what leads to forks, and waits last, so that
others have work as early as they can, and this thread waits as late as it can.
"""

from __future__ import annotations

import heapq

from asyncjit.graph.ir import FORK, WAIT, Graph, Node

_FORKS, _LEADS_TO_FORK, _PLAIN, _WAITS = range(4)


def schedule(graph: Graph, costs: dict[int, int]) -> list[Node]:
    """Return the nodes in the order to run them; `costs` tells what each body of a fork costs, by its id."""
    body = graph.body
    positions = {id(value): index for index, node in enumerate(body) for value in node.targets}
    givers = [sorted({positions[id(value)] for value in node.arguments if id(value) in positions}) for node in body]
    ranks = _ranks(body, givers, costs)
    takers: list[list[int]] = [[] for _ in body]
    for index, above in enumerate(givers):
        for giver in above:
            takers[giver].append(index)
    missing = [len(above) for above in givers]
    ready = [(*ranks[index], index) for index, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        index = heapq.heappop(ready)[-1]
        order.append(body[index])
        for taker in takers[index]:
            missing[taker] -= 1
            if not missing[taker]:
                heapq.heappush(ready, (*ranks[taker], taker))
    return order


def cost_of(graph: Graph, costs: dict[int, int]) -> int:
    """Return what all nodes of a graph cost together."""
    return sum(_cost_of_node(node, costs) for node in graph.body)


def _cost_of_node(node: Node, costs: dict[int, int]) -> int:
    if node.operation == WAIT:
        return 0
    return node.cost_ns or (1 if node.subgraph is None else costs[id(node.subgraph)])


def _ranks(body: list[Node], givers: list[list[int]], costs: dict[int, int]) -> list[tuple[int, int]]:
    """Return what each node is ordered by: its group, and its remaining cost, longest first."""
    remaining = [0] * len(body)
    leads = [False] * len(body)
    ranks: list[tuple[int, int]] = []
    for index in range(len(body) - 1, -1, -1):
        node = body[index]
        remaining[index] += _cost_of_node(node, costs)
        is_fork = node.operation == FORK
        for giver in givers[index]:
            remaining[giver] = max(remaining[giver], remaining[index])
            leads[giver] = leads[giver] or is_fork or leads[index]
        plain = _LEADS_TO_FORK if leads[index] else _PLAIN
        group = _FORKS if is_fork else _WAITS if node.operation == WAIT else plain
        ranks.append((group, -remaining[index]))
    return ranks[::-1]
