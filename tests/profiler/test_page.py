"""Key figures, explanation and tables as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from asyncjit.profiler import page
from asyncjit.profiler.explanation import Cause
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.prediction import Prediction
from asyncjit.profiler.table import EventList
from asyncjit.profiler.texts import duration_text
from tests.profiler.reported import HOSTILE, few, many


def rows(html: str) -> list[list[str]]:
    """Return the texts of a table's cells."""
    return [
        [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]
        for row in re.findall("<tr>(.*?)</tr>", html)
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ns"), (3e-9, "3 ns"), (999.7e-9, "1 µs"), (12.34e-6, "12.3 µs"), (0.9999, "1 s"), (1234.5, "1,234 s")],
)
def test_a_time_has_three_digits_and_its_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_key_figures_are_those_of_the_findings() -> None:
    pairs = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page.figures_html(few()))
    assert pairs == [
        ("took", "100 µs"),
        ("lanes", "2"),
        ("forks", "2"),
        ("strands", "4"),
        ("work", "140 µs"),
        ("span", "100 µs"),
        ("parallelism", "1.40"),
        ("lanes busy", "70 %"),
        ("speed-up", "1.40×"),
    ]


def test_dropped_events_are_said_aloud_and_only_then() -> None:
    assert "1,234 more events were not recorded" in page.dropped_html(many(100, num_dropped=1234))
    assert page.dropped_html(few()) == ""


def test_a_cause_has_its_share_and_advice_escaped() -> None:
    assert page.causes_html([Cause("a < b", 0.314, "use <b>"), Cause("c")]) == (
        '<ol class="causes"><li><span class="share">31 %</span> a &lt; b<span class="advice">use &lt;b&gt;</span></li>'
        "<li>c</li></ol>"
    )


def test_no_cause_is_a_sentence_too() -> None:
    assert "Nothing stands out" in page.causes_html([])


def test_functions_stand_by_their_own_time() -> None:
    html = page.functions_html(few())
    assert "<script" not in html
    assert rows(html) == [
        ["function", "calls", "ran for", "of all", "each", "CPU", "with all it forked", "queued for"],
        [HOSTILE, "1", "70 µs", "50 %", "70 µs", "35 µs", "70 µs", ""],
        ["embed", "1", "40 µs", "29 %", "40 µs", "40 µs", "40 µs", "5 µs"],
        ["step (record_function)", "2", "30 µs", "21 %", "15 µs", "", "140 µs", ""],
    ]


def test_the_path_stands_by_function() -> None:
    assert rows(page.path_functions_html(few())) == [
        ["function", "on the path for", "of the path", "pieces"],
        [HOSTILE, "70 µs", "70 %", "1"],
        ["(outside of forks)", "30 µs", "30 %", "2"],
    ]


def test_the_paths_longest_pieces_come_first() -> None:
    assert [row[:1] + row[2:] for row in rows(page.path_pieces_html(few()))] == [
        ["function", "lane", "from", "for", "of the path"],
        [HOSTILE, "main", "20 µs", "70 µs", "70 %"],
        ["(outside of forks)", "main", "0 ns", "20 µs", "20 %"],
        ["(outside of forks)", "main", "90 µs", "10 µs", "10 %"],
    ]


def test_a_long_table_tells_how_much_of_it_is_shown() -> None:
    html = page.path_pieces_html(many(400))
    assert "<caption>Its longest pieces: the first 25 of 100</caption>" in html
    assert len(rows(html)) == 26


def test_the_legend_marks_the_path_without_a_colour() -> None:
    legend = page.legend_html([("f<", "#123456"), ("critical path", "")])
    assert legend == (
        '<ul class="legend"><li><i style="background: #123456"></i>f&lt;</li>'
        '<li><i class="mark"></i>critical path</li></ul>'
    )


def test_a_profile_without_functions_or_work_divides_by_nothing() -> None:
    findings = replace(few(), functions=EventList(), path=(), work_s=0.0)
    assert rows(page.functions_html(findings))[1:] == []
    assert rows(page.path_functions_html(findings))[1:] == []


def test_a_curve_that_is_not_simulated_says_so() -> None:
    simulated = [Prediction(1, 2.0, 1.0)]
    assert "Simulated" in page.curve_text(Findings(few().records, curve=simulated))
    bound = [replace(simulated[0], is_bound=True)]
    assert "not simulated" in page.curve_text(Findings(few().records, curve=bound))
