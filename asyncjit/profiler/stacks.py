"""Folded stacks: which chain of forks the time was spent in, for flamegraph.pl and speedscope.

A line for each chain of names from the code outside down to a fork, "outside;outer;inner 1234", with its own time in
microseconds: the format of Brendan Gregg's flamegraph.pl. All forks with the same names above them are one chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.records import UNKNOWN, Records

METRICS = ("self_wall_time_total", "self_cpu_time_total")
MAX_DEPTH = 1000  # as deep as Python lets functions call; the text of all chains of a recursion grows with its square
DEEPER = "(deeper)"
UNFOLDABLE = re.compile("[;\x00-\x1f\x7f\x85\u2028\u2029]")  # what ends a name or a line


def write_stacks(path: str | Path, records: Records, metric: str = "self_wall_time_total") -> None:
    """Write the folded stacks of a profile.

    Chains of less than a microsecond are left out. Forks that stand more than 1000 deep are added up in one chain
    that ends in "(deeper)". Semicolons and control characters in names become "_".

    Parameters
    ----------
    path : str or Path
        A file that is there is overwritten.
    records : Records
        What a profile recorded.
    metric : {"self_wall_time_total", "self_cpu_time_total"}
        Which time: of the strands, or of their threads' CPUs where that was measured.

    Raises
    ------
    ValueError
        For another metric, or if the CPU time of no strand was measured.
    OSError
        If the file can't be written.
    """
    time_ns = _self_ns(records, metric)
    with Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(_lines(records, time_ns))


def _self_ns(records: Records, metric: str) -> NDArray[np.int64]:
    """Return the own time of each task."""
    strands = records.strands
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    values = strands["end_ns"] - strands["start_ns"]
    if metric == "self_cpu_time_total":
        is_measured = strands["cpu_ns"] != UNKNOWN
        if len(strands) and not is_measured.any():
            raise ValueError("the profile measured no CPU times: use metric='self_wall_time_total'")
        values = np.where(is_measured, strands["cpu_ns"], 0)
    return np.bincount(strands["task"], values, len(records.tasks)).astype(np.int64)


def _lines(records: Records, time_ns: NDArray[np.int64]) -> Iterator[str]:
    names = [UNFOLDABLE.sub("_", name) for name in (*records.names, DEEPER)]
    chain_of, above, name_of = _chains(records, len(records.names))
    time_us = np.bincount(chain_of, time_ns, len(above)).astype(np.int64) // 1000
    for chain in np.flatnonzero(time_us).tolist():
        stack = []
        link = chain
        while link >= 0:
            stack.append(names[name_of[link]])
            link = above[link]
        yield f"{';'.join(reversed(stack))} {time_us[chain]}\n"


def _chains(records: Records, deeper: int) -> tuple[list[int], list[int], list[int]]:
    """Return the chain of each task, and of each chain the one above it and the name that it adds."""
    tasks = records.tasks
    root = int(tasks["name"][0])
    chain_of, above, name_of, depths = [0], [-1], [root], [1]
    known: dict[int, int] = {}
    # A fork's parent was made before it, so its chain is known.
    for parent, name in zip(tasks["parent"][1:].tolist(), tasks["name"][1:].tolist(), strict=True):
        chain = chain_of[parent]
        depth = depths[chain]
        if depth >= MAX_DEPTH:
            name = deeper
        if depth <= MAX_DEPTH:
            upper = chain
            chain = known.setdefault(upper * (deeper + 1) + name, len(above))
            if chain == len(above):
                above.append(upper)
                name_of.append(name)
                depths.append(depth + 1)
        chain_of.append(chain)
    return chain_of, above, name_of
