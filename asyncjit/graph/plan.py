"""Plans: a graph made ready to run, once, for any number of runs at once.

Values live in numbered registers, which are given out anew as values are used for the last time, so most are forgotten
without a step of their own. The nodes between two waits are a list of steps that one thread runs through; a plan
without waits is a plain kernel, one with waits a scripted coroutine, which gives its thread back in each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asyncjit._core.stepping import ScriptFunction, pause, run_blocking
from asyncjit.graph.ir import FORK, WAIT, Graph, Node, Place
from asyncjit.graph.scheduling import cost_of, schedule
from asyncjit.graph.steps import (
    Registers,
    Step,
    call_step,
    clear_step,
    fork_step,
    guard_step,
    reader,
    take_step,
)

Kernels = dict[int, Callable[[Registers], Any]]  #: by the id of the fork's body


def plan_of(graph: Graph) -> Plan:
    """Return the plan of a graph, those of all bodies below made as well."""
    costs: dict[int, int] = {}
    kernels: Kernels = {}
    for part in reversed(list(graph.subgraphs())):  # those below first
        plan = Plan(part, schedule(part, costs), kernels, is_below=part is not graph)
        costs[id(part)] = cost_of(part, costs)
        kernels[id(part)] = plan.as_kernel()
    return plan


class Plan:
    """How to run a graph.

    A run takes its inputs in a list, which becomes its registers: what is in it goes after its last use.

    Attributes
    ----------
    name : str
        Of the graph.
    waits : bool
        Whether it must be run by `run_waiting`.
    """

    def __init__(self, graph: Graph, order: list[Node], kernels: Kernels, *, is_below: bool) -> None:
        layout = _Layout(graph, order)
        self.name = graph.name
        self._parts: list[tuple[int | None, list[Step]]] = [(None, [])]  # each a wait's register and the steps after it
        self._nodes: dict[Step, Node] = {}
        self._add(layout.before())
        for node in order:
            sources, targets, dying, after = layout.place(node)
            if node.operation == WAIT:
                self._parts.append((sources[0], [take_step(node, sources[0], targets)]))
            elif node.operation == FORK:
                self._add_step(node, fork_step(node, kernels[id(node.subgraph)], sources, targets[0], dying))
            else:
                is_alone = is_below and len(order) == 1
                self._add_step(node, call_step(node, sources, targets, is_alone=is_alone))
            self._add(after)
        self.waits = len(self._parts) > 1
        self._num_empty = layout.num_registers - len(graph.params)
        self._result = reader(
            graph.results, [layout.registers[id(value)] for value in graph.returns], copies=not is_below
        )

    def _add(self, steps: list[Step]) -> None:
        self._parts[-1][1].extend(steps)

    def _add_step(self, node: Node, step: Step) -> None:
        self._nodes[step] = node
        self._add([step])

    def run(self, registers: Registers) -> Any:
        """Return what the graph returns for these inputs; only for a plan without waits."""
        registers += [None] * self._num_empty
        self._run_steps(self._parts[0][1], registers)
        return self._result(registers)

    async def run_waiting(self, registers: Registers) -> Any:
        """Return what the graph returns for these inputs."""
        registers += [None] * self._num_empty
        for future, steps in self._parts:
            if future is not None:
                await pause(registers[future])
            self._run_steps(steps, registers)
        return self._result(registers)

    def _run_steps(self, steps: list[Step], registers: Registers) -> None:
        try:
            for step in steps:
                step(registers)
        except Exception as error:
            if step in self._nodes:  # a wait's error was told where it arose, and a guard's says all itself
                note_once(error, describe(self._nodes[step]))
            raise

    def as_kernel(self) -> Callable[[Registers], Any]:
        """Return what to fork: it bears the name of the graph."""

        def kernel(inputs: Registers) -> Any:
            return self.run(inputs)

        def blocking(inputs: Registers) -> Any:
            return run_blocking(self.run_waiting(inputs))

        fn = blocking if self.waits else kernel
        fn.__name__ = fn.__qualname__ = self.name
        return ScriptFunction(fn, self.run_waiting, "") if self.waits else fn


class _Layout:
    """Which value is in which register, while the nodes come in their order."""

    def __init__(self, graph: Graph, order: list[Node]) -> None:
        self._params = graph.params
        self._guards: dict[int, list[Any]] = {}
        for guard in graph.guards:
            self._guards.setdefault(id(guard.value), []).append(guard)
        self._last_takers: dict[int, Node | None] = {id(v): node for node in order for v in node.arguments}
        self._last_takers.update((id(value), None) for value in graph.returns)
        self.registers = {id(value): index for index, value in enumerate(graph.params)}
        self.num_registers = len(graph.params)
        self._free: list[int] = []

    def before(self) -> list[Step]:
        """Return the steps before all nodes."""
        places = [self.registers[id(value)] for value in self._params]
        return self._after([id(value) for value in self._params], places, [])

    def place(self, node: Node) -> tuple[list[int], list[int], list[int], list[Step]]:
        """Return the registers that a node takes from, gives to, and is the last to use; and the steps after it."""
        sources = [self.registers[id(value)] for value in node.arguments]
        last = {id(value) for value in node.arguments if self._last_takers[id(value)] is node}
        dying = sorted(self.registers[key] for key in last)
        self._free += dying
        targets = [self._take() for _ in node.targets]
        keys = [id(value) for value in node.targets]
        self.registers.update(zip(keys, targets, strict=True))
        dead = [place for place in dying if place not in targets]
        return sources, targets, dying, self._after(keys, targets, dead)

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        self.num_registers += 1
        return self.num_registers - 1

    def _after(self, keys: list[int], places: list[int], dead: list[int]) -> list[Step]:
        """Return the steps that check the values just given, and forget those that nobody takes and other dead ones."""
        steps = [
            guard_step(guard, place)
            for key, place in zip(keys, places, strict=True)
            for guard in self._guards.get(key, ())
        ]
        unused = [place for key, place in zip(keys, places, strict=True) if key not in self._last_takers]
        self._free += unused
        return [*steps, clear_step(dead + unused)] if dead or unused else steps


def describe(node: Node) -> str:
    """Tell which node it is: `in numpy::matmul, traced at model.py:41 in forward`."""
    return f"in {node.kind()}{'' if node.place is None else f', traced at {show_place(node.place)}'}"


def show_place(place: Place) -> str:
    """Return a place as forks tell theirs: `model.py:41 in forward`."""
    return f"{Path(place.filename).name}:{place.line} in {place.function}"


def note_once(error: Exception, note: str) -> None:
    """Add a note to an error, unless it has it, or takes none."""
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:
        pass
