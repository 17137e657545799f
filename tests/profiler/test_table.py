"""Tables in torch's form."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjit.profiler.table import SORT_KEYS, EventList, FunctionEventAvg, format_time


def event(key: str, self_cpu: float | None, cpu: float | None, **more: Any) -> FunctionEventAvg:
    """Return a function's averages, with a wall time of twice its CPU time."""
    wall = {"self_wall_time_total": 2 * (self_cpu or 0), "wall_time_total": 2 * (cpu or 0)}
    fields = {"key": key, "count": 1, "queue_time_total": None, **wall, **more}
    return FunctionEventAvg(self_cpu_time_total=self_cpu, cpu_time_total=cpu, **fields)


def some() -> EventList:
    return EventList(
        [
            event("outer", 1_500.0, 6_000.0, count=2, queue_time_total=7.5),
            event("a" * 60, 4_500.0, 4_500.0, count=3, queue_time_total=1.0, is_top_level=False),
            event("unmeasured", None, None, self_wall_time_total=2_000_000.0, wall_time_total=2_000_000.0),
        ]
    )


# What torch 2.13 prints of the same averages, with asyncjit's columns put in and its second line below:
# EventList([...]).table(sort_by="cpu_time_total") with self_cpu_time_total and cpu_time_total as above.
EXPECTED = """\
---------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  
     Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg     Self wall    Wall total    Queue wait    # of Calls  
---------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  
    outer        25.00%       1.500ms       100.00%       6.000ms       3.000ms       3.000ms      12.000ms       7.500us             2  
    inner        75.00%       4.500ms        75.00%       4.500ms       1.500ms       9.000ms       9.000ms       1.000us             3  
---------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  
Self CPU time total: 6.000ms
Self wall time total: 12.000ms
"""  # noqa: E501, W291


def test_a_table_has_torchs_layout() -> None:
    outer, inner, _ = some()
    inner.key = "inner"
    assert EventList([inner, outer]).table("cpu_time_total") == EXPECTED
    assert str(EventList([outer, inner])) == EXPECTED


def test_what_was_not_measured_is_a_dash() -> None:
    unmeasured = EventList([some()[2]])
    row, footer = unmeasured.table().splitlines()[3], unmeasured.table().splitlines()[-2]
    assert row.split() == ["unmeasured", "-", "-", "-", "-", "-", "2.000s", "2.000s", "-", "1"]
    assert footer == "Self CPU time total: -"
    assert unmeasured.self_cpu_time_total is None


def test_shares_of_no_time_are_nan_as_torchs() -> None:
    row = EventList([event("f", 0.0, 0.0)]).table().splitlines()[3]
    assert row.split()[1:5] == ["NaN", "0.000us", "NaN", "0.000us"]


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        (None, "oau"),
        ("cpu_time_total", "oau"),
        ("self_cpu_time_total", "aou"),
        ("cpu_time", "oau"),
        ("count", "aou"),
        ("wall_time_total", "uoa"),
        ("wall_time", "uoa"),
        ("self_wall_time_total", "uao"),
        ("queue_time_total", "oau"),
        ("queue_time", "oau"),
    ],
)
def test_rows_are_sorted_the_largest_first_and_the_unknown_last(sort_by: str | None, expected: str) -> None:
    rows = some().table(sort_by).splitlines()[3:6]
    assert "".join(row.split()[0][0] for row in rows) == expected
    assert sort_by is None or sort_by in SORT_KEYS


def test_another_sort_key_is_refused_with_those_that_there_are() -> None:
    message = r"sort_by must be one of cpu_time, cpu_time_total, .*, count, got 'cuda_time_total'"
    with pytest.raises(ValueError, match=message):
        some().table(sort_by="cuda_time_total")


@pytest.mark.parametrize(("row_limit", "rows"), [(0, 0), (1, 1), (3, 3), (100, 3), (-1, 3)])
def test_the_number_of_rows_is_limited(row_limit: int, rows: int) -> None:
    assert len(some().table(row_limit=row_limit).splitlines()) == rows + 6


def test_long_names_are_cut_as_torch_does() -> None:
    names = [line.split()[0] for line in some().table().splitlines()[3:6]]
    assert names[1] == "a" * 52 + "..."
    assert some().table(max_name_column_width=None).splitlines()[4].split()[0] == "a" * 60
    assert some().table(max_name_column_width=8).splitlines()[3].split()[0] == "outer..."


def test_a_header_stands_above() -> None:
    lines = some().table(header="HEAD").splitlines()
    assert lines[:2] == ["=" * (len(lines[2]) - 2), "HEAD"]
    assert len(lines) == 3 + 6 + 2


def test_only_the_top_level_is_shown_on_demand() -> None:
    lines = some().table(top_level_events_only=True).splitlines()
    assert lines[1] == "This report only display top-level ops statistics"
    assert [line.split()[0] for line in lines[5:7]] == ["outer", "unmeasured"]
    assert lines[7].startswith("---")
    assert lines[8] == "Self CPU time total: 6.000ms"


def test_all_times_can_have_one_unit() -> None:
    table = some().table(time_unit="us")
    assert table.splitlines()[3].split()[2] == "1500.000us"
    assert "Self wall time total: 2012000.000us" in table
    with pytest.raises(ValueError, match="time_unit must be one of s, ms, us, got 'min'"):
        some().table(time_unit="min")


def test_input_shapes_have_a_column_where_they_are_known() -> None:
    events = EventList([event("f", 1.0, 1.0, input_shapes="[[2, 3], []]"), event("g", 1.0, 1.0)])
    lines = events.table().splitlines()
    assert lines[1].endswith("    Input Shapes  ")
    assert lines[3].endswith("    [[2, 3], []]  ")
    assert lines[4].endswith("              []  ")
    assert events.table(max_shapes_column_width=6).splitlines()[3].endswith("             1  [[2, 3  ")


def test_no_averages_make_no_table() -> None:
    assert EventList().table() == ""
    assert EventList().self_cpu_time_total is None
    assert EventList().self_wall_time_total == 0


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0.0, "0.000us"),
        (1.2344, "1.234us"),
        (999.9, "999.900us"),
        (1000.0, "1.000ms"),
        (1_000_000.0, "1.000s"),
        (6e7, "60.000s"),
    ],
)
def test_times_are_written_as_torch_does(time_us: float, text: str) -> None:
    assert format_time(time_us) == text


def test_the_total_average_sums_all_that_is_known() -> None:
    total = some().total_average()
    assert (total.key, total.count, total.queue_time_total) == ("Total", 6, 8.5)
    assert (total.self_cpu_time_total, total.cpu_time_total, total.cpu_time) == (6_000, 10_500, 1_750)
    assert (total.self_wall_time_total, total.wall_time_total) == (2_012_000, 2_021_000)


def test_the_total_average_of_nothing_is_nothing() -> None:
    total = EventList().total_average()
    assert (total.count, total.wall_time, total.cpu_time) == (0, 0, None)
