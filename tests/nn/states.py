"""The states of recurrent layers and cells as lists of arrays, whatever form a kind takes and gives them in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import nn

Array = NDArray[Any]

NUM_STATES = {nn.LSTM: 2, nn.LSTMCell: 2, nn.GRU: 1, nn.GRUCell: 1}
NUM_GATES = {nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3}


def as_given(kind: Any, arrays: Sequence[Array]) -> Any:
    """Return the first arrays, as many as the kind has states, as it takes them."""
    return tuple(arrays[:2]) if NUM_STATES[kind] == 2 else arrays[0]


def as_list(state: Any) -> list[Array]:
    """Return the arrays of a state that a layer or cell gave."""
    return list(state) if isinstance(state, tuple) else [state]


def stored_states(arrays: dict[str, Array], end: str) -> list[Array]:
    """Return the states of a reference file, the first ("0") or the last ("n"), as many as there are."""
    return [arrays[name] for name in (f"h_{end}", f"c_{end}") if name in arrays]


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


def widened(module: nn.Module) -> Any:
    """Make the parameters twice as wide, so that gates reach where they saturate."""
    module.load_state_dict({name: 2 * array for name, array in module.state_dict().items()})
    return module


def share_memory(arrays: Sequence[Array]) -> bool:
    """Say whether any two of the arrays share memory."""
    return any(np.shares_memory(a, b) for number, a in enumerate(arrays) for b in arrays[:number])
