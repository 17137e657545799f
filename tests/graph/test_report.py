"""What a report tells, and how it is shown."""

import pytest

from asyncjit.graph.report import MAX_SHOWN, Part, Report


def report(**changes: object) -> Report:
    """Return a report of a graph that takes 3 ms, 2 of them one after the other."""
    parts = {
        "forked": [Part("nn::LSTM", " (model.py:4)", 1_000_000, "")],
        "unforked": [Part("numpy::add", "", 2_000, "too small for a fork")],
    }
    figures = {"work_ns": 3_000_000, "span_ns": 2_000_000, "expected_ns": 2_400_000, "num_threads": 2, "hop_ns": 30_000}
    return Report(**(figures | parts | changes))  # type: ignore[arg-type]


def test_the_expected_speed_up_is_work_by_expected_time() -> None:
    assert report().expected_speedup == 1.25


def test_a_graph_of_nothing_is_as_fast_as_ever() -> None:
    assert report(work_ns=0, span_ns=0, expected_ns=0).expected_speedup == 1.0
    assert "at most 1.00x" in str(report(work_ns=0, span_ns=0, expected_ns=0))


def test_it_is_shown_line_by_line() -> None:
    assert str(report()).splitlines() == [
        "work 3.000 ms, span 2.000 ms: at most 1.50x on any number of threads",
        "expected on 2 threads: 2.400 ms, 1.25x",
        "a fork on another thread costs 30 us",
        "forked: 1",
        "  1.000 ms  nn::LSTM (model.py:4)",
        "not forked, too small for a fork: 1, 0.002 ms",
        "  0.002 ms  numpy::add",
    ]


@pytest.mark.parametrize(("num_parts", "rest"), [(MAX_SHOWN, None), (MAX_SHOWN + 3, "  and 3 more")])
def test_a_long_list_is_cut(num_parts: int, rest: str | None) -> None:
    lines = str(report(forked=[Part("nn::LSTM", "", 1, "")] * num_parts, unforked=[])).splitlines()
    assert len(lines) == 4 + min(num_parts, MAX_SHOWN) + (rest is not None)
    assert rest is None or lines[-1] == rest
