"""A profile as plain text, for a terminal: key figures, what bounds it, functions, critical path, predictions."""

from __future__ import annotations

from collections.abc import Iterator

from asyncjit.profiler.findings import Findings
from asyncjit.profiler.texts import duration_text, percent_text

MAX_FUNCTIONS = 10  # chosen: a terminal's height holds all that is said
MAX_PATH = 5


def summary(findings: Findings) -> str:
    """Return what a profile says, in a screenful of text."""
    return "\n\n".join("\n".join(part) for part in _parts(findings) if part)


def _parts(findings: Findings) -> Iterator[list[str]]:
    yield list(_figures(findings))
    if not len(findings.records.strands):
        return
    yield list(_causes(findings))
    yield [findings.functions.table(sort_by="self_wall_time_total", row_limit=MAX_FUNCTIONS).rstrip()]
    yield list(_path(findings))
    yield list(_predictions(findings))


def _figures(findings: Findings) -> Iterator[str]:
    records = findings.records
    lanes = "1 lane" if records.num_lanes == 1 else f"{records.num_lanes} lanes"
    took, forks = duration_text(records.duration_ns / 1e9), len(records.tasks) - 1
    yield f"{took} on {lanes}: {forks:,} forks, {len(records.strands):,} strands"
    if records.num_dropped:
        yield f"The buffer was full then: {records.num_dropped:,} later events are not in it."
    if len(records.strands):
        yield (
            f"work {duration_text(findings.work_s)}, span {duration_text(findings.span_s)}, "
            f"parallelism {findings.parallelism:.2f}, lanes busy {percent_text(findings.utilisation)}"
        )


def _causes(findings: Findings) -> Iterator[str]:
    for cause in findings.causes:
        yield f"- {cause}"


def _path(findings: Findings) -> Iterator[str]:
    took_ns: dict[tuple[str, str], int] = {}
    for piece in findings.path:
        place = piece.name, piece.site
        took_ns[place] = took_ns.get(place, 0) + piece.end_ns - piece.start_ns
    whole_ns = max(1, sum(took_ns.values()))
    longest = sorted(took_ns.items(), key=lambda item: -item[1])
    yield f"critical path, {duration_text(whole_ns / 1e9)}:"
    for (name, site), time_ns in longest[:MAX_PATH]:
        yield f"{percent_text(time_ns / whole_ns):>8}  {name}" + (f", {site}" if site else "")


def _predictions(findings: Findings) -> Iterator[str]:
    yield "lanes     " + "".join(f"{point.num_lanes:>10}" for point in findings.curve)
    is_bound = any(point.is_bound for point in findings.curve)
    yield ("at most   " if is_bound else "predicted ") + "".join(
        f"{duration_text(point.time_s):>10}" for point in findings.curve
    )
    yield "speed-up  " + "".join(f"{point.speedup:>9.2f}×" for point in findings.curve)
