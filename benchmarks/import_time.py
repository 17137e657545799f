"""What `import asyncjit` takes, beside NumPy's import, each in a fresh interpreter; and the threads it starts."""

import json
import subprocess
import sys
from collections.abc import Callable

from benchmarks.harness import ROOT, Sheet, interleave, parse_options, untouched_environment

# Threads are counted by the system where it tells: NumPy's BLAS starts some of its own, which Python does not know.
PROGRAM = """
import sys, time
start = time.perf_counter()
import {package}
seconds = time.perf_counter() - start
import json, os, threading
try:
    threads = len(os.listdir("/proc/self/task"))
except OSError:
    threads = threading.active_count()
print(json.dumps([seconds, threads, threading.active_count()]))
"""


def main() -> None:
    """Measure, print the table."""
    options = parse_options("What importing asyncjit takes.", rounds=21)
    sheet = Sheet("import_time", options)
    threads: dict[str, tuple[int, int]] = {}

    def case(package: str) -> Callable[[], float]:
        def run() -> float:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM.format(package=package)],
                check=True,
                capture_output=True,
                cwd=ROOT,
                env=untouched_environment(),
            )
            seconds, of_system, of_python = json.loads(done.stdout)
            threads[package] = of_system, of_python
            return float(seconds)

        return run

    packages = "numpy", "asyncjit", "asyncjit.sync", "asyncjit.nn", "asyncjit.profiler"
    found = interleave({package: case(package) for package in packages}, options.rounds)
    for package in packages[1:]:
        target = "≤ +80 ms" if package == "asyncjit" else ""
        sheet.difference(f"import {package}: numpy", found[package], found["numpy"], target)
    extra = threads["asyncjit"][0] - threads["numpy"][0]
    sheet.value("threads started by import asyncjit, beyond numpy's", str(extra), "0")
    sheet.finish()


if __name__ == "__main__":
    main()
