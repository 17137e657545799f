"""The pass `auto_fork`: a serial graph made parallel, where it pays.

It measures every node on the example, cuts the graph into chains (`chains.py`), and forks those that are worth it. The
root forks them all as soon as their inputs are at hand or under way: a fork is given the futures of the forks it needs,
and waits for them itself, so nothing but the graph decides what runs when. If the whole is not expected to gain, or
turns out not to (kernels that hold the GIL stand in each other's way), the graph stays serial.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from asyncjit._core.settings import get_num_interop_threads
from asyncjit._core.tasks import refuse_loop
from asyncjit.graph.chains import Chain, find_chains, makespan, mark_forks, span_of
from asyncjit.graph.copying import copy_node, copy_param
from asyncjit.graph.costs import measure_hop, measure_nodes, measure_runs
from asyncjit.graph.inlining import inline_fork_wait
from asyncjit.graph.interpreter import Interpreter
from asyncjit.graph.ir import FORK, WAIT, FutureType, Graph, Guard, Node, Value
from asyncjit.graph.pruning import dead_code
from asyncjit.graph.report import Part, Report
from asyncjit.graph.trees import Ref, fill, leaves_at

MIN_GAIN = 1.1  # chosen: below it the forks' own cost may be more than what is gained
MAX_NAMED = 4  # chosen: operations of a chain that the report names
HOPS_PER_FORK = 2  # a fork that takes less than the hop there and the one back had better stay where it is


@dataclass(eq=False)
class ForkedGraph(Graph):
    """A graph that `auto_fork` made."""

    account: Report = field(kw_only=True)

    def report(self) -> Report:
        """Return what was measured and decided; `print` it."""
        return self.account


def auto_fork(graph: Graph, example_inputs: Any) -> ForkedGraph:
    """Return the graph with what is independent forked, if that makes it faster; it gives the same values.

    The nodes are measured on the example, one thread computing; then the graph is run on it, forked and not. Forks that
    are in the graph are taken out first. How many threads there are to gain from is the current runtime's number of
    inter-op threads.

    Parameters
    ----------
    graph : Graph
        Left alone.
    example_inputs : tuple, array, or dict
        As `trace` takes them. Not changed.

    Returns
    -------
    Graph
        Its `report()` tells work, span, the expected speed-up, what was forked, and why not the rest.

    Raises
    ------
    TypeError
        If the example is not what the graph takes.
    ValueError
        If the graph returns a future.
    WaitOnEventLoopError
        On an event loop's thread: write `await call(auto_fork, graph, example_inputs)`.
    """
    refuse_loop("auto_fork(graph, example_inputs)", "await asyncjit.call(auto_fork, graph, example_inputs)")
    serial = dead_code(inline_fork_wait(graph))
    if any(node.operation == FORK for node in serial.body):
        raise ValueError(
            f"{graph.name} returns a future, so its fork can't be taken out: wait for it before you return"
        )
    inputs = flat_inputs(serial, example_inputs)
    made = fork_chains(serial, measure_nodes(serial, inputs), get_num_interop_threads(), measure_hop())
    if not made.account.forked:
        return made
    args, kwargs = fill(serial.signature, inputs)
    interpreters = Interpreter(serial), Interpreter(made)
    serial_ns, forked_ns = measure_runs([partial(interpreter, *args, **kwargs) for interpreter in interpreters])
    account = replace(made.account, serial_ns=serial_ns, forked_ns=forked_ns)
    if forked_ns < serial_ns:
        return replace(made, account=account)
    unforked = [part._replace(reason="the whole was no faster with it") for part in account.forked]
    return _with_account(serial, replace(account, forked=[], unforked=unforked + account.unforked))


def fork_chains(serial: Graph, costs: Sequence[int], num_threads: int, hop_ns: int) -> ForkedGraph:
    """Return a graph without forks forked as its nodes' costs in ns, and that of a fork on another thread, suggest."""
    for node, cost in zip(serial.body, costs, strict=True):
        node.cost_ns = cost
    min_cost_ns = HOPS_PER_FORK * hop_ns
    chains = find_chains(serial, costs, min_cost_ns, num_threads)
    mark_forks(chains, min_cost_ns)
    expected_ns = makespan(chains, num_threads, hop_ns)
    if sum(costs) < MIN_GAIN * expected_ns:
        for chain in chains:
            if chain.is_forked:
                chain.is_forked = False
                chain.reason = "the whole would not gain"
        expected_ns = sum(costs)
    parts = [_part(chain, [serial.body[number] for number in chain.nodes]) for chain in chains]
    account = Report(
        work_ns=sum(costs),
        span_ns=span_of(serial, costs),
        expected_ns=expected_ns,
        num_threads=num_threads,
        hop_ns=hop_ns,
        forked=[part for part, chain in zip(parts, chains, strict=True) if chain.is_forked],
        unforked=[part for part, chain in zip(parts, chains, strict=True) if not chain.is_forked],
    )
    return _with_account(_Builder(serial, chains).build() if account.forked else serial, account)


def _with_account(graph: Graph, account: Report) -> ForkedGraph:
    made = ForkedGraph(**{item.name: getattr(graph, item.name) for item in fields(Graph)}, account=account)
    made.lint()
    return made


def flat_inputs(graph: Graph, example_inputs: Any) -> list[Any]:
    """Return example inputs as the graph's flat ones; TypeError if they are not what it takes."""
    args, kwargs = ((), example_inputs) if isinstance(example_inputs, dict) else (example_inputs, {})
    try:
        return leaves_at(graph.signature, (args if isinstance(args, tuple) else (args,), kwargs))
    except ValueError as error:
        raise TypeError(f"the example inputs are not what {graph.name} takes: {error}") from None


class _Builder:
    """Makes the forked graph: for each old value that a graph holds, its new one."""

    def __init__(self, serial: Graph, chains: Sequence[Chain]) -> None:
        self.serial = serial
        self.chains = chains
        self.root = Graph(serial.name, signature=serial.signature, names=serial.names)
        self.known = {id(value): copy_param(value, self.root) for value in serial.params}
        self.futures: dict[Chain, Value] = {}
        self.given: dict[Chain, list[Value]] = {}  # the old values that a forked chain returns
        self.home = {id(v): chain for chain in chains for n in chain.nodes for v in serial.body[n].targets}
        self.guards: dict[int, list[Guard]] = defaultdict(list)
        for guard in serial.guards:
            self.guards[id(guard.value)].append(guard)
        self.takers: dict[int, set[Chain]] = defaultdict(set)
        for chain in chains:
            for number in chain.nodes:
                for value in serial.body[number].arguments:
                    self.takers[id(value)].add(chain)
        self.returned = set(map(id, serial.returns))
        self.num_forks = 0

    def build(self) -> Graph:
        for chain in self.chains:
            if chain.is_forked:
                self._fork(chain)
            else:
                self._copy_nodes(chain, self.root, self.known, self.futures)
        for value in self.serial.returns:
            self._fetch(value, self.root, self.known, self.futures)
        root = self.root
        root.results = self.serial.results
        root.returns = [self.known[id(value)] for value in self.serial.returns]
        self._copy_guards(self.serial.params, self.known, root)
        return root

    def _copy_guards(self, values: Sequence[Value], known: dict[int, Value], into: Graph) -> None:
        for value in values:
            for guard in self.guards.get(id(value), ()):
                into.guards.append(Guard(known[id(value)], guard.what, guard.expected, guard.place))

    def _copy_nodes(self, chain: Chain, into: Graph, known: dict[int, Value], futures: dict[Chain, Value]) -> None:
        nodes = [self.serial.body[number] for number in chain.nodes]
        for node in nodes:
            for value in node.arguments:
                self._fetch(value, into, known, futures)
            copy = copy_node(node, [known[id(value)] for value in node.arguments], into)
            known.update(zip(map(id, node.targets), copy.targets, strict=True))
        self._copy_guards([value for node in nodes for value in node.targets], known, into)

    def _fetch(self, value: Value, into: Graph, known: dict[int, Value], futures: dict[Chain, Value]) -> None:
        """Have `into` hold a value: if a fork gives it, by a wait for that."""
        if id(value) in known:
            return
        chain = self.home[id(value)]
        results = self.given[chain]
        wait = Node(WAIT, [futures[chain]], results=_listed(results))
        known.update(zip(map(id, results), into.append(wait, [v.type for v in results]), strict=True))

    def _fork(self, chain: Chain) -> None:
        nodes = [self.serial.body[number] for number in chain.nodes]
        own = {id(value) for node in nodes for value in node.targets}
        needed = {id(v): v for node in nodes for v in node.arguments if id(v) not in own}
        body = Graph(f"prim::fork_{self.num_forks}", names=self.serial.names)
        self.num_forks += 1
        known: dict[int, Value] = {}
        futures: dict[Chain, Value] = {}
        arguments = []
        for value in needed.values():
            if id(value) in self.known:
                known[id(value)] = copy_param(self.known[id(value)], body)
                arguments.append(self.known[id(value)])
            elif self.home[id(value)] not in futures:
                giver = self.home[id(value)]
                futures[giver] = copy_param(self.futures[giver], body)
                arguments.append(self.futures[giver])
        self._copy_nodes(chain, body, known, futures)
        results = self.given[chain] = [value for node in nodes for value in node.targets if self._leaves(value, chain)]
        body.results, body.returns = _listed(results), [known[id(value)] for value in results]
        fork = Node(FORK, arguments, subgraph=body, place=nodes[0].place)
        fork.cost_ns = chain.cost_ns
        (self.futures[chain],) = self.root.append(fork, [FutureType(body.return_types())])

    def _leaves(self, value: Value, chain: Chain) -> bool:
        """Whether a value of a chain is needed outside of it."""
        return id(value) in self.returned or bool(self.takers.get(id(value), set()) - {chain})


def _listed(values: Sequence[Value]) -> Any:
    """Return the template of one value, or of a tuple of them."""
    return Ref(0) if len(values) == 1 else tuple(Ref(index) for index in range(len(values)))


def _part(chain: Chain, nodes: list[Node]) -> Part:
    name = ", ".join(node.operation for node in nodes[:MAX_NAMED])
    more = f" and {len(nodes) - MAX_NAMED} more" if len(nodes) > MAX_NAMED else ""
    place = f" ({nodes[0].place})" if nodes[0].place is not None else ""
    return Part(name + more, place, chain.cost_ns, chain.reason)
