"""`Interpreter`: runs a graph on the runtime, as a scripted function would."""

from __future__ import annotations

from typing import Any

import numpy as np

from asyncjit._core.stepping import ScriptFunction, run_blocking
from asyncjit.graph.ir import ArrayType, Graph, Value
from asyncjit.graph.plan import note_once, plan_of
from asyncjit.graph.printer import show
from asyncjit.graph.steps import Registers, show_type
from asyncjit.graph.trees import Ref, is_flat, leaves_at

_OTHER_ARITHMETIC = (np.matrix, np.ma.MaskedArray, list, tuple, dict)  # whose `*` and the like are not NumPy's ufuncs


async def _steps(self: Interpreter, /, *args: Any, **kwargs: Any) -> Any:
    registers = self._inputs_from(args, kwargs)
    del args, kwargs  # from here on the registers alone hold the inputs, each until its last use
    difference = self._difference(registers)
    try:
        return await self._plan.run_waiting(registers) if self._plan.waits else self._plan.run(registers)
    except Exception as error:
        if difference:
            note_once(error, difference)
        raise


def interpreter(self: Interpreter, /, *args: Any, **kwargs: Any) -> Any:
    """Return what the graph returns for these arguments, in the structure of the traced call."""
    return run_blocking(_steps(self, *args, **kwargs))


class Interpreter:
    """Runs a graph, any number of times, also at once.

    Called from a script or a kernel it returns its value; on an event loop's thread, `await call(interpreter, ...)`.
    It can be forked. A fork of the graph is a fork of the runtime; all other nodes run one after the other in the
    calling thread, those with the longest remaining cost first and forks before them, and waits as late as they can.
    Each wait gives the thread back. Values are freed after their last use.

    Parameters
    ----------
    graph : Graph
        Checked by `lint`; not to be changed afterwards. Its `signature` tells how it is called; without one it takes
        its inputs one by one.

    Raises
    ------
    ValueError
        If the graph is not right.
    TypeError
        When it is called with other arguments than in `signature`.
    TraceError
        When it is called, if what was read of a value while tracing (a size, say) is now different.
    WaitOnEventLoopError
        When it is called on an event loop's thread.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit.graph import Graph, Interpreter, Node
    >>> from asyncjit.graph.ir import ArrayType
    >>> from asyncjit.graph.trees import Ref
    >>> graph = Graph("negated")
    >>> x = graph.add_param(ArrayType(np.dtype("float64"), (2,)), "x")
    >>> node = Node("numpy::negative", [x], fn=np.negative, args=(Ref(0),), results=Ref(0))
    >>> graph.returns, graph.results = graph.append(node, [x.type]), Ref(0)
    >>> Interpreter(graph)(np.ones(2))
    array([-1., -1.])
    """

    __call__ = ScriptFunction(interpreter, _steps, "")

    def __init__(self, graph: Graph) -> None:
        graph.lint()
        self.graph = graph
        self.__name__ = graph.name  # so that a fork of it bears the name
        self._plan = plan_of(graph)
        self._signature = graph.signature
        if not any(self._signature):
            self._signature = tuple(Ref(index) for index in range(len(graph.params))), {}
        self._is_flat = is_flat(self._signature[0]) and not self._signature[1]
        self._num_inputs = len(graph.params)

    def _inputs_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Registers:
        if self._is_flat and not kwargs and len(args) == self._num_inputs:
            return list(args)
        try:
            return leaves_at(self._signature, (args, kwargs))
        except ValueError as error:
            raise TypeError(f"{self._show_call()} was traced, and takes arguments of this structure: {error}") from None

    def _show_call(self) -> str:
        args, kwargs = self._signature
        names = [f"{value.name} : {value.type}" for value in self.graph.params]
        shown = [show(item, names) for item in args] + [f"{key}={show(item, names)}" for key, item in kwargs.items()]
        return f"{self.graph.name}({', '.join(shown)})"

    def _difference(self, inputs: Registers) -> str:
        """Tell which inputs are not as they were when the graph was traced, for errors; nothing if all are."""
        different = [
            (value.name, value.type, show_type(item))
            for value, item in zip(self.graph.params, inputs, strict=True)
            if not _is_of(item, value)
        ]
        traced = ", ".join(f"{name} : {type}" for name, type, _ in different)
        return f"traced for {traced}, called with {', '.join(given for *_, given in different)}" if different else ""

    def __repr__(self) -> str:
        return f"<asyncjit.graph.Interpreter of {self.graph.name}>"


def _is_of(item: Any, value: Value) -> bool:
    expected, kind = value.type, type(item)
    if not isinstance(expected, ArrayType):
        return True
    if kind is not np.ndarray and issubclass(kind, _OTHER_ARITHMETIC):
        raise TypeError(
            f"the input {value.name}, traced as {expected}, is a {kind.__name__}, which does not compute as arrays do: "
            "give an array, as np.asarray makes one"
        )
    if issubclass(kind, (np.ndarray, np.generic)):
        return bool(item.dtype == expected.dtype and item.shape == expected.shape)
    return hasattr(item, "__array_function__")  # a graph traced anew: to ask a traced array for its shape would fix it
