import concurrent.futures
import inspect

import pytest

from asyncjit import errors
from asyncjit.errors import (
    AsyncJitError,
    CallbackError,
    DeadlineExceeded,
    DeadlockError,
    ForkCancelled,
    InvalidStateError,
    Overloaded,
    RuntimeClosed,
    WaitOnEventLoopError,
)

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


def test_every_error_of_the_module_is_exported() -> None:
    assert sorted(cls.__name__ for cls in CLASSES) == sorted(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_below_the_root_and_described(cls: type[Exception]) -> None:
    assert issubclass(cls, AsyncJitError)
    assert cls.__doc__
    assert str(cls("what was wrong")) == "what was wrong"


@pytest.mark.parametrize("cls", CLASSES)
def test_the_docstrings_tree_shows_every_error(cls: type[Exception]) -> None:
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__


@pytest.mark.parametrize("cls", [WaitOnEventLoopError, DeadlockError, RuntimeClosed, InvalidStateError, CallbackError])
def test_what_a_program_does_wrong_is_a_runtime_error(cls: type[Exception]) -> None:
    assert issubclass(cls, RuntimeError)


def test_a_cancelled_fork_is_the_standard_librarys_cancelled_error_and_not_asyncios() -> None:
    import asyncio

    assert issubclass(ForkCancelled, concurrent.futures.CancelledError)
    assert not issubclass(ForkCancelled, asyncio.CancelledError)


def test_a_deadline_is_a_timeout_and_no_cancel() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert not issubclass(DeadlineExceeded, concurrent.futures.CancelledError)


def test_overloaded_is_nothing_else() -> None:
    assert Overloaded.__bases__ == (AsyncJitError,)
