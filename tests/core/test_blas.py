"""The one owner of BLAS threads, without any runtime: wishes, holding and giving back."""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from threadpoolctl import ThreadpoolController

import asyncjit
from asyncjit._core.blas import BlasHold
from tests.at_rest import PATIENCE_S
from tests.rules.places import in_plain_thread, in_threads


def counts() -> set[int]:
    """Return the thread counts of all BLAS libraries."""
    return {c.num_threads for c in ThreadpoolController().lib_controllers if c.user_api == "blas"}


def set_counts(num_threads: int) -> None:
    # Not through `set_num_threads`, which only the first thread that called it may.
    for c in ThreadpoolController().lib_controllers:
        if c.user_api == "blas":
            getattr(c, "_real_set_num_threads", c.set_num_threads)(num_threads)


@pytest.fixture
def hold() -> Iterator[BlasHold]:
    """Return an owner of its own, and three threads to hold; the default runtime holds none meanwhile."""
    asyncjit.close(timeout=PATIENCE_S)
    before = min(counts())
    set_counts(3)
    yield BlasHold()
    set_counts(before)


def test_a_wish_touches_nothing_before_the_hold(hold: BlasHold) -> None:
    hold.wish(1, 1)
    hold.settle()
    assert counts() == {3}
    hold.hold()
    assert counts() == {1}


def test_without_a_wish_nothing_is_held(hold: BlasHold) -> None:
    hold.hold()
    assert counts() == {3}


def test_forgetting_touches_nothing_before_it_is_settled(hold: BlasHold) -> None:
    hold.wish(1, 1)
    hold.hold()
    hold.forget(1)
    assert counts() == {1}
    hold.settle()
    assert counts() == {3}


def test_the_smallest_wish_wins_whoever_comes_and_goes(hold: BlasHold) -> None:
    hold.wish(1, 2)
    hold.hold()
    assert counts() == {2}
    hold.wish(2, 1)
    hold.hold()
    assert counts() == {1}
    hold.forget(1)
    hold.settle()
    assert counts() == {1}
    hold.wish(1, 4)
    hold.forget(2)
    hold.settle()
    assert counts() == {4}, "a wish may be larger than what there was"
    hold.forget(1)
    hold.settle()
    assert counts() == {3}


def test_forgetting_twice_or_what_was_never_wished_does_no_harm(hold: BlasHold) -> None:
    hold.wish(1, 1)
    hold.hold()
    for key in (2, 2):
        hold.forget(key)
        hold.settle()
    assert counts() == {1}
    for key in (1, 1):
        hold.forget(key)
        hold.settle()
    assert counts() == {3}


def test_what_comes_back_is_what_was_there_at_the_hold_not_at_the_wish(hold: BlasHold) -> None:
    hold.wish(1, 1)
    set_counts(2)
    hold.hold()
    hold.forget(1)
    hold.settle()
    assert counts() == {2}


def test_while_no_module_is_imported_a_second_hold_looks_for_nothing(hold: BlasHold) -> None:
    hold.wish(1, 1)
    hold.hold()
    assert hold.num_modules == len(sys.modules)
    set_counts(2)
    hold.hold()
    assert counts() == {2}


def test_any_thread_may_hold_and_any_other_give_back(hold: BlasHold) -> None:
    """Where threadpoolctl lets one thread alone set OpenBLAS: a third one, which has done so before."""
    for c in ThreadpoolController().lib_controllers:
        c.set_num_threads(3)
    hold.wish(1, 1)
    in_plain_thread(hold.hold)
    assert counts() == {1}
    hold.forget(1)
    in_plain_thread(hold.settle)
    assert counts() == {3}


def test_threads_that_wish_hold_and_forget_at_once_leave_what_they_found(hold: BlasHold) -> None:
    all_start = threading.Barrier(4)

    def use(key: int) -> set[int]:
        all_start.wait(PATIENCE_S)
        seen = set()
        for _ in range(20):
            hold.wish(key, 1)
            hold.hold()
            seen |= counts()
            hold.forget(key)
            hold.settle()
        return seen

    assert in_threads(*[lambda key=key: use(key) for key in range(4)]) == [{1}] * 4
    assert counts() == {3}


def test_the_libraries_are_described_as_threadpoolctl_knows_them(hold: BlasHold) -> None:
    def described() -> list[tuple[object, ...]]:
        libraries = hold.libraries()
        known = {c.filepath: c for c in ThreadpoolController().lib_controllers}
        assert {library.filepath for library in libraries} == set(known)
        for library in libraries:
            c = known[library.filepath]
            assert (library.user_api, library.internal_api, library.version) == (c.user_api, c.internal_api, c.version)
            assert library.threading_layer == getattr(c, "threading_layer", None)
            assert library.architecture == getattr(c, "architecture", None)
        return [(x.num_threads, x.held_at, x.holder) for x in libraries if x.user_api == "blas"]

    assert set(described()) == {(3, None, None)}
    hold.wish(1, 1)
    assert set(described()) == {(3, None, None)}, "a wish holds nothing yet"
    hold.hold()
    assert set(described()) == {(1, 1, "asyncjit, for 1 open runtime")}
    hold.wish(2, 4)
    assert set(described()) == {(1, 1, "asyncjit, for 2 open runtimes")}


def test_a_child_process_starts_without_the_wishes_of_its_parent(hold: BlasHold) -> None:
    hold.wish(1, 1)
    hold.hold()
    hold.reset_after_fork()
    hold.settle()
    assert counts() == {1}, "the limits stay as they are"
    assert {library.holder for library in hold.libraries()} == {None}


class Overtaken(BlasHold):
    """An owner for whom somebody wishes or forgets while it holds: another thread, a signal handler, a destructor."""

    def __init__(self, happens: Callable[[BlasHold], None]) -> None:
        super().__init__()
        self._happens: Callable[[BlasHold], None] | None = happens

    def _set(self, controller: Any, num_threads: int | None) -> None:  # type: ignore[override]  # static there
        super()._set(controller, num_threads)
        happens, self._happens = self._happens, None
        if happens is not None:
            happens(self)


def test_a_wish_that_comes_during_a_hold_is_followed_by_the_next(hold: BlasHold) -> None:
    hold = Overtaken(lambda hold: hold.wish(2, 1))
    hold.wish(1, 2)
    hold.hold()
    hold.hold()
    assert counts() == {1}


def test_a_wish_that_goes_during_a_hold_is_given_back_when_it_is_settled(hold: BlasHold) -> None:
    hold = Overtaken(lambda hold: hold.forget(1))
    hold.wish(1, 1)
    hold.hold()
    hold.settle()
    assert counts() == {3}
