"""A cell: one value that arrives once, and everybody who waits is told."""

import logging
from collections.abc import Callable
from functools import partial

import pytest

from asyncjit._core.cell import (
    CANCELLED,
    FAILED,
    FINISHED,
    RUNNING,
    Callback,
    Cell,
    Failure,
    new_bell,
    ring,
    surfacing,
)
from asyncjit._core.context import Process
from asyncjit.errors import DeadlineExceeded, ForkCancelled, RuntimeClosed
from tests.rules.places import in_threads


class Caller:
    """A waiter that calls something when it is woken."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def wake(self) -> None:
        self._call()


def test_a_value_arrives_once_and_the_first_stays() -> None:
    cell = Cell()
    assert cell._settle(FINISHED, "first")
    assert not cell._settle(FINISHED, "second")
    assert not cell._settle(CANCELLED, ForkCancelled)
    assert cell._outcome() == "first"


def test_waiters_are_woken_once_in_the_order_of_their_coming_and_find_the_value() -> None:
    cell = Cell()
    log: list[tuple[int, str]] = []

    def note(n: int) -> None:
        log.append((n, cell._outcome()))

    for n in range(3):
        assert cell._add_waiter(Caller(partial(note, n)))
    cell._settle(FINISHED, "value")
    cell._notify()
    assert log == [(0, "value"), (1, "value"), (2, "value")]


def test_a_done_cell_takes_no_waiter() -> None:
    cell = Cell()
    cell._settle(FINISHED, "value")
    assert not cell._add_waiter(Caller(lambda: pytest.fail("nobody tells it")))


def test_a_waiter_that_was_taken_back_is_not_woken() -> None:
    cell = Cell()
    log: list[str] = []
    leaves, stays = Caller(lambda: log.append("left")), Caller(lambda: log.append("stayed"))
    cell._add_waiter(leaves)
    cell._add_waiter(stays)
    cell._discard_waiter(leaves)
    cell._discard_waiter(leaves)
    cell._settle(FINISHED, "value")
    assert log == ["stayed"]


def test_a_completion_that_is_interrupted_between_two_waiters_still_tells_all() -> None:
    cell = Cell()
    log: list[str] = []

    def interrupted_once() -> None:
        log.append("first")
        if len(log) == 1:
            raise KeyboardInterrupt

    cell._add_waiter(Caller(interrupted_once))
    cell._add_waiter(Caller(lambda: log.append("second")))
    with pytest.raises(KeyboardInterrupt):
        cell._settle(FINISHED, "value")
    assert log == ["first", "first", "second"]
    assert cell._outcome() == "value"


def test_a_callback_is_called_once_however_often_it_is_told() -> None:
    cell = Cell()
    called: list[Cell] = []
    callback = Callback(cell, called.append)
    callback.wake()
    callback.wake()
    assert called == [cell]


def test_a_callback_that_ends_the_program_ends_it_in_a_script() -> None:
    cell = Cell()
    cell._add_waiter(Callback(cell, lambda _: (_ for _ in ()).throw(SystemExit(3))))
    with pytest.raises(SystemExit):
        cell._settle(FINISHED, "value")


def test_a_callback_does_not_count_as_somebody_who_waits() -> None:
    cell = Cell()
    cell._add_waiter(Callback(cell, print))
    assert not cell._has_waiters()
    cell._add_waiter(Caller(print))
    assert cell._has_waiters()


def test_a_failure_is_raised_as_it_was_raised_first_however_often() -> None:
    error = KeyError("lost")
    cell = Cell()
    cell._settle(FAILED, Failure(error, "a cell"))
    depths = []
    for _ in range(3):
        with pytest.raises(KeyError, match="lost") as caught:
            cell._outcome()
        assert caught.value is error
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_a_failure_nobody_retrieved_tells_the_log_of_its_origin_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    failure = Failure(KeyError("lost"), "a cell of mine")
    assert not caplog.records
    del failure
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncjit", logging.ERROR)
    assert record.getMessage() == "the error of a cell of mine was never retrieved"


def test_only_a_stop_iteration_surfaces_as_another_error() -> None:
    stop = StopIteration(3)
    told = surfacing(stop)
    assert (type(told), told.__cause__) == (RuntimeError, stop)
    error = KeyError("lost")
    assert surfacing(error) is error


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        (ForkCancelled, ForkCancelled, "was cancelled"),
        (None, ForkCancelled, "was cancelled"),
        (DeadlineExceeded, DeadlineExceeded, "passed its deadline"),
        (RuntimeClosed, RuntimeClosed, "was cancelled"),
    ],
)
def test_a_cancelled_cell_tells_who_cancelled_it(
    cause: type[Exception] | None, kind: type[Exception], text: str
) -> None:
    cell = Cell()
    cell._settle(CANCELLED, cause)
    with pytest.raises(kind, match=f"^Cell at 0x[0-9a-f]+ {text}$") as caught:
        cell._outcome()
    assert type(caught.value) is kind


def test_an_unfinished_cell_of_the_parent_process_can_not_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished, running, done = Cell(), Cell(), Cell()
    running._state = RUNNING
    done._settle(FINISHED, "value")
    monkeypatch.setattr(Process, "generation", Process.generation + 1)
    for cell in (unfinished, running):
        with pytest.raises(RuntimeClosed, match=r"was made in the parent process and is not done: fork it anew"):
            cell._add_waiter(Caller(print))
    assert not done._add_waiter(Caller(print))
    assert done._outcome() == "value"


def test_a_bell_is_slept_on_until_it_rings_and_rings_once_however_often() -> None:
    bell = new_bell()
    assert not bell.acquire(blocking=False)
    in_threads(lambda: ring(bell), lambda: ring(bell))
    assert bell.acquire(blocking=False)
    assert not bell.acquire(blocking=False)
