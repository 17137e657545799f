"""The order of the nodes: forks early, waits late, and the longest remaining cost first."""

from hypothesis import given

from asyncjit.graph import Graph
from asyncjit.graph.scheduling import cost_of, schedule
from tests.graph.graphs import call, fork, future_passed_on, give, graph_of, leaf, nested, wait
from tests.graph.programs import graphs


def named(name: str) -> object:
    def fn(*args: object) -> None:
        """Stand for an operation."""

    fn.__name__ = name
    return fn


def costs_below(graph: Graph) -> dict[int, int]:
    costs: dict[int, int] = {}
    for part in reversed([*graph.subgraphs()]):
        costs[id(part)] = cost_of(part, costs)
    return costs


def order_of(graph: Graph) -> list[str]:
    names = [node.subgraph.name if node.subgraph else node.operation for node in schedule(graph, costs_below(graph))]
    return [name.rpartition("::")[2] for name in names]


def step(graph: Graph, name: str, *args: object, cost: int = 0) -> object:
    value = call(graph, named(name), *args)  # type: ignore[arg-type]
    graph.body[-1].cost_ns = cost
    return value


def test_forks_and_what_leads_to_them_come_first_and_waits_last() -> None:
    graph, [x] = graph_of("x")
    first = fork(graph, leaf("prim::fork_0"), x)
    waited = wait(graph, first)
    other = step(graph, "long", x, cost=1000)
    before = call(graph, named("before"), x)  # type: ignore[arg-type]
    second = fork(graph, leaf("prim::fork_1"), before)
    give(graph, (waited, other, wait(graph, second)))
    assert order_of(graph) == ["fork_0", "before", "fork_1", "long", "wait", "wait"]


def test_of_several_ready_nodes_the_one_with_the_longest_remaining_cost_comes_first() -> None:
    graph, [x] = graph_of("x")
    short = step(graph, "short", x, cost=50)
    begin = step(graph, "begin", x, cost=1)
    end = step(graph, "end", begin, cost=100)
    give(graph, (short, end))
    assert order_of(graph) == ["begin", "end", "short"]


def test_a_fork_costs_what_its_body_costs_or_what_was_measured() -> None:
    graph, [x] = graph_of("x")
    small = fork(graph, leaf("prim::fork_small"), x)
    large = fork(graph, nested(3), x)
    large.node.subgraph.name = "prim::fork_large"  # type: ignore[union-attr]
    give(graph, (wait(graph, small), wait(graph, large)))
    assert order_of(graph)[:2] == ["fork_large", "fork_small"]
    graph.body[0].cost_ns = 1000
    assert order_of(graph)[:2] == ["fork_small", "fork_large"]
    assert cost_of(graph, costs_below(graph)) == 1004


def test_a_wait_comes_after_what_is_ready_however_much_follows_it() -> None:
    graph, [x] = graph_of("x")
    after = step(graph, "after", wait(graph, fork(graph, leaf(), x)), cost=100)
    give(graph, (after, step(graph, "short", x)))
    assert order_of(graph) == ["fork_0", "short", "wait", "after"]


def test_the_wait_that_more_work_follows_comes_first() -> None:
    graph, [x] = graph_of("x")
    first, second = (fork(graph, leaf(f"prim::fork_{number}"), x) for number in range(2))
    short = wait(graph, first)
    after = step(graph, "after", wait(graph, second), cost=10)
    give(graph, (short, after))
    assert order_of(graph) == ["fork_1", "fork_0", "wait", "after", "wait"]


def test_nodes_of_equal_rank_keep_their_order() -> None:
    graph, [x] = graph_of("x")
    give(graph, tuple(step(graph, f"step_{number}", x) for number in range(20)))
    assert order_of(graph) == [f"step_{number}" for number in range(20)]


def test_a_future_passed_to_a_fork_is_there_before_it() -> None:
    assert order_of(future_passed_on()) == ["fork_0", "fork_1", "wait", "add", "wait"]


@given(graphs())
def test_every_node_comes_once_after_all_that_it_takes(graph: Graph) -> None:
    costs = costs_below(graph)
    for part in graph.subgraphs():
        order = schedule(part, costs)
        assert sorted(map(id, order)) == sorted(map(id, part.body))
        part.body = order
    graph.lint()
