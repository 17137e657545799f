"""Scripts in a process of their own, with words to tell and set the threads of BLAS and OpenMP."""

import textwrap

from tests.scripts import Done, check_script
from tests.support import optional

# So a thread starts with three OpenMP threads, however many CPUs the machine has; and BLAS is told three by hand.
ENVIRON = {"OMP_NUM_THREADS": "3", "ASYNCJIT_NUM_INTEROP_THREADS": "", "ASYNCJIT_INLINE": ""}

PRELUDE = """
import asyncio, ctypes, sys, threading
import numpy
from threadpoolctl import ThreadpoolController
import asyncjit
from asyncjit import Runtime, fork, parallel_info, sync
from tests.at_rest import PATIENCE_S, until, when_idle
from tests.rules.places import in_place, in_plain_thread, in_threads

def libraries(api):
    return [c for c in ThreadpoolController().lib_controllers if c.user_api == api]

def blas():
    '''Return the process's one count of BLAS threads.'''
    (count,) = {c.num_threads for c in libraries("blas")}
    return count

def omp():
    '''Return the calling thread's count of OpenMP threads.'''
    (count,) = {ctypes.CDLL(c.filepath).omp_get_max_threads() for c in libraries("openmp")}
    return count

def set_omp(count):
    for c in libraries("openmp"):
        ctypes.CDLL(c.filepath).omp_set_num_threads(count)

def in_pool(fn):
    '''Call fn in a kernel on a pool thread: a wait with a timeout runs nothing in place.'''
    def kernel():
        assert threading.current_thread().name.startswith("asyncjit")
        return fn()
    return sync.wait(fork(kernel), timeout=PATIENCE_S)

def rest(runtime):
    '''Wait until the pool is idle: what comes then finds it so.'''
    sync.wait(when_idle(runtime))

for c in libraries("blas"):
    c.set_num_threads(3)
assert blas() == 3
"""

WITH_OPENMP = PRELUDE.replace("import numpy\n", "import numpy, sklearn.utils\n")


def check(body: str, prelude: str = PRELUDE) -> Done:
    """Run a script that starts with three BLAS threads."""
    return check_script(prelude + textwrap.dedent(body), ENVIRON)


def check_openmp(body: str) -> Done:
    """Run a script that has an OpenMP runtime from the start, of three threads."""
    optional("sklearn")
    return check(body, WITH_OPENMP)
