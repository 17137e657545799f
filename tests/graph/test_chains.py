"""How a graph is cut into chains, and which are forked, by given costs."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.graph import Graph, dead_code, inline_fork_wait
from asyncjit.graph.chains import Chain, find_chains, in_order, makespan, mark_forks, span_of
from tests.graph.graphs import call, give, graph_of
from tests.graph.programs import graphs

MIN = 100


def cut(graph: Graph, costs: Sequence[int], num_threads: int = 2) -> list[list[int]]:
    """Return the numbers of each chain's nodes."""
    return [chain.nodes for chain in find_chains(graph, costs, MIN, num_threads)]


def line(length: int) -> Graph:
    """Return so many nodes, each after the other."""
    graph, [value] = graph_of("x")
    for _ in range(length):
        value = call(graph, np.negative, value)
    return give(graph, value)


def diamond(width: int, length: int = 1) -> Graph:
    """Return a node, `width` lines of `length` nodes after it, and a node that takes them all."""
    graph, [x] = graph_of("x")
    top = call(graph, np.negative, x)
    ends = []
    for _ in range(width):
        end = top
        for _ in range(length):
            end = call(graph, np.square, end)
        ends.append(end)
    return give(graph, call(graph, lambda *arrays: sum(arrays), *ends, kind="sum"))


def test_nodes_that_follow_each_other_alone_are_one_chain() -> None:
    assert cut(line(5), [1000] * 5) == [[0, 1, 2, 3, 4]]


def test_a_node_that_two_take_ends_a_chain() -> None:
    assert cut(diamond(2), [1000] * 4) == [[0], [1], [2], [3]]


def test_lines_of_a_diamond_are_a_chain_each() -> None:
    assert cut(diamond(2, 3), [1000] * 8) == [[0], [1, 2, 3], [4, 5, 6], [7]]


def test_a_small_node_joins_the_one_it_follows() -> None:
    assert cut(diamond(2), [1000, 1, 1000, 1000]) == [[0, 1], [2], [3]]


def test_a_small_node_at_the_top_joins_the_only_one_after_it() -> None:
    graph, [x] = graph_of("x")
    left = call(graph, np.square, call(graph, np.negative, x))
    right = call(graph, np.cbrt, x)
    give(graph, call(graph, np.add, call(graph, np.add, left, right), x))
    assert cut(graph, [1, 1000, 1000, 1, 1]) == [[2], [0, 1], [3, 4]]


def test_small_siblings_are_batched_for_the_threads() -> None:
    chains = find_chains(diamond(100), [1000, *[60] * 100, 1000], MIN, 2)
    batches = [chain for chain in chains if len(chain.nodes) > 1]
    assert sorted(chain.cost_ns for chain in batches) == [540] + [780] * 7  # 6000 in four batches a thread


def test_few_small_siblings_stay_with_the_others() -> None:
    assert cut(diamond(3), [1000, 1, 1, 1, 1000]) == [[0, 1, 2, 3], [4]]


def test_a_chain_of_ten_thousand_is_cut_in_one_pass() -> None:
    assert cut(line(10_000), [10] * 10_000) == [list(range(10_000))]


@pytest.mark.parametrize(
    ("costs", "forked", "reasons"),
    [
        ([1000, 1000, 1000, 1000], [1, 2], {0: "nothing of weight can run beside it", 3: "nothing of weight"}),
        ([1, 1000, 1000, 1], [1, 2], {0: "too small for a fork", 3: "too small for a fork"}),
        ([1000, 1000, 1, 1000], [], {0: "nothing of weight"}),
    ],
)
def test_what_is_independent_and_worth_it_is_forked(
    costs: list[int], forked: list[int], reasons: dict[int, str]
) -> None:
    chains = find_chains(diamond(2), costs, MIN, 2)
    mark_forks(chains, MIN)
    assert [number for chain in chains if chain.is_forked for number in chain.nodes] == forked
    by_node = {number: chain for chain in chains for number in chain.nodes}
    for number, reason in reasons.items():
        assert reason in by_node[number].reason


@pytest.mark.parametrize(("num_threads", "expected_ns"), [(1, 6000), (2, 4000), (3, 4000), (4, 3000)])
def test_the_makespan_is_that_of_list_scheduling(num_threads: int, expected_ns: int) -> None:
    chains = find_chains(diamond(4), [1000] * 6, MIN, 2)
    assert makespan(chains, num_threads, 0) == expected_ns


def test_the_span_is_the_longest_path_of_nodes_whatever_the_chains_are() -> None:
    assert span_of(diamond(4), [10, 1, 2, 3, 4, 10]) == 24
    assert span_of(line(3), [1, 2, 3]) == 6
    assert span_of(line(0), []) == 0


def test_a_forked_chain_costs_a_hop() -> None:
    chains = find_chains(diamond(2), [1000, 1000, 1000, 1000], MIN, 2)
    mark_forks(chains, MIN)
    assert makespan(chains, 2, 50) == 3050


@given(graphs(), st.data())
def test_chains_hold_every_node_once_and_need_no_later_one(graph: Graph, data: st.DataObject) -> None:
    serial = dead_code(inline_fork_wait(graph))
    costs = data.draw(st.lists(st.sampled_from([1, 60, 1000]), min_size=len(serial.body), max_size=len(serial.body)))
    chains = find_chains(serial, costs, MIN, 2)
    assert sorted(number for chain in chains for number in chain.nodes) == list(range(len(serial.body)))
    assert sum(chain.cost_ns for chain in chains) == sum(costs)
    seen: set[Chain] = set()
    for chain in chains:
        assert chain.before <= seen
        seen.add(chain)
    assert in_order(chains) == chains
    assert all(other in chain.after for chain in chains for other in chains if chain in other.before)
