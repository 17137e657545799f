"""The copy without hooks that the profiler's benchmark measures against: it works, and knows no profile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
from asyncjit.profiler import profile
from benchmarks import uninstrumented

bare = uninstrumented.load()
with profile() as prof:
    futures = [bare.fork(np.negative, np.ones(3)) for _ in range(100)] + [bare.fork(lambda: bare.call(abs, -1))]
    print(len([bare.wait(future) for future in futures]), len(prof.tasks()))
bare.close()
"""


def test_the_copy_forks_and_waits_and_no_profile_sees_it() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr) == ("101 0\n", "")
