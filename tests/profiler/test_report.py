"""The page in a browser: what it shows, what it asks for (nothing), what it does when it is pointed at and zoomed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncjit.profiler.findings import Findings
from asyncjit.profiler.report import report_html, write_report
from tests.profiler.conftest import Watched
from tests.profiler.reported import HOSTILE, empty, few, many
from tests.support import optional

RANGE = "document.getElementById('timeline')._fullLayout.xaxis.range"
NARROW: Any = {"width": 390, "height": 800}
SIZES: dict[str, Callable[[], Findings]] = {
    "few": few,
    "1,000": lambda: many(1_000),
    "100,000": lambda: many(100_000),
    "64 lanes": lambda: many(50_000, 64),
}


def show(watched: Watched, path: Path, findings: Findings, title: str = "parallel") -> Any:
    """Open a report and wait until it is drawn."""
    optional("plotly")
    write_report(path, findings, title=title)
    watched.page.goto(path.as_uri())
    watched.page.wait_for_selector("body[data-drawn]", state="attached")
    return watched.page


@contextmanager
def nothing_wrong(watched: Watched, path: Path) -> Iterator[None]:
    yield
    assert watched.complaints == []
    assert [request for request in watched.requests if not request.startswith("blob:")] == [path.as_uri()]


def point_at(page: Any, x: float, y: float) -> str:
    """Move the mouse to a place of the plot, as shares of its width and height, and return what it says."""
    box = page.locator("#timeline .nsewdrag").first.bounding_box()
    page.mouse.move(0, 0)
    page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    page.wait_for_selector("#timeline .hoverlayer .hovertext")
    return str(page.locator("#timeline .hoverlayer .hovertext").text_content())


def drag(page: Any, from_x: float, to_x: float) -> None:
    box = page.locator("#timeline .nsewdrag").first.bounding_box()
    before = page.evaluate(RANGE)
    page.mouse.move(box["x"] + box["width"] * from_x, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * to_x, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    page.wait_for_function(f"before => {RANGE}[1] !== before[1]", arg=before)


@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_lanes_and_path_and_asks_for_nothing(watched: Watched, tmp_path: Path, size: str) -> None:
    path = tmp_path / "report.html"
    with nothing_wrong(watched, path):
        page = show(watched, path, SIZES[size]())
        lanes = page.locator("#timeline .yaxislayer-above .ytick").all_text_contents()
        assert lanes[:3] == ["critical path", "main", "lane 1"]
        assert page.locator("#timeline .bars .point").count() > 3
        assert "critical path" in page.locator("ul.legend").inner_text()
        assert page.locator("#speedup .legendtext").all_text_contents()[0] == "ideal"
        assert page.evaluate("document.documentElement.scrollWidth") == 1280
        page.set_viewport_size(NARROW)
        page.wait_for_function("() => document.querySelector('#timeline svg.main-svg').clientWidth <= innerWidth")
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    assert path.stat().st_size < 13e6


def test_a_narrow_screen_gets_all_of_it_in_its_width(watched: Watched, tmp_path: Path) -> None:
    watched.page.set_viewport_size(NARROW)
    page = show(watched, tmp_path / "report.html", few())
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    assert page.locator("#timeline .nsewdrag").first.bounding_box()["width"] > 200


def test_pointing_at_a_strand_shows_its_kernel_fork_site_times_and_state(watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with nothing_wrong(watched, path):
        page = show(watched, path, few())
        text = point_at(page, 0.5, 0.45)  # the second of three rows
        assert HOSTILE in text
        assert "forked at" in text
        assert "from 20 µs, for 70 µs, CPU 35 µs" in text
        assert "fork 1, finished; main" in text
        assert page.locator("#timeline .hoverlayer script").count() == 0


def test_pointing_at_a_cell_shows_its_function_and_share(watched: Watched, tmp_path: Path) -> None:
    page = show(watched, tmp_path / "report.html", many(100_000))
    text = point_at(page, 0.501, 0.35)  # the second of five rows, near its bottom
    assert "% of the 500 µs from 124.998 ms" in text
    assert "whole or in part; main" in text


def test_the_critical_path_is_marked_on_the_lanes_it_takes(watched: Watched, tmp_path: Path) -> None:
    page = show(watched, tmp_path / "report.html", few())
    bars = page.evaluate(
        "document.getElementById('timeline').data.map(t => t.y.map((row, i) => [row, t.base[i], t.x[i]]))"
    )
    assert bars[0] == [[1, 0, 2e-5], [1, 2e-5, 7e-5], [1, 9e-5, 1e-5]]


def test_a_drag_zooms_in_and_a_double_click_shows_all_again(watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with nothing_wrong(watched, path):
        page = show(watched, path, few())
        assert page.evaluate(RANGE) == [0, 1e-4]
        drag(page, 0.4, 0.6)
        assert page.evaluate(RANGE) == pytest.approx([4e-5, 6e-5], abs=2e-6)
        box = page.locator("#timeline .nsewdrag").first.bounding_box()
        page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
        page.wait_for_function(f"() => {RANGE}[0] === 0 && {RANGE}[1] === 1e-4")


def test_many_strands_are_cells_and_the_page_says_so_until_one_zooms_in(watched: Watched, tmp_path: Path) -> None:
    page = show(watched, tmp_path / "report.html", many(100_000))
    note = page.locator("#timeline-note")
    assert note.inner_text().startswith(
        "100,000 strands are too many to draw one by one here: drawn are cells of 500 µs."
    )
    drag(page, 0.4, 0.5)
    drag(page, 0.5, 0.52)
    page.wait_for_function("() => document.getElementById('timeline-note').textContent.startsWith('Drawn one by one')")


def test_a_narrow_screen_draws_fewer_and_wider_cells(watched: Watched, tmp_path: Path) -> None:
    watched.page.set_viewport_size(NARROW)
    page = show(watched, tmp_path / "report.html", many(100_000))
    assert "drawn are cells of 2 ms." in page.locator("#timeline-note").inner_text()


def test_names_of_the_program_are_text_wherever_they_stand(watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with nothing_wrong(watched, path):
        page = show(watched, path, few(), title=HOSTILE)
        assert page.title() == HOSTILE
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.locator("td").filter(has_text=HOSTILE).count() >= 3
        assert page.locator("ul.legend").inner_text().startswith(HOSTILE)


def test_the_only_buttons_are_those_that_zoom(watched: Watched, tmp_path: Path) -> None:
    page = show(watched, tmp_path / "report.html", few())
    titles = page.locator("#timeline .modebar-btn").evaluate_all("all => all.map(b => b.dataset.title)")
    assert titles == ["Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]


def test_the_colours_follow_the_dark_scheme(watched: Watched, tmp_path: Path) -> None:
    page = show(watched, tmp_path / "report.html", few())
    ink = "getComputedStyle(document.querySelector('#timeline .ytick text')).fill"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => {ink} !== light", arg=light)


def test_dropped_events_are_said_above_all_else(watched: Watched, tmp_path: Path) -> None:
    page = show(watched, tmp_path / "report.html", many(1_000, num_dropped=77))
    assert "77 more events were not recorded" in page.locator("h1 + .alert").inner_text()


def test_an_empty_profile_gives_a_page_that_says_so(watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with nothing_wrong(watched, path):
        write_report(path, empty())
        watched.page.goto(path.as_uri())
        assert "nothing ran while it recorded" in watched.page.locator("main").inner_text()
        assert watched.page.locator("#timeline").count() == 0


def test_a_report_without_plotly_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ModuleNotFoundError, match=r"a report needs plotly: pip install 'asyncjit\[report\]'"):
        report_html(few())
