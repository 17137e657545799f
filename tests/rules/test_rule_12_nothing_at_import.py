"""Rule 12: importing asyncjit starts nothing and changes nothing; using it touches no default executor or limiter."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import anyio.to_thread

import asyncjit
from asyncjit import Runtime, call, fork, fork_group, sync, wait_all
from tests.scripts import check_script


def test_import_starts_no_thread_and_no_process() -> None:
    check_script(
        """
        import threading, multiprocessing
        import numpy
        before = threading.enumerate()
        import asyncjit, asyncjit.sync, asyncjit.nn
        assert threading.enumerate() == before == [threading.main_thread()]
        assert multiprocessing.active_children() == []
        """
    )


def test_import_makes_no_loop_and_no_event_loop_policy() -> None:
    check_script(
        """
        import asyncio, asyncio.events
        asyncio.new_event_loop = asyncio.set_event_loop = asyncio.set_event_loop_policy = None
        made = []
        init = asyncio.BaseEventLoop.__init__
        asyncio.BaseEventLoop.__init__ = lambda self: made.append(self)
        import asyncjit, asyncjit.sync, asyncjit.nn
        assert made == []
        assert asyncio.events._event_loop_policy is None
        """
    )


def test_import_calls_no_blas_and_looks_for_no_library() -> None:
    check_script(
        """
        import threadpoolctl
        scans = []
        init = threadpoolctl.ThreadpoolController.__init__
        threadpoolctl.ThreadpoolController.__init__ = lambda self: (scans.append(1), init(self))[1]
        limits = {c.filepath: c.num_threads for c in threadpoolctl.ThreadpoolController().lib_controllers}
        del scans[:]
        import asyncjit, asyncjit.sync, asyncjit.nn
        assert scans == []
        """
    )


def test_import_leaves_signal_handlers_and_wakeup_descriptor_alone() -> None:
    check_script(
        """
        import signal
        handlers = {n: signal.getsignal(n) for n in signal.valid_signals()}
        import asyncjit, asyncjit.sync, asyncjit.nn
        assert {n: signal.getsignal(n) for n in signal.valid_signals()} == handlers
        assert signal.set_wakeup_fd(-1) == -1
        """
    )


def test_import_sets_up_no_logging() -> None:
    check_script(
        """
        import logging
        import asyncjit, asyncjit.sync, asyncjit.nn
        logger = logging.getLogger("asyncjit")
        assert logging.getLogger().handlers == logger.handlers == []
        assert logger.level == logging.NOTSET and logger.propagate
        assert logging.getLogger().level == logging.WARNING
        """
    )


def test_import_leaves_warnings_filters_recursion_limit_switch_interval_and_hooks_alone() -> None:
    check_script(
        """
        import gc, sys, threading, warnings
        import numpy, anyio
        def state():
            hooks = sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook
            return list(warnings.filters), sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold(), hooks
        before = state()
        import asyncjit, asyncjit.sync, asyncjit.nn
        assert state() == before
        """
    )


def test_import_does_not_import_what_only_some_need() -> None:
    check_script(
        """
        import sys
        import asyncjit, asyncjit.sync
        heavy = {"torch", "trio", "uvloop", "rich", "starlette", "scipy", "multiprocessing.pool"}
        assert not heavy & set(sys.modules)
        """
    )


def test_import_makes_no_runtime_and_asking_for_errors_makes_none_either() -> None:
    check_script(
        """
        import threading
        import asyncjit
        from asyncjit._core import process
        assert process._default is None
        try:
            asyncjit.fork(None)
        except TypeError:
            pass
        asyncjit.close()
        assert process._default is None and threading.active_count() == 1
        """
    )


class RefusingExecutor(ThreadPoolExecutor):
    """A default executor that nobody may use."""

    def submit(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError("the loop's default executor was used")


async def test_use_touches_neither_the_default_executor_nor_anyios_limiter() -> None:
    asyncio.get_running_loop().set_default_executor(RefusingExecutor())
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 1

    async def model() -> int:
        return sum([await future for future in [fork(int, "1") for _ in range(8)]])

    async with limiter:  # its only token: whoever asks for one now waits for ever, or is told so
        async with Runtime(2):
            assert await call(model) == 8
            assert sum(await wait_all([fork(int, "1") for _ in range(8)])) == 8
            assert [x async for x in asyncjit.map(int, "12")] == [1, 2]
            assert await fork(lambda: sync.wait(fork(model))) == 8
            async with fork_group() as group:
                group.fork(int, "1")
        assert limiter.statistics().borrowed_tokens == 1


def test_the_facades_loop_uses_no_thread_but_its_own() -> None:
    async def model() -> int:
        return await fork(int, "1")

    before = set(threading.enumerate())
    with Runtime(1):
        assert sync.wait(sync.fork(model)) == 1
        assert len({t for t in threading.enumerate() if t not in before and not t.name.startswith("asyncjit")}) == 0
