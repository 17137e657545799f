"""Times and shares as people read them."""

from __future__ import annotations


def duration_text(seconds: float) -> str:
    """Return a time with its unit, to three digits.

    >>> duration_text(0.0123456), duration_text(2e-7), duration_text(75)
    ('12.3 ms', '200 ns', '75 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size * 0.9995:
            digits = f"{seconds / size:.3g}" if seconds / size < 999.5 else f"{seconds / size:,.0f}"
            return f"{digits} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def percent_text(share: float) -> str:
    """Return a share of 0 to 1 in percent.

    >>> percent_text(0.314), percent_text(0.0123), percent_text(1e-5)
    ('31 %', '1.2 %', '< 0.1 %')
    """
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"
