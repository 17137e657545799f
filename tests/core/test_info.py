"""The text of `parallel_info`, line by line."""

from dataclasses import replace
from typing import Any

import pytest

from asyncjit._core.blas import Library
from asyncjit._core.info import VARIABLES, describe
from asyncjit.cpus import UsableCpus
from tests.core.libraries import NUMPYS

HELD = replace(
    NUMPYS,
    version="0.3.30",
    architecture="Haswell",
    filepath="/usr/lib/libopenblas.so.0",
    held_at=1,
    holder="asyncjit, for 2 open runtimes",
)
FREE = Library("openmp", "openmp", None, None, None, "/usr/lib/libgomp.so.1", 8, None, None)


def told(*libraries: Library, environ: dict[str, str] | None = None) -> list[str]:
    text = describe(
        num_interop_threads=3,
        num_threads=5,
        cpus=UsableCpus(2, "affinity 4 ∩ cgroup quota 1.5 (/sys/fs/cgroup/cpu.max)"),
        libraries=libraries,
        products="panels",
        environ=environ or {},
        loop="uvloop.Loop",
    )
    assert text.endswith("\n")
    return text.splitlines()


def test_both_counts_the_cpus_with_their_source_and_the_loop_come_first() -> None:
    assert told()[:5] == [
        "asyncjit parallel info:",
        "\tasyncjit.get_num_interop_threads() : 3",
        "\tasyncjit.get_num_threads() : 5",
        "\tusable CPUs : 2 (affinity 4 ∩ cgroup quota 1.5 (/sys/fs/cgroup/cpu.max))",
        "\tevent loop : uvloop.Loop",
    ]


def test_each_library_is_told_with_version_threading_layer_limit_and_holder() -> None:
    assert told(HELD, FREE)[5:8] == [
        "BLAS and OpenMP:",
        "\tblas : openblas 0.3.30 pthreads Haswell, 1 threads, "
        "held at 1 by asyncjit, for 2 open runtimes (libopenblas.so.0)",
        "\topenmp : openmp of unknown version, 8 threads, not held (libgomp.so.1)",
    ]


@pytest.mark.parametrize("missing", ["version", "threading_layer", "architecture", "num_threads"])
def test_what_a_library_does_not_tell_leaves_no_gap(missing: str) -> None:
    nothing: dict[str, Any] = {missing: None}
    (line,) = told(replace(HELD, **nothing))[6:7]
    assert line.startswith("\tblas : openblas ")
    assert "  " not in line
    assert " ," not in line


def test_where_no_library_is_found_the_text_says_so() -> None:
    assert told()[5:7] == ["BLAS and OpenMP:", "\t[none found]"]


def test_every_variable_is_told_set_empty_or_not_set() -> None:
    lines = told(environ={"OMP_NUM_THREADS": "4,2", "ASYNCJIT_INLINE": "", "HOME": "/root"})
    assert lines[7:9] == ["products of asyncjit.nn : panels", "Environment variables:"]
    assert lines[9:] == [
        "\tASYNCJIT_NUM_INTEROP_THREADS : [not set]",
        "\tASYNCJIT_INLINE : ",
        "\tASYNCJIT_PRODUCT_FORM : [not set]",
        "\tMKL_NUM_THREADS : [not set]",
        "\tOMP_NUM_THREADS : 4,2",
        "\tOPENBLAS_NUM_THREADS : [not set]",
    ]
    assert len(lines[9:]) == len(VARIABLES)
