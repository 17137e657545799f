"""What the page's timeline is drawn from."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asyncjit.profiler import timeline_figure
from asyncjit.profiler.critical import AWAITING, PathPiece
from asyncjit.profiler.timeline_figure import COLOURS, Groups, timeline_data
from tests.profiler.handmade import handmade
from tests.profiler.reported import HOSTILE, few, many


def unpacked(column: dict[str, str]) -> Any:
    return np.frombuffer(zlib.decompress(base64.b64decode(column["bytes"])), "<" + column["type"])


def test_few_strands_are_kept_one_by_one_and_nothing_else() -> None:
    data = timeline_data(few())
    assert data["rows"] == ["critical path", "main", "lane 1"]
    assert data["durationNs"] == 100_000
    (scale,) = data["scales"]
    assert scale["widthNs"] == 0
    assert unpacked(scale["row"]).tolist() == [1, 1, 1, 2, 0, 0, 0, 1, 1, 1, 1, 1]
    assert unpacked(scale["start"])[:4].tolist() == [0, 20_000, 90_000, 25_000]
    assert unpacked(scale["length"])[:4].tolist() == [20_000, 70_000, 10_000, 40_000]
    assert unpacked(scale["cpu"])[:5].tolist() == [20_000, 35_000, 10_000, 40_000, -1]
    assert [data["names"][name] for name in unpacked(scale["name"])[[1, 3]]] == [HOSTILE, "embed"]
    assert unpacked(data["tasks"]["state"]).tolist() == [0, 1, 1]


def test_many_strands_are_kept_in_cells_too_each_scale_finer_than_the_one_behind_it() -> None:
    data = timeline_data(many(20_000))
    widths = [scale["widthNs"] for scale in data["scales"]]
    assert widths[0] == 0
    assert widths[1:] == sorted(widths[1:])
    assert widths[-1] == 50_000_000 // 125 - 32  # the last strand ends 4 µs before the profile


def test_too_many_boxes_are_kept_in_cells_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_figure, "MAX_BOXES", 1_000)
    monkeypatch.setattr(timeline_figure, "MAX_CELLS", 40_000)
    data = timeline_data(many(20_000))
    assert data["tasks"] is None
    assert all(scale["widthNs"] > 0 for scale in data["scales"])
    assert all(len(unpacked(scale["row"])) <= 40_000 for scale in data["scales"])
    busy = sum(
        (unpacked(s["high"]) - unpacked(s["low"]))[unpacked(s["band"]) == 0].sum() * s["widthNs"]
        for s in data["scales"][-1:]
    )
    assert busy == pytest.approx(25_000 * 6_000, rel=1e-4)  # 20,000 strands, and 5,000 of them again as the path


def test_a_million_strands_of_no_length_end_the_search_for_finer_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_figure, "MAX_BOXES", 10)
    records = handmade([], [(0, 0, 3, 3)] * 20)
    assert [scale["widthNs"] for scale in timeline_data(replace(few(), records=records, path=()))["scales"]] == [1]


def test_the_seven_longest_functions_have_colours_by_name_and_the_others_are_counted() -> None:
    lengths = {f"f{n}": n for n in (3, 9, 1, 8, 2, 7, 6, 5, 4)}
    tasks = [(name, 0, 0) for name in lengths]
    strands = [(number, number, 0, length) for number, length in enumerate(lengths.values(), 1)]
    groups = Groups(handmade(tasks, strands))
    assert groups.legend[4:] == [
        ("2 other functions", timeline_figure.COLOUR_OF_OTHERS),
        *zip([f"f{n}" for n in range(3, 10)], COLOURS, strict=True),
    ]


def test_the_legend_names_what_is_there_functions_first() -> None:
    assert [text for text, _ in timeline_data(few())["legend"]] == [
        HOSTILE,
        "embed",
        "outside of forks",
        "record_function",
        "critical path",
    ]


def test_a_piece_of_the_path_that_awaits_has_its_own_name_and_colour() -> None:
    findings = few()
    piece = PathPiece(AWAITING, "", 1, 0, 20_000, 90_000)
    data = timeline_data(replace(findings, path=[piece]))
    names = unpacked(data["scales"][0]["name"])
    assert data["names"][names[4]] == AWAITING
    assert AWAITING in [text for text, _ in data["legend"]]
