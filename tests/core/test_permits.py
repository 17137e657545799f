"""The counts behind "no kernel starts while N or more run"."""

import pytest

from asyncjit._core.permits import Permits


def test_nothing_runs_and_nothing_is_counted_at_first() -> None:
    permits = Permits(3)
    counts = vars(permits)
    assert counts.pop("limit") == 3
    assert set(counts.values()) == {0}


@pytest.mark.parametrize(("limit", "running", "excess"), [(2, 0, 0), (2, 2, 0), (2, 3, 1), (1, 4, 3)])
def test_the_excess_is_what_runs_above_the_limit(limit: int, running: int, excess: int) -> None:
    permits = Permits(limit)
    permits.running = running
    assert permits.excess == excess


def test_a_lower_limit_shows_as_excess_until_kernels_end() -> None:
    permits = Permits(4)
    permits.running = 4
    permits.limit = 1
    assert permits.excess == 3
    permits.running = 1
    assert permits.excess == 0


def test_the_counts_alone_can_wake_nobody() -> None:
    with pytest.raises(NotImplementedError):
        Permits(1).replenish()
