"""Scripts in a process of their own: for what happens at import, at `os.fork` and at interpreter exit."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PATIENCE_S = 40.0  # a watchdog for what must happen before the script ends
EXIT_S = 3.0  # specified: a script ends so soon, whatever its kernels do; they get one second of it

ENDING = "the script ends here"


class Done(NamedTuple):
    """What a script that has ended left behind."""

    code: int
    out: str
    err: str


class Watchdog:
    """Kills a script that takes too long, and all it forked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.has_bitten = False
        self._process = process
        self.restart(PATIENCE_S)

    def restart(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._bite)
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()
        self._timer.join()

    def _bite(self) -> None:
        self.has_bitten = True
        if hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()


def run_script(source: str, environ: Mapping[str, str] | None = None) -> Done:
    """Run `source` to its end; from the moment when it prints ENDING, it has EXIT_S seconds."""
    out = []
    with tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", f"ENDING = {ENDING!r}\n" + textwrap.dedent(source)],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            cwd=ROOT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1", **(environ or {})},
        )
        watchdog = Watchdog(process)
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.strip() == ENDING:
                    watchdog.stop()
                    watchdog.restart(EXIT_S)
                else:
                    out.append(line)
        process.wait()
        watchdog.stop()
        err.seek(0)
        done = Done(process.returncode, "".join(out), err.read())
    assert not watchdog.has_bitten, f"the script did not end:\n{done.out}\n{done.err}"
    return done


def check_script(source: str, environ: Mapping[str, str] | None = None) -> Done:
    """Run `source`, which asserts for itself; nothing may be left to say on stderr."""
    done = run_script(source, environ)
    assert done.code == 0, done.err
    assert done.err == ""
    return done
