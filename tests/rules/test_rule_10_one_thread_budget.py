"""Rule 10: kernels side by side and the threads of BLAS and OpenMP share one budget, and all is given back."""

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


# -- how many kernels


def test_by_default_as_many_kernels_run_as_there_are_usable_cpus() -> None:
    check(
        """
        import os
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            assert asyncjit.get_num_interop_threads() == 1
        with Runtime() as runtime:
            assert runtime.num_interop_threads == asyncjit.cpus.usable_cpus().count
        """
    )


# -- BLAS


def test_blas_is_held_at_one_thread_from_the_first_kernel_to_the_close() -> None:
    check(
        """
        with Runtime(2) as runtime:
            assert blas() == 3, "nothing is held before it is needed"
            assert in_pool(blas) == 1
            rest(runtime)
            assert blas() == 1, "an idle runtime that is open goes on holding"
        assert blas() == 3
        """
    )


def test_a_kernel_run_in_place_finds_blas_held() -> None:
    check(
        """
        with Runtime(2):
            assert in_place(blas) == 1
        assert blas() == 3
        """
    )


def test_a_kernel_awaited_on_a_loop_finds_blas_held() -> None:
    check(
        """
        async def main():
            async with Runtime(2):
                assert blas() == 3
                assert await fork(blas) == 1
            assert blas() == 3

        asyncio.run(main())
        """
    )


def test_the_debuggers_mode_holds_blas_too() -> None:
    check(
        """
        with Runtime(2, inline=True):
            assert sync.wait(fork(blas)) == 1
        assert blas() == 3
        """
    )


def test_all_of_the_first_kernels_at_once_find_blas_held() -> None:
    """The first holds; the others, which come while it looks for libraries, must not start before it has."""
    check(
        """
        numpy_blas = libraries("blas")[0]
        for _ in range(20):
            all_run = threading.Barrier(4)

            def kernel():
                count = numpy_blas.num_threads
                all_run.wait(PATIENCE_S)
                return count

            with Runtime(4):
                counts = sync.wait_all([fork(kernel) for _ in range(4)], timeout=PATIENCE_S)
            assert counts == [1] * 4, counts
            assert blas() == 3
        """
    )


def test_blas_is_given_back_by_whichever_thread_closes() -> None:
    """The main thread has set it, a pool thread holds it, a third closes."""
    check(
        """
        runtime = Runtime(2).enter()
        assert in_pool(blas) == 1
        in_plain_thread(runtime.close)
        assert blas() == 3
        """
    )


def test_a_runtime_that_nobody_closed_and_nobody_has_gives_blas_back() -> None:
    check(
        """
        import gc

        def use():
            Runtime(1, local=True).enter()
            assert in_pool(blas) == 1

        in_plain_thread(use)  # in a context of its own, which goes with it
        gc.collect()
        until(lambda: blas() == 3)
        """
    )


# -- whose wish counts


def test_the_smallest_wish_of_the_open_runtimes_wins() -> None:
    check(
        """
        with Runtime(1, blas_threads=2) as outer:
            assert in_pool(blas) == 2
            rest(outer)
            with Runtime(1, blas_threads=1):
                assert in_pool(blas) == 1
                rest(outer)
                with Runtime(1, blas_threads=2):
                    assert in_pool(blas) == 1
                assert blas() == 1
            assert blas() == 2, "what is left is the larger wish"
            assert in_pool(blas) == 2
        assert blas() == 3
        """
    )


def test_runtimes_may_close_in_any_order() -> None:
    check(
        """
        first, second = Runtime(1).enter(), Runtime(1, blas_threads=2).enter()
        assert in_pool(blas) == 1
        first.close()
        assert blas() == 2
        second.close()
        assert blas() == 3
        second.close()
        assert blas() == 3
        """
    )


def test_a_runtime_that_wishes_nothing_leaves_blas_alone() -> None:
    check(
        """
        with Runtime(2, blas_threads=None):
            assert in_pool(blas) == in_place(blas) == 3
            for c in libraries("blas"):
                c.set_num_threads(2)
            assert in_pool(blas) == in_place(blas) == 2
        assert blas() == 2
        """
    )


def test_a_runtime_that_wishes_nothing_does_not_release_what_another_holds() -> None:
    check(
        """
        with Runtime(1):
            assert in_pool(blas) == 1
            with Runtime(1, blas_threads=None):
                assert in_pool(blas) == in_place(blas) == 1
            assert blas() == 1
        assert blas() == 3
        """
    )


def test_closing_the_default_runtime_gives_back_and_the_next_fork_holds_again() -> None:
    check(
        """
        for _ in range(2):
            assert in_pool(blas) == 1
            assert blas() == 1
            asyncjit.close()
            assert blas() == 3
        """
    )


def test_what_the_user_set_between_two_runtimes_is_what_comes_back() -> None:
    check(
        """
        with Runtime(1):
            assert in_pool(blas) == 1
        for c in libraries("blas"):
            c.set_num_threads(2)
        with Runtime(1):
            assert in_pool(blas) == 1
        assert blas() == 2
        """
    )


def test_asking_for_counts_wishes_nothing() -> None:
    """The getters look at the default runtime, on which nothing has run."""
    check(
        """
        asyncjit.get_num_threads(), asyncjit.get_num_interop_threads(), parallel_info()
        with Runtime(1, blas_threads=2):
            assert in_pool(blas) == 2
        assert blas() == 3
        """
    )


# -- OpenMP: each thread has a limit of its own


def test_openmp_is_held_in_every_pool_thread() -> None:
    check_openmp(
        """
        with Runtime(4):
            for _ in range(10):
                all_run = threading.Barrier(4)

                def kernel():
                    count = omp()
                    all_run.wait(PATIENCE_S)
                    return count

                assert sync.wait_all([fork(kernel) for _ in range(4)], timeout=PATIENCE_S) == [1] * 4
            assert omp() == 3, "the script's own thread keeps its count"
        assert omp() == 3
        """
    )


def test_openmp_is_held_in_the_spare_that_stands_in_for_a_blocked_thread() -> None:
    check_openmp(
        """
        def outer():
            return omp(), fork(omp).result(timeout=PATIENCE_S), omp()

        with Runtime(1):
            assert in_pool(outer) == (1, 1, 1)
        """
    )


def test_openmp_is_held_in_place_and_the_scripts_thread_gets_its_own_count_back() -> None:
    check_openmp(
        """
        set_omp(5)
        with Runtime(2):
            for _ in range(3):
                assert in_place(omp) == 1
                assert omp() == 5
        assert omp() == 5
        """
    )


def test_the_scripts_thread_gets_its_count_back_from_a_kernel_that_fails() -> None:
    check_openmp(
        """
        def kernel():
            raise KeyError(omp())

        set_omp(5)
        with Runtime(2):
            try:
                in_place(kernel)
            except KeyError as error:
                assert error.args == (1,)
            assert omp() == 5
        """
    )


def test_in_place_runs_inside_each_other_are_all_held() -> None:
    check_openmp(
        """
        def nested(depth):
            return [omp(), *(in_place(lambda: nested(depth - 1)) if depth else []), omp()]

        set_omp(5)
        with Runtime(1):
            assert in_place(lambda: nested(3)) == [1] * 8
            assert omp() == 5
        """
    )


def test_two_threads_that_run_in_place_at_once_each_get_their_own_count_back() -> None:
    check_openmp(
        """
        both_run = threading.Barrier(2)

        def kernel():
            both_run.wait(PATIENCE_S)
            return omp()

        def script(count):
            set_omp(count)
            return in_place(kernel), omp()

        with Runtime(2):
            for _ in range(10):
                assert in_threads(lambda: script(5), lambda: script(6)) == [(1, 5), (1, 6)]
        """
    )


def test_opening_and_closing_leave_the_calling_threads_openmp_count_alone() -> None:
    check_openmp(
        """
        def open_and_close():
            set_omp(7)
            with Runtime(1):
                assert in_pool(omp) == 1
                assert omp() == 7
            return omp()

        assert in_plain_thread(open_and_close) == 7
        assert omp() == 3
        """
    )


def test_a_loops_thread_keeps_its_openmp_count() -> None:
    check_openmp(
        """
        async def main():
            set_omp(5)
            async with Runtime(2):
                assert await fork(omp) == 1
                assert [float(await fork(numpy.negative, 1.0)) for _ in range(50)] == [-1.0] * 50  # some in place
                assert omp() == 5
            assert omp() == 5

        asyncio.run(main())
        """
    )


def test_a_runtime_that_wishes_nothing_leaves_openmp_alone() -> None:
    check_openmp(
        """
        with Runtime(2, blas_threads=None):
            assert in_pool(omp) == 3
            set_omp(5)
            assert in_place(omp) == 5
        assert omp() == 5
        """
    )


def test_a_smaller_wish_reaches_the_threads_of_a_pool_that_has_run_and_goes_again() -> None:
    check_openmp(
        """
        with Runtime(1, blas_threads=2) as runtime:
            assert in_pool(omp) == 2
            rest(runtime)
            with Runtime(1):
                assert in_pool(omp) == 1
            assert in_pool(omp) == 2
        """
    )


def test_a_kernel_of_another_runtime_run_in_place_leaves_no_limit_on_a_pool_thread() -> None:
    """A thread of a pool that leaves OpenMP alone waits for, and runs, a kernel of one that holds it."""
    check_openmp(
        """
        def outer():
            before = omp()
            with Runtime(1, local=True) as inner:
                return before, in_place(omp), omp()

        with Runtime(1, blas_threads=None):
            assert in_pool(outer) == (3, 1, 3)
            assert in_pool(omp) == 3
        """
    )


# -- libraries that come later


def test_a_library_loaded_later_is_held_once_the_pool_goes_from_idle_to_busy() -> None:
    optional("sklearn")
    check(
        """
        (first,) = libraries("blas")
        with Runtime(2) as runtime:
            assert in_pool(blas) == 1
            rest(runtime)
            import sklearn.utils
            assert len(libraries("openmp")) == 1
            assert (in_pool(omp), omp()) == (1, 3)
            assert (in_pool(blas), in_place(blas)) == (1, 1), "SciPy has brought a BLAS of its own"
            assert (in_place(omp), omp()) == (1, 3)
        assert first.num_threads == 3
        assert omp() == 3
        """
    )


def test_a_library_loaded_later_is_found_by_a_waiter_that_runs_in_place() -> None:
    optional("sklearn")
    check(
        """
        with Runtime(2) as runtime:
            assert in_place(blas) == 1
            import sklearn.utils
            rest(runtime)
            assert (in_place(omp), omp()) == (1, 3)
        """
    )


def test_a_library_that_a_kernel_loads_is_held_in_the_next_one() -> None:
    optional("sklearn")
    check(
        """
        def loading():
            import sklearn.utils

        with Runtime(1) as runtime:
            in_pool(loading)
            rest(runtime)
            assert in_pool(omp) == 1
        """
    )


def test_a_library_loaded_later_gets_back_what_it_came_with() -> None:
    optional("sklearn")
    check(
        """
        with Runtime(2) as runtime:
            assert in_pool(blas) == 1
            rest(runtime)
            import sklearn.utils
            later = [c for c in libraries("blas") if c.num_threads != 1]
            came_with = [c.num_threads for c in later]
            assert in_pool(blas) == 1
        assert [c.num_threads for c in later] == came_with
        """
    )


# -- who holds what


def test_parallel_info_tells_who_holds_what() -> None:
    check_openmp(
        """
        def holders():
            lines = [line for line in parallel_info().splitlines() if line.startswith(("\\tblas : ", "\\topenmp : "))]
            assert any(line.startswith("\\topenmp : ") for line in lines)
            (told,) = {line.split(" threads, ")[1].rpartition(" (")[0] for line in lines}
            return told

        with Runtime(1, blas_threads=2) as outer:
            assert holders() == "not held"
            in_pool(blas)
            assert holders() == "held at 2 by asyncjit, for 1 open runtime"
            rest(outer)
            with Runtime(1):
                in_pool(blas)
                assert holders() == "held at 1 by asyncjit, for 2 open runtimes"
        assert holders() == "not held"
        """
    )
