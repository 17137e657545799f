"""A fork as a node of the tree: what it is called, what becomes of its body's end, and its cancel."""

import asyncio
import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit import Future, Instrument, fork, sync
from asyncjit._core.cell import CANCELLED, FAILED
from asyncjit._core.nodes import Node, name_of
from asyncjit.errors import DeadlineExceeded, ForkCancelled
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, explode, when_idle


class Layer:
    def __call__(self) -> None: ...

    def forward(self) -> None: ...


def node_of(future: Future[Any]) -> Node:
    source: Any = future._source
    assert isinstance(source, Node)
    return source


# -- names


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (explode, "explode"),
        (Layer().forward, "Layer.forward"),
        (Layer(), "Layer"),
        (Layer, "Layer"),
        (np.negative, "negative"),
        (len, "len"),
        (functools.partial(functools.partial(explode), ValueError()), "explode"),
        (functools.partial(Layer()), "Layer"),
        (operator.itemgetter(0), "itemgetter"),
    ],
)
def test_a_callable_has_a_name_for_people(fn: Callable[..., Any], name: str) -> None:
    assert name_of(fn) == name


def test_a_fork_keeps_its_name_when_its_function_is_gone(runtime: sync.Runtime) -> None:
    gate = Gate()
    with all_threads_busy(runtime):
        queued, cancelled = node_of(fork(explode, ValueError())), fork(explode, ValueError())
        cancelled.cancel()
        assert queued.display_name() == node_of(cancelled).display_name() == "explode"
        queued.cancel(None)
    running = fork(gate)
    gate.await_start()
    assert node_of(running).display_name() == "Gate"
    gate.open()
    running.result(PATIENCE_S)
    assert node_of(running).display_name() == "Gate"


def test_a_fork_tells_the_line_that_made_it(runtime: sync.Runtime) -> None:
    here = inspect.currentframe()
    assert here is not None
    first, line, second = fork(int), here.f_lineno, [fork(int)]
    other = fork(
        int,
    )
    for future, offset in ((first, 0), (second[0], 0), (other, 1)):
        assert node_of(future).site() == (
            f"forked at test_nodes.py:{line + offset} in test_a_fork_tells_the_line_that_made_it"
        )
        future.result(PATIENCE_S)


# -- how a body ends


def ended_by(error: BaseException, node: Node) -> tuple[int, Any]:
    try:
        raise error
    except BaseException as caught:
        return node.outcome_of(caught)


@pytest.fixture
def node(runtime: sync.Runtime) -> Node:
    """Return a node that has ended, to ask what it would make of an error."""
    future = fork(int)
    future.result(PATIENCE_S)
    return node_of(future)


def test_an_error_fails_its_fork_with_one_note_of_the_site(node: Node) -> None:
    error = KeyError("lost")
    for _ in range(3):
        state, failure = ended_by(error, node)
        assert (state, failure.retrieve()) == (FAILED, error)
    assert error.__notes__ == [node.site()]


def test_asyncios_cancel_in_a_body_is_a_cancelled_fork(node: Node) -> None:
    assert ended_by(asyncio.CancelledError(), node) == (CANCELLED, ForkCancelled)


@pytest.mark.parametrize("error", [ForkCancelled("of a child"), DeadlineExceeded("of a child")])
def test_the_cancel_of_what_it_waited_for_is_its_own_only_if_it_was_cancelled_too(node: Node, error: Exception) -> None:
    state, failure = ended_by(error, node)
    assert (state, failure.retrieve()) == (FAILED, error)
    node.cause = DeadlineExceeded
    assert ended_by(error, node) == (CANCELLED, DeadlineExceeded)


def test_the_failure_of_a_fork_that_was_cancelled_while_it_ran_is_not_logged(
    runtime: sync.Runtime, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled: Future[int] = Future()
    cancelled.cancel()
    failed, failure = ended_by(KeyError("lost"), node)
    node.settle_locked(cancelled, failed, failure)
    del failure
    assert cancelled.cancelled()
    assert not caplog.records


# -- cancelling


def test_a_cancel_counts_once(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        node = node_of(fork(int))
        assert node.cancel(None)
        assert not node.cancel(None)
        assert not node.cancel_body(DeadlineExceeded)
        assert node.cause is ForkCancelled
    when_idle(runtime).result(PATIENCE_S)
    assert runtime.statistics().cancelled == 1


def test_a_cancelled_fork_frees_what_it_was_to_call(runtime: sync.Runtime) -> None:
    with all_threads_busy(runtime):
        future = fork(int, "1")
        node = node_of(future)
        future.cancel()
        assert (node.fn, node.args, node.kwargs, node.context, node.future) == (None,) * 5


class Ends(Instrument):
    """Counts what was made and what has ended."""

    made = 0
    ended_ = 0

    def forked(self, fork: Any) -> None:
        self.made += 1

    def ended(self, fork: Any) -> None:
        self.ended_ += 1


def test_an_instrument_hears_the_end_of_a_fork_that_could_not_be_made() -> None:
    ends = Ends()

    class Deaf(Instrument):
        def forked(self, fork: Any) -> None:
            raise KeyboardInterrupt

    with sync.Runtime(1, blas_threads=None, instruments=[ends, Deaf()]) as runtime:
        with pytest.raises(KeyboardInterrupt):
            fork(int)
        assert (ends.made, ends.ended_) == (1, 1)
        assert runtime.statistics().forked == 0
