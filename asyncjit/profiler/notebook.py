"""A profile in a notebook: a small piece of HTML without scripts, so that it shows wherever notebooks are rendered."""

from __future__ import annotations

from html import escape

import numpy as np

from asyncjit.profiler import page
from asyncjit.profiler.cells import MARKS, boxes_of, cells_of, rows_of_lanes
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.records import Table
from asyncjit.profiler.texts import duration_text
from asyncjit.profiler.timeline_figure import Groups, path_table

WIDTH, ROW_HEIGHT, LABEL_WIDTH = 900, 30, 110  #: of the picture, in its own units
MAX_CELLS = 1_800  #: chosen: some 50 kB of the notebook
MAX_PLACES = 300  #: in a row; chosen: two pixels each in a notebook's column
MAX_LANES = 32  #: drawn; chosen: a screen's height
MAX_ROWS = 10  #: of the table

_STYLE = (
    "<style>.asyncjit-profile{font:14px/1.45 system-ui,sans-serif;max-width:900px}"
    ".asyncjit-profile dl{display:flex;flex-wrap:wrap;gap:4px 24px;margin:6px 0}"
    ".asyncjit-profile dt{opacity:.7;font-size:12px}.asyncjit-profile dd{margin:0;font-weight:600}"
    ".asyncjit-profile ul{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:4px 0;padding:0}"
    ".asyncjit-profile i{display:inline-block;width:11px;height:11px;margin-right:5px;background:currentColor}"
    ".asyncjit-profile i.mark{height:4px;vertical-align:3px}"
    ".asyncjit-profile .advice{display:block;opacity:.7}.asyncjit-profile .share{font-weight:600}"
    ".asyncjit-profile .scroll{overflow-x:auto}.asyncjit-profile .alert{font-weight:600}"
    ".asyncjit-profile table{font-size:13px;border-collapse:collapse}"
    ".asyncjit-profile td,.asyncjit-profile th{padding:2px 14px 2px 0}"
    ".asyncjit-profile th.text,.asyncjit-profile td.text{text-align:left;overflow-wrap:anywhere}"
    ".asyncjit-profile th.number,.asyncjit-profile td.number{text-align:right;white-space:nowrap}"
    ".asyncjit-profile caption{text-align:left;opacity:.7}</style>"
)


def repr_html(findings: Findings) -> str:
    """Return key figures, explanation, a static timeline and the first functions as a piece of HTML."""
    if not len(findings.records.strands):
        return '<div class="asyncjit-profile"><p>An empty profile: nothing ran while it recorded.</p></div>'
    return (
        f'<div class="asyncjit-profile">{_STYLE}{page.dropped_html(findings)}<dl>{page.figures_html(findings)}</dl>'
        f"{page.causes_html(findings.causes)}{_timeline_html(findings)}{page.functions_html(findings, MAX_ROWS)}</div>"
    )


def _timeline_html(findings: Findings) -> str:
    records = findings.records
    groups = Groups(records)
    path = path_table(records, findings.path)
    rows = rows_of_lanes(records, 1 if len(path) else 0)
    num_rows = min(len(rows), MAX_LANES) + bool(len(path))
    boxes = boxes_of(records, path, rows, groups.of_name)
    boxes = boxes[(boxes["band"] <= MARKS) & (boxes["row"] < num_rows)]
    duration_ns = int(boxes["end_ns"].max(initial=1))
    width_ns = -(-duration_ns // MAX_PLACES)
    while len(cells := cells_of(boxes, width_ns)) > MAX_CELLS and width_ns < duration_ns // 10:
        width_ns = width_ns * 5 // 4
    left_out = len(rows) - MAX_LANES
    note = (
        f"{len(records.strands):,} strands in cells of {duration_text(width_ns / 1e9)}; the height of a colour is "
        f"the share of the cell's time that its function ran; from 0 to {duration_text(duration_ns / 1e9)}."
        + (f" {left_out} more lanes are not drawn." if left_out > 0 else "")
    )
    texts = ["critical path"] * bool(len(path)) + [records.lanes[lane].name for lane in np.argsort(rows).tolist()]
    labels = "".join(
        f'<text x="{LABEL_WIDTH - 8}" y="{(row + 0.6) * ROW_HEIGHT:.0f}" text-anchor="end" font-size="13" '
        f'fill="currentColor">{escape(text[:16])}</text>'
        for row, text in enumerate(texts[:num_rows])
    )
    return (
        f"{page.legend_html(groups.legend_of(boxes))}"
        f'<svg viewBox="0 0 {WIDTH} {num_rows * ROW_HEIGHT}" width="100%" role="img" '
        f'aria-label="What ran on each lane over time">{labels}'
        f"{_paths_svg(cells, width_ns / duration_ns, groups)}</svg><p>{escape(note)}</p>"
    )


def _paths_svg(cells: Table, width: float, groups: Groups) -> str:
    """Return a path for each group, of one rectangle for each cell; `width` is a cell's share of the whole."""
    wide = width * (WIDTH - LABEL_WIDTH)
    is_mark = cells["band"] == MARKS
    low, high = np.where(is_mark, 0, cells["low"]), np.where(is_mark, 1, cells["high"])
    bottom = cells["row"] * ROW_HEIGHT + np.where(is_mark, ROW_HEIGHT - 2, ROW_HEIGHT - 7)
    tall = np.where(is_mark, 3, ROW_HEIGHT - 9)
    top, height = bottom - high * tall, (high - low) * tall
    left = LABEL_WIDTH + cells["place"] * wide
    parts = []
    for group in np.unique(cells["group"]).tolist():
        chosen = cells["group"] == group
        steps = "".join(
            f"M{x:.1f} {y:.1f}h{wide:.1f}v{tall:.1f}h-{wide:.1f}z"
            for x, y, tall in zip(left[chosen].tolist(), top[chosen].tolist(), height[chosen].tolist(), strict=True)
        )
        text, colour = groups.legend[group]
        parts.append(f'<path fill="{colour or "currentColor"}" d="{steps}"><title>{escape(text)}</title></path>')
    return "".join(parts)
