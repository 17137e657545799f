"""A profile in a notebook."""

from __future__ import annotations

import re

from asyncjit.profiler.notebook import MAX_LANES, repr_html
from tests.profiler.reported import empty, few, many


def test_a_fragment_has_figures_explanation_timeline_and_table_without_scripts() -> None:
    html = repr_html(few())
    assert "<dt>parallelism</dt><dd>1.40</dd>" in html
    assert "One path through cell&lt;script&gt;" in html
    assert "Time by function" in html
    assert re.findall("<text [^>]*>(.*?)</text>", html) == ["critical path", "main", "lane 1"]
    assert "<script" not in html
    assert "src=" not in html
    assert "http" not in html


def test_the_timeline_draws_what_ran_where_and_when() -> None:
    html = repr_html(few())
    (embed,) = re.findall(r'<path fill="[^"]*" d="([^"]*)"><title>embed</title>', html)
    corners = [float(x) for x in re.findall(r"M([\d.]+) ", embed)]
    # 25 to 65 µs of 100 on lane 1; the picture's 790 units begin at 110.
    assert abs(min(corners) - (110 + 790 * 0.25)) < 3
    assert abs(max(corners) - (110 + 790 * 0.65)) < 4
    assert min(float(y) for y in re.findall(r" ([\d.]+)h", embed)) == 62.0  # the third row's top


def test_a_hundred_thousand_strands_stay_a_few_tens_of_kilobytes() -> None:
    html = repr_html(many(100_000, num_dropped=5))
    assert len(html) < 80_000
    assert "100,000 strands in cells of" in html
    assert "5 more events were not recorded" in html


def test_lanes_that_are_not_drawn_are_told() -> None:
    html = repr_html(many(2_000, MAX_LANES + 8))
    assert "8 more lanes are not drawn" in html
    assert len(re.findall("<text ", html)) == MAX_LANES + 1


def test_an_empty_profile_says_so() -> None:
    assert "nothing ran" in repr_html(empty())
