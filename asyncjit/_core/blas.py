"""Every BLAS and OpenMP runtime held at one thread while a runtime is open: one owner for the whole process.

Kernels that run side by side each with a BLAS that uses all cores oversubscribe the machine; that is why forking made
torch's own tutorial slower. `threadpoolctl.threadpool_limits` is no answer here: it is not thread-safe, and restores
what it saw on entry. So one `BlasHold` knows the wishes of all open runtimes, takes the hold when a pool goes from
idle to busy, and gives all back when the last wish goes.

OpenMP's limits belong to threads. `generation` is 0 while no OpenMP runtime is held; a thread whose own generation
differs must call `enter_thread` before it runs a kernel, and a script's thread `leave_thread` after it.

New libraries come with imports, so a rescan is due when `sys.modules` has grown: one comparison when nothing changed.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from threadpoolctl import ThreadpoolController

from asyncjit._core.context import ThreadSlot


@dataclass(frozen=True, slots=True)
class Library:
    """One BLAS or OpenMP runtime in this process, for `parallel_info`."""

    user_api: str
    internal_api: str
    version: str | None
    threading_layer: str | None
    architecture: str | None
    filepath: str
    num_threads: int | None
    held_at: int | None
    holder: str | None


class _OpenMP:
    """One OpenMP runtime's limit for the calling thread.

    Called through `PyDLL`, which keeps the GIL: giving it up for so short a call would hand it to the pool thread that
    was just woken, and cost a script's fork twice as much.
    """

    def __init__(self, filepath: str) -> None:
        library = ctypes.PyDLL(filepath)
        self.get: Callable[[], int] = library.omp_get_max_threads
        self.set: Callable[[int], object] = library.omp_set_num_threads


class BlasHold:
    """The one owner of other libraries' thread counts."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # guards all below; re-entrant, for signal handlers and destructors that close
        self._wishes: dict[int, int] = {}  # by the id of the pool, whose runtime takes it back when it closes, or goes
        self._controllers: dict[str, Any] = {}  # by file
        self._before: dict[str, int | None] = {}  # what each had when it was found
        self._openmp: tuple[_OpenMP, ...] = ()
        self.num_modules = -1  #: that were imported when all were held last: more, and there may be new libraries
        self._limit: int | None = None
        self._is_applying = self._is_stale = False
        self._num_changes = 0
        self.generation = 0  #: changes whenever threads have to set their own OpenMP limit anew

    def wish(self, key: int, num_threads: int) -> None:
        """Note that an open runtime wants all libraries held; nothing is touched before `hold`."""
        self._wishes[key] = num_threads
        self._is_stale = True  # before the mark, which the end of a hold may overwrite: it goes round again then
        self.num_modules = -1

    def forget(self, key: int) -> None:
        """Take a wish back; nothing is touched before `settle` or `hold`, so a destructor may do it."""
        self._wishes.pop(key, None)
        self._is_stale = True
        self.num_modules = -1

    def settle(self) -> None:
        """Follow the wishes that are left; with the last gone, give all libraries what they had."""
        if self._limit is not None and self.num_modules < 0:
            self._apply()

    def hold(self) -> None:
        """Hold what is not held yet; one comparison when no module was imported since."""
        if len(sys.modules) != self.num_modules:
            self._apply()

    def _apply(self) -> None:
        """Bring all libraries in line with the wishes."""
        with self._lock:
            self._is_stale = True
            if self._is_applying:  # we are in a signal handler or destructor inside of it: it will go round again
                return
            self._is_applying = True
            try:
                self._follow_wishes()
            finally:
                self._is_applying = False

    def _follow_wishes(self) -> None:
        while self._is_stale:
            self._is_stale = False
            limit = min(tuple(self._wishes.values()), default=None)
            if limit is None:
                self._give_back()
            else:
                self._hold_at(limit)

    def is_busy_here(self) -> bool:
        """Whether the calling thread is about to hold or to give back: we are in a signal handler inside of it."""
        return self._is_applying and bool(self._lock._is_owned())  # type: ignore[attr-defined]

    def _hold_at(self, limit: int) -> None:
        num_modules = len(sys.modules)
        changed = limit != self._limit or self.num_modules < 0
        self.num_modules = -1  # until it is done: Ctrl-C may come
        self._limit = limit
        for controller in ThreadpoolController().lib_controllers:
            if controller.filepath not in self._controllers:
                self._before[controller.filepath] = controller.num_threads
                self._controllers[controller.filepath] = controller
                changed = True
        if changed:
            for controller in self._controllers.values():
                self._set(controller, limit)
            self._openmp = tuple(_OpenMP(c.filepath) for c in self._controllers.values() if c.user_api == "openmp")
            if self._openmp:
                self._num_changes += 1
                self.generation = self._num_changes
        self.num_modules = num_modules

    def _give_back(self) -> None:
        for path, controller in self._controllers.items():
            self._set(controller, self._before[path])
        self._controllers.clear()
        self._before.clear()
        self._openmp = ()
        self._limit = None
        self.generation = 0

    @staticmethod
    def _set(controller: Any, num_threads: int | None) -> None:
        # Newer threadpoolctl lets one Python thread alone set OpenBLAS, the first that asked, and ignores all others
        # silently. Our owner is no thread: whichever wakes the pool holds, and whichever closes it gives back.
        # OpenMP's limit would be this thread's own, which `enter_thread` and `leave_thread` see to.
        is_per_thread = "openmp" in (controller.user_api, getattr(controller, "threading_layer", None))
        if num_threads is not None and not is_per_thread:
            getattr(controller, "_real_set_num_threads", controller.set_num_threads)(num_threads)

    def enter_thread(self, slot: ThreadSlot, *, is_own: bool) -> None:
        """Set the calling thread's own OpenMP limits, remembering what it had if it `is_own` of no holding pool."""
        if not is_own and not slot.blas_generation:
            slot.blas_before = [(openmp, openmp.get()) for openmp in self._openmp]
        slot.blas_generation = self.generation
        limit = self._limit
        if limit is not None:
            for openmp in self._openmp:
                openmp.set(limit)

    @staticmethod
    def leave_thread(slot: ThreadSlot) -> None:
        """Give a script's thread back what it had."""
        slot.blas_generation = 0
        for openmp, num_threads in slot.blas_before:
            openmp.set(num_threads)
        slot.blas_before = []

    def libraries(self) -> list[Library]:
        """Describe every BLAS and OpenMP runtime found; changes nothing."""
        holders = len(self._wishes)
        holder = f"asyncjit, for {holders} open runtime{'s' if holders != 1 else ''}"
        return [
            Library(
                user_api=c.user_api,
                internal_api=c.internal_api,
                version=c.version,
                threading_layer=getattr(c, "threading_layer", None),
                architecture=getattr(c, "architecture", None),
                filepath=c.filepath,
                num_threads=c.num_threads,
                held_at=self._limit if c.filepath in self._controllers else None,
                holder=holder if c.filepath in self._controllers else None,
            )
            for c in ThreadpoolController().lib_controllers
        ]

    def reset_after_fork(self) -> None:
        """Start anew in a child process: the runtimes that wished are the parent's, the limits stay as they are."""
        self.__init__()  # type: ignore[misc]


blas = BlasHold()
