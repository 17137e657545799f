"""Rule 10: kernels side by side and the threads of BLAS share one budget, and all is given back."""

from tests.rules.budget import check, check_openmp

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
