"""Steps: what a plan does, as small functions of the registers, a list in which a run keeps its values.

Templates are taken apart here, once, so that the usual call costs little more than itself: a look at each argument's
register, the call, and one assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from types import FrameType, SimpleNamespace
from typing import Any, cast

import numpy as np

from asyncjit._core.context import current
from asyncjit._core.forking import start
from asyncjit._core.splitting import NumpyFunction, Split, splits
from asyncjit.errors import TraceError
from asyncjit.graph.ir import Guard, Node, Place
from asyncjit.graph.trees import Ref, is_flat, leaves_at

Registers = list[Any]
Step = Callable[[Registers], None]
Reader = Callable[[Registers], Any]

_CODE = (lambda: None).__code__


def call_step(node: Node, sources: Sequence[int], targets: Sequence[int], *, is_alone: bool = False) -> Step:
    """Return the step that calls a node's function; alone in a fork, it splits what a fork by name would split."""
    fn: Any = node.fn
    if is_alone and (type(fn) is np.ufunc or type(fn) is NumpyFunction):
        fn = _splitting(fn)
    if node.kwargs and _is_constant(tuple(node.kwargs.values())):
        fn = partial(fn, **node.kwargs)
    elif node.kwargs:
        return _calling_anyhow(fn, node, sources, targets)
    if type(node.results) is not Ref or not all(type(item) is Ref for item in node.args):
        return _calling_anyhow(fn, node, sources, targets)
    places = [sources[item.index] for item in node.args]
    (target,) = targets
    if len(places) == 1:
        return _calling_with_one(fn, places[0], target)
    if len(places) == 2:
        return _calling_with_two(fn, places[0], places[1], target)
    return _calling_with_many(fn, places, target)


def _splitting(fn: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return (Split(fn) if splits(fn, args) else fn)(*args, **kwargs)

    return call


def _calling_with_one(fn: Any, source: int, target: int) -> Step:
    def step(registers: Registers) -> None:
        registers[target] = fn(registers[source])

    return step


def _calling_with_two(fn: Any, first: int, second: int, target: int) -> Step:
    def step(registers: Registers) -> None:
        registers[target] = fn(registers[first], registers[second])

    return step


def _calling_with_many(fn: Any, places: list[int], target: int) -> Step:
    def step(registers: Registers) -> None:
        registers[target] = fn(*[registers[place] for place in places])

    return step


def _calling_anyhow(fn: Any, node: Node, sources: Sequence[int], targets: Sequence[int]) -> Step:
    args, write = reader(list(node.args), sources), writer(node, targets)
    kwargs = reader({} if type(fn) is partial else node.kwargs, sources)

    def step(registers: Registers) -> None:
        write(registers, fn(*args(registers), **kwargs(registers)))

    return step


def fork_step(node: Node, kernel: Any, sources: Sequence[int], target: int, dying: Sequence[int]) -> Step:
    """Return the step that forks `kernel`, which takes over a list of its inputs; the registers `dying` forget them."""
    site = _site_of(node)

    def step(registers: Registers) -> None:
        inputs = [registers[source] for source in sources]
        for place in dying:  # before the fork: it may begin, and be done with them, before `start` returns
            registers[place] = None
        registers[target] = start(kernel, (inputs,), {}, current.get(), site)

    return step


def take_step(node: Node, source: int, targets: Sequence[int]) -> Step:
    """Return the step after a wait: it puts away what the future gives."""
    write = writer(node, targets)

    def step(registers: Registers) -> None:
        write(registers, registers[source].result())

    return step


def clear_step(places: Sequence[int]) -> Step:
    """Return the step that forgets what nobody uses any longer."""

    def step(registers: Registers) -> None:
        for place in places:
            registers[place] = None

    return step


def guard_step(guard: Guard, source: int) -> Step:
    """Return the step that compares what was read of a value while tracing."""
    what, expected = guard.what, guard.expected

    def read(value: Any) -> Any:
        if not hasattr(type(value), "shape"):
            value = np.asarray(value)
        if isinstance(what, str):
            return getattr(value, what)
        try:
            return value.shape[what]  # and nothing else: if the graph is traced anew, what is read is guarded there
        except IndexError:
            return None

    def step(registers: Registers) -> None:
        found = read(registers[source])
        if found != expected:
            raise TraceError(_tell_violated(guard, registers[source], found))

    return step


def _tell_violated(guard: Guard, value: Any, found: Any) -> str:
    node, place = guard.value.node, guard.place
    who = f"the input {guard.value.name}" if node is None else f"%{guard.value.name}, which {node.kind()} gives,"
    name = guard.what if isinstance(guard.what, str) else f"size in dimension {guard.what}"
    read = "was read while tracing" if place is None else f"was read at {place} in {place.function} while tracing"
    now = "this dimension is missing" if found is None else f"it is {found}"
    return (
        f"the {name} of {who} {read}, and was {guard.expected}; now {now} (traced: {guard.value.type}, "
        f"given: {show_type(value)}). The graph holds for {guard.expected} only: trace the function anew for others"
    )


def show_type(value: Any) -> str:
    """Return the type of a value in the manner of the graph's types."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return type(value).__name__


def reader(template: Any, sources: Sequence[int], *, copies: bool = False) -> Reader:
    """Return what fills a template from the registers; what can be changed is made anew each time.

    Constant arrays are copied only if asked for: who gets them may write into them.
    """
    kind = type(template)
    if copies and isinstance(template, np.ndarray):
        return lambda registers: template.copy(order="K")
    if not copies and _is_constant(template):
        return lambda registers: template
    if kind is Ref:
        return itemgetter(sources[template.index])
    if isinstance(template, tuple):
        items = [reader(item, sources, copies=copies) for item in template]
        make: Any = kind if kind is tuple else kind._make
        return lambda registers: make(item(registers) for item in items)
    if kind is list:
        items = [reader(item, sources, copies=copies) for item in template]
        return lambda registers: [item(registers) for item in items]
    if kind is dict:
        named = [(key, reader(item, sources, copies=copies)) for key, item in template.items()]
        return lambda registers: {key: item(registers) for key, item in named}
    if kind is slice:
        bounds = reader((template.start, template.stop, template.step), sources, copies=copies)
        return lambda registers: slice(*bounds(registers))
    return lambda registers: template


def _is_constant(template: Any) -> bool:
    """Whether one object can stand for a template in every run: nothing in it comes from the run or can change."""
    if isinstance(template, tuple):
        return all(map(_is_constant, template))
    if type(template) is slice:
        return _is_constant((template.start, template.stop, template.step))
    return type(template) not in (Ref, list, dict)


def writer(node: Node, targets: Sequence[int]) -> Callable[[Registers, Any], None]:
    """Return what puts the leaves of what a node gives into the registers."""
    template = node.results
    if type(template) is Ref:
        (target,) = targets
        return lambda registers, tree: registers.__setitem__(target, tree)
    is_plain = is_flat(template)

    def write(registers: Registers, tree: Any) -> None:
        if not is_plain or type(tree) is not tuple or len(tree) != len(targets):
            try:
                tree = leaves_at(template, tree)
            except ValueError as error:
                raise TraceError(f"{node.kind()} gave something else than when it was traced: {error}") from None
        for target, leaf in zip(targets, tree, strict=True):
            registers[target] = leaf

    return write


def _site_of(node: Node) -> FrameType:
    """Return what looks to a fork like the frame that made it: a place in the traced code."""
    assert node.subgraph is not None
    place = node.place or Place("<graph>", 1, node.subgraph.name)
    code = _CODE.replace(co_filename=place.filename, co_name=place.function, co_firstlineno=place.line)
    return cast("FrameType", SimpleNamespace(f_code=code, f_lasti=0, f_lineno=place.line, f_back=None))
