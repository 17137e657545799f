"""What `LSTM` and `LSTMCell` have for themselves: two states, and the tutorial's use; the rest is in test_recurrent."""

import re
from typing import Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import nn
from tests.nn.states import zeros
from tests.reference.textbook import assert_close

Array = NDArray[Any]


def test_the_call_is_typed_as_forward_is() -> None:
    lstm, x = nn.LSTM(1, 1), zeros(1, 1, 1)
    assert_type(lstm(x), tuple[Array, tuple[Array, Array]])
    assert_type(nn.LSTMCell(1, 1)(x[0]), tuple[Array, Array])
    assert_type(nn.Linear(1, 1)(x), Array)


@pytest.mark.parametrize(
    ("x", "hx", "error", "message"),
    [
        (
            zeros(2, 2, 3),
            (zeros(1, 2, 4), zeros(2, 4)),
            RuntimeError,
            r"Expected c_0 of shape \(1, 2, 4\), got \(2, 4\)",
        ),
        (
            zeros(2, 2, 3),
            (zeros(1, 2, 4), zeros(1, 2, 4, dtype="float64")),
            ValueError,
            r"c_0 dtype \(float64\) does not match weight dtype \(float32\).*c_0\.astype\(np\.float32\)",
        ),
    ],
)
def test_a_cell_state_that_does_not_fit_is_named(x: Array, hx: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^LSTM: .*{message}"):
        nn.LSTM(3, 4)(x, hx)


@pytest.mark.parametrize(
    ("x", "hx", "error", "message"),
    [
        (zeros(3), (zeros(4), zeros(1, 4)), RuntimeError, r"Expected c_0 of shape \(4,\), got \(1, 4\)"),
        (zeros(3), (zeros(4), zeros(4, dtype="float64")), ValueError, r"c_0 dtype \(float64\) .* dtype \(float32\)"),
    ],
)
def test_a_cell_state_that_does_not_fit_the_cell_is_named(
    x: Array, hx: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^LSTMCell: .*{message}"):
        nn.LSTMCell(3, 4)(x, hx)


@pytest.mark.parametrize("hx", [(zeros(1, 2, 4),), zeros(1, 2, 4)], ids=["tuple", "array"])
def test_states_that_are_no_pair_are_named(hx: Any) -> None:
    with pytest.raises(ValueError, match=r"^LSTM: .*h_0 and c_0, got 1 "):
        nn.LSTM(3, 4)(zeros(2, 2, 3), hx)


@pytest.mark.parametrize("hx", [np.float32(1), np.array(1.0), 3], ids=["scalar", "array without axes", "int"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_a_number_in_the_states_place_is_shown(kind: Any, hx: Any) -> None:
    message = f"{kind.__name__}: Expected hx to be a tuple of h_0 and c_0, got {hx!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        kind(3, 4)(zeros(2, 3), hx)


def test_the_tutorials_ensemble_runs_and_adds_up() -> None:
    C = 6

    class BidirectionalRecurrentLSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell_f = nn.LSTM(input_size=C, hidden_size=C)
            self.cell_b = nn.LSTM(input_size=C, hidden_size=C)

        def forward(self, x: Array) -> Array:
            output_f, _ = self.cell_f(x)
            output_b, _ = self.cell_b(np.flip(x, axis=0))
            return np.concatenate((output_f, np.flip(output_b, axis=0)), axis=2)

    class LSTMEnsemble(nn.Module):
        def __init__(self, n_models: int) -> None:
            super().__init__()
            self.n_models = n_models
            self.models = nn.ModuleList([BidirectionalRecurrentLSTM() for _ in range(self.n_models)])

        def forward(self, x: Array) -> Array:
            results = [model(x) for model in self.models]
            total: Array = np.stack(results).sum(axis=0)
            return total

    ensemble = LSTMEnsemble(n_models=3)
    x = np.random.default_rng(0).random((5, 2, C), dtype=np.float32)
    expected = np.zeros((5, 2, 2 * C), np.float32)
    for model in ensemble.models:
        both = nn.LSTM(C, C, bidirectional=True)
        state = {name.removeprefix("cell_f."): array for name, array in model.state_dict().items()}
        both.load_state_dict(
            {f"{n.removeprefix('cell_b.')}_reverse" if n.startswith("cell_b.") else n: a for n, a in state.items()}
        )
        expected += both(x)[0]
    assert_close(ensemble(x), expected)
