"""Both doors for the tests of what both offer."""

import pytest

from tests.core.doors import Door


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def door(request: pytest.FixtureRequest) -> Door:
    """Return one of the two doors, in turn."""
    return Door(awaits=request.param)
