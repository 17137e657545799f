"""The helpers and fixtures that other tests stand on."""

import asyncio
import math
import sys

import pytest

from tests.support import optional, optional_command

needs_uvloop = pytest.mark.skipif(sys.platform == "win32", reason="uvloop has no Windows build")


@needs_uvloop
async def test_an_async_test_runs_on_the_loop_it_is_named_after(request: pytest.FixtureRequest) -> None:
    loop = asyncio.get_running_loop()
    assert request.node.callspec.id == ("uvloop" if type(loop).__module__ == "uvloop" else "asyncio")


def test_the_pool_sizes_stand_in_the_test_names(num_interop_threads: int, request: pytest.FixtureRequest) -> None:
    assert request.node.callspec.id == f"N{num_interop_threads}"


def test_optional_returns_a_module_that_is_there() -> None:
    assert optional("math") is math


def test_optional_skips_what_is_missing_on_a_developers_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCJIT_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_module"):
        optional("no_such_module")
    with pytest.raises(pytest.skip.Exception, match="no-such-command"):
        optional_command("no-such-command")


def test_optional_fails_for_what_is_missing_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCJIT_CI", "1")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        optional("no_such_module")
    with pytest.raises(pytest.fail.Exception, match="no-such-command"):
        optional_command("no-such-command")
