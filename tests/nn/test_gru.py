"""`GRU` and `GRUCell`: against a textbook loop, against torch's stored numbers, and what they refuse."""

from typing import Any, assert_type

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn
from tests.reference import make_recurrent_reference, textbook
from tests.reference.textbook import assert_close

Array = NDArray[Any]

REFERENCES = [file for file in make_recurrent_reference.files() if file[0] == "gru"]
CELL_REFERENCES = [file for file in make_recurrent_reference.files() if file[0] == "gru_cell"]


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


def widened(gru: Any) -> Any:
    """Make the parameters twice as wide, so that gates reach where they saturate."""
    gru.load_state_dict({name: 2 * array for name, array in gru.state_dict().items()})
    return gru


# GRU


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
    gru = widened(nn.GRU(*sizes, num_layers, bias, batch_first, bidirectional, dtype=dtype, rng=rng))
    # Neither contiguous nor writable: inputs are as they come.
    x = rng.standard_normal((sizes[0], N, 2 * L)).astype(dtype).T[::-2]
    h_0 = rng.standard_normal((sizes[1], N, num_layers * (1 + bidirectional))).astype(dtype).T * has_states
    for array in (x, h_0):
        array.flags.writeable = False

    output, h_n = gru(x.swapaxes(0, 1) if batch_first else x, h_0 if has_states else None)

    output = output.swapaxes(0, 1) if batch_first else output
    assert (output.shape, h_n.shape) == ((L, N, sizes[1] * (1 + bidirectional)), h_0.shape)
    assert output.dtype == h_n.dtype == dtype
    options: dict[str, Any] = {"num_layers": num_layers, "bidirectional": bidirectional}
    for n in range(N):
        wanted = textbook.sequence(textbook.gru_step, gru.state_dict(), x[:, n], [h_0[:, n]], **options)
        for found, expected in zip((output[:, n], h_n[:, n]), wanted, strict=True):
            assert_close(found, expected.astype(dtype))


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: f"{file[1]}-{file[2]}")
def test_torchs_stored_numbers_come_out(file: tuple[str, str, str]) -> None:
    config, parameters, arrays = make_recurrent_reference.stored(*file)
    gru = nn.GRU(arrays["x"].shape[-1], parameters["weight_hh_l0"].shape[1], **config, dtype=file[2])
    assert list(gru.state_dict()) == list(parameters), "torch's names, in torch's order"
    gru.load_state_dict(parameters)
    output, h_n = gru(arrays["x"], arrays.get("h_0"))
    assert_close(output, arrays["output"])
    assert_close(h_n, arrays["h_n"])


def test_the_stored_numbers_are_all_there() -> None:
    assert (len(REFERENCES), len(CELL_REFERENCES)) == (18, 8)


def test_a_sequence_cut_in_two_goes_on_from_the_first_half_s_state() -> None:
    gru = nn.GRU(3, 4, num_layers=2, dtype=np.float64, rng=0)
    x = np.random.default_rng(1).standard_normal((9, 2, 3))
    whole, h_n = gru(x)
    first, state = gru(x[:4])
    second, h_end = gru(x[4:], state)
    assert_close(np.concatenate([first, second]), whole)
    assert_close(h_end, h_n)


@pytest.mark.parametrize("N", [1, 2, 7])
def test_the_layout_of_the_input_changes_no_bit(N: int) -> None:
    gru = nn.GRU(33, 40, bidirectional=True, rng=0)
    x = np.random.default_rng(1).standard_normal((6, N, 33)).astype(np.float32)
    h_0 = np.ones((2, N, 40), np.float32)
    expected, _ = gru(x, h_0)
    for same in (np.asfortranarray(x), x.repeat(2, axis=2)[..., ::2], x[::-1].copy()[::-1]):
        np.testing.assert_array_equal(gru(same, np.asfortranarray(h_0))[0], expected)


def test_results_share_no_memory_with_inputs_or_with_each_other() -> None:
    gru, x, h_0 = nn.GRU(4, 4, rng=0), np.ones((1, 2, 4), np.float32), np.ones((1, 2, 4), np.float32)
    output, h_n = gru(x, h_0)
    arrays = [x, h_0, output, h_n, *gru.parameters()]
    assert not any(np.shares_memory(a, b) for number, a in enumerate(arrays) for b in arrays[:number])
    assert (h_0 == 1).all()


@pytest.mark.parametrize(
    ("x", "hx", "error", "message"),
    [
        (zeros(3), None, ValueError, r"Expected input to be 2D or 3D, got 1D instead \(shape \(3,\)\)"),
        (
            zeros(2, 2, 3, dtype="float64"),
            None,
            ValueError,
            r"input dtype \(float64\) does not match weight dtype \(float32\).*x\.astype\(np\.float32\)",
        ),
        (zeros(2, 2, 5), None, RuntimeError, r"equal to input_size. Expected 3, got 5 \(shape \(2, 2, 5\)\)"),
        (zeros(0, 2, 3), None, RuntimeError, r"Expected sequence length to be larger than 0, got shape \(0, 2, 3\)"),
        (zeros(2, 2, 3), zeros(1, 1, 4), RuntimeError, r"Expected h_0 of shape \(1, 2, 4\), got \(1, 1, 4\)"),
        (zeros(2, 3), zeros(1, 1, 4), RuntimeError, r"Expected h_0 of shape \(1, 4\), got \(1, 1, 4\)"),
        # As an LSTM's state would be handed over.
        (zeros(2, 2, 3), (zeros(1, 2, 4),), RuntimeError, r"of shape \(1, 2, 4\), got \(1, 1, 2, 4\)"),
        (
            zeros(2, 2, 3),
            zeros(1, 2, 4, dtype="float64"),
            ValueError,
            r"h_0 dtype \(float64\) does not match weight dtype \(float32\).*h_0\.astype\(np\.float32\)",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_named(x: Array, hx: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^GRU: .*{message}"):
        nn.GRU(3, 4)(x, hx)


# GRUCell


@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    N=st.one_of(st.none(), st.integers(0, 4)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    has_state=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_cell_makes_the_textbooks_step(
    sizes: tuple[int, int], N: int | None, bias: bool, dtype: str, has_state: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cell = widened(nn.GRUCell(*sizes, bias, dtype=dtype, rng=rng))
    batch = () if N is None else (N,)
    x, h = (rng.standard_normal((size, *batch)).astype(dtype).T for size in sizes)
    h = h * has_state
    for array in (x, h):
        array.flags.writeable = False
    found = cell(x, h if has_state else None)
    assert (found.shape, found.dtype) == ((*batch, sizes[1]), dtype)
    weights = textbook.widened_to_float64(cell.state_dict())
    for index in np.ndindex(*batch):
        (expected,) = textbook.gru_step(weights, x[index].astype(float), (h[index].astype(float),))
        assert_close(found[index], expected.astype(dtype))


@pytest.mark.parametrize("file", CELL_REFERENCES, ids=lambda file: f"{file[1]}-{file[2]}")
def test_torchs_stored_numbers_come_out_of_the_cell(file: tuple[str, str, str]) -> None:
    config, parameters, arrays = make_recurrent_reference.stored(*file)
    cell = nn.GRUCell(arrays["x"].shape[-1], parameters["weight_hh"].shape[1], **config, dtype=file[2])
    assert list(cell.state_dict()) == list(parameters), "torch's names, in torch's order"
    cell.load_state_dict(parameters)
    assert_close(cell(arrays["x"], arrays.get("h_0")), arrays["h_n"])


def test_cells_one_after_the_other_make_the_layers_sequence() -> None:
    gru, cell = nn.GRU(3, 4, dtype=np.float64, rng=0), nn.GRUCell(3, 4, dtype=np.float64)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in gru.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((5, 2, 3))
    output, _ = gru(x)
    h = None
    for x_t, expected in zip(x, output, strict=True):
        h = cell(x_t, h)
        assert_close(h, expected)


def test_a_cells_state_is_neither_kept_nor_changed() -> None:
    cell, x, h = nn.GRUCell(3, 4, rng=0), np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    first = cell(x, h)
    assert (h == 1).all()
    assert not np.shares_memory(first, h)
    np.testing.assert_array_equal(cell(x, h), first)


@pytest.mark.parametrize(
    ("x", "hx", "error", "message"),
    [
        (zeros(1, 2, 3), None, ValueError, r"Expected input to be 1D or 2D, got 3D instead \(shape \(1, 2, 3\)\)"),
        (zeros(2, 5), None, RuntimeError, r"Expected 3, got 5 \(shape \(2, 5\)\)"),
        (zeros(2, 3, dtype="float64"), None, ValueError, r"input dtype \(float64\) .* weight dtype \(float32\)"),
        (zeros(2, 3), zeros(4), RuntimeError, r"Expected h_0 of shape \(2, 4\), got \(4,\)"),
        (zeros(3), zeros(2, 4), RuntimeError, r"Expected h_0 of shape \(4,\), got \(2, 4\)"),
        (zeros(3), zeros(4, dtype="float64"), ValueError, r"h_0 dtype \(float64\) .* weight dtype \(float32\)"),
    ],
)
def test_an_input_that_does_not_fit_the_cell_is_named(x: Array, hx: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^GRUCell: .*{message}"):
        nn.GRUCell(3, 4)(x, hx)


# Construction


def test_calls_are_typed_as_forward_is() -> None:
    assert_type(nn.GRU(1, 1)(zeros(1, 1, 1)), tuple[Array, Array])
    assert_type(nn.GRUCell(1, 1)(zeros(1, 1)), Array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_have_torchs_shapes_and_bound(dtype: type[np.floating[Any]]) -> None:
    gru = nn.GRU(3, 100, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
    shapes = {name: array.shape for name, array in gru.named_parameters()}
    for suffix in ("", "_reverse"):
        assert shapes[f"weight_ih_l0{suffix}"] == (300, 3)
        assert shapes[f"weight_ih_l1{suffix}"] == (300, 200)
        for layer in (0, 1):
            assert shapes[f"weight_hh_l{layer}{suffix}"] == (300, 100)
            assert shapes[f"bias_ih_l{layer}{suffix}"] == shapes[f"bias_hh_l{layer}{suffix}"] == (300,)
    assert len(shapes) == 16
    cell = nn.GRUCell(3, 100, dtype=dtype, rng=0)
    assert [array.shape for array in cell.parameters()] == [(300, 3), (300, 100), (300,), (300,)]
    for array in (*gru.parameters(), *cell.parameters()):
        assert array.dtype == dtype
        assert 0.095 < np.abs(array).max() <= 0.1


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.GRU(3, 4), "GRU(3, 4)"),
        (
            nn.GRU(3, 4, 2, False, True, True),
            "GRU(3, 4, num_layers=2, bias=False, batch_first=True, bidirectional=True)",
        ),
        (nn.GRUCell(3, 4), "GRUCell(3, 4)"),
        (nn.GRUCell(3, 4, bias=False), "GRUCell(3, 4, bias=False)"),
    ],
)
def test_the_text_is_torchs(layer: nn.Module, text: str) -> None:
    assert repr(layer) == text


@pytest.mark.parametrize(
    ("kind", "args", "error", "message"),
    [
        (nn.GRU, (0, 4), ValueError, "input_size must be at least 1, got 0"),
        (nn.GRU, (3, 4, 0), ValueError, "num_layers must be at least 1, got 0"),
        # torch's sixth argument is a dropout probability.
        (nn.GRU, (3, 4, 1, True, False, 0.5), TypeError, r"bidirectional should be a bool, got 0\.5"),
        (nn.GRUCell, (3, -1), ValueError, "hidden_size must be at least 1, got -1"),
        (nn.GRUCell, (3.0, 4), TypeError, r"input_size should be an int, got 3\.0"),
        (nn.GRUCell, (3, 4, 1), TypeError, "bias should be a bool, got 1"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    kind: Any, args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(*args)


@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_another_dtype_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="dtype should be float32 or float64, got float16"):
        kind(3, 4, dtype=np.float16)
