"""Rule 10, OpenMP, whose limits each thread has for itself; and libraries that are loaded later."""

from tests.rules.budget import check, check_openmp
from tests.support import optional


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
