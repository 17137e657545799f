"""What the code of a scripted function calls: `begin`, `finish`, `Block`, `managed`, `Nested`.

`f(x)` becomes `await _finish(_begin(f)(x))`. Calls are recognised by what they are, when they are made: `begin` gives
`f` itself, unless it is a wait of either door, one of a future's, or scripted. So all other calls are made as they
stand, in the user's own frame: what looks at its caller (a fork's site, `logging`, `warnings`) sees the user's line,
and a `StopIteration` is just an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from functools import WRAPPER_ASSIGNMENTS, partial
from linecache import getline
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from asyncjit._core import awaiting, blocking
from asyncjit._core.awaiting import values
from asyncjit._core.cell import FINISHED
from asyncjit._core.context import ThreadSlot, current, this_thread
from asyncjit._core.forking import start
from asyncjit._core.future import Future
from asyncjit._core.gathering import checked, checked_all, gather
from asyncjit._core.stepping import ScriptFunction, pause, script_of
from asyncjit.errors import ScriptError


class Begun:
    """A call that may wait, made and not yet awaited; a plain call's value is never one."""

    __slots__ = ("coroutine",)

    def __init__(self, steps: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **kwargs: Any) -> None:
        self.coroutine = steps(*args, **kwargs)


def begin(fn: Any) -> Any:
    """Return what to call in place of `fn`: itself, or, if it may wait, what gives the `Begun` call."""
    kind = type(fn)
    if kind is FunctionType:
        return WAITS.get(fn, fn)
    if kind is BuiltinFunctionType:
        return fn
    if kind is MethodType and type(fn.__func__) is FunctionType:
        beginner = WAITS.get(fn.__func__)
        return fn if beginner is None else MethodType(beginner, fn.__self__)
    steps = script_of(fn)
    if steps is not None:
        return partial(Begun, steps)
    if kind is partial and waits(fn.func):
        return partial(begin(fn.func), *fn.args, **fn.keywords)
    return fn


def finish(value: Any) -> Coroutine[Any, Any, Any]:
    """Return what to await for the value of a call: its coroutine if it has begun one."""
    return value.coroutine if type(value) is Begun else _ready(value)


async def _ready(value: Any) -> Any:
    return value


def waits(fn: Any) -> bool:
    """Whether a call of `fn` may wait, so that it must be awaited."""
    if type(fn) is MethodType and type(fn.__func__) is FunctionType:
        fn = fn.__func__
    if type(fn) is FunctionType:
        return fn in WAITS
    return waits(fn.func) if type(fn) is partial else script_of(fn) is not None


# -- the waits; they bear the names that a TypeError shows


def wait(fut: Future[Any], timeout: float | None = None) -> Any:
    """Wait as `sync.wait` and `Future.result` do; a value that is there needs no coroutine."""
    if type(fut) is Future and fut._state == FINISHED and not _held.get():
        return fut._content
    return Begun(_wait, fut, timeout)


async def _wait(fut: Future[Any], timeout: float | None = None) -> Any:
    _refuse_held()
    await pause(checked(fut), timeout)
    try:
        return fut._outcome()
    finally:
        del fut


async def exception(fut: Future[Any], timeout: float | None = None) -> BaseException | None:
    """Wait as `Future.exception` does."""
    _refuse_held()
    await pause(checked(fut), timeout)
    return fut.exception()


async def wait_all(
    futs: Iterable[Future[Any]], timeout: float | None = None, *, return_exceptions: bool = False
) -> list[Any]:
    """Wait as `sync.wait_all` does."""
    _refuse_held()
    futures = checked_all(futs)
    goal = gather(futures, None, stops_early=not return_exceptions, name=f"wait_all of {len(futures)} futures")
    await pause(goal, timeout)
    goal._outcome()
    return values(futures, return_exceptions=return_exceptions)


async def call(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Fork and wait as `sync.call` does."""
    _refuse_held()
    fut = start(fn, args, kwargs, current.get(), sys._getframe(1))
    del fn, args, kwargs
    return await _wait(fut)


WAITS: dict[Callable[..., Any], Callable[..., Any]] = {
    awaiting.wait: wait,
    blocking.wait: wait,
    awaiting.wait_all: partial(Begun, wait_all),
    blocking.wait_all: partial(Begun, wait_all),
    awaiting.call: partial(Begun, call),
    blocking.call: partial(Begun, call),
    Future.result: wait,  # and Future.wait, its other name
    Future.exception: partial(Begun, exception),
}  #: for what waits, what is called in its place


# -- managers that are tied to their thread

TIED = frozenset(
    {
        "_thread.lock",
        "_thread.RLock",
        "threading._RLock",
        "threading.Condition",
        "threading.Semaphore",
        "multiprocessing.synchronize.SemLock",
        "multiprocessing.synchronize.Condition",
        "threadpoolctl._ThreadpoolLimiter",
        "torch.autograd.grad_mode.no_grad",
        "torch.autograd.grad_mode.enable_grad",
        "torch.autograd.grad_mode.set_grad_enabled",
        "torch.autograd.grad_mode.inference_mode",
        "torch.amp.autocast_mode.autocast",
    }
)  # by name: none of these packages is imported for it


class Held(NamedTuple):
    """A tied manager that one kernel holds, or is about to, in one thread: it can't have given that back meanwhile."""

    slot: ThreadSlot
    fork: Any
    name: str
    filename: str
    line: int


_held: ContextVar[tuple[Held, ...]] = ContextVar("asyncjit_held", default=())


_kinds: WeakKeyDictionary[type, bool] = WeakKeyDictionary()  # of the managers met, and whether they are tied


def is_tied(kind: type) -> bool:
    """Whether what managers of this class hold belongs to the thread that entered them."""
    known = _kinds.get(kind)
    if known is None:
        known = _kinds[kind] = any(f"{base.__module__}.{base.__qualname__}" in TIED for base in kind.__mro__)
    return known


class Block:
    """The first manager of a `with` in which something may wait: forgets what its other managers were noted for.

    Those are entered and left by the `with` itself, as ever: a wrapper of a lock would leak it at Ctrl-C.
    """

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _held.get()

    def __exit__(self, *error: object) -> None:
        _held.set(self._before)


def managed(manager: Any) -> Any:
    """Return the manager of a `with`, taking note of one that is tied to its thread: waits are refused meanwhile."""
    if is_tied(type(manager)):
        slot, frame = this_thread(), sys._getframe(1)
        name, place = type(manager).__qualname__, (frame.f_code.co_filename, frame.f_lineno)
        _held.set((*_held.get(), Held(slot, slot.fork, name, *place)))
    return manager


def _refuse_held() -> None:
    """Raise if the caller's own code is inside the block of a tied manager; forks made there inherit none."""
    for held in _held.get():
        slot = this_thread()
        if held.slot is slot and held.fork is slot.fork:
            source = getline(held.filename, held.line).strip() or "with ..."
            raise ScriptError(
                f"{held.filename}:{held.line}: a wait inside of `{source}`, whose manager, a {held.name}, belongs to "
                "its thread, which a scripted function gives back at a wait: take the value before, or after, the block"
            )


# -- nested functions


class Nested:
    """The innermost decorator of nested scripted functions: `_script`.

    Parameters
    ----------
    table : dict
        By name and first line, the code of each as it was written, and the text of what runs instead.
    """

    def __init__(self, table: dict[tuple[str, int], tuple[CodeType, str]]) -> None:
        self._table = table

    def __call__(self, steps: FunctionType) -> ScriptFunction[..., Any]:
        """Return the scripted function, which has the cells and defaults that `steps` was made with."""
        code, text = self._table[steps.__code__.co_name, steps.__code__.co_firstlineno]
        cells = dict(zip(steps.__code__.co_freevars, steps.__closure__ or (), strict=True))
        closure = tuple(cells[name] for name in code.co_freevars)
        original = FunctionType(code, steps.__globals__, steps.__name__, steps.__defaults__, closure)
        original.__kwdefaults__ = steps.__kwdefaults__
        for name in WRAPPER_ASSIGNMENTS:
            setattr(original, name, getattr(steps, name))
        return ScriptFunction(original, steps, text, is_nested=True)
