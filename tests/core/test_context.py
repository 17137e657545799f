"""The lock, the tree of scopes, and each thread's own slot."""

import gc
import threading
from typing import Any

import pytest

import asyncjit
from asyncjit import Instrument, fork, sync
from asyncjit._core.context import ROOM, Scope, all_slots, lock, this_thread
from asyncjit.errors import DeadlineExceeded, ForkCancelled
from tests.core.members import Member
from tests.rules.places import in_threads


class Counting(Member):
    """A scope that counts, as a group does."""

    counts = True

    def __init__(self, parent: Scope | None = None) -> None:
        super().__init__(parent)
        self.counted: list[Any] = []

    def count(self, fork: Any) -> None:
        self.counted.append(fork)

    def leave(self, fork: Any) -> None:
        self.counted.remove(fork)


class Sleeping:
    """A wait that notes that it was woken."""

    num_woken = 0

    def wake(self) -> None:
        self.num_woken += 1


# -- the tree


def test_a_scope_that_has_ended_passes_a_child_to_its_nearest_open_ancestor() -> None:
    top = Member()
    middle = Member(top)
    bottom = Member(middle)
    bottom.ended = middle.ended = True
    child = Member(bottom)
    assert child.parent is top
    assert top.children == [middle, child]
    top.ended = True
    assert Member(bottom).parent is None


def test_children_that_have_ended_are_dropped_as_their_number_doubles() -> None:
    scope = Member()
    alive = [Member(scope) for _ in range(3)]
    most = 0
    for _ in range(20 * ROOM):
        Member(scope).ended = True
        most = max(most, len(scope.children))
    assert most <= ROOM + 1
    assert scope.children[:3] == alive
    many = [Member(scope) for _ in range(10 * ROOM)]
    assert set(alive + many) <= set(scope.children), "those that live are kept, however many"


def test_a_scope_that_ends_hands_over_its_children_that_have_not() -> None:
    top = Member()
    scope = Member(top)
    alive, ended = Member(scope), Member(scope)
    ended.ended = True
    scope.end()
    assert (alive.parent, ended.parent) == (top, scope)
    assert top.children == [scope, alive]
    assert scope.children is None


def test_a_cancel_reaches_everything_below_and_nothing_beside() -> None:
    top = Member()
    scope, sibling = Member(top), Member(top)
    child = Member(scope)
    grandchild = Member(child)
    scope.cancel_below(ForkCancelled)
    assert (child.told, grandchild.told) == ([ForkCancelled], [ForkCancelled])
    assert (scope.told, sibling.told, top.told) == ([], [], [])
    assert (top.cause, scope.cause, child.cause, grandchild.cause, sibling.cause) == (
        None,
        ForkCancelled,
        ForkCancelled,
        ForkCancelled,
        None,
    )


def test_the_first_cause_of_a_cancel_stays() -> None:
    scope = Member()
    scope.cancel_below(DeadlineExceeded)
    scope.cancel_below(ForkCancelled)
    assert scope.cause is DeadlineExceeded


def test_a_cancel_ends_the_waits_that_code_below_sleeps_in() -> None:
    scope = Member()
    child = Member(scope)
    child.blocked = Sleeping()
    scope.cancel_below(ForkCancelled)
    assert child.blocked.num_woken == 1


def test_a_stretch_of_code_opened_below_a_cancelled_scope_is_cancelled_from_its_start() -> None:
    top = Member()
    top.cancel_below(DeadlineExceeded)
    block = Member()
    block.open_below(top)
    assert (block.parent, block.cause) == (top, DeadlineExceeded)


def test_a_stretch_of_code_that_is_closed_leaves_its_parent_with_its_children() -> None:
    top = Member()
    block = Member()
    block.open_below(top)
    child = Member(block)
    block.close()
    assert top.children == [child]
    assert child.parent is top


def test_a_scope_that_counts_is_told_of_each_child_that_comes_and_goes() -> None:
    group = Counting()
    block = Member()
    block.open_below(group)
    assert group.counted == [block]
    assert group.children is None
    block.close()
    assert group.counted == []


# -- slots and the lock


def test_each_thread_has_one_slot_of_its_own() -> None:
    mine = this_thread()
    (theirs,) = in_threads(lambda: (this_thread(), this_thread()))
    assert theirs[0] is theirs[1]
    assert theirs[0] is not mine
    assert this_thread() is mine


def test_the_slot_of_a_thread_that_has_ended_is_forgotten() -> None:
    ident = in_threads(lambda: id(this_thread()))[0]
    gc.collect()
    assert ident not in {id(slot) for slot in all_slots}
    assert this_thread() in all_slots


def test_a_destructor_may_take_the_lock_that_its_thread_holds() -> None:
    with lock:
        assert lock.acquire(blocking=False)
        lock.release()


class Witness(Instrument):
    """Notes each event, and whether the lock was held in it."""

    def __init__(self) -> None:
        self.seen: dict[str, bool] = {}

    def note(self, event: str) -> None:
        self.seen[event] = self.seen.get(event, False) or lock._is_owned()  # type: ignore[attr-defined]

    def forked(self, fork: Any) -> None:
        self.note("forked")

    def strand_started(self, fork: Any) -> None:
        self.note("strand_started")

    def strand_ended(self, fork: Any) -> None:
        self.note("strand_ended")

    def wait_started(self, scope: Any, future: Any) -> None:
        self.note("wait_started")

    def wait_ended(self, scope: Any, future: Any) -> None:
        self.note("wait_ended")

    def ended(self, fork: Any) -> None:
        self.note("ended")


def test_an_instrument_is_never_called_under_the_lock() -> None:
    witness = Witness()

    async def model() -> int:
        return await fork(abs, -1)

    def kernel() -> int:
        pending = fork(threading.get_ident)
        pending.cancel()
        return sync.wait(fork(model))

    with sync.Runtime(1, blas_threads=None, instruments=[witness]):
        assert sync.wait(fork(kernel)) == 1
    assert witness.seen == dict.fromkeys(
        ["forked", "strand_started", "strand_ended", "wait_started", "wait_ended", "ended"], False
    )


@pytest.mark.parametrize("event", [name for name in vars(asyncjit.Instrument) if not name.startswith("_")])
def test_an_instrument_may_leave_out_any_event(event: str) -> None:
    instrument = type("Partial", (Witness,), {event: getattr(Instrument, event)})()
    with sync.Runtime(1, blas_threads=None, instruments=[instrument]):
        assert sync.wait(fork(lambda: sync.wait(fork(abs, -1)))) == 1
    assert event not in instrument.seen
