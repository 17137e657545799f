"""Interleaved rounds, workers in fresh interpreters, a table of ratios, and the samples kept as JSON.

In each round every case runs once, and the order turns from round to round, so that drift and neighbours hit all
alike. A ratio is the median of the rounds' own ratios: only what ran within the same second or so is compared. The
first round warms up and is not counted.
"""

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from asyncjit.cpus import usable_cpus

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ASYNCJIT_")  # a worker sees none of these

Samples = list[float]  # seconds, one for each round


class Options(NamedTuple):
    """What the command line asks for."""

    rounds: int
    is_quick: bool
    worker: str | None  # this interpreter shall answer, not ask


def parse_options(description: str, rounds: int) -> Options:
    """Parse a benchmark's command line; `rounds` is what is measured by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {rounds}; 3 with --quick)")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: to see that it works")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.rounds is not None and found.rounds < 1:
        parser.error(f"--rounds must be positive, not {found.rounds}")
    return Options(found.rounds or (3 if found.quick else rounds), found.quick, found.worker)


def interleave(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Samples]:
    """Run every case once per round, in an order that turns; each returns the seconds of one operation."""
    names = list(cases)
    samples: dict[str, Samples] = {name: [] for name in names}
    for number in range(rounds + 1):
        turn = number % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            gc.collect()
            show_progress(f"  round {number} of {rounds}: {name}")
            seconds = cases[name]()
            if number:
                samples[name].append(seconds)
    show_progress("")
    return samples


def show_progress(text: str) -> None:
    """Replace the terminal's last line by `text`."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


class Row(NamedTuple):
    """A line of the table, and the samples it was made from."""

    what: str
    ours: str
    peer: str
    measured: str
    target: str
    samples: dict[str, Samples]


class Sheet:
    """The rows of one benchmark."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._options = options
        self._rows: list[Row] = []
        self._notes: list[str] = []
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before we add to it

    def ratio(self, what: str, ours: Samples, peer: Samples | None, target: str = "") -> None:
        """Add a row of our time by a peer's; a peer that is missing leaves its columns empty."""
        self._compare(what, ours, peer, target, lambda a, b: a / b)

    def speed_up(self, what: str, ours: Samples, peer: Samples | None, target: str = "") -> None:
        """Add a row of a peer's time by ours."""
        self._compare(what, ours, peer, target, lambda a, b: b / a)

    def _compare(
        self, what: str, ours: Samples, peer: Samples | None, target: str, divide: Callable[[float, float], float]
    ) -> None:
        if peer is None:
            self._rows.append(Row(what, show_seconds(median(ours)), "-", "-", target, {"ours": ours}))
            return
        ratio = median(divide(a, b) for a, b in zip(ours, peer, strict=True))
        shown = (show_seconds(median(ours)), show_seconds(median(peer)), f"{ratio:.2f} ×")
        self._rows.append(Row(what, *shown, target, {"ours": ours, "peer": peer}))

    def difference(self, what: str, ours: Samples, peer: Samples, target: str = "") -> None:
        """Add a row of what ours takes beyond a peer."""
        extra = median(a - b for a, b in zip(ours, peer, strict=True))
        shown = (show_seconds(median(ours)), show_seconds(median(peer)), "+" + show_seconds(extra))
        self._rows.append(Row(what, *shown, target, {"ours": ours, "peer": peer}))

    def value(self, what: str, measured: str, target: str = "", samples: Samples | None = None) -> None:
        """Add a row that compares with nothing."""
        self._rows.append(Row(what, "", "", measured, target, {} if samples is None else {"ours": samples}))

    def note(self, text: str) -> None:
        """Add a line below the table; twice is once."""
        if text not in self._notes:
            self._notes.append(text)

    def finish(self) -> None:
        """Print the table and keep the samples."""
        machine = describe_machine()
        if self._load > 0.5:
            self.note(f"Others were at work here (load average {self._load:.2f} at the start): not to be relied on.")
        rounds = "round" if self._options.rounds == 1 else "rounds"
        print(f"\n{self._name}: medians of {self._options.rounds} {rounds}" + (" (quick)" * self._options.is_quick))
        print(", ".join(f"{key} {value}" for key, value in machine.items()) + "\n")
        header = ("", "asyncjit", "peer", "measured", "target")
        print_table([header, *(row[:5] for row in self._rows)])
        for note in self._notes:
            print(f"\n{note}")
        print(f"\nkept in {self._keep(machine)}\n")

    def _keep(self, machine: dict[str, Any]) -> Path:
        now = datetime.now(UTC)
        path = RESULTS / f"{self._name}-{now:%Y%m%d-%H%M%S}.json"
        record = {
            "benchmark": self._name,
            "time": now.isoformat(timespec="seconds"),
            "options": {"rounds": self._options.rounds, "quick": self._options.is_quick},
            "machine": machine,
            "notes": self._notes,
            "rows": [row._asdict() for row in self._rows],
        }
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path.relative_to(ROOT)


def show_seconds(seconds: float) -> str:
    """Show a time with three digits and a fitting unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if abs(seconds) * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text, the first as a header, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 4)), row[4]]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))


def describe_machine() -> dict[str, Any]:
    """Tell on what and with what was measured."""
    found: dict[str, Any] = {"CPUs": usable_cpus().count, "processor": processor(), "Python": platform.python_version()}
    for package in ("numpy", "uvloop", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor() -> str:
    """Name the CPU, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def untouched_environment() -> dict[str, str]:
    """Return the environment without any setting of threads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}


class Worker:
    """A fresh interpreter that runs a benchmark's cases on request, so that settings and memory are its own.

    It is the module started with `--worker NAME`, which calls `serve`. It stays, so that rounds can interleave several.
    """

    def __init__(self, module: str, name: str, *, quick: bool) -> None:
        command = [sys.executable, "-m", module, "--worker", name] + ["--quick"] * quick
        self._command = " ".join(command)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=untouched_environment(), cwd=ROOT
        )

    def ask(self, case: str) -> Any:
        """Run one case there and return what it returned."""
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        questions.write(case + "\n")
        questions.flush()
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"{self._command} ended with {self._process.wait()} when asked for {case!r}")
        return json.loads(answer)

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def serve(cases: Mapping[str, Callable[[], Any]]) -> None:
    """Answer a `Worker` until it has no more questions."""
    for line in sys.stdin:
        print(json.dumps(cases[line.strip()]()), flush=True)
