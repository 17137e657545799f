"""`trace`: a function's graph, taken down while the function runs once on arrays without values."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import update_wrapper
from typing import Any

import numpy as np

from asyncjit._core.context import ROOT, Scope, current
from asyncjit._core.tasks import refuse_loop
from asyncjit.errors import TraceError
from asyncjit.graph.auto_forking import ForkedGraph, auto_fork
from asyncjit.graph.bodies import is_traced
from asyncjit.graph.checking import check_traced
from asyncjit.graph.dummies import is_array
from asyncjit.graph.interpreter import Interpreter
from asyncjit.graph.ir import Graph
from asyncjit.graph.places import refuse, user_place
from asyncjit.graph.recording import Recorder
from asyncjit.graph.report import Report
from asyncjit.graph.trees import Ref, fill, is_flat, leaves_of, map_tree


class TracedFunction(Interpreter):
    """A function as its graph: called like it, it runs the graph; made by `trace`.

    Attributes
    ----------
    graph : Graph
    original : callable
        What was traced.
    """

    def __init__(self, graph: Graph, original: Callable[..., Any]) -> None:
        super().__init__(graph)
        update_wrapper(self, original, updated=())
        self.original = original
        self._parameters = _parameters(original)
        self._signature = self._bound(*self._signature)
        self._is_flat = is_flat(self._signature[0]) and not self._signature[1]

    def _inputs_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        return super()._inputs_from(*(self._bound(args, kwargs) if kwargs else (args, kwargs)))

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments, however they were given, by position as far as the function's parameters allow it."""
        try:
            bound = self._parameters.bind(*args, **kwargs)
        except TypeError:  # other arguments than the graph's, which tells so with their types
            return args, kwargs
        return bound.args, bound.kwargs

    def report(self) -> Report:
        """Return what `trace(..., parallel=True)` measured and forked, and why not the rest; `print` it.

        Raises
        ------
        ValueError
            If the function was traced without `parallel=True`.
        """
        if not isinstance(self.graph, ForkedGraph):
            raise ValueError(f"{self.graph.name} was traced as it is: trace(fn, inputs, parallel=True) has a report")
        return self.graph.report()

    def __repr__(self) -> str:
        return f"<asyncjit.TracedFunction of {self.graph.name}>"


def trace(
    fn: Callable[..., Any], example_inputs: Any, *, parallel: bool = False, check_trace: bool = True
) -> TracedFunction:
    """Run `fn` once, taking down its operations, forks and waits, and return it as a graph that can be called.

    `fn` gets arrays of the dtypes and shapes of the example, whose values are not there: so nothing is computed, and
    nothing runs in parallel. What would need a value raises. What is read of a shape is fixed in the graph, and
    checked when it runs. Python numbers and all else that is no array are constants.

    Parameters
    ----------
    fn : callable
        A function, `Module`, scripted or coroutine function.
    example_inputs : tuple, array, or dict
        The positional arguments; one array may be given as it is, a dict holds keyword arguments. Arrays in nested
        tuples, lists and dicts are inputs of the graph. Neither kept nor changed.
    parallel : bool, default False
        Fork what is independent and takes long enough, as `auto_fork` does, which measures the example.
    check_trace : bool, default True
        Run `fn` and the graph on the example and on other values, and compare the results bit for bit.

    Returns
    -------
    TracedFunction
        Called with the same arguments, by position or by name.

    Raises
    ------
    TraceError
        Where the function does what a graph cannot show, with the place and what to write instead; and where the
        graph gives other results than the function.
    TypeError
        If `example_inputs` is none of the above, or holds arrays of Python objects.
    WaitOnEventLoopError
        On an event loop's thread: write `await call(trace, fn, example_inputs)`.

    Notes
    -----
    What the function itself raises surfaces as it is, with a note. A function that is traced within a trace has a
    graph of its own; the outer one sees nothing of it. A traced function that is called within a trace adds its nodes.
    Plain arrays that the function uses become constants of the graph: they are not copied, so later changes show; one
    that changes while the function is traced is refused. Returned ones are copied, for each call anew.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit.graph.tracing import trace
    >>> doubled = trace(lambda x: x + x, np.ones(2))
    >>> doubled(np.array([3.0, 4.0]))
    array([6., 8.])
    >>> [node.kind() for node in doubled.graph.nodes()]
    ['numpy::add']
    """
    refuse_loop("trace(fn, example_inputs)", "await asyncjit.call(trace, fn, example_inputs)")
    if not callable(fn):
        raise TypeError(f"trace needs something to call, got {fn!r} of type {type(fn).__name__}: trace(fn, inputs)")
    args, kwargs = _arguments(example_inputs)
    graph = contextvars.copy_context().run(_record, fn, args, kwargs)
    if parallel:  # the one place where the graph is made parallel
        graph = auto_fork(graph, example_inputs)
    traced = TracedFunction(graph, fn)
    if check_trace:
        contextvars.copy_context().run(_check, traced, args, kwargs)
    return traced


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(example_inputs, dict):
        kwargs = example_inputs
    elif isinstance(example_inputs, tuple):
        args = example_inputs
    elif is_array(example_inputs):
        args = (example_inputs,)
    else:
        raise TypeError(
            "example_inputs is a tuple of positional arguments, one array, or a dict of keyword arguments, got "
            f"{example_inputs!r} of type {type(example_inputs).__name__}"
        )
    for leaf in leaves_of((args, kwargs)):
        if is_traced(leaf):
            refuse(
                f"the example input {leaf!r} is a traced array", "give the inner trace plain ones, or call its function"
            )
        if isinstance(leaf, np.ndarray) and (leaf.dtype.hasobject or isinstance(leaf, (np.ma.MaskedArray, np.matrix))):
            raise TypeError(f"an example input of {type(leaf).__name__} and dtype {leaf.dtype} cannot be traced")
    return args, kwargs


def _outside() -> Scope:
    """Return a scope like the caller's, in which nothing is recorded."""
    above = current.get()
    env = ROOT if above is None else above.env
    return Scope(above, None if above is None else above.runtime, replace(env, handler=None))


def _record(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    name = getattr(fn, "__name__", type(fn).__name__)
    outside = _outside()
    recorder = Recorder(name, outside)
    inside = Scope(outside, outside.runtime, replace(outside.env, handler=recorder))
    traced_args, traced_kwargs = _inputs(recorder, fn, args, kwargs)
    current.set(inside)
    try:
        result = recorder.run(fn, traced_args, traced_kwargs)
        recorder.root.returns(result, f"{name}()")
        for error in recorder.refusals[:1]:  # it was caught
            raise error
        recorder.constants.check()
    except TraceError:
        raise
    except BaseException as error:
        if isinstance(error.__cause__, TraceError):  # NumPy tells an error in a conversion as one of its own
            raise error.__cause__ from None
        error.add_note(f"while tracing {name}")
        raise
    finally:
        recorder.is_open = False
    recorder.root.graph.lint()
    return recorder.root.graph


def _inputs(recorder: Recorder, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return the arguments with traced arrays in the place of arrays, which become the graph's inputs."""
    inputs: list[Any] = []

    def template_of(tree: Any, name: str) -> Any:
        def place_of(leaf: Any) -> Any:
            if not is_array(leaf):
                return leaf
            inputs.append(recorder.input(leaf, name))
            return Ref(len(inputs) - 1)

        return map_tree(place_of, tree)

    signature = (
        tuple(map(template_of, args, _names(fn, len(args)))),
        {name: template_of(tree, name) for name, tree in kwargs.items()},
    )
    recorder.root.graph.signature = signature
    filled: tuple[Any, Any] = fill(signature, inputs)
    return filled


def _parameters(fn: Any) -> inspect.Signature:
    """Return the parameters of a function or module; any, where they cannot be known."""
    try:
        return inspect.signature(getattr(fn, "forward", fn))
    except (TypeError, ValueError):
        return inspect.signature(lambda *args, **kwargs: None)


def _names(fn: Any, num_args: int) -> Sequence[str]:
    """Return the names of the positional parameters, as far as they can be known."""
    parameters = _parameters(fn).parameters.values()
    names = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return (names + [""] * num_args)[:num_args]


def _check(traced: TracedFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    current.set(_outside())
    check_traced(traced.original, traced, args, kwargs, user_place())
