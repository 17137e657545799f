"""The profiler: what it costs when it is off and on, and what a million strands cost to keep, to write and to analyse.

"Off" is seen against a copy of asyncjit without the profiler's hooks, which holds BLAS as if it were alone: so what
computes with BLAS has a benchmark of its own (`prediction.py`). The million strands are recorded in a fresh
interpreter, so that its memory is that of the recording alone.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from asyncjit import sync
from asyncjit.profiler import profile
from benchmarks import uninstrumented
from benchmarks.fork_wait import BURST, burst, resident_bytes
from benchmarks.harness import Options, Samples, Sheet, Worker, interleave, parse_options, serve, show_seconds

MANY = 1_000_000  # specified: strands


def profiled_burst(n: int, repeats: int, **settings: Any) -> float:
    total = 0.0
    for _ in range(repeats):
        with profile(**settings):
            total += burst(sync, n, 1)
    return total / repeats


def measure_cost(sheet: Sheet, options: Options) -> None:
    repeats = 1 if options.is_quick else 5
    bare = uninstrumented.load()
    cases: dict[str, Callable[[], float]] = {
        "no hooks": partial(burst, bare, BURST, repeats),
        "off": partial(burst, sync, BURST, repeats),
        "on": partial(profiled_burst, BURST, repeats),
        "on, no CPU times": partial(profiled_burst, BURST, repeats, cpu_times=False),
    }
    found: dict[str, Samples] = interleave(cases, options.rounds)
    bare.close()
    sheet.ratio("off: a copy without its hooks", found["off"], found["no hooks"], "≤ 1.03 ×")
    sheet.difference("on, a fork and its wait: off", found["on"], found["off"], "≤ +3 µs")
    sheet.difference("on, without CPU times: off", found["on, no CPU times"], found["off"], "≤ +1.5 µs")


# -- a million strands


def recorded(num_strands: int) -> dict[str, float]:
    """Record, export and analyse so many strands; return the seconds and bytes that each step took."""
    burst(sync, BURST, 1)
    gc.collect()
    before = resident_bytes()
    with profile() as prof:
        burst(sync, BURST, num_strands // BURST)
    gc.collect()
    answer: dict[str, float] = {"bytes": resident_bytes() - before}
    start = time.perf_counter()
    assert prof.records.num_dropped == 0
    answer["records"] = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json.gz"
        start = time.perf_counter()
        prof.export_chrome_trace(path)
        answer["export"] = time.perf_counter() - start
        answer["file"] = path.stat().st_size
    start = time.perf_counter()
    prof.summary()  # work, span, critical path, averages, predictions, explanation
    answer["analysis"] = time.perf_counter() - start
    return answer


def measure_many(sheet: Sheet, options: Options) -> None:
    num_strands = MANY // 10 if options.is_quick else MANY
    answers: list[dict[str, float]] = []
    for _ in range(min(options.rounds, 3)):
        with Worker("benchmarks.profiler", str(num_strands), quick=options.is_quick) as worker:
            answers.append(worker.ask("recorded"))
    found = {key: median(answer[key] for answer in answers) for key in answers[0]}
    sheet.value(f"{num_strands:,} strands, recorded", f"{found['bytes'] / 1e6:.0f} MB", "≤ 300 MB")
    sheet.value("  made into tables", show_seconds(found["records"]))
    exported = f"{show_seconds(found['export'])}, {found['file'] / 1e6:.0f} MB"
    sheet.value("  exported, gzipped", exported, "≤ 40 s")
    sheet.value("  analysed", show_seconds(found["records"] + found["analysis"]), "≤ 15 s")


def main() -> None:
    """Measure all, print the table."""
    options = parse_options("What the profiler costs.", rounds=21)
    if options.worker is not None:
        serve({"recorded": partial(recorded, int(options.worker))})
        return
    sheet = Sheet("profiler", options)
    measure_cost(sheet, options)
    measure_many(sheet, options)
    sheet.finish()


if __name__ == "__main__":
    main()
