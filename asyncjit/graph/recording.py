"""`Recorder`: what takes down one trace, node by node, while the traced function runs."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, CoroutineType, FrameType
from typing import Any

import numpy as np

from asyncjit._core.context import Handler, Scope, current
from asyncjit._core.future import Future
from asyncjit.errors import TraceError
from asyncjit.graph.bodies import Body, is_traced, refuse_escaped
from asyncjit.graph.constants import Constants
from asyncjit.graph.dummies import dummy_like, type_of
from asyncjit.graph.errstates import UnderErrstate
from asyncjit.graph.futures import TracedFuture
from asyncjit.graph.ir import FORK, WAIT, FutureType, Graph, Guard, Node, Value
from asyncjit.graph.memories import Memory
from asyncjit.graph.places import place_of, refuse, user_place
from asyncjit.graph.shapes import TracedShape
from asyncjit.graph.showing import memories_of, show_call, take_out_arrays
from asyncjit.graph.tracer import Tracer
from asyncjit.graph.trees import fill, leaves_of, map_tree, take_out
from asyncjit.graph.writing import Into, shown_into


class Recorder(Handler):
    """Records what code does with traced arrays; the handler of its forks and of the layers it calls.

    Parameters
    ----------
    name : str
        Of the graph.
    outside : Scope
        Where what is not to be recorded runs.
    """

    def __init__(self, name: str, outside: Scope) -> None:
        self.body = self.root = Body(Graph(name), self, None, None)
        self.outside = outside
        self.num_forks = 0
        self.constants = Constants()
        self.errstate: dict[str, Any] = {**np.geterr()}
        self.is_open = True
        self.refusals: list[TraceError] = []  #: that were raised

    # -- arrays

    def input(self, array: Any, name: str) -> Tracer:
        """Append an input to the graph, like `array`."""
        value = self.root.graph.add_param(type_of(array), name)
        return Tracer(self.root, value, dummy_like(array), (Memory(is_foreign=True),))

    def record(
        self, kind: str, fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *, may_be_view: bool
    ) -> Any:
        """Append a call of `fn`, one of NumPy's functions, and return what it returns, traced."""
        template, tracers = _without_arrays(args, kwargs)
        with self._fixed_if_refused(tracers):
            shown = show_call(kind, fn, template, [tracer._dummy for tracer in tracers])
        return self._append(kind, fn, template, tracers, shown, may_be_view=may_be_view)

    def record_into(
        self,
        kind: str,
        fn: Into,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        targets: Sequence[Tracer | None],
        how: str,
    ) -> Any:
        """Append a call that writes into `targets`: they are what it gives from now on. Return it, with them in it."""
        for target in targets:
            if target is not None:
                self._refuse_shared(target, how)
        plain, tracers = _without_arrays(args, {key: value for key, value in kwargs.items() if key != "out"})
        template, all_tracers = _without_arrays(args, kwargs)
        with self._fixed_if_refused(all_tracers):
            shown = show_call(kind, fn.fn, plain, [tracer._dummy for tracer in tracers])
            shown = shown_into(fn.fn, shown, [None if target is None else target._dummy for target in targets], how)
        result = self._append(kind, fn, template, all_tracers, shown, may_be_view=False)
        results = result if isinstance(result, tuple) else (result,)
        for target, new in zip(targets, results, strict=True):
            if target is not None:
                target._value = new._value
        kept = tuple(new if target is None else target for target, new in zip(targets, results, strict=True))
        return kept if isinstance(result, tuple) else kept[0]

    def called(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Append a layer or function of `nn` as one node; run it if nothing traced goes in."""
        if not any(is_traced(leaf) for leaf in leaves_of((args, kwargs))):
            with self.paused():
                return operation(*args, **kwargs)
        is_function = inspect.isfunction(operation)
        kind = f"nn::functional.{operation.__name__}" if is_function else f"nn::{type(operation).__name__}"
        template, tracers = _without_arrays(args, kwargs)
        shown_args, shown_kwargs = fill(template, [tracer._dummy for tracer in tracers])
        with self._fixed_if_refused(tracers), self.paused(), np.errstate(all="ignore"):
            shown = operation._shapes(*shown_args, **shown_kwargs)
        return self._append(kind, operation, template, tracers, shown, may_be_view=True)

    def _append(
        self, kind: str, fn: Any, template: Any, tracers: Sequence[Tracer], shown: Any, *, may_be_view: bool
    ) -> Any:
        """Append a call whose results are like the dummies `shown`, and return them traced."""
        errstate: dict[str, Any] = {**np.geterr()}
        if errstate != self.errstate and not kind.startswith("nn::"):  # layers are shown with their settings
            fn = UnderErrstate(fn, errstate)
        self.constants.take(template)
        arguments = [self.take(tracer) for tracer in tracers]
        results, leaves = take_out_arrays(shown, kind)
        node = Node(kind, arguments, fn=fn, args=template[0], kwargs=template[1], results=results, place=user_place())
        values = self.body.graph.append(node, [type_of(leaf) for leaf in leaves])
        made = []
        for leaf, value in zip(leaves, values, strict=True):
            memories = memories_of(leaf, node, tracers) if may_be_view else ()
            made.append(Tracer(self.body, value, dummy_like(leaf), memories))
        return fill(results, made)

    def take(self, item: Any) -> Value:
        """Return the value of a traced array or future in the graph of the code that runs."""
        self.check_usable(item)
        return self.body.take(item._value, item._body)

    def check_usable(self, item: Any) -> None:
        """Raise TraceError if the array or future is of another trace, or of one that has ended."""
        recorder = item._body.recorder
        if not recorder.is_open:
            refuse(
                f"{item!r} is used after its trace has ended",
                "the traced function kept it, in an attribute, a global or a closure; return it instead",
            )
        if recorder is not self:
            refuse(
                f"{item!r} belongs to another trace, in which this one runs",
                "give it to the inner function as an argument, and do not trace that by itself",
            )

    def guard(self, tracer: Tracer, what: int | str) -> None:
        """Note that the graph holds for this "ndim" or "dtype", or the size of this dimension, alone."""
        self.check_usable(tracer)
        owner: Body = tracer._body
        if not self.body.is_below(owner):
            refuse_escaped(tracer._value, owner)
        key = (id(tracer._value), what)
        if key not in owner.guarded:
            owner.guarded.add(key)
            seen = tracer._dummy
            expected = seen.shape[what] if isinstance(what, int) else getattr(seen, what)
            owner.graph.guards.append(Guard(tracer._value, what, expected, user_place()))

    @contextmanager
    def _fixed_if_refused(self, tracers: Sequence[Tracer]) -> Iterator[None]:
        """Have an error of the block hold for these dtypes and shapes alone: the code may catch it, and so choose."""
        try:
            yield
        except Exception:
            for tracer in tracers:
                for what in ("dtype", "ndim", *range(tracer._dummy.ndim)):
                    self.guard(tracer, what)
            raise

    def write(self, target: Tracer, result: Any, how: str) -> None:
        """Have `target` be `result`, of its dtype and shape, from now on, as if that had been written into it."""
        self._refuse_shared(target, how)
        target._value = result._value

    def _refuse_shared(self, target: Tracer, how: str) -> None:
        self.check_usable(target)
        instead = "write a new array instead, as y = y + 1 or y = np.add(y, 1)"
        if target._body is not self.body:
            if not self.body.is_below(target._body):
                refuse_escaped(target._value, target._body)
            refuse(f"{how} would change an array of the code that forked this one", instead)
        if any(memory.is_foreign for memory in target._memories):
            refuse(f"{how} would change the memory of an input, or of an array that is not traced", instead)
        if any(memory.has_others(target) for memory in target._memories):
            refuse(f"{how} would change memory that another array shares: a view of it, or a future's value", instead)

    # -- forks

    def fork(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> TracedFuture:
        """Run the call at once, into a graph of its own, and append its fork.

        What the body raises is raised here, and not by the wait: so no error is lost, and no fork half done.
        """
        place = place_of(frame)
        outer = self.body
        graph = Graph(f"{FORK}_{self.num_forks}", names=self.root.graph.names)
        self.num_forks += 1
        body = self.body = Body(graph, self, outer, place)
        try:
            result = contextvars.copy_context().run(self.run, fn, args, kwargs)
            template, leaves = body.returns(result, "a forked function")
        except BaseException as error:
            error.add_note(f"forked at {Path(place.filename).name}:{place.line} in {place.function}")
            raise
        finally:
            self.body = outer
        node = Node(FORK, body.arguments, subgraph=graph, place=place)
        (value,) = outer.graph.append(node, [FutureType(graph.return_types())])
        return TracedFuture(outer, value, template, leaves)

    def waited(self, future: TracedFuture) -> Any:
        """Append a wait for `future`, and return what it gives."""
        value = self.take(future)
        node = Node(WAIT, [value], results=future._template, place=user_place())
        values = self.body.graph.append(node, [leaf._value.type for leaf in future._leaves])
        return fill(
            future._template,
            [leaf.renewed(self.body, given) for leaf, given in zip(future._leaves, values, strict=True)],
        )

    def run(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return `fn(*args, **kwargs)`; a coroutine is driven to its end."""
        result = fn(*args, **kwargs)
        return _driven(result) if issubclass(type(result), CoroutineType) else result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing in the block."""
        token = current.set(self.outside)
        try:
            yield
        finally:
            current.reset(token)


def _driven(coroutine: Any) -> Any:
    code: CodeType = coroutine.cr_code
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    finally:
        coroutine.close()
    raise TraceError(
        f"{code.co_filename}:{code.co_firstlineno}: {code.co_qualname} awaits {awaited!r}, and in a trace only forks "
        "can be awaited: leave timers, locks and network to the code that calls the traced function"
    )


def _without_arrays(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
    return take_out(is_traced, map_tree(_checked_argument, (tuple(args), kwargs)))


def _checked_argument(leaf: Any) -> Any:
    if type(leaf) is TracedShape:
        return leaf.plain()
    if issubclass(type(leaf), Future):  # and not isinstance, which asks a traced array for its class
        refuse("a future is used as an array", "wait for it first")
    return leaf
