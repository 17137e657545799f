"""The speed-up curve: what more lanes would give, beside what was measured.

Both axes are logarithmic, so that the ideal is a straight line and equal distances from it are equal losses.
"""

from __future__ import annotations

import math
from typing import Any

from asyncjit.profiler.findings import Findings

# Chosen: round numbers, near enough to read a value between two.
_Y_TICKS = (0.25, 0.5, 0.75, 1, 1.2, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def speedup_figure(findings: Findings) -> dict[str, Any]:
    """Return the figure as plotly's JSON."""
    curve = findings.curve
    lanes = [point.num_lanes for point in curve]
    texts = [f"{point.num_lanes} lanes: {point.speedup:.2f}×, {point.time_s * 1e3:.4g} ms" for point in curve]
    data = [
        _line("ideal", lanes, [float(n) for n in lanes], dash="dot"),
        _line("predicted", lanes, [point.speedup for point in curve], mode="lines+markers", texts=texts),
    ]
    data[1]["marker"] = {"size": 7, "color": "#0072B2"}
    data[1]["line"]["color"] = "#0072B2"
    if lanes:
        data.append(_line("limit: work / span", [lanes[0], lanes[-1]], [findings.parallelism] * 2, dash="dash"))
    measured = findings.measured
    if measured is not None:
        text = f"measured: {measured.speedup:.2f}× on {measured.num_lanes} lanes"
        point = _line(text, [measured.num_lanes], [measured.speedup], mode="markers", texts=[text])
        point["marker"] = {"size": 14, "symbol": "diamond", "color": "#D55E00"}
        data.append(point)
    return {"data": data, "layout": _layout(findings)}


def _line(name: str, x: list[int], y: list[float], **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "x": x,
        "y": y,
        "mode": more.get("mode", "lines"),
        "line": {"dash": more.get("dash", "solid"), "width": 2, "color": "#8C8C8C"},
        "hovertext": more.get("texts", name),
        "hoverinfo": "text",
    }


def _layout(findings: Findings) -> dict[str, Any]:
    values = [point.speedup for point in findings.curve]
    if findings.measured is not None:
        values.append(findings.measured.speedup)
    low, high = min([*values, 1.0]) * 0.9, max([*values, min(findings.parallelism, 128.0), 1.0]) * 1.25
    lanes = [point.num_lanes for point in findings.curve]
    return {
        "xaxis": {
            "type": "log",
            "title": {"text": "lanes"},
            "tickvals": [2**n for n in range(8)],
            "range": _log_range(min(lanes, default=1) * 0.9, max(lanes, default=1) * 1.1),
        },
        "yaxis": {
            "type": "log",
            "title": {"text": "speed-up"},
            "tickvals": _Y_TICKS,
            "ticktext": [f"{tick:g}×" for tick in _Y_TICKS],
            "range": _log_range(low, high),
        },
        "margin": {"l": 60, "r": 15, "t": 10, "b": 50},
        "legend": {"orientation": "h", "y": -0.2},
    }


def _log_range(low: float, high: float) -> list[float]:

    return [math.log10(low), math.log10(high)]
