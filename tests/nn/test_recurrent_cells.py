"""`LSTMCell` and `GRUCell`, each test for both: a textbook's step, torch's stored numbers, what they refuse."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn
from tests.nn.states import NUM_STATES, as_given, as_list, share_memory, stored_states, widened, zeros
from tests.reference import make_recurrent_reference, textbook
from tests.reference.textbook import assert_close

Array = NDArray[Any]

KINDS: dict[str, Any] = {"lstm_cell": nn.LSTMCell, "gru_cell": nn.GRUCell}
REFERENCES = [file for file in make_recurrent_reference.files() if file[0] in KINDS]

of_both = pytest.mark.parametrize("kind", KINDS.values())


@of_both
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    N=st.one_of(st.none(), st.integers(0, 4)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    has_states=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_cell_makes_the_textbooks_step(
    kind: Any, sizes: tuple[int, int], N: int | None, bias: bool, dtype: str, has_states: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cell = widened(kind(*sizes, bias, dtype=dtype, rng=rng))
    batch = () if N is None else (N,)
    x = rng.standard_normal((sizes[0], *batch)).astype(dtype).T
    states = [state.T * has_states for state in rng.standard_normal((2, sizes[1], *batch)).astype(dtype)]
    states = states[: NUM_STATES[kind]]
    for array in (x, *states):
        array.flags.writeable = False
    found = as_list(cell(x, as_given(kind, states) if has_states else None))
    weights = textbook.widened_to_float64(cell.state_dict())
    assert [(array.shape, array.dtype) for array in found] == [((*batch, sizes[1]), np.dtype(dtype))] * len(states)
    for index in np.ndindex(*batch):
        before = tuple(state[index].astype(float) for state in states)
        expected = textbook.STEPS[kind.__name__](weights, x[index].astype(float), before)
        for array, wanted in zip(found, expected, strict=True):
            assert_close(array[index], wanted.astype(dtype))


@pytest.mark.parametrize("file", REFERENCES, ids="-".join)
def test_torchs_stored_numbers_come_out_of_the_cell(file: tuple[str, str, str]) -> None:
    config, parameters, arrays = make_recurrent_reference.stored(*file)
    kind = KINDS[file[0]]
    cell = kind(arrays["x"].shape[-1], parameters["weight_hh"].shape[1], **config, dtype=file[2])
    assert list(cell.state_dict()) == list(parameters), "torch's names, in torch's order"
    cell.load_state_dict(parameters)
    found = cell(arrays["x"], as_given(kind, stored_states(arrays, "0")) if "h_0" in arrays else None)
    for array, expected in zip(as_list(found), stored_states(arrays, "n"), strict=True):
        assert_close(array, expected)


def test_the_stored_numbers_are_all_there() -> None:
    found = [file[0] for file in REFERENCES]
    assert {name: found.count(name) for name in KINDS} == {"lstm_cell": 8, "gru_cell": 8}


@pytest.mark.parametrize(("kind", "cell_kind"), [(nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)])
def test_cells_one_after_the_other_make_the_layers_sequence(kind: Any, cell_kind: Any) -> None:
    layer, cell = kind(3, 4, dtype=np.float64, rng=0), cell_kind(3, 4, dtype=np.float64)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in layer.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((5, 2, 3))
    output, last = layer(x)
    state = None
    for x_t, expected in zip(x, output, strict=True):
        state = cell(x_t, state)
        assert_close(as_list(state)[0], expected)
    for found, expected in zip(as_list(state), as_list(last), strict=True):
        assert_close(found, expected[0])


@of_both
def test_a_cells_states_are_neither_kept_nor_changed(kind: Any) -> None:
    cell, x = kind(3, 4, rng=0), np.ones((2, 3), np.float32)
    states = [np.ones((2, 4), np.float32) for _ in range(NUM_STATES[kind])]
    first = as_list(cell(x, as_given(kind, states)))
    assert (np.array(states) == 1).all()
    assert not share_memory([x, *states, *first])
    np.testing.assert_array_equal(as_list(cell(x, as_given(kind, states))), first)


@pytest.mark.parametrize(
    ("x", "h", "error", "message"),
    [
        (zeros(1, 2, 3), None, ValueError, r"Expected input to be 1D or 2D, got 3D instead \(shape \(1, 2, 3\)\)"),
        (zeros(2, 5), None, RuntimeError, r"Expected 3, got 5 \(shape \(2, 5\)\)"),
        (zeros(2, 3, dtype="float64"), None, ValueError, r"input dtype \(float64\) .* weight dtype \(float32\)"),
        (zeros(2, 3), zeros(4), RuntimeError, r"Expected h_0 of shape \(2, 4\), got \(4,\)"),
        (zeros(3), zeros(2, 4), RuntimeError, r"Expected h_0 of shape \(4,\), got \(2, 4\)"),
        (zeros(3), zeros(4, dtype="float64"), ValueError, r"h_0 dtype \(float64\) .* weight dtype \(float32\)"),
    ],
)
@of_both
def test_an_input_that_does_not_fit_the_cell_is_named(
    kind: Any, x: Array, h: Array | None, error: type[Exception], message: str
) -> None:
    hx = None if h is None else as_given(kind, [h, zeros(*x.shape[:-1], 4)])
    with pytest.raises(error, match=f"^{kind.__name__}: .*{message}"):
        kind(3, 4)(x, hx)


@of_both
def test_a_cells_text_is_torchs(kind: Any) -> None:
    assert repr(kind(3, 4)) == f"{kind.__name__}(3, 4)"
    assert repr(kind(3, 4, bias=False)) == f"{kind.__name__}(3, 4, bias=False)"


@of_both
def test_a_cells_flag_has_to_be_a_bool(kind: Any) -> None:
    with pytest.raises(TypeError, match="bias should be a bool, got 1"):
        kind(3, 4, 1)
