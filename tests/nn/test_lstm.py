"""`LSTM` and `LSTMCell`: against a textbook loop, against torch's stored numbers, and what they refuse."""

from typing import Any, assert_type

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn
from asyncjit.nn.sequence import NUM_ROWS
from tests.reference import make_recurrent_reference, textbook
from tests.reference.textbook import assert_close

Array = NDArray[Any]

REFERENCES = [file for file in make_recurrent_reference.files() if file[0] == "lstm"]
CELL_REFERENCES = [file for file in make_recurrent_reference.files() if file[0] == "lstm_cell"]


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


def textbook_sequence(lstm: nn.LSTM, x: Array, h_0: Array, c_0: Array) -> list[Array]:
    options: dict[str, Any] = {"num_layers": lstm.num_layers, "bidirectional": lstm.bidirectional}
    return textbook.sequence(textbook.lstm_step, lstm.state_dict(), x, [h_0, c_0], **options)


def widened(lstm: Any) -> Any:
    """Make the parameters twice as wide, so that gates reach where they saturate."""
    lstm.load_state_dict({name: 2 * array for name, array in lstm.state_dict().items()})
    return lstm


@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    L=st.integers(1, 6),
    N=st.integers(0, 3),
    num_layers=st.integers(1, 3),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    dtype=st.sampled_from(["float32", "float64"]),
    has_states=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_sequence_is_what_the_textbook_loop_makes_of_it(
    sizes: tuple[int, int],
    L: int,
    N: int,
    num_layers: int,
    flags: tuple[bool, bool, bool],
    dtype: str,
    has_states: bool,
    seed: int,
) -> None:
    bias, batch_first, bidirectional = flags
    rng = np.random.default_rng(seed)
    lstm = widened(nn.LSTM(*sizes, num_layers, bias, batch_first, bidirectional, dtype=dtype, rng=rng))
    # Neither contiguous nor writable: inputs are as they come.
    x = rng.standard_normal((sizes[0], N, 2 * L)).astype(dtype).T[::-2]
    h_0, c_0 = (
        rng.standard_normal((2, sizes[1], N, num_layers * (1 + bidirectional))).astype(dtype).transpose(0, 3, 2, 1)
    )
    if not has_states:
        h_0, c_0 = np.zeros_like(h_0), np.zeros_like(c_0)
    for array in (x, h_0, c_0):
        array.flags.writeable = False

    output, (h_n, c_n) = lstm(x.swapaxes(0, 1) if batch_first else x, (h_0, c_0) if has_states else None)

    output = output.swapaxes(0, 1) if batch_first else output
    assert output.shape == (L, N, sizes[1] * (1 + bidirectional))
    assert h_n.shape == c_n.shape == h_0.shape
    assert output.dtype == h_n.dtype == c_n.dtype == dtype
    for n in range(N):
        expected = textbook_sequence(lstm, x[:, n], h_0[:, n], c_0[:, n])
        for found, wanted in zip((output[:, n], h_n[:, n], c_n[:, n]), expected, strict=True):
            assert_close(found, wanted.astype(dtype))


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: f"{file[1]}-{file[2]}")
def test_torchs_stored_numbers_come_out(file: tuple[str, str, str]) -> None:
    config, parameters, arrays = make_recurrent_reference.stored(*file)
    lstm = nn.LSTM(arrays["x"].shape[-1], parameters["weight_hh_l0"].shape[1], **config, dtype=file[2])
    assert list(lstm.state_dict()) == list(parameters), "torch's names, in torch's order"
    lstm.load_state_dict(parameters)
    output, (h_n, c_n) = lstm(arrays["x"], (arrays["h_0"], arrays["c_0"]) if "h_0" in arrays else None)
    assert_close(output, arrays["output"])
    assert_close(h_n, arrays["h_n"])
    assert_close(c_n, arrays["c_n"])


def test_the_stored_numbers_are_all_there() -> None:
    assert (len(REFERENCES), len(CELL_REFERENCES)) == (18, 8)


def test_a_sequence_longer_than_one_projection_is_seamless() -> None:
    lstm = widened(nn.LSTM(3, 4, bidirectional=True, dtype=np.float64, rng=0))
    x = np.random.default_rng(1).standard_normal((NUM_ROWS + 40, 1, 3))
    output, (h_n, c_n) = lstm(x)
    expected = textbook_sequence(lstm, x[:, 0], np.zeros((2, 4)), np.zeros((2, 4)))
    for found, wanted in zip((output[:, 0], h_n[:, 0], c_n[:, 0]), expected, strict=True):
        assert_close(found, wanted)


def test_a_sequence_cut_in_two_goes_on_from_the_first_half_s_state() -> None:
    lstm = nn.LSTM(3, 4, num_layers=2, dtype=np.float64, rng=0)
    x = np.random.default_rng(1).standard_normal((9, 2, 3))
    whole, (h_n, c_n) = lstm(x)
    first, state = lstm(x[:4])
    second, (h_end, c_end) = lstm(x[4:], state)
    assert_close(np.concatenate([first, second]), whole)
    assert_close(h_end, h_n)
    assert_close(c_end, c_n)


def test_results_share_no_memory_with_inputs_or_with_each_other() -> None:
    lstm = nn.LSTM(4, 4, rng=0)
    x = np.ones((1, 2, 4), np.float32)
    h_0, c_0 = np.ones((1, 2, 4), np.float32), np.ones((1, 2, 4), np.float32)
    output, (h_n, c_n) = lstm(x, (h_0, c_0))
    arrays = [x, h_0, c_0, output, h_n, c_n, *lstm.parameters()]
    assert not any(np.shares_memory(a, b) for number, a in enumerate(arrays) for b in arrays[:number])
    assert (np.array([h_0, c_0]) == 1).all()


# Bits


@pytest.mark.parametrize("N", [1, 2, 7])
def test_the_layout_of_the_input_changes_no_bit(N: int) -> None:
    lstm = nn.LSTM(33, 40, bidirectional=True, rng=0)
    x = np.random.default_rng(1).standard_normal((6, N, 33)).astype(np.float32)
    state = (np.ones((2, N, 40), np.float32), np.ones((2, N, 40), np.float32))
    expected, _ = lstm(x, state)
    unaligned = np.empty(x.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(x.shape)
    unaligned[:] = x
    for same in (np.asfortranarray(x), x.repeat(2, axis=2)[..., ::2], unaligned, x[::-1].copy()[::-1]):
        output, _ = lstm(same, (np.asfortranarray(state[0]), state[1]))
        np.testing.assert_array_equal(output, expected)


def test_batch_first_changes_no_bit() -> None:
    plain, first = (nn.LSTM(9, 20, 2, batch_first=is_first, rng=0) for is_first in (False, True))
    x = np.random.default_rng(1).standard_normal((6, 3, 9)).astype(np.float32)
    np.testing.assert_array_equal(first(x.swapaxes(0, 1))[0].swapaxes(0, 1), plain(x)[0])


# Construction


def test_the_call_is_typed_as_forward_is() -> None:
    lstm, x = nn.LSTM(1, 1), zeros(1, 1, 1)
    assert_type(lstm(x), tuple[Array, tuple[Array, Array]])
    assert_type(nn.LSTMCell(1, 1)(x[0]), tuple[Array, Array])
    assert_type(nn.Linear(1, 1)(x), Array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_have_torchs_shapes_and_bound(dtype: type[np.floating[Any]]) -> None:
    lstm = nn.LSTM(3, 100, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
    shapes = {name: array.shape for name, array in lstm.named_parameters()}
    for suffix in ("", "_reverse"):
        assert shapes[f"weight_ih_l0{suffix}"] == (400, 3)
        assert shapes[f"weight_ih_l1{suffix}"] == (400, 200)
        for layer in (0, 1):
            assert shapes[f"weight_hh_l{layer}{suffix}"] == (400, 100)
            assert shapes[f"bias_ih_l{layer}{suffix}"] == shapes[f"bias_hh_l{layer}{suffix}"] == (400,)
    assert len(shapes) == 16
    for array in lstm.parameters():
        assert array.dtype == dtype
        assert 0.095 < np.abs(array).max() <= 0.1
        assert array.std() == pytest.approx(0.1 / 3**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({}, "LSTM(3, 4)"),
        ({"num_layers": 2}, "LSTM(3, 4, num_layers=2)"),
        ({"bias": False, "batch_first": True}, "LSTM(3, 4, bias=False, batch_first=True)"),
        ({"bidirectional": True}, "LSTM(3, 4, bidirectional=True)"),
    ],
)
def test_the_text_is_torchs(kwargs: dict[str, Any], text: str) -> None:
    assert repr(nn.LSTM(3, 4, **kwargs)) == text
    assert repr(nn.LSTMCell(3, 4)) == "LSTMCell(3, 4)"
    assert repr(nn.LSTMCell(3, 4, bias=False)) == "LSTMCell(3, 4, bias=False)"


@pytest.mark.parametrize(
    ("kind", "args", "error", "message"),
    [
        (nn.LSTM, (0, 4), ValueError, "input_size must be at least 1, got 0"),
        (nn.LSTM, (3, -1), ValueError, "hidden_size must be at least 1, got -1"),
        (nn.LSTM, (3, 4, 0), ValueError, "num_layers must be at least 1, got 0"),
        (nn.LSTM, (3, 4.0), TypeError, r"hidden_size should be an int, got 4\.0"),
        (nn.LSTM, (3, 4, True), TypeError, "num_layers should be an int, got True"),
        # torch's sixth argument is a dropout probability.
        (nn.LSTM, (3, 4, 1, True, False, 0.5), TypeError, r"bidirectional should be a bool, got 0\.5"),
        (nn.LSTMCell, (0, 4), ValueError, "input_size must be at least 1, got 0"),
        (nn.LSTMCell, (3, 4.0), TypeError, r"hidden_size should be an int, got 4\.0"),
        (nn.LSTMCell, (3, 4, 1), TypeError, "bias should be a bool, got 1"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    kind: Any, args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(*args)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_another_dtype_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="dtype should be float32 or float64, got float16"):
        kind(3, 4, dtype=np.float16)


# Inputs that do not fit


@pytest.mark.parametrize(
    ("x", "hx", "error", "message"),
    [
        (zeros(3), None, ValueError, r"Expected input to be 2D or 3D, got 1D instead \(shape \(3,\)\)"),
        (zeros(1, 1, 1, 3), None, ValueError, "Expected input to be 2D or 3D, got 4D instead"),
        (
            zeros(2, 2, 3, dtype="float64"),
            None,
            ValueError,
            r"input dtype \(float64\) does not match weight dtype \(float32\).*x\.astype\(np\.float32\)",
        ),
        (zeros(2, 2, 5), None, RuntimeError, r"equal to input_size. Expected 3, got 5 \(shape \(2, 2, 5\)\)"),
        (zeros(0, 2, 3), None, RuntimeError, "Expected sequence length to be larger than 0"),
        (zeros(0, 3), None, RuntimeError, "Expected sequence length to be larger than 0"),
        (
            zeros(2, 2, 3),
            (zeros(1, 1, 4), zeros(1, 2, 4)),
            RuntimeError,
            r"Expected h_0 of shape \(1, 2, 4\), got \(1, 1, 4\)",
        ),
        (
            zeros(2, 2, 3),
            (zeros(1, 2, 4), zeros(2, 4)),
            RuntimeError,
            r"Expected c_0 of shape \(1, 2, 4\), got \(2, 4\)",
        ),
        (
            zeros(2, 3),
            (zeros(1, 1, 4), zeros(1, 4)),
            RuntimeError,
            r"Expected h_0 of shape \(1, 4\), got \(1, 1, 4\)",
        ),
        (
            zeros(2, 2, 3),
            (zeros(1, 2, 4), zeros(1, 2, 4, dtype="float64")),
            ValueError,
            r"c_0 dtype \(float64\) does not match weight dtype \(float32\).*c_0\.astype\(np\.float32\)",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_named(x: Array, hx: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^LSTM: .*{message}"):
        nn.LSTM(3, 4)(x, hx)


def test_an_empty_sequence_behind_an_empty_or_full_batch_is_refused() -> None:
    lstm = nn.LSTM(3, 4, batch_first=True)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        lstm(zeros(2, 0, 3))
    assert lstm(zeros(0, 2, 3))[0].shape == (0, 2, 4)


@pytest.mark.parametrize("hx", [(zeros(1, 2, 4),), zeros(1, 2, 4)], ids=["tuple", "array"])
def test_states_that_are_no_pair_are_named(hx: Any) -> None:
    with pytest.raises(ValueError, match=r"^LSTM: .*h_0 and c_0, got 1 "):
        nn.LSTM(3, 4)(zeros(2, 2, 3), hx)


# LSTMCell


@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    N=st.one_of(st.none(), st.integers(0, 4)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    has_states=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_cell_makes_the_textbooks_step(
    sizes: tuple[int, int], N: int | None, bias: bool, dtype: str, has_states: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cell = widened(nn.LSTMCell(*sizes, bias, dtype=dtype, rng=rng))
    batch = () if N is None else (N,)
    x, h, c = (rng.standard_normal((size, *batch)).astype(dtype).T for size in (*sizes, sizes[1]))
    h, c = h * has_states, c * has_states
    for array in (x, h, c):
        array.flags.writeable = False
    found = cell(x, (h, c) if has_states else None)
    weights = textbook.widened_to_float64(cell.state_dict())
    assert [(array.shape, array.dtype) for array in found] == [((*batch, sizes[1]), dtype)] * 2
    for index in np.ndindex(*batch):
        states = (h[index].astype(float), c[index].astype(float))
        for array, expected in zip(found, textbook.lstm_step(weights, x[index].astype(float), states), strict=True):
            assert_close(array[index], expected.astype(dtype))


@pytest.mark.parametrize("file", CELL_REFERENCES, ids=lambda file: f"{file[1]}-{file[2]}")
def test_torchs_stored_numbers_come_out_of_the_cell(file: tuple[str, str, str]) -> None:
    config, parameters, arrays = make_recurrent_reference.stored(*file)
    cell = nn.LSTMCell(arrays["x"].shape[-1], parameters["weight_hh"].shape[1], **config, dtype=file[2])
    assert list(cell.state_dict()) == list(parameters), "torch's names, in torch's order"
    cell.load_state_dict(parameters)
    h, c = cell(arrays["x"], (arrays["h_0"], arrays["c_0"]) if "h_0" in arrays else None)
    assert_close(h, arrays["h_n"])
    assert_close(c, arrays["c_n"])


def test_cells_one_after_the_other_make_the_layers_sequence() -> None:
    lstm, cell = nn.LSTM(3, 4, dtype=np.float64, rng=0), nn.LSTMCell(3, 4, dtype=np.float64)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in lstm.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((5, 2, 3))
    output, (_, c_n) = lstm(x)
    state = None
    for x_t, expected in zip(x, output, strict=True):
        state = cell(x_t, state)
        assert_close(state[0], expected)
    assert state is not None
    assert_close(state[1], c_n[0])


def test_a_cells_states_are_neither_kept_nor_changed() -> None:
    cell, x = nn.LSTMCell(3, 4, rng=0), np.ones((2, 3), np.float32)
    h, c = np.ones((2, 4), np.float32), np.ones((2, 4), np.float32)
    first = cell(x, (h, c))
    assert (np.array([h, c]) == 1).all()
    arrays = [x, h, c, *first]
    assert not any(np.shares_memory(a, b) for number, a in enumerate(arrays) for b in arrays[:number])
    np.testing.assert_array_equal(cell(x, (h, c)), first)


@pytest.mark.parametrize(
    ("x", "hx", "error", "message"),
    [
        (zeros(1, 2, 3), None, ValueError, r"Expected input to be 1D or 2D, got 3D instead \(shape \(1, 2, 3\)\)"),
        (zeros(2, 5), None, RuntimeError, r"Expected 3, got 5 \(shape \(2, 5\)\)"),
        (zeros(2, 3, dtype="float64"), None, ValueError, r"input dtype \(float64\) .* weight dtype \(float32\)"),
        (zeros(2, 3), (zeros(4), zeros(2, 4)), RuntimeError, r"Expected h_0 of shape \(2, 4\), got \(4,\)"),
        (zeros(3), (zeros(4), zeros(1, 4)), RuntimeError, r"Expected c_0 of shape \(4,\), got \(1, 4\)"),
        (zeros(3), (zeros(4), zeros(4, dtype="float64")), ValueError, r"c_0 dtype \(float64\) .* dtype \(float32\)"),
    ],
)
def test_an_input_that_does_not_fit_the_cell_is_named(x: Array, hx: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^LSTMCell: .*{message}"):
        nn.LSTMCell(3, 4)(x, hx)


# The tutorial's use


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
