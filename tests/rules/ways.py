"""Every way to wait for a fork, each a function that returns the thread which ran it: those that claim, the others."""

import threading
from collections.abc import Callable

from asyncjit import collect_all, fork, sync
from tests.at_rest import PATIENCE_S

me = threading.get_ident


def in_group() -> int:
    with sync.fork_group() as group:
        future = group.fork(me)
    return future.value()


def exception_of() -> int:
    future = fork(me)
    assert future.exception() is None
    return future.value()


def completed_within(timeout: float) -> int:
    future = fork(me)
    assert future.exception(timeout) is None
    return future.value()


CLAIMING: dict[str, Callable[[], int]] = {
    "sync.wait": lambda: sync.wait(fork(me)),
    "result": lambda: fork(me).result(),
    "wait": lambda: fork(me).wait(),
    "exception": exception_of,
    "sync.call": lambda: sync.call(me),
    "sync.wait_all": lambda: sync.wait_all([fork(me)])[0],
    "collect_all": lambda: collect_all([fork(me)]).result()[0].value(),
    "then": lambda: fork(me).then(lambda future: future.value()).result(),
    "sync.map": lambda: next(sync.map(lambda _: me(), [0])),
    "leaving a group": in_group,
}
NOT_CLAIMING: dict[str, Callable[[], int]] = {
    "sync.wait": lambda: sync.wait(fork(me), timeout=PATIENCE_S),
    "result": lambda: fork(me).result(PATIENCE_S),
    "wait": lambda: fork(me).wait(PATIENCE_S),
    "exception": lambda: completed_within(PATIENCE_S),
    "sync.wait_all": lambda: sync.wait_all([fork(me)], PATIENCE_S)[0],
    "collect_all": lambda: collect_all([fork(me)]).result(PATIENCE_S)[0].value(),
    "sync.as_completed": lambda: next(sync.as_completed([fork(me)])).value(),
}


def nest(depth: int) -> list[int]:
    """Return the threads of a chain of kernels that wait for each other."""
    return [me(), *(sync.wait(fork(nest, depth - 1)) if depth else [])]
