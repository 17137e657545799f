"""Times and shares in words."""

from __future__ import annotations

import pytest

from asyncjit.profiler.texts import duration_text, percent_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ns"),
        (3e-9, "3 ns"),
        (30e-6, "30 µs"),
        (0.99949e-3, "999 µs"),
        (0.9996e-3, "1 ms"),
        (0.0123456, "12.3 ms"),
        (1.5, "1.5 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_a_time_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1e-5, "< 0.1 %"), (0.0123, "1.2 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (1, "100 %")],
)
def test_a_share_is_in_percent(share: float, text: str) -> None:
    assert percent_text(share) == text
