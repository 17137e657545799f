"""The parts of a report that are text: key figures, explanation, tables; for the page and for notebooks.

Every text that comes from the program profiled (a kernel is named as its author likes) is escaped here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from asyncjit.profiler.explanation import Cause
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.texts import duration_text, percent_text

MAX_ROWS = 25  #: of a table; chosen: what is further down matters little, and its number is told


def figures_html(findings: Findings) -> str:
    """Return the key figures as a list of terms."""
    records = findings.records
    pairs = [
        ("took", duration_text(records.duration_ns / 1e9)),
        ("lanes", f"{records.num_lanes}"),
        ("forks", f"{max(len(records.tasks) - 1, 0):,}"),
        ("strands", f"{len(records.strands):,}"),
        ("work", duration_text(findings.work_s)),
        ("span", duration_text(findings.span_s)),
        ("parallelism", f"{findings.parallelism:.2f}"),
        ("lanes busy", percent_text(findings.utilisation)),
    ]
    if findings.measured is not None:
        pairs.append(("speed-up", f"{findings.measured.speedup:.2f}×"))
    return "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in pairs)


def curve_text(findings: Findings) -> str:
    """Tell where the curve comes from."""
    if any(point.is_bound for point in findings.curve):
        return (
            "So many forks are not simulated: this is what any greedy schedule gives at least, by work and span alone."
        )
    return "Simulated schedules of what was recorded, beside one thread for event loops."


def legend_html(legend: Iterable[tuple[str, str]]) -> str:
    """Return the texts and colours of the timeline; the critical path, without one, has that of the text."""
    items = (
        f'<li><i style="background: {colour}"></i>{escape(text)}</li>'
        if colour
        else f'<li><i class="mark"></i>{escape(text)}</li>'
        for text, colour in legend
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def dropped_html(findings: Findings) -> str:
    """Return the warning that the records are not complete, or nothing."""
    num_dropped = findings.records.num_dropped
    if not num_dropped:
        return ""
    return (
        f'<p class="alert" role="alert">The profile is cut short: its buffer was full, and {num_dropped:,} more events '
        "were not recorded. All that follows is about the time before.</p>"
    )


def causes_html(causes: Sequence[Cause]) -> str:
    """Return the explanation as a list, or a sentence that there is nothing to explain."""
    if not causes:
        return "<p>Nothing stands out: no single cause holds the program back.</p>"
    return f'<ol class="causes">{"".join(map(_cause_html, causes))}</ol>'


def _cause_html(cause: Cause) -> str:
    share = "" if cause.share is None else f'<span class="share">{percent_text(cause.share)}</span> '
    advice = f'<span class="advice">{escape(cause.advice)}</span>' if cause.advice else ""
    return f"<li>{share}{escape(cause.text)}{advice}</li>"


def functions_html(findings: Findings, max_rows: int = MAX_ROWS) -> str:
    """Return the table of the functions."""
    by_time = sorted(findings.functions, key=lambda function: -function.self_wall_time_total)
    all_us = sum(function.self_wall_time_total for function in by_time) or 1.0
    rows = [
        (
            function.key + (" (record_function)" if function.is_user_annotation else ""),
            f"{function.count:,}",
            _us_text(function.self_wall_time_total),
            percent_text(function.self_wall_time_total / all_us),
            _us_text(function.self_wall_time_total / max(function.count, 1)),
            _us_text(function.self_cpu_time_total),
            _us_text(function.wall_time_total),
            _us_text(function.queue_time_total),
        )
        for function in by_time
    ]
    head = ("function", "calls", "ran for", "of all", "each", "CPU", "with all it forked", "queued for")
    return _table_html("Time by function, all its calls together", head, rows, num_texts=1, max_rows=max_rows)


def _us_text(microseconds: float | None) -> str:
    return "" if microseconds is None else duration_text(microseconds / 1e6)


def path_functions_html(findings: Findings) -> str:
    """Return the table of the functions on the critical path, longest first."""
    took_ns: dict[str, int] = {}
    for piece in findings.path:
        took_ns[piece.name] = took_ns.get(piece.name, 0) + piece.end_ns - piece.start_ns
    counts = Counter(piece.name for piece in findings.path)
    whole_ns = max(sum(took_ns.values()), 1)
    rows = [
        (name, duration_text(took_ns[name] / 1e9), percent_text(took_ns[name] / whole_ns), f"{counts[name]:,}")
        for name in sorted(took_ns, key=lambda name: -took_ns[name])
    ]
    head = ("function", "on the path for", "of the path", "pieces")
    return _table_html("The critical path by function", head, rows, num_texts=1)


def path_pieces_html(findings: Findings) -> str:
    """Return the table of the longest pieces of the critical path."""
    whole_ns = max(sum(piece.end_ns - piece.start_ns for piece in findings.path), 1)
    longest = sorted(findings.path, key=lambda piece: piece.start_ns - piece.end_ns)
    rows = [
        (
            piece.name,
            piece.site,
            findings.records.lanes[piece.lane].name,
            duration_text(piece.start_ns / 1e9),
            duration_text((piece.end_ns - piece.start_ns) / 1e9),
            percent_text((piece.end_ns - piece.start_ns) / whole_ns),
        )
        for piece in longest[:MAX_ROWS]
    ]
    head = ("function", "forked", "lane", "from", "for", "of the path")
    return _table_html("Its longest pieces", head, rows, num_texts=3, num_rows=len(longest))


def _table_html(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    num_texts: int,
    num_rows: int | None = None,
    max_rows: int = MAX_ROWS,
) -> str:
    """Return a table in a box that it scrolls in; its first `num_texts` columns are texts, the others numbers."""
    num_rows = len(rows) if num_rows is None else num_rows
    if num_rows > max_rows:
        caption = f"{caption}: the first {max_rows} of {num_rows:,}"
    kinds = ["text" if column < num_texts else "number" for column in range(len(head))]
    titles = "".join(f'<th scope="col" class="{kind}">{title}</th>' for kind, title in zip(kinds, head, strict=True))
    body = "".join(f"<tr>{_cells_html(kinds, row)}</tr>" for row in rows[:max_rows])
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells_html(kinds: Iterable[str], row: Iterable[str]) -> str:
    return "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(kinds, row, strict=True))
