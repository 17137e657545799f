"""The text of `parallel_info`, in the spirit of torch's. Pure: all it prints is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from asyncjit._core.blas import Library
from asyncjit.cpus import UsableCpus

VARIABLES = (
    "ASYNCJIT_NUM_INTEROP_THREADS",
    "ASYNCJIT_INLINE",
    "ASYNCJIT_PRODUCT_FORM",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


def describe(
    *,
    num_interop_threads: int,
    num_threads: int,
    cpus: UsableCpus,
    libraries: Iterable[Library],
    products: str,
    environ: Mapping[str, str],
    loop: str,
) -> str:
    """Return the lines of `parallel_info`.

    Parameters
    ----------
    num_interop_threads, num_threads : int
        The counts in force.
    cpus : UsableCpus
        The CPUs, and where their number came from.
    libraries : iterable of Library
        What was found in this process.
    products : str
        Which form the products with weights have, and why.
    environ : mapping
        The environment variables.
    loop : str
        The event loop in use, for people.
    """
    lines = [
        "asyncjit parallel info:",
        f"\tasyncjit.get_num_interop_threads() : {num_interop_threads}",
        f"\tasyncjit.get_num_threads() : {num_threads}",
        f"\tusable CPUs : {cpus.count} ({cpus.source})",
        f"\tevent loop : {loop}",
        "BLAS and OpenMP:",
    ]
    lines += [f"\t{_library(library)}" for library in libraries] or ["\t[none found]"]
    lines += [f"products of asyncjit.nn : {products}", "Environment variables:"]
    lines += [f"\t{name} : {environ.get(name, '[not set]')}" for name in VARIABLES]
    return "\n".join(lines) + "\n"


def _library(library: Library) -> str:
    words = [library.internal_api, library.version or "of unknown version"]
    words += [word for word in (library.threading_layer, library.architecture) if word]
    held = f"held at {library.held_at} by {library.holder}" if library.held_at else "not held"
    name = PurePath(library.filepath).name
    return f"{library.user_api} : {' '.join(words)}, {library.num_threads} threads, {held} ({name})"
