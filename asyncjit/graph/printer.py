"""A graph as text, in TorchScript's form.

::

    graph(%x : float32[3]):
      %1 : Future[float32[3]] = prim::fork_0(%x) # model.py:41:0
      %2 : float32[3] = aten::wait(%1) # model.py:43:0
      %3 : float32[] = numpy::sum[axis=0](%2) # model.py:44:0
      return (%3)
    with prim::fork_0 = graph(%x : float32[3]):
      ...

Unlike there, constants are no nodes: those given by name stand in brackets, with a layer's own settings, and all others
among the arguments. This module lies below the graph's own, and knows it only by its attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from asyncjit.graph.trees import Ref, is_flat, refs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asyncjit.graph.ir import Graph, Node, Value

MAX_LENGTH = 60  # chosen: characters of a constant
MAX_SIZE = 4  # chosen: elements of an array that is shown whole


def show_graph(graph: Graph) -> str:
    """Return the graph and all graphs below it as text."""
    return "\n".join(line for part in graph.subgraphs() for line in _lines(part, is_root=part is graph))


def _lines(graph: Graph, *, is_root: bool) -> Iterator[str]:
    prefix = "" if is_root else f"with {graph.name} = "
    params = ",\n      ".join(map(repr, graph.params))
    yield f"{prefix}graph({params}):"
    for node in graph.body:
        yield f"  {show_node(node)}"
    yield f"  return ({show_listed(graph.results, names_of(graph.returns))})"


def show_node(node: Node) -> str:
    """Return a node as a line of text: `%5 : float32[] = numpy::sum[axis=1](%a) # model.py:41:0`."""
    given = ", ".join(map(repr, node.targets))
    if node.subgraph is None and node.targets and not is_flat(node.results):
        given = show_listed(node.results, [repr(value) for value in node.targets])
    place = "" if node.place is None else f" # {node.place}:0"
    return f"{given}{' = ' if given else ''}{show_call(node)}{place}"


def show_call(node: Node) -> str:
    """Return what a node calls, with all arguments: `numpy::sum[axis=1](%a)`."""
    names = names_of(node.arguments)
    if node.fn is None:
        return f"{label_of(node)}({', '.join(names)})"
    positional = [show(item, names) for item in node.args]
    by_name = [f"{key}={show(item, names)}" for key, item in node.kwargs.items() if refs_of(item)]
    return f"{label_of(node)}({', '.join(positional + by_name)})"


def label_of(node: Node) -> str:
    """Return a node's kind with its constant settings, `numpy::sum[axis=1]`; for a fork the name of its body."""
    if node.subgraph is not None:
        return node.subgraph.name
    settings = [_settings_of(node.fn)] if node.operation.startswith("nn::") else []
    settings += [f"{key}={show(item, ())}" for key, item in node.kwargs.items() if not refs_of(item)]
    inner = ", ".join(filter(None, settings))
    return f"{node.operation}[{inner}]" if inner else node.operation


def names_of(values: Sequence[Value]) -> list[str]:
    """Return the names of values, as they are shown."""
    return [f"%{value.name}" for value in values]


def show_listed(template: Any, names: Sequence[str]) -> str:
    """Return a template as Python lists results: without the parentheses of a tuple."""
    text = show(template, names)
    return text[1:-1] if type(template) is tuple and template else text


def show(template: Any, names: Sequence[str]) -> str:
    """Return a template with names in the place of its leaves."""
    kind = type(template)
    if isinstance(template, Ref):
        return names[template.index]
    if isinstance(template, tuple):
        inner = ", ".join(show(item, names) for item in template)
        return f"({inner},)" if len(template) == 1 else f"({inner})"
    if kind is list:
        return f"[{', '.join(show(item, names) for item in template)}]"
    if kind is dict:
        return f"{{{', '.join(f'{key!r}: {show(item, names)}' for key, item in template.items())}}}"
    if kind is slice:
        bounds = [template.start, template.stop] + ([] if template.step is None else [template.step])
        return ":".join("" if bound is None else show(bound, names) for bound in bounds)
    return _show_constant(template)


def _show_constant(constant: Any) -> str:
    if constant is Ellipsis:
        return "..."
    if isinstance(constant, np.ndarray):
        whole = f" {constant.tolist()}" if constant.size <= MAX_SIZE and constant.dtype.kind in "biufc" else ""
        return f"<{constant.dtype}[{', '.join(map(str, constant.shape))}]{whole}>"
    if isinstance(constant, np.dtype):
        return str(constant)
    name = getattr(constant, "__qualname__", None)
    if isinstance(name, str):  # a class or a function, whose repr has an address
        return f"{constant.__module__}.{name}"
    return _short(repr(constant))


def _settings_of(layer: Any) -> str:
    """Return what stands between the parentheses of a layer's repr, if that is one line."""
    text, kind = repr(layer), type(layer).__name__
    is_plain = text.startswith(f"{kind}(") and text.endswith(")") and "\n" not in text
    return _short(text[len(kind) + 1 : -1]) if is_plain else ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
