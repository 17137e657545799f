"""The command line: `asyncjit demo`. It parses and prints; what is run stands in `demo.py`."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import asyncjit
from asyncjit import cpus
from asyncjit.demo import FORMS, Row, Size, as_json, make_forms, make_input, measure

if TYPE_CHECKING:
    from rich.progress import Progress

SMALL = Size(steps=20, batch=10, hidden=512, models=4)  # takes about a second
ROUNDS = 3
MAX_COUNT = 1_000_000  # chosen: what is larger is a slip, and fits no machine

Show = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="asyncjit", description="Dynamic inter-op parallelism for NumPy models.")
    parser.add_argument("--version", action="version", version=f"asyncjit {asyncjit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    about = "run TorchScript's tutorial: an ensemble of bidirectional LSTMs, serial and forked"
    command = commands.add_parser("demo", help=about, description=about)
    _add_demo(command)
    options = parser.parse_args(argv)
    try:
        return demo(options)
    except MemoryError as error:
        command.error(f"{_size(options)} does not fit into memory: {error}")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    size = Size()
    parser.add_argument("--small", action="store_true", help="a size that takes about a second")
    for name, what in (
        ("steps", "time steps, T"),
        ("batch", "sequences in the batch, B"),
        ("hidden", "channels, C"),
        ("models", "models in the ensemble"),
    ):
        parser.add_argument(f"--{name}", type=_count, metavar="N", help=f"{what} (default: {getattr(size, name)})")
    parser.add_argument("--threads", type=_count, metavar="N", help="inter-op threads (default: the usable CPUs)")
    parser.add_argument(
        "--rounds",
        type=_count,
        metavar="N",
        default=ROUNDS,
        help=f"runs of each form; medians count (default: {ROUNDS})",
    )
    parser.add_argument("--json", action="store_true", help="print the result for machines, and nothing else")
    parser.add_argument(
        "--output", type=_folder, metavar="DIR", default=Path(), help="the folder for parallel.json (default: this one)"
    )


def _count(text: str) -> int:
    try:
        count = cpus.checked_count(int(text), "count")
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}") from None
    if count > MAX_COUNT:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_COUNT}, got {text!r}")
    return count


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be an existing folder, got {text!r}")
    return Path(text)


def _size(options: argparse.Namespace) -> Size:
    base = SMALL if options.small else Size()
    names = ("steps", "batch", "hidden", "models")
    return Size(**{name: getattr(options, name) or getattr(base, name) for name in names})


def demo(options: argparse.Namespace) -> int:
    """Measure all forms and show them; 1 if their outputs differ."""
    size, trace = _size(options), options.output / "parallel.json"
    num_runs = 1 + options.rounds * len(FORMS)
    with asyncjit.Runtime(options.threads) as runtime:
        with nullcontext(lambda form: None) if options.json else _progress(1 + num_runs) as show:
            show("making the models")
            rows = measure(make_forms(size), make_input(size), rounds=options.rounds, trace=trace, progress=show)
        threads = runtime.num_interop_threads
    if options.json:
        print(json.dumps(as_json(size, threads, rows, trace), indent=2))
    else:
        print_table(size, threads, rows)
        print(f"\nTimeline of everything forked: {trace} (open it at https://ui.perfetto.dev or chrome://tracing)")
    return exit_code(rows)


def _progress(total: int) -> AbstractContextManager[Show]:
    """Return a block whose function shows what begins, on stderr; with a bar, if rich is there."""
    try:
        from rich.console import Console  # an extra: `pip install 'asyncjit[demo]'`
        from rich.progress import Progress
    except ImportError:
        return nullcontext(lambda form: print(f"running: {form}", file=sys.stderr))
    # It draws when told: a thread that redraws would run beside the kernels that are measured.
    return _shown(Progress(console=Console(stderr=True), transient=True, auto_refresh=False), total)


@contextmanager
def _shown(bar: Progress, total: int) -> Iterator[Show]:
    begun = itertools.count()
    with bar:
        task = bar.add_task("", total=total)
        yield lambda form: bar.update(task, description=form, completed=next(begun), refresh=True)


def print_table(size: Size, num_interop_threads: int, rows: Sequence[Row]) -> None:
    """Print the measurements, and whether the outputs are equal."""
    shape = f"T, B, C = {size.steps}, {size.batch}, {size.hidden}"
    print(f"{size.models} bidirectional LSTMs, {shape}; {num_interop_threads} inter-op threads\n")
    print(f"{'':26}{'seconds':>9}{'speed-up':>10}{'lanes busy':>12}")
    for row in rows:
        print(f"{row.form:26}{row.seconds:9.3f}{row.speedup:9.2f}×{row.utilisation:12.0%}")
    different = ", ".join(row.form for row in rows if not row.is_identical)
    if different:
        print(f"\nOutputs that differ from {rows[0].form}: {different}. This is a bug: please report it.")
    else:
        print("\nOutputs of all forms: equal, bit for bit.")


def exit_code(rows: Sequence[Row]) -> int:
    """Return 1 if outputs differ, else 0."""
    return 0 if all(row.is_identical for row in rows) else 1
