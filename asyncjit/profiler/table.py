"""What torch.profiler's tables say, in torch's form: `EventList.table`, with asyncjit's columns beside torch's.

The names of attributes and columns, the units and the layout are those of torch.autograd.profiler_util (torch 2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

COLUMN_WIDTH = 12  # torch's
SPACING = "  "
NOT_KNOWN = "-"
SORT_KEYS = (
    "cpu_time",
    "cpu_time_total",
    "self_cpu_time_total",
    "wall_time",
    "wall_time_total",
    "self_wall_time_total",
    "queue_time",
    "queue_time_total",
    "count",
)
UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0}  # in microseconds, the longest first


@dataclass
class FunctionEventAvg:
    """The calls of one function, or the passes through one `record_function` block; times in microseconds.

    None stands for what was not measured.
    """

    key: str  #: the function's or the range's name
    count: int  #: of calls
    self_wall_time_total: float  #: of its own strands, without the ranges in them
    wall_time_total: float  #: with all ranges and forks below it; time at which two of them ran at once counts twice
    self_cpu_time_total: float | None  #: CPU time of the threads in `self_wall_time_total`
    cpu_time_total: float | None  #: CPU time of the threads in `wall_time_total`
    queue_time_total: float | None  #: from the fork to its first strand; a range is not queued
    input_shapes: str = ""  #: of the forks' arguments, if they were recorded and are grouped by
    is_user_annotation: bool = False  #: a range, no fork
    is_top_level: bool = True  #: some call of it came from the code outside of forks and ranges

    @property
    def cpu_time(self) -> float | None:
        """`cpu_time_total` of a call."""
        return self._average(self.cpu_time_total)

    @property
    def wall_time(self) -> float | None:
        """`wall_time_total` of a call."""
        return self._average(self.wall_time_total)

    @property
    def queue_time(self) -> float | None:
        """`queue_time_total` of a call."""
        return self._average(self.queue_time_total)

    def _average(self, total: float | None) -> float | None:
        return total if not total else total / self.count


class EventList(list[FunctionEventAvg]):
    """The averages of a profile, by function; `print` shows them as a table."""

    def __str__(self) -> str:
        return self.table()

    @property
    def self_cpu_time_total(self) -> float | None:
        """The CPU time of all strands in microseconds, as far as it was measured; None if none was."""
        return _sum(event.self_cpu_time_total for event in self)

    @property
    def self_wall_time_total(self) -> float:
        """The time of all strands in microseconds."""
        return sum(event.self_wall_time_total for event in self)

    def total_average(self) -> FunctionEventAvg:
        """Return the sums over all functions, as torch does: what lies below others counts in each of their totals."""
        return FunctionEventAvg(
            key="Total",
            count=sum(event.count for event in self),
            self_wall_time_total=self.self_wall_time_total,
            wall_time_total=sum(event.wall_time_total for event in self),
            self_cpu_time_total=self.self_cpu_time_total,
            cpu_time_total=_sum(event.cpu_time_total for event in self),
            queue_time_total=_sum(event.queue_time_total for event in self),
        )

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        *,
        max_name_column_width: int | None = 55,
        max_shapes_column_width: int | None = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """Return the averages as a table.

        Percentages are shares of the CPU time of all strands. "-" stands for what was not measured.

        Parameters
        ----------
        sort_by : str, optional
            One of `SORT_KEYS`, largest first. By default the functions stand in the order of their first calls.
        row_limit : int
            How many functions are shown; -1 for all.
        max_name_column_width, max_shapes_column_width : int or None
            Longer names and shapes are cut.
        header : str, optional
            A line above the table.
        top_level_events_only : bool
            Leave out what was only called in forks and ranges.
        time_unit : {"s", "ms", "us"}, optional
            By default each time has its own.

        Raises
        ------
        ValueError
            For another `sort_by` or `time_unit`.
        """
        if sort_by is not None and sort_by not in SORT_KEYS:
            raise ValueError(f"sort_by must be one of {', '.join(SORT_KEYS)}, got {sort_by!r}")
        if time_unit is not None and time_unit not in UNITS:
            raise ValueError(f"time_unit must be one of {', '.join(UNITS)}, got {time_unit!r}")
        if not self:
            return ""
        shown = [event for event in self if event.is_top_level or not top_level_events_only]
        if sort_by is not None:
            shown.sort(key=lambda event: _known(getattr(event, sort_by)), reverse=True)
        columns = _columns(self, max_name_column_width, max_shapes_column_width, time_unit)
        rows = [[cell(event) for _, _, cell in columns] for event in (shown if row_limit < 0 else shown[:row_limit])]
        widths = [width for _, width, _ in columns]
        rule = "".join("-" * width + SPACING for width in widths)
        lines = ["=" * (len(rule) - len(SPACING)), header] if header is not None else []
        if top_level_events_only:
            lines += ["=" * (len(rule) - len(SPACING)), "This report only display top-level ops statistics"]
        lines += [rule, _line([name for name, _, _ in columns], widths), rule]
        lines += [_line(row, widths) for row in rows]
        lines += [rule, f"Self CPU time total: {format_time(self.self_cpu_time_total, time_unit)}"]
        lines += [f"Self wall time total: {format_time(self.self_wall_time_total, time_unit)}"]
        return "\n".join(lines) + "\n"


Column = tuple[str, int, Callable[[FunctionEventAvg], str]]


def _columns(
    events: EventList, max_name_width: int | None, max_shapes_width: int | None, time_unit: str | None
) -> list[Column]:
    """Return the title and the width of each column, and what it shows of a function."""
    all_cpu = events.self_cpu_time_total

    def column(title: str, cell: Callable[[FunctionEventAvg], str]) -> Column:
        return title, COLUMN_WIDTH, cell

    def time(value: float | None) -> str:
        return format_time(value, time_unit)

    name_width = _width((event.key for event in events), max_name_width)
    columns: list[Column] = [
        ("Name", name_width, lambda event: _cut_name(event.key, max_name_width)),
        column("Self CPU %", lambda event: _share(event.self_cpu_time_total, all_cpu)),
        column("Self CPU", lambda event: time(event.self_cpu_time_total)),
        column("CPU total %", lambda event: _share(event.cpu_time_total, all_cpu)),
        column("CPU total", lambda event: time(event.cpu_time_total)),
        column("CPU time avg", lambda event: time(event.cpu_time)),
        column("Self wall", lambda event: time(event.self_wall_time_total)),
        column("Wall total", lambda event: time(event.wall_time_total)),
        column("Queue wait", lambda event: time(event.queue_time_total)),
        column("# of Calls", lambda event: str(event.count)),
    ]
    if any(event.input_shapes for event in events):
        shapes_width = _width((event.input_shapes for event in events), max_shapes_width)
        columns.append(("Input Shapes", shapes_width, lambda event: (event.input_shapes or "[]")[:shapes_width]))
    return columns


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell.rjust(width) + SPACING for cell, width in zip(cells, widths, strict=True))


def _width(texts: Iterable[str], most: int | None) -> int:
    """Return the width of a column as torch chooses it."""
    width = max(map(len, texts)) + 4
    return width if most is None else min(width, most)


def _cut_name(name: str, most: int | None) -> str:
    return name if most is None or len(name) < most - 3 else name[: max(0, most - 3)] + "..."


def format_time(time_us: float | None, unit: str | None = None) -> str:
    """Return a time in its largest unit, or in the given one, as torch writes it: 1.234us, 12.000ms, 1.500s."""
    if time_us is None:
        return NOT_KNOWN
    if unit is None:
        unit = next((unit for unit, length_us in UNITS.items() if time_us >= length_us), "us")
    return f"{time_us / UNITS[unit]:.3f}{unit}"


def _share(time_us: float | None, whole_us: float | None) -> str:
    if time_us is None or whole_us is None:
        return NOT_KNOWN
    return f"{time_us * 100.0 / whole_us:.2f}%" if whole_us else "NaN"


def _known(value: float | None) -> float:
    """Return a key by which what is not known stands behind what is 0."""
    return -1.0 if value is None else value


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
