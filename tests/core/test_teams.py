"""Teams: who comes, when they begin, how they meet, and what becomes of those who fail or come too late."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from asyncjit import fork, sync
from asyncjit._core.context import this_thread
from asyncjit._core.intraop import together
from asyncjit._core.teams import ALONE, Member
from asyncjit.errors import InvalidStateError
from tests.at_rest import PATIENCE_S, Gate, all_threads_busy, assert_at_rest, until
from tests.rules.injector import Injector
from tests.rules.places import in_pool_thread, in_thread, pool_asleep
from tests.scripts import check_script


def sizes(most: int) -> list[tuple[int, int]]:
    """Return (rank, size) of all members of a team of up to `most`, all of whom have met."""
    seen: list[tuple[int, int]] = []

    def body(member: Member) -> None:
        seen.append((member.rank, member.size))
        member.meet()

    together(body, most)
    return sorted(seen)


def team_of(size: int) -> list[tuple[int, int]]:
    return [(rank, size) for rank in range(size)]


@pytest.fixture
def four() -> Any:
    """Return a runtime of four threads, all of which may run one kernel's pieces."""
    with sync.Runtime(4, 4, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)


# -- who comes


@pytest.mark.parametrize("place", [lambda fn: fn(), in_pool_thread], ids=["script", "kernel"])
def test_as_many_come_as_permits_are_free(runtime: sync.Runtime, place: Callable[[Callable[[], Any]], Any]) -> None:
    runtime.num_threads = 8
    assert place(lambda: sizes(8)) == team_of(runtime.num_interop_threads)


@pytest.mark.parametrize(("num_threads", "most", "size"), [(2, 8, 2), (4, 3, 3), (1, 4, 1), (4, 1, 1), (8, 8, 4)])
def test_no_more_come_than_num_threads_nor_than_there_is_work_for(
    four: sync.Runtime, num_threads: int, most: int, size: int
) -> None:
    four.num_threads = num_threads
    assert sizes(most) == team_of(size)


def test_what_runs_already_is_left_its_permit(four: sync.Runtime) -> None:
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    assert sizes(4) == team_of(3)
    gate.open()
    sync.wait(future)


def test_nobody_comes_while_no_permit_is_free(runtime: sync.Runtime) -> None:
    runtime.num_threads = 4
    with all_threads_busy(runtime):
        assert sizes(4) == team_of(1)


def test_nobody_comes_while_a_kernel_is_queued(four: sync.Runtime) -> None:
    with pool_asleep(four):
        future = fork(int)
        assert four.statistics().running == 0
        assert sizes(4) == team_of(1)
    assert sync.wait(future) == 0
    assert sizes(4) == team_of(4)


def test_the_caller_is_the_first_and_the_others_are_pool_threads(four: sync.Runtime) -> None:
    threads: dict[int, threading.Thread] = {}

    def body(member: Member) -> None:
        threads[member.rank] = threading.current_thread()
        member.meet()

    together(body, 4)
    assert threads[0] is threading.current_thread()
    assert all(threads[rank].name.startswith("asyncjit ") for rank in (1, 2, 3))
    assert len(set(threads.values())) == 4


def test_alone_a_member_meets_nobody_and_is_never_stopped() -> None:
    ALONE.meet()
    ALONE.serve(this_thread())
    assert (ALONE.rank, ALONE.size, ALONE.is_stopped) == (0, 1, False)


def test_who_comes_when_all_is_done_finds_nothing_to_do(four: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[threading.Thread] = []
    ranks: list[int] = []
    start = threading.Thread.start
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda thread: late.append(thread))
        together(lambda member: ranks.append(member.rank), 4)  # which does not meet them
    assert four.statistics().running == 0
    for thread in late:
        start(thread)
    until(lambda: len(four.pool._parked) == 3)
    assert ranks == [0]
    assert not four.pool.seats
    assert sizes(4) == team_of(4)


# -- what they bring along


def test_a_member_that_comes_to_a_kernel_runs_for_its_fork(four: sync.Runtime) -> None:
    forks: list[Any] = []

    def body(member: Member) -> None:
        forks.append(this_thread().fork)
        member.meet()

    future = fork(together, body, 4)
    source: Any = future._source
    sync.wait(future, timeout=PATIENCE_S)
    assert forks == [source] * 4
    until(lambda: four.statistics().running == 0)
    assert four.pool.started() == []


def test_every_member_has_a_copy_of_the_callers_context(four: sync.Runtime) -> None:
    var = contextvars.ContextVar[str]("var", default="unset")
    seen: list[str] = []

    def body(member: Member) -> None:
        seen.append(var.get())
        member.meet()
        if member.rank:
            var.set(f"set by {member.rank}")
        member.meet()
        if member.rank:
            seen.append(var.get())

    var.set("the caller's")
    together(body, 4)
    assert sorted(seen) == ["set by 1", "set by 2", "set by 3", *["the caller's"] * 4]
    assert var.get() == "the caller's"


# -- meeting


def test_nobody_goes_on_before_all_have_come(four: sync.Runtime) -> None:
    rounds: list[int] = []

    def body(member: Member) -> None:
        for number in range(50):
            rounds.append(number)
            member.meet()

    together(body, 4)
    assert rounds == [number for number in range(50) for _ in range(4)]


# -- errors


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_the_error_of_one_is_raised_and_frees_those_who_wait_for_it(four: sync.Runtime, rank: int) -> None:
    meant = ValueError("meant")
    passed: list[int] = []

    def body(member: Member) -> None:
        member.meet()
        if member.rank == rank:
            raise meant
        member.meet()
        passed.append(member.rank)

    with pytest.raises(ValueError, match="meant") as told:
        together(body, 4)
    assert told.value is meant
    assert passed == []


def test_the_others_can_tell_that_one_has_failed(four: sync.Runtime) -> None:
    all_meet = threading.Barrier(4)

    def body(member: Member) -> None:
        all_meet.wait(PATIENCE_S)
        if member.rank == 1:
            raise ValueError("meant")
        until(lambda: member.is_stopped)

    with pytest.raises(ValueError, match="meant"):
        together(body, 4)


def test_an_error_comes_only_when_the_others_have_left(four: sync.Runtime) -> None:
    left: list[int] = []
    all_meet = threading.Barrier(4)

    def body(member: Member) -> None:
        all_meet.wait(PATIENCE_S)
        if member.rank == 0:
            raise ValueError("meant")
        until(lambda: member.is_stopped)
        left.append(member.rank)

    with pytest.raises(ValueError, match="meant"):
        together(body, 4)
    assert sorted(left) == [1, 2, 3]


def test_an_exit_in_a_member_surfaces_at_the_caller(four: sync.Runtime) -> None:
    def body(member: Member) -> None:
        member.meet()
        if member.rank == 2:
            raise SystemExit(3)
        member.meet()

    with pytest.raises(SystemExit, match="3"):
        together(body, 4)


# -- Ctrl-C


def test_ctrl_c_in_the_callers_piece_does_not_wait_for_the_others(four: sync.Runtime) -> None:
    gate = Gate()

    def body(member: Member) -> None:
        member.meet()
        if member.rank == 1:
            gate()
        elif member.rank == 0:
            gate.await_start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(body, 4)
    assert not gate.ended.is_set()
    gate.open()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_ctrl_c_while_the_caller_waits_for_the_last_ends_it_at_once(four: sync.Runtime) -> None:
    gate = Gate()

    def body(member: Member) -> None:
        member.meet()
        if member.rank == 1:
            gate()

    main = threading.main_thread().ident
    assert main is not None
    timers = [threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)), threading.Timer(2.0, gate.open)]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        together(body, 4)
    is_ended = gate.ended.is_set()
    gate.open()
    for timer in timers:
        timer.cancel()
        timer.join()
    assert not is_ended


def test_ctrl_c_while_the_caller_fails_frees_those_who_wait_for_it() -> None:
    def scenario(members: list[Member]) -> None:
        def body(member: Member) -> None:
            members.append(member)
            member.meet()
            if member.rank == 0:
                raise ValueError("meant")
            member.meet()

        try:
            together(body, 2)
        except ValueError:
            pass

    hangs: list[tuple[str, int, str] | None] = []
    for at in range(1, 200):
        members: list[Member] = []
        with sync.Runtime(2, 2, blas_threads=None) as runtime:
            injector = Injector(at)
            thread = threading.Thread(target=injector.run, args=(lambda members=members: scenario(members),))
            thread.start()
            thread.join(2.0)
            if thread.is_alive():
                hangs.append(injector.hit)
                for team in {member._team for member in members if member._team is not None}:
                    team.fail(ValueError("freed by the test"))
                thread.join(PATIENCE_S)
            until(lambda runtime=runtime: runtime.statistics().running == 0)  # type: ignore[misc]
        if hangs or injector.hit is None:
            break
    assert hangs == []


# -- threads that can't be had, closing, os.fork


class Starts:
    """Stands in for `Thread.start`: only the first `num` succeed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num: int, then: Callable[[], object] = lambda: None) -> None:
        start = threading.Thread.start
        self.left = num

        def start_some(thread: threading.Thread) -> None:
            if not self.left:
                then()
                raise RuntimeError("can't start new thread")
            self.left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_some)


def test_where_there_are_no_more_threads_fewer_come(four: sync.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        Starts(patch, 2)
        assert sizes(4) == team_of(3)
    until(lambda: four.statistics().running == 0)
    assert sizes(4) == team_of(4)


def test_where_there_is_no_thread_at_all_the_caller_is_alone(
    four: sync.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Starts(patch, 0)
        assert sizes(4) == team_of(1)


def test_a_seat_that_another_thread_has_taken_is_not_taken_back_where_none_can_be_started(
    four: sync.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seats: one thread is started for the first, and one that ends its kernel meanwhile takes the second."""
    gate = Gate()
    future = fork(gate)
    gate.await_start()
    four.num_interop_threads = 4

    def take_the_other_seat() -> None:
        gate.open()
        until(lambda: not four.pool.seats)

    seen: list[tuple[int, int]] = []

    def body(member: Member) -> None:  # without meeting: with a wrong size some would wait for ever
        seen.append((member.rank, member.size))
        until(lambda: member.rank or len(seen) == 3 or four.statistics().threads < 2)

    with monkeypatch.context() as patch:
        Starts(patch, 1, then=take_the_other_seat)
        together(body, 3)
    sync.wait(future)
    until(lambda: not four.pool._parked or four.statistics().running <= 0)
    assert sorted(seen) == team_of(3)
    until(lambda: four.statistics().running == 0)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_runtime_is_not_closed_from_inside_a_piece(four: sync.Runtime, rank: int) -> None:
    def body(member: Member) -> None:
        member.meet()
        if member.rank == rank:
            with pytest.raises(InvalidStateError, match="can't be closed from inside"):
                four.close(timeout=0.0)

    together(body, 4)


def test_a_runtime_that_closes_waits_for_the_pieces(four: sync.Runtime) -> None:
    results: list[Callable[[], list[str]]] = []
    seen: list[bool] = []

    def body(member: Member) -> None:
        member.meet()
        if member.rank == 0:
            results.append(in_thread(four.close))
            until(lambda: four.is_closing)
        member.meet()
        seen.append(four.is_closed)

    sync.wait(fork(together, body, 4), timeout=PATIENCE_S)
    assert results[0]() == []
    assert seen == [False] * 4
    assert four.is_closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_process_forked_in_a_piece_waits_for_nobody() -> None:
    check_script("""
        import os, signal, threading, warnings
        from asyncjit import sync
        from asyncjit._core.intraop import together
        warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork beside threads

        pids, is_forked = [], threading.Event()

        def body(member):
            member.meet()
            if member.rank:
                is_forked.wait(30)
                return
            pids.append(os.fork())
            is_forked.set()
            if pids[0] == 0:
                signal.alarm(2)

        with sync.Runtime(2, 2):
            together(body, 2)
            if pids[0] == 0:
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7
        """)
