"""Kernels shipped to an executor: the thread there stands for the pool's, and the fork is named after its function."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from asyncjit import fork, sync
from asyncjit._core.shipping import Shipped
from tests.at_rest import PATIENCE_S, assert_at_rest, explode
from tests.core.scripted import recurse, wait_for


def test_a_kernel_below_a_kernel_runs_in_the_thread_it_is_in() -> None:
    def kernel(depth: int) -> list[int]:
        return [threading.get_ident(), *(sync.wait(fork(kernel, depth - 1)) if depth else [])]

    with ThreadPoolExecutor(1) as executor, sync.Runtime(1, blas_threads=None, executor=executor) as runtime:
        threads = fork(kernel, 5).result(PATIENCE_S)
        assert len(set(threads)) == 1
        assert_at_rest(runtime)


def test_an_error_names_the_function_that_was_shipped() -> None:
    with ThreadPoolExecutor(1) as executor, sync.Runtime(1, blas_threads=None, executor=executor):
        future = fork(explode, ValueError("there"))
        assert "fork of explode" in repr(future)
        with pytest.raises(ValueError, match="there"):
            future.result(PATIENCE_S)


def test_a_shipped_kernel_waits_for_scripted_forks_and_they_for_it() -> None:
    def kernel() -> int:
        return sync.wait(fork(recurse, 50)) + sync.wait(fork(wait_for, fork(int, 1)))

    with ThreadPoolExecutor(2) as executor, sync.Runtime(1, blas_threads=None, executor=executor) as runtime:
        assert fork(wait_for, fork(kernel)).result(PATIENCE_S) == 51
        assert_at_rest(runtime)


def test_it_is_called_with_all_arguments() -> None:
    with ThreadPoolExecutor(1) as executor, sync.Runtime(1, blas_threads=None, executor=executor):
        assert sync.call(Shipped(executor, dict), {"a": 1}, b=2) == {"a": 1, "b": 2}
