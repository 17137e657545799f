"""The thread settings of the current runtime, under torch's names. Getters start nothing."""

from __future__ import annotations

import asyncio
import os

from asyncjit._core.blas import blas
from asyncjit._core.info import describe
from asyncjit._core.process import current_runtime
from asyncjit._core.products import describe_products
from asyncjit.cpus import usable_cpus


def set_num_interop_threads(num_threads: int) -> None:
    """Set how many kernels run at once on the current runtime; at any time.

    A smaller number takes hold as kernels end.

    Raises
    ------
    TypeError, ValueError
        If it is no positive integer.
    """
    current_runtime().num_interop_threads = num_threads


def get_num_interop_threads() -> int:
    """Return how many kernels run at once on the current runtime."""
    return current_runtime().num_interop_threads


def set_num_threads(num_threads: int) -> None:
    """Set how many threads one split kernel may use on the current runtime.

    Raises
    ------
    TypeError, ValueError
        If it is no positive integer.
    """
    current_runtime().num_threads = num_threads


def get_num_threads() -> int:
    """Return how many threads one split kernel may use on the current runtime."""
    return current_runtime().num_threads


def parallel_info() -> str:
    """Describe all that decides how many threads compute, and how: counts, CPUs, BLAS, products, environment, loop."""
    runtime = current_runtime()
    loop = asyncio._get_running_loop()
    return describe(
        num_interop_threads=runtime.num_interop_threads,
        num_threads=runtime.num_threads,
        cpus=usable_cpus(),
        libraries=blas.libraries(),
        products=describe_products(),
        environ=os.environ,
        loop="none runs here" if loop is None else f"{type(loop).__module__}.{type(loop).__qualname__}",
    )
