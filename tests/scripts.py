"""Scripts in a process of their own: for what happens at import, at `os.fork` and at interpreter exit."""

import os
import signal
import subprocess
import sys
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


def run_script(source: str, environ: Mapping[str, str] | None = None) -> Done:
    """Run `source` to its end; from the moment when it prints ENDING, it has EXIT_S seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"ENDING = {ENDING!r}\n" + textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,  # what it forks goes with it
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1", **(environ or {})},
    )
    watchdog = threading.Timer(PATIENCE_S, kill, [process])
    watchdog.start()
    try:
        assert process.stdout is not None
        out = []
        for line in process.stdout:
            if line.strip() == ENDING:
                break
            out.append(line)
        rest, err = process.communicate(timeout=EXIT_S)
    except subprocess.TimeoutExpired:
        kill(process)
        rest, err = process.communicate()
        raise AssertionError(f"the script did not end:\n{''.join(out)}{rest}{err}") from None
    finally:
        watchdog.cancel()
        watchdog.join()
    return Done(process.returncode, "".join(out) + rest, err)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill the script and what it forked."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def check_script(source: str, environ: Mapping[str, str] | None = None) -> Done:
    """Run `source`, which asserts for itself; nothing may be left to say on stderr."""
    done = run_script(source, environ)
    assert done.code == 0, done.err
    assert done.err == ""
    return done
