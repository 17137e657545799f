"""`LSTM`: against a textbook loop, against torch's stored numbers, and against itself in threads."""

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn

REFERENCES = sorted((Path(__file__).parents[1] / "reference" / "lstm").glob("*.npz"))
RTOL = {"float32": 1e-5, "float64": 1e-12}
ATOL = {"float32": 1e-6, "float64": 1e-14}

Array = NDArray[Any]


def assert_close(found: Array, expected: Array) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    dtype = found.dtype.name
    np.testing.assert_allclose(found, expected, RTOL[dtype], ATOL[dtype])


# A textbook loop: one sequence at a time, one gate at a time, in float64 and nothing shared with the package.


def textbook_step(weights: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    H = len(h)

    def gate(number: int) -> Array:
        rows = slice(number * H, (number + 1) * H)
        total: Array = weights["weight_ih"][rows].dot(x) + weights["weight_hh"][rows].dot(h)
        if "bias_ih" in weights:
            total = total + weights["bias_ih"][rows] + weights["bias_hh"][rows]
        return total

    def sigmoid(a: Array) -> Array:
        return np.array([1 / (1 + math.exp(-value)) for value in a])

    i, f, g, o = sigmoid(gate(0)), sigmoid(gate(1)), np.tanh(gate(2)), sigmoid(gate(3))
    c = f * c + i * g
    return o * np.tanh(c), c


def textbook_sequence(lstm: nn.LSTM, x: Array, h_0: Array, c_0: Array) -> tuple[Array, Array, Array]:
    state = {name: array.astype(np.float64) for name, array in lstm.state_dict().items()}
    h_n, c_n = h_0.astype(np.float64), c_0.astype(np.float64)
    row = 0
    x = x.astype(np.float64)
    for layer in range(lstm.num_layers):
        outputs = []
        for suffix in [f"_l{layer}", f"_l{layer}_reverse"][: 1 + lstm.bidirectional]:
            weights = {name.removesuffix(suffix): array for name, array in state.items() if name.endswith(suffix)}
            h, c, steps = h_n[row], c_n[row], []
            for x_t in reversed(x) if suffix.endswith("reverse") else x:
                h, c = textbook_step(weights, x_t, h, c)
                steps.append(h)
            h_n[row], c_n[row] = h, c
            outputs.append(np.array(steps[::-1] if suffix.endswith("reverse") else steps))
            row += 1
        x = np.concatenate(outputs, axis=1)
    return x, h_n, c_n


def widened(lstm: nn.LSTM) -> nn.LSTM:
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


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_torchs_stored_numbers_come_out(path: Path) -> None:
    with np.load(path) as file:
        stored = dict(file)
    config, x = json.loads(str(stored["config"])), stored["x"]
    lstm = nn.LSTM(x.shape[-1], stored["parameter.weight_hh_l0"].shape[1], **config, dtype=x.dtype)
    parameters = {
        name.removeprefix("parameter."): array for name, array in stored.items() if name.startswith("parameter.")
    }
    assert list(lstm.state_dict()) == list(parameters), "torch's names, in torch's order"
    lstm.load_state_dict(parameters)
    output, (h_n, c_n) = lstm(x, (stored["h_0"], stored["c_0"]) if "h_0" in stored else None)
    assert_close(output, stored["output"])
    assert_close(h_n, stored["h_n"])
    assert_close(c_n, stored["c_n"])


def test_the_stored_numbers_are_all_there() -> None:
    assert len(REFERENCES) == 18


def test_a_sequence_longer_than_one_projection_is_seamless() -> None:
    lstm = widened(nn.LSTM(3, 4, bidirectional=True, dtype=np.float64, rng=0))
    x = np.random.default_rng(1).standard_normal((2500, 1, 3))
    output, (h_n, c_n) = lstm(x)
    zeros = np.zeros((2, 4))
    expected = textbook_sequence(lstm, x[:, 0], zeros, zeros)
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


def test_huge_inputs_saturate_without_a_warning() -> None:
    lstm = nn.LSTM(2, 3, rng=0)
    with np.errstate(all="raise", under="ignore"):
        output, _ = lstm(np.full((3, 1, 2), 1e30, np.float32))
    assert np.isfinite(output).all()


def test_results_share_no_memory_with_inputs_or_with_each_other() -> None:
    lstm = nn.LSTM(4, 4, rng=0)
    x = np.ones((1, 2, 4), np.float32)
    h_0, c_0 = np.ones((1, 2, 4), np.float32), np.ones((1, 2, 4), np.float32)
    output, (h_n, c_n) = lstm(x, (h_0, c_0))
    arrays = [x, h_0, c_0, output, h_n, c_n, *lstm.parameters()]
    pairs = [(a, b) for a in range(len(arrays)) for b in range(a)]
    assert not any(np.shares_memory(arrays[a], arrays[b]) for a, b in pairs)
    assert (h_0 == 1).all()
    assert (c_0 == 1).all()


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
    plain, first = nn.LSTM(9, 20, 2, rng=0), nn.LSTM(9, 20, 2, batch_first=True, rng=0)
    x = np.random.default_rng(1).standard_normal((6, 3, 9)).astype(np.float32)
    np.testing.assert_array_equal(first(x.swapaxes(0, 1))[0].swapaxes(0, 1), plain(x)[0])


def test_ten_threads_on_one_module_get_the_bits_of_one() -> None:
    lstm = nn.LSTM(40, 50, num_layers=2, bidirectional=True, rng=0)
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal((20, 6, 40)).astype(np.float32) for _ in range(10)]
    expected = [lstm(x) for x in inputs]
    barrier = threading.Barrier(10)

    def run(x: Array) -> list[tuple[Array, tuple[Array, Array]]]:
        barrier.wait()
        return [lstm(x) for _ in range(5)]

    with ThreadPoolExecutor(10) as pool:
        for (output, (h_n, c_n)), runs in zip(expected, pool.map(run, inputs), strict=True):
            for found, (h_found, c_found) in runs:
                np.testing.assert_array_equal(found, output)
                np.testing.assert_array_equal(h_found, h_n)
                np.testing.assert_array_equal(c_found, c_n)


# Construction


def test_the_call_is_typed_as_forward_is() -> None:
    lstm, x = nn.LSTM(1, 1), zeros(1, 1, 1)
    assert_type(lstm(x), tuple[Array, tuple[Array, Array]])
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


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((0, 4), ValueError, "input_size must be at least 1, got 0"),
        ((3, -1), ValueError, "hidden_size must be at least 1, got -1"),
        ((3, 4, 0), ValueError, "num_layers must be at least 1, got 0"),
        ((3, 4.0), TypeError, r"hidden_size should be an int, got 4\.0"),
        ((3, 4, True), TypeError, "num_layers should be an int, got True"),
        # torch's sixth argument is a dropout probability.
        ((3, 4, 1, True, False, 0.5), TypeError, r"bidirectional should be a bool, got 0\.5"),
    ],
)
def test_arguments_that_make_no_layer_are_named(args: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nn.LSTM(*args)


def test_another_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="dtype should be float32 or float64, got float16"):
        nn.LSTM(3, 4, dtype=np.float16)


# Inputs that do not fit


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


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
