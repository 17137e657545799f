"""What the page's timeline is drawn from: rows, colours, and boxes or cells at several scales.

The page keeps the strands one by one as long as they are not too many, and cells of several widths. Its script draws
what lies in the visible stretch of time at the finest scale of which that many bars can be drawn, and says which it is.
So a profile of any size opens at once and shows more when one zooms in.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit.profiler.cells import (
    AWAITED,
    FIRST_FUNCTION,
    OTHERS,
    OUTSIDE_OF_FORKS,
    RANGES,
    boxes_of,
    cells_of,
    rows_of_lanes,
    without_inner,
)
from asyncjit.profiler.critical import AWAITING, PathPiece
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.records import OUTSIDE, RANGE, STATES, Records, Table

# The palette of Okabe and Ito, "Color Universal Design" (2008), which people with any kind of colour vision can tell
# apart; without its black, which marks the critical path.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
COLOUR_OF_OTHERS = "#8C8C8C"
COLOUR_OUTSIDE = "#C8C8C8"
COLOUR_AWAITED = "#DDD3BD"
COLOUR_OF_RANGES = "#A99BC7"

# Chosen: 100,000 strands, were all of them on the critical path (each makes three boxes); at most some 5 MB.
MAX_BOXES = 320_000
MAX_CELLS = 400_000  #: at the finest scale kept; chosen: at most some 2 MB of the page
CELLS_AT_ONCE = 1_000  #: in all rows, at the coarsest scale; chosen: drawn at once on any screen
MAX_PLACES = 125  #: in a row, at the coarsest scale; chosen: two pixels each on a phone
FINER = 4  #: from scale to scale


class Groups:
    """Which functions share a colour: the seven that ran longest have their own.

    Among these the colours go by name, so that they stay the same from run to run while the set stays the same.
    """

    def __init__(self, records: Records) -> None:
        strands, names = records.strands, records.tasks["name"]
        took_ns = np.bincount(
            names[strands["task"]], strands["end_ns"] - strands["start_ns"], minlength=len(records.names)
        )
        is_function = np.zeros(len(records.names), bool)
        is_function[names[1:]] = True
        by_time = sorted(np.flatnonzero(is_function).tolist(), key=lambda name: (-took_ns[name], name))
        chosen = sorted(by_time[: len(COLOURS)], key=lambda name: records.names[name])
        self.names = (*records.names, AWAITING)  #: what the boxes' names mean
        self.of_name = np.full(len(self.names), OTHERS)
        self.of_name[chosen] = np.arange(FIRST_FUNCTION, FIRST_FUNCTION + len(chosen))
        self.of_name[names[OUTSIDE]] = OUTSIDE_OF_FORKS
        self.of_name[-1] = AWAITED
        num_others = len(by_time) - len(chosen)
        self.legend = [  #: the text and colour of each group; the path has the colour of the text
            ("critical path", ""),
            ("record_function", COLOUR_OF_RANGES),
            ("outside of forks", COLOUR_OUTSIDE),
            (AWAITING, COLOUR_AWAITED),
            (f"{num_others:,} other function{'s' if num_others > 1 else ''}", COLOUR_OF_OTHERS),
            *zip([records.names[name] for name in chosen], COLOURS, strict=False),
        ]

    def legend_of(self, boxes: Table) -> list[tuple[str, str]]:
        """Return the text and colour of each group that has boxes: functions first, the critical path last."""
        present = np.unique(boxes["group"])[::-1].tolist()
        functions = [group for group in present if group >= FIRST_FUNCTION][::-1]
        return [self.legend[group] for group in (*functions, *(group for group in present if group < FIRST_FUNCTION))]


def path_table(records: Records, path: Sequence[PathPiece]) -> Table:
    """Return the pieces of a critical path as a table of RANGE, with the names of `Groups.names`."""
    names = records.tasks["name"].tolist()
    return np.array(
        [
            (len(records.names) if p.name == AWAITING else names[p.task], p.task, p.lane, p.start_ns, p.end_ns)
            for p in path
        ],
        RANGE,
    )


def timeline_data(findings: Findings) -> dict[str, Any]:
    """Return what the page's script draws the timeline from, ready for JSON."""
    records = findings.records
    groups = Groups(records)
    path = path_table(records, findings.path)
    rows = rows_of_lanes(records, 1 if len(path) else 0)
    boxes = boxes_of(records, path, rows, groups.of_name)
    has_boxes = len(boxes) <= MAX_BOXES
    return {
        "legend": groups.legend_of(boxes),
        "durationNs": max(records.duration_ns, int(boxes["end_ns"].max(initial=1))),
        "rows": _row_texts(records, rows, bool(len(path))),
        "groups": groups.legend,
        "hasRanges": bool(len(records.ranges)),
        "numStrands": len(records.strands),
        "scales": [
            *([_box_columns(boxes)] if has_boxes else []),
            *_scales(boxes, len(rows) + bool(len(path)), has_boxes),
        ],
        "tasks": _task_columns(records) if has_boxes else None,
        "names": groups.names,
        "sites": records.sites,
        "states": STATES,
    }


def _row_texts(records: Records, rows: NDArray[np.int64], has_path: bool) -> list[str]:
    lanes = [records.lanes[lane].name for lane in np.argsort(rows).tolist()]
    return ["critical path", *lanes] if has_path else lanes


def _scales(boxes: Table, num_rows: int, has_boxes: bool) -> list[dict[str, Any]]:
    """Return the cells of each width, finest first; none that are more than the boxes, where these are kept."""
    outer = boxes
    if (boxes["band"] == RANGES).any():
        is_range = boxes["band"] == RANGES
        outer = np.concatenate((boxes[~is_range], without_inner(boxes[is_range])))
    duration_ns = int(boxes["end_ns"].max(initial=1))
    num_places = min(MAX_PLACES, max(CELLS_AT_ONCE // num_rows, 30))
    scales: list[dict[str, Any]] = []
    while True:
        width_ns = -(-duration_ns // num_places)
        cells = cells_of(outer, width_ns)
        if (has_boxes and len(cells) >= len(boxes)) or (scales and len(cells) > MAX_CELLS):
            return scales[::-1]
        scales.append(_cell_columns(cells, width_ns))
        if width_ns == 1:
            return scales[::-1]
        num_places *= FINER


def _box_columns(boxes: Table) -> dict[str, Any]:
    return {
        "widthNs": 0,
        "row": _packed(boxes["row"], "<u2"),
        "band": _packed(boxes["band"], "<u1"),
        "group": _packed(boxes["group"], "<u1"),
        "name": _packed(boxes["name"], "<u4"),
        "task": _packed(boxes["task"], "<u4"),
        "start": _packed(boxes["start_ns"], "<f8"),
        "length": _packed(boxes["end_ns"] - boxes["start_ns"], "<f4"),
        "cpu": _packed(boxes["cpu_ns"], "<f4"),
    }


def _cell_columns(cells: Table, width_ns: int) -> dict[str, Any]:
    return {
        "widthNs": width_ns,
        "row": _packed(cells["row"], "<u2"),
        "band": _packed(cells["band"], "<u1"),
        "group": _packed(cells["group"], "<u1"),
        "place": _packed(cells["place"], "<u4"),
        "low": _packed(cells["low"], "<f4"),
        "high": _packed(cells["high"], "<f4"),
        "count": _packed(cells["num_boxes"], "<u4"),
    }


def _task_columns(records: Records) -> dict[str, Any]:
    return {"site": _packed(records.tasks["site"], "<u4"), "state": _packed(records.tasks["state"], "<u1")}


def _packed(column: NDArray[Any], dtype: str) -> dict[str, str]:
    """Return a column as the compressed bytes of a JavaScript typed array."""
    return {"type": dtype[1:], "bytes": base64.b64encode(zlib.compress(column.astype(dtype).tobytes(), 6)).decode()}
