"""What `GRU` and `GRUCell` have for themselves: one state, an array; the rest is in test_recurrent."""

from typing import Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import nn
from tests.nn.states import zeros

Array = NDArray[Any]


def test_calls_are_typed_as_forward_is() -> None:
    assert_type(nn.GRU(1, 1)(zeros(1, 1, 1)), tuple[Array, Array])
    assert_type(nn.GRUCell(1, 1)(zeros(1, 1)), Array)


@pytest.mark.parametrize(
    ("hx", "found"), [((zeros(1, 2, 4),), r"\(1, 1, 2, 4\)"), (np.float32(1), r"\(\)")], ids=["tuple", "scalar"]
)
def test_what_is_no_state_is_named_with_its_shape(hx: Any, found: str) -> None:
    """The tuple is as an LSTM's states would be handed over."""
    with pytest.raises(RuntimeError, match=rf"^GRU: Expected h_0 of shape \(1, 2, 4\), got {found}$"):
        nn.GRU(3, 4)(zeros(2, 2, 3), hx)
