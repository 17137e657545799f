"""The fixture matrix: every async test on asyncio and uvloop, pools of one, two and four."""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import hypothesis
import pytest

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
