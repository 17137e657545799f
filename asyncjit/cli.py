"""The command line: `asyncjit demo`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncjit
from asyncjit import cpus
from asyncjit.demo import FORMS, Row, Size, as_json, measure

SMALL = Size(steps=20, batch=10, hidden=512, models=4)  # takes about a second
ROUNDS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="asyncjit", description="Dynamic inter-op parallelism for NumPy models.")
    parser.add_argument("--version", action="version", version=f"asyncjit {asyncjit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_demo(commands.add_parser("demo", help="run TorchScript's tutorial: an ensemble of LSTMs, serial and forked"))
    options = parser.parse_args(argv)
    if not options.output.is_dir():
        parser.error(f"--output {options.output} is no directory: make it first")
    return demo(options)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--small", action="store_true", help="a size that takes about a second")
    for name, what in (("steps", "time steps"), ("batch", "batch size"), ("hidden", "channels"), ("models", "models")):
        parser.add_argument(f"--{name}", type=_count(f"--{name}"), help=f"number of {what}")
    parser.add_argument("--threads", type=_count("--threads"), help="inter-op threads (default: the usable CPUs)")
    parser.add_argument(
        "--rounds", type=_count("--rounds"), default=ROUNDS, help=f"default {ROUNDS}; medians are shown"
    )
    parser.add_argument("--json", action="store_true", help="print the result for machines, and nothing else")
    parser.add_argument("--output", type=Path, default=Path(), help="the folder for parallel.json")


def _count(name: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            return cpus.positive_count(int(text), name)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}") from None

    return parse


def demo(options: argparse.Namespace) -> int:
    """Measure the four forms and show them; 1 if their outputs differ."""
    if options.threads is not None:
        asyncjit.set_num_interop_threads(options.threads)
    base = SMALL if options.small else Size()
    size = Size(
        **{name: getattr(options, name) or getattr(base, name) for name in ("steps", "batch", "hidden", "models")}
    )
    trace = options.output / "parallel.json"
    show = _progress(options.rounds * len(FORMS)) if not options.json else (lambda form: None)
    rows = measure(size, rounds=options.rounds, trace=trace, progress=show)
    show("")
    if options.json:
        print(json.dumps(as_json(size, rows, trace), indent=2))
    else:
        _print_table(size, rows)
        print(f"\nTimeline of everything forked: {trace} (open it at https://ui.perfetto.dev or chrome://tracing)")
    return 0 if all(row.is_identical for row in rows) else 1


def _progress(total: int) -> Callable[[str], None]:
    """Return a function that shows which form is run; with a bar, if rich is there."""
    try:
        from rich.progress import Progress  # an extra: `pip install 'asyncjit[demo]'`
    except ImportError:
        return lambda form: print(f"running: {form}", file=sys.stderr) if form else None
    bar = Progress(transient=True)
    task = bar.add_task("", total=total + 1)
    bar.start()

    def show(form: str) -> None:
        bar.update(task, description=form, advance=1)
        if not form:
            bar.stop()

    return show


def _print_table(size: Size, rows: list[Row]) -> None:
    threads = asyncjit.get_num_interop_threads()
    print(
        f"{size.models} bidirectional LSTMs, T, B, C = {size.steps}, {size.batch}, {size.hidden}; {threads} threads\n"
    )
    print(f"{'':26}{'seconds':>9}{'speed-up':>10}{'lanes busy':>12}")
    for row in rows:
        print(f"{row.form:26}{row.seconds:9.3f}{row.speedup:9.2f}×{row.utilisation:11.0%}")
    same = (
        "equal, bit for bit" if all(row.is_identical for row in rows) else "NOT equal: this is a bug, please report it"
    )
    print(f"\nOutputs of all forms: {same}.")
