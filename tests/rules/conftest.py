"""The runtime that the tests of the rules fork on."""

from collections.abc import Iterator

import pytest

from asyncjit import sync
from tests.at_rest import assert_at_rest


@pytest.fixture
def runtime(num_interop_threads: int) -> Iterator[sync.Runtime]:
    """Return a runtime that must end idle, with counts that add up."""
    with sync.Runtime(num_interop_threads, blas_threads=None) as runtime:
        yield runtime
        assert_at_rest(runtime)
