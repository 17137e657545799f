"""The speed-up curve."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from asyncjit.profiler.speedup_figure import speedup_figure
from tests.profiler.reported import few


def test_the_curve_stands_beside_the_ideal_the_limit_and_what_was_measured() -> None:
    data = speedup_figure(few())["data"]
    assert [(line["name"], line["x"], line["y"]) for line in data] == [
        ("ideal", [1, 2, 4, 128], [1.0, 2.0, 4.0, 128.0]),
        ("predicted", [1, 2, 4, 128], [1.0, 1.7, 2.0, 2.0]),
        ("limit: work / span", [1, 128], [1.4, 1.4]),
        ("measured: 1.40× on 2 lanes", [2], [1.4]),
    ]
    assert data[1]["hovertext"][1] == "2 lanes: 1.70×, 60 ms"


def test_nothing_is_measured_if_nothing_was() -> None:
    data = speedup_figure(replace(few(), measured=None))["data"]
    assert [line["name"] for line in data] == ["ideal", "predicted", "limit: work / span"]


def test_the_axes_are_logarithmic_and_hold_the_curve() -> None:
    layout = speedup_figure(few())["layout"]
    assert (layout["xaxis"]["type"], layout["yaxis"]["type"]) == ("log", "log")
    assert layout["xaxis"]["tickvals"] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert layout["xaxis"]["range"] == pytest.approx([math.log10(0.9), math.log10(140.8)])
    assert layout["yaxis"]["range"] == pytest.approx([math.log10(0.9), math.log10(2.5)])
