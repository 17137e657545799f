"""Thread counts of the current runtime: set, got, refused, and taken from the environment."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import (
    Runtime,
    fork,
    get_num_interop_threads,
    get_num_threads,
    parallel_info,
    set_num_interop_threads,
    set_num_threads,
    sync,
)
from asyncjit.cpus import usable_cpus
from tests.at_rest import PATIENCE_S, Gate, until
from tests.scripts import check_script

VARIABLES = ("ASYNCJIT_NUM_INTEROP_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@pytest.fixture(autouse=True)
def _own_default(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a default runtime of its own and an environment without thread counts."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    asyncjit.close()
    yield
    asyncjit.close(timeout=PATIENCE_S)


def test_both_counts_are_the_usable_cpus_by_default() -> None:
    assert get_num_interop_threads() == get_num_threads() == usable_cpus().count


def test_what_is_set_is_got_and_numpy_integers_are_fine() -> None:
    set_num_interop_threads(3)
    set_num_threads(5)
    assert (get_num_interop_threads(), get_num_threads()) == (3, 5)
    set_num_interop_threads(np.int64(2))  # type: ignore[arg-type]
    set_num_threads(np.uint8(7))  # type: ignore[arg-type]
    assert (get_num_interop_threads(), get_num_threads()) == (2, 7)
    assert type(get_num_interop_threads()) is type(get_num_threads()) is int


@pytest.mark.parametrize(
    ("setter", "name"), [(set_num_interop_threads, "num_interop_threads"), (set_num_threads, "num_threads")]
)
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "must be at least 1, got 0"),
        (-2, ValueError, "must be at least 1, got -2"),
        (True, TypeError, "must be an integer, got True of type bool"),
        (np.True_, TypeError, "must be an integer, got .*True.* of type bool"),
        (2.0, TypeError, r"must be an integer, got 2\.0 of type float"),
        ("2", TypeError, "must be an integer, got '2' of type str"),
        (None, TypeError, "must be an integer, got None of type NoneType"),
    ],
    ids=str,
)
def test_a_bad_count_raises_with_its_name_and_value_and_changes_nothing(
    setter: Callable[[Any], None], name: str, value: object, error: type[Exception], message: str
) -> None:
    before = get_num_interop_threads(), get_num_threads()
    with pytest.raises(error, match=f"^{name} {message}"):
        setter(value)
    assert (get_num_interop_threads(), get_num_threads()) == before


@pytest.mark.parametrize("name", ["num_interop_threads", "num_threads", "max_queued", "blas_threads"])
def test_a_runtime_refuses_bad_counts_too(name: str) -> None:
    bad: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Runtime(**bad)
    bad = {name: True}
    with pytest.raises(TypeError, match=f"{name} must be an integer, got True"):
        Runtime(**bad)


def test_the_setters_act_on_the_current_runtime_alone() -> None:
    set_num_interop_threads(3)
    set_num_threads(3)
    with Runtime(1, 1, blas_threads=None) as runtime:
        assert (get_num_interop_threads(), get_num_threads()) == (1, 1)
        set_num_interop_threads(4)
        set_num_threads(4)
        assert (runtime.num_interop_threads, runtime.num_threads) == (4, 4)
    assert (get_num_interop_threads(), get_num_threads()) == (3, 3)


def test_a_fork_sees_and_sets_the_counts_of_its_own_runtime() -> None:
    with Runtime(1, blas_threads=None) as runtime:
        future = fork(get_num_interop_threads)
        assert sync.wait(future) == 1
        sync.wait(fork(set_num_threads, 9))
        assert runtime.num_threads == 9


# -- while kernels run


def test_a_larger_number_takes_hold_at_once() -> None:
    with Runtime(1, blas_threads=None):
        barrier = threading.Barrier(2)
        futures = [fork(barrier.wait, PATIENCE_S) for _ in range(2)]
        until(futures[0].running)
        assert not futures[1].running()
        set_num_interop_threads(2)
        assert sorted(future.result(PATIENCE_S) for future in futures) == [0, 1]


def test_a_smaller_number_takes_hold_as_kernels_end() -> None:
    with Runtime(3, blas_threads=None) as runtime:
        gates = [Gate() for _ in range(6)]
        futures = [fork(gate) for gate in gates]
        for gate in gates[:3]:
            gate.await_start()
        set_num_interop_threads(1)
        assert runtime.statistics().running == 3
        assert runtime.statistics().excess == 2
        gates[0].open()
        gates[1].open()
        for future in futures[:2]:
            assert future.result(PATIENCE_S) == "passed"
        until(lambda: runtime.statistics().running == 1)
        assert not any(gate.started.is_set() for gate in gates[3:])
        most = 0
        for gate, future in zip(gates[2:], futures[2:], strict=True):
            gate.await_start()
            most = max(most, runtime.statistics().running)
            gate.open()
            assert future.result(PATIENCE_S) == "passed"
        assert most == 1


# -- the environment


def test_the_environment_sets_the_inter_op_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCJIT_NUM_INTEROP_THREADS", "7")
    assert get_num_interop_threads() == 7
    assert Runtime(2, blas_threads=None).num_interop_threads == 2
    set_num_interop_threads(3)
    assert get_num_interop_threads() == 3


def test_a_call_goes_before_mkl_and_mkl_before_omp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert get_num_threads() == 5
    monkeypatch.setenv("MKL_NUM_THREADS", "6")
    assert get_num_threads() == 6
    set_num_threads(2)
    assert get_num_threads() == 2


def test_the_other_variables_do_not_set_the_inter_op_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "57")
    monkeypatch.setenv("MKL_NUM_THREADS", "58")
    assert get_num_interop_threads() == usable_cpus().count


@pytest.mark.parametrize("text", ["0", "-1", "many", "2.5"])
def test_a_bad_value_in_the_environment_warns_names_it_and_is_ignored(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ASYNCJIT_NUM_INTEROP_THREADS", text)
    with pytest.warns(RuntimeWarning, match=f"ASYNCJIT_NUM_INTEROP_THREADS='{text}' is no positive integer and is ign"):
        assert get_num_interop_threads() == usable_cpus().count
    monkeypatch.setenv("MKL_NUM_THREADS", text)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with pytest.warns(RuntimeWarning, match=f"MKL_NUM_THREADS='{text}' is no positive integer and is ignored"):
        assert get_num_threads() == 3


# -- getters and parallel_info


def test_getters_and_parallel_info_start_nothing_and_hold_nothing() -> None:
    check_script(
        """
        import threading
        import asyncjit
        from asyncjit._core.blas import blas
        asyncjit.get_num_interop_threads()
        asyncjit.get_num_threads()
        asyncjit.set_num_interop_threads(2)
        asyncjit.set_num_threads(2)
        assert "not held" in asyncjit.parallel_info()
        assert threading.enumerate() == [threading.main_thread()]
        assert blas.generation == 0
        """
    )


def test_parallel_info_tells_counts_cpus_environment_and_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "57")
    with Runtime(3, blas_threads=None):
        text = parallel_info()
        assert "asyncjit.get_num_interop_threads() : 3\n" in text
        assert "asyncjit.get_num_threads() : 57\n" in text
        assert f"usable CPUs : {usable_cpus().count} ({usable_cpus().source})\n" in text
        assert "OMP_NUM_THREADS : 57\n" in text
        assert "MKL_NUM_THREADS : [not set]\n" in text
        assert "event loop : none runs here\n" in text


async def test_parallel_info_names_the_running_loop(request: pytest.FixtureRequest) -> None:
    name = request.node.name
    assert ("event loop : uvloop.Loop\n" if "uvloop" in name else "event loop : asyncio.unix_events") in parallel_info()


def test_parallel_info_names_each_blas_its_limit_and_who_holds_it() -> None:
    sync.wait(fork(np.matmul, np.ones((2, 2)), np.ones((2, 2))))
    (line, *_) = (line for line in parallel_info().splitlines() if line.startswith("\tblas : "))
    assert "1 threads, held at 1 by asyncjit, for 1 open runtime (" in line
    asyncjit.close()
    assert "held at" not in parallel_info()
