"""A report: one page that needs nothing but a browser.

Plotly's script stands in the page, and a policy in its head forbids every request, so that neither a mistake of ours
nor a kernel's name can make it ask anything of anybody.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from asyncjit.profiler import page
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.speedup_figure import speedup_figure
from asyncjit.profiler.timeline_figure import timeline_data

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def write_report(path: str | Path, findings: Findings, *, title: str = "asyncjit: parallelism") -> None:
    """Write a report as one HTML page.

    Parameters
    ----------
    path : str or Path
        The file to write; an existing one is replaced.
    findings : Findings
        What to show.
    title : str
        The page's heading.

    Raises
    ------
    ModuleNotFoundError
        If plotly is not installed: `pip install 'asyncjit[report]'`.
    OSError
        If the file can't be written.
    """
    Path(path).write_text(report_html(findings, title=title), encoding="utf-8")


def report_html(findings: Findings, *, title: str = "asyncjit: parallelism") -> str:
    """Return the page that `write_report` writes."""
    has_strands = bool(len(findings.records.strands))
    script = _plotly_script()
    body = _body(findings) if has_strands else _empty_body()
    scripts = f"<script>{script}</script><script>{_own('report.js')}</script>" if has_strands else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_own('report.css')}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{page.dropped_html(findings)}\n{body}\n</main>\n{scripts}\n</body>\n</html>\n"
    )


def _body(findings: Findings) -> str:
    timeline = timeline_data(findings)
    parts = [
        f"<section><h2>What bounds it</h2>{page.causes_html(findings.causes)}</section>"
        f'<dl class="figures">{page.figures_html(findings)}</dl>'
        '<p class="soft">Work: all strands together. Span: the critical path, which no number of lanes could shorten. '
        "Parallelism: work by span, the most that any number of lanes could gain.</p>",
        "<section><h2>Timeline</h2>"
        '<p class="soft">Drag across a stretch of time to zoom in, double-click to see all again; point at a bar to '
        "see what it is. The row at the top and the line under the lanes are the critical path: the longest chain of "
        "what had to happen one after the other.</p>"
        f"{page.legend_html(timeline.pop('legend'))}"
        '<div id="timeline" role="img" aria-label="What ran on each lane over time"></div>'
        '<p id="timeline-note" class="soft" aria-live="polite"></p></section>',
        _data("timeline-data", timeline),
    ]
    if findings.curve:
        parts.append(
            "<section><h2>What more lanes would give</h2>"
            f'<p class="soft">{page.curve_text(findings)}</p>'
            '<div id="speedup" role="img" aria-label="Predicted speed-up by the number of lanes"></div></section>'
        )
    parts.append(_data("speedup-data", speedup_figure(findings) if findings.curve else {"data": []}))
    if findings.functions:
        parts.append(f"<section><h2>Functions</h2>{page.functions_html(findings)}</section>")
    if findings.path:
        tables = page.path_functions_html(findings) + page.path_pieces_html(findings)
        parts.append(f"<section><h2>The critical path</h2>{tables}</section>")
    return "\n".join(parts)


def _empty_body() -> str:
    return (
        "<p>The profile is empty: nothing ran while it recorded. Fork something inside the block: "
        "<code>with profile() as prof: ...</code></p>"
    )


def _data(name: str, data: Any) -> str:
    """Return data for the page's script; no text in it can end the element, whatever a kernel is called."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _own(name: str) -> str:
    return files("asyncjit.profiler").joinpath(name).read_text(encoding="utf-8")


def _plotly_script() -> str:
    try:
        from plotly.offline import get_plotlyjs  # an extra, and only a report needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a report needs plotly: pip install 'asyncjit[report]'", name="plotly") from error
    return str(get_plotlyjs())
