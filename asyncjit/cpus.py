"""How many CPUs this process may use, and how many threads it was told to use. Pure: nothing is started or kept.

The usable CPUs are those of the affinity mask, and no more than the CPU time that the control groups grant, rounded
up. A container with half of a core on a machine of 64 has one usable CPU, which `os.cpu_count()` does not know.
"""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class UsableCpus:
    """A number of CPUs and where it came from."""

    count: int
    source: str


def usable_cpus(root: Path = Path("/")) -> UsableCpus:
    """Return min(affinity, ceil(control group's quota)), at least 1.

    Parameters
    ----------
    root : Path
        Where `/proc` and `/sys` are looked for.
    """
    count, source = _affinity()
    quota = _quota(root)
    if quota is None:
        return UsableCpus(count, source)
    limit, path = quota
    return UsableCpus(max(1, min(count, math.ceil(limit))), f"{source} ∩ cgroup quota {limit:g} ({path})")


def _affinity() -> tuple[int, str]:
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS and Windows have no such call
        count = os.cpu_count() or 1
        return count, f"os.cpu_count() {count}"
    return count, f"affinity {count}"


def _quota(root: Path) -> tuple[float, Path] | None:
    """Return the smallest quota among the process's control groups and their ancestors, in CPUs, and its file."""
    quotas = []
    for directory, is_unified in _groups(root):
        quota = _read_unified(directory / "cpu.max") if is_unified else _read_legacy(directory)
        if quota is not None and quota > 0:
            quotas.append((quota, directory / ("cpu.max" if is_unified else "cpu.cfs_quota_us")))
    return min(quotas, default=None)


def _groups(root: Path) -> list[tuple[Path, bool]]:
    """List the directories of the process's control groups and their ancestors; True marks version 2."""
    found = []
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines() or ["0::/", "1:cpu:/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        bases = [mount] if not controllers else [mount / "cpu", mount / "cpu,cpuacct", mount / controllers]
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for base in bases:
            for depth in range(len(parts), -1, -1):
                found.append((base.joinpath(*parts[:depth]), not controllers))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a path that no system takes
        return ""


def _ratio(quota: str, period: str) -> float | None:
    try:
        value = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _read_unified(path: Path) -> float | None:
    words = _read(path).split()
    return _ratio(words[0], words[1] if len(words) > 1 else "100000") if words else None


def _read_legacy(directory: Path) -> float | None:
    return _ratio(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))


def checked_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return `value` as an int if it is an integer of at least `minimum`, NumPy's included.

    Raises
    ------
    TypeError
        If it is no integer, or a bool.
    ValueError
        If it is below `minimum`.
    """
    try:
        count = None if type(value).__name__ in ("bool", "bool_") else operator.index(value)
    except TypeError:  # arrays and classes have an __index__ too
        count = None
    if count is None:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}")
    return count


def count_from_environment(names: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str] | None:
    """Return the count and name of the first variable that holds a positive integer; warn of each that does not.

    Of a list, as OMP_NUM_THREADS may be ("4,2"), the first item counts.
    """
    for name in names:
        text = environ.get(name, "").strip()
        if not text:
            continue
        try:
            return checked_count(int(text.split(",")[0]), name), name
        except ValueError:
            warnings.warn(f"{name}={text!r} is no positive integer and is ignored", RuntimeWarning, stacklevel=3)
    return None


def default_num_interop_threads(environ: Mapping[str, str]) -> int:
    """Return ASYNCJIT_NUM_INTEROP_THREADS, else the usable CPUs."""
    found = count_from_environment(["ASYNCJIT_NUM_INTEROP_THREADS"], environ)
    return found[0] if found is not None else usable_cpus().count


def default_num_threads(environ: Mapping[str, str], num_cpus: int) -> int:
    """Return MKL_NUM_THREADS, else OMP_NUM_THREADS, else `num_cpus`, the usable CPUs."""
    found = count_from_environment(["MKL_NUM_THREADS", "OMP_NUM_THREADS"], environ)
    return found[0] if found is not None else num_cpus
