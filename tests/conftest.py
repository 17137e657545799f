"""The fixture matrix: every async test on asyncio and uvloop, runtimes of one, two and four threads."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from typing import cast

import hypothesis
import pytest

from asyncjit import sync
from tests.at_rest import assert_at_rest

# No wall clock as a judge: a slow machine is no failure.
hypothesis.settings.register_profile("asyncjit", deadline=None)
hypothesis.settings.load_profile("asyncjit")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that pytest-asyncio runs every async test on, once each."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(params=[1, 2, 4], ids=lambda n: f"N{n}")
def num_interop_threads(request: pytest.FixtureRequest) -> int:
    """Size of the pool: 1 is the deadlock detector."""
    return cast("int", request.param)


@pytest.fixture
def runtime(num_interop_threads: int) -> Iterator[sync.Runtime]:
    """Return a runtime that must end idle, with counts that add up."""
    with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return pytest's own, without what others lose: the error of a future in a cycle is logged when that is found."""
    gc.collect()
    caplog.clear()
    return caplog
