"""Fixtures of several layers' tests."""

from collections.abc import Iterator

import pytest

from asyncjit.nn import get_product_form, set_product_form


@pytest.fixture
def packed() -> Iterator[None]:
    """Take panels where the rule for shapes says so, whatever BLAS this machine has."""
    before = get_product_form()
    set_product_form("packed")
    yield
    set_product_form(before)
