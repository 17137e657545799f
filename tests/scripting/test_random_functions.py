"""Random functions: scripted is plain, call by call, line by line, error by error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings

from asyncjit import sync
from asyncjit.scripting import script
from tests.at_rest import assert_at_rest
from tests.scripting.importing import imported
from tests.scripting.random_functions import sources
from tests.scripting.running import WAYS, outcome


@pytest.fixture(scope="module", params=[1, 2], ids=lambda n: f"N{n}")
def shared_runtime(request: pytest.FixtureRequest) -> Iterator[sync.Runtime]:
    """Return one runtime for all examples."""
    with sync.Runtime(request.param, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)


def told(fn: Callable[..., Any], *args: Any) -> tuple[Any, list[Any]]:
    """Return what comes of a call and what it logs."""
    log: list[Any] = []
    return outcome(fn, log, *args), [str(entry) for entry in log]


def lines_of(fn: Callable[..., Any], filename: str, *args: Any) -> dict[str, list[int]]:
    """Return the lines that a debugger would stop at in each function, those where it stops twice in a row once."""
    found: dict[str, list[int]] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != filename:
            return None
        lines = found.setdefault(frame.f_code.co_qualname, [])
        if event == "line" and lines[-1:] != [frame.f_lineno]:
            lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        outcome(fn, [], *args)
    finally:
        sys.settrace(before)
    return found


@settings(max_examples=60)
@given(source=sources)
def test_random_functions_do_the_same_scripted(
    shared_runtime: sync.Runtime, tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    plain = imported(source, tmp_path_factory.mktemp("random")).random
    scripted = script(plain)
    expected = told(plain, 2)
    for way, run in WAYS.items():
        assert (way, *told(lambda log, x, run=run: run(scripted, log, x), 2)) == (way, *expected)


@settings(max_examples=30)
@given(source=sources)
def test_random_functions_stop_a_debugger_at_the_same_lines(
    shared_runtime: sync.Runtime, tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    plain = imported(source, tmp_path_factory.mktemp("random")).random
    filename = plain.__code__.co_filename
    assert lines_of(script(plain), filename, 2) == lines_of(plain, filename, 2)
