"""The command line: `asyncjit demo`, `analyse` and `view`.

It parses and prints; what is run stands in `demo.py` and in the profiler.
"""

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
from asyncjit.demo import FORMS, PROFILED, Row, Size, as_json, make_forms, make_input, measure
from asyncjit.profiler import load, profile
from asyncjit.profiler.viewer import serve

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
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,analyse,view}")
    for name, add, run, about in (
        ("demo", _add_demo, demo, "run TorchScript's tutorial: an ensemble of bidirectional LSTMs, serial and forked"),
        ("analyse", _add_trace, analyse, "tell what bounds a program, from a trace that a profile has exported"),
        ("view", _add_view, view, "show a trace in the Perfetto UI, served on this machine"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        add(command)
        command.set_defaults(run=run, command_parser=command)
    options = parser.parse_args(argv)
    try:
        code: int = options.run(options)
    except (OSError, ValueError, ImportError) as error:  # a trace that is none, or an extra that is missing
        options.command_parser.error(str(error))
    except MemoryError as error:
        options.command_parser.error(f"it does not fit into memory: {error}")
    return code


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
        "--output",
        type=_folder,
        metavar="DIR",
        default=Path(),
        help="the folder for parallel.json and parallel.html (default: this one)",
    )


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", type=Path, help="a .json or .json.gz of profile.export_chrome_trace")


def _add_view(parser: argparse.ArgumentParser) -> None:
    _add_trace(parser)
    parser.add_argument("--port", type=_port, metavar="N", default=0, help="to listen on (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 1 << 16:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 0 to 65535, got {text!r}")


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
    size = _size(options)
    profiles: dict[str, profile] = {}
    num_runs = 1 + options.rounds * len(FORMS)
    with asyncjit.Runtime(options.threads) as runtime:
        with nullcontext(lambda form: None) if options.json else _progress(1 + num_runs) as show:
            show("making the models")
            forms, x = make_forms(size), make_input(size)
            rows = measure(forms, x, rounds=options.rounds, progress=show, on_profile=profiles.__setitem__)
        threads = runtime.num_interop_threads
    prof = profiles[PROFILED]
    files = _write(prof, options.output)
    explanation = prof.explain()
    if options.json:
        print(json.dumps(as_json(size, threads, rows, explanation=explanation, files=files), indent=2))
    else:
        print_table(size, threads, rows)
        print(f"\nWhat bounds {PROFILED}:\n{explanation}")
        print(f"\nIts timeline: {' and '.join(map(str, files))} (the first is for `asyncjit view`, or ui.perfetto.dev)")
    return exit_code(rows)


def _write(prof: profile, folder: Path) -> list[Path]:
    """Write the trace, and the report if plotly is there; return the files."""
    trace, report = folder / "parallel.json", folder / "parallel.html"
    prof.export_chrome_trace(trace)
    try:
        prof.report(report, title="The tutorial's ensemble, everything forked")
    except ModuleNotFoundError as error:
        print(f"{report} was not written: {error}", file=sys.stderr)
        return [trace]
    return [trace, report]


def analyse(options: argparse.Namespace) -> int:
    """Print what a saved profile says."""
    print(load(options.trace).summary())
    return 0


def view(options: argparse.Namespace) -> int:
    """Serve the Perfetto UI with a trace until Ctrl-C."""
    serve(
        options.trace,
        port=options.port,
        open_browser=not options.no_browser,
        ready=lambda url: print(f"{options.trace} is shown at {url} until Ctrl-C", flush=True),
    )
    return 0


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
