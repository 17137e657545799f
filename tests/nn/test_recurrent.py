"""`LSTM` and `GRU`, each test for both: against a textbook loop, against torch's stored numbers, what they refuse."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn
from asyncjit.nn.sequence import NUM_ROWS
from tests.nn.states import NUM_GATES, NUM_STATES, as_given, as_list, share_memory, stored_states, widened, zeros
from tests.reference import make_recurrent_reference, textbook
from tests.reference.textbook import assert_close

Array = NDArray[Any]

KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}
REFERENCES = [file for file in make_recurrent_reference.files() if file[0] in KINDS]

of_both = pytest.mark.parametrize("kind", KINDS.values())
of_all = pytest.mark.parametrize("kind", NUM_STATES)


@of_both
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
    kind: Any,
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
    layer = widened(kind(*sizes, num_layers, bias, batch_first, bidirectional, dtype=dtype, rng=rng))
    # Neither contiguous nor writable: inputs are as they come.
    x = rng.standard_normal((sizes[0], N, 2 * L)).astype(dtype).T[::-2]
    shape = (NUM_STATES[kind], sizes[1], N, num_layers * (1 + bidirectional))
    states = [state.T * has_states for state in rng.standard_normal(shape).astype(dtype)]
    for array in (x, *states):
        array.flags.writeable = False

    output, last = layer(x.swapaxes(0, 1) if batch_first else x, as_given(kind, states) if has_states else None)

    output = output.swapaxes(0, 1) if batch_first else output
    assert output.shape == (L, N, sizes[1] * (1 + bidirectional))
    assert [array.shape for array in as_list(last)] == [state.shape for state in states]
    assert {array.dtype for array in (output, *as_list(last))} == {np.dtype(dtype)}
    options: dict[str, Any] = {"num_layers": num_layers, "bidirectional": bidirectional}
    step, parameters = textbook.STEPS[kind.__name__], layer.state_dict()
    for n in range(N):
        expected = textbook.sequence(step, parameters, x[:, n], [state[:, n] for state in states], **options)
        for found, wanted in zip((output, *as_list(last)), expected, strict=True):
            assert_close(found[:, n], wanted.astype(dtype))


@pytest.mark.parametrize("file", REFERENCES, ids="-".join)
def test_torchs_stored_numbers_come_out(file: tuple[str, str, str]) -> None:
    config, parameters, arrays = make_recurrent_reference.stored(*file)
    kind = KINDS[file[0]]
    layer = kind(arrays["x"].shape[-1], parameters["weight_hh_l0"].shape[1], **config, dtype=file[2])
    assert list(layer.state_dict()) == list(parameters), "torch's names, in torch's order"
    layer.load_state_dict(parameters)
    output, last = layer(arrays["x"], as_given(kind, stored_states(arrays, "0")) if "h_0" in arrays else None)
    assert_close(output, arrays["output"])
    for found, expected in zip(as_list(last), stored_states(arrays, "n"), strict=True):
        assert_close(found, expected)


def test_the_stored_numbers_are_all_there() -> None:
    found = [file[0] for file in REFERENCES]
    assert {name: found.count(name) for name in KINDS} == {"lstm": 18, "gru": 18}


@of_both
def test_a_sequence_longer_than_one_projection_is_seamless(kind: Any) -> None:
    layer = widened(kind(3, 4, bidirectional=True, dtype=np.float64, rng=0))
    x = np.random.default_rng(1).standard_normal((NUM_ROWS + 40, 1, 3))
    output, last = layer(x)
    states = [np.zeros((2, 4))] * NUM_STATES[kind]
    expected = textbook.sequence(textbook.STEPS[kind.__name__], layer.state_dict(), x[:, 0], states, bidirectional=True)
    for found, wanted in zip((output, *as_list(last)), expected, strict=True):
        assert_close(found[:, 0], wanted)


@of_both
def test_a_sequence_cut_in_two_goes_on_from_the_first_half_s_state(kind: Any) -> None:
    layer = kind(3, 4, num_layers=2, dtype=np.float64, rng=0)
    x = np.random.default_rng(1).standard_normal((9, 2, 3))
    whole, last = layer(x)
    first, state = layer(x[:4])
    second, end = layer(x[4:], state)
    assert_close(np.concatenate([first, second]), whole)
    for found, expected in zip(as_list(end), as_list(last), strict=True):
        assert_close(found, expected)


@of_both
def test_results_share_no_memory_with_inputs_or_with_each_other(kind: Any) -> None:
    layer, x = kind(4, 4, rng=0), np.ones((1, 2, 4), np.float32)
    states = [np.ones((1, 2, 4), np.float32) for _ in range(NUM_STATES[kind])]
    output, last = layer(x, as_given(kind, states))
    assert not share_memory([x, *states, output, *as_list(last), *layer.parameters()])
    assert (np.array(states) == 1).all()


@pytest.mark.parametrize("N", [1, 2, 7])
@of_both
def test_the_layout_of_the_input_changes_no_bit(kind: Any, N: int) -> None:
    layer = kind(33, 40, bidirectional=True, rng=0)
    x = np.random.default_rng(1).standard_normal((6, N, 33)).astype(np.float32)
    states = [np.ones((2, N, 40), np.float32) for _ in range(NUM_STATES[kind])]
    expected, _ = layer(x, as_given(kind, states))
    unaligned = np.empty(x.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(x.shape)
    unaligned[:] = x
    for same in (np.asfortranarray(x), x.repeat(2, axis=2)[..., ::2], unaligned, x[::-1].copy()[::-1]):
        output, _ = layer(same, as_given(kind, [np.asfortranarray(states[0]), *states[1:]]))
        np.testing.assert_array_equal(output, expected)


@of_both
def test_batch_first_changes_no_bit(kind: Any) -> None:
    plain, first = (kind(9, 20, 2, batch_first=is_first, rng=0) for is_first in (False, True))
    x = np.random.default_rng(1).standard_normal((6, 3, 9)).astype(np.float32)
    np.testing.assert_array_equal(first(x.swapaxes(0, 1))[0].swapaxes(0, 1), plain(x)[0])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (zeros(3), ValueError, r"Expected input to be 2D or 3D, got 1D instead \(shape \(3,\)\)"),
        (zeros(1, 1, 1, 3), ValueError, "Expected input to be 2D or 3D, got 4D instead"),
        (
            zeros(2, 2, 3, dtype="float64"),
            ValueError,
            r"input dtype \(float64\) does not match weight dtype \(float32\).*x\.astype\(np\.float32\)",
        ),
        (zeros(2, 2, 5), RuntimeError, r"equal to input_size. Expected 3, got 5 \(shape \(2, 2, 5\)\)"),
        (zeros(0, 2, 3), RuntimeError, r"Expected sequence length to be larger than 0, got shape \(0, 2, 3\)"),
        (zeros(0, 3), RuntimeError, "Expected sequence length to be larger than 0"),
    ],
)
@of_both
def test_an_input_that_does_not_fit_is_named(kind: Any, x: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{kind.__name__}: .*{message}"):
        kind(3, 4)(x)


@pytest.mark.parametrize(
    ("x", "h_0", "error", "message"),
    [
        (zeros(2, 2, 3), zeros(1, 1, 4), RuntimeError, r"Expected h_0 of shape \(1, 2, 4\), got \(1, 1, 4\)"),
        (zeros(2, 3), zeros(1, 1, 4), RuntimeError, r"Expected h_0 of shape \(1, 4\), got \(1, 1, 4\)"),
        (
            zeros(2, 2, 3),
            zeros(1, 2, 4, dtype="float64"),
            ValueError,
            r"h_0 dtype \(float64\) does not match weight dtype \(float32\).*h_0\.astype\(np\.float32\)",
        ),
    ],
)
@of_both
def test_a_hidden_state_that_does_not_fit_is_named(
    kind: Any, x: Array, h_0: Array, error: type[Exception], message: str
) -> None:
    hx = as_given(kind, [h_0, zeros(1, *x.shape[1:-1], 4)])
    with pytest.raises(error, match=f"^{kind.__name__}: .*{message}"):
        kind(3, 4)(x, hx)


@of_both
def test_an_empty_sequence_behind_an_empty_or_full_batch_is_refused(kind: Any) -> None:
    layer = kind(3, 4, batch_first=True)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        layer(zeros(2, 0, 3))
    assert layer(zeros(0, 2, 3))[0].shape == (0, 2, 4)


# Construction


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "cell_kind"), [(nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)])
def test_parameters_have_torchs_shapes_and_bound(kind: Any, cell_kind: Any, dtype: type[np.floating[Any]]) -> None:
    layer = kind(3, 100, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
    shapes = {name: array.shape for name, array in layer.named_parameters()}
    rows = 100 * NUM_GATES[kind]
    for suffix in ("", "_reverse"):
        assert shapes[f"weight_ih_l0{suffix}"] == (rows, 3)
        assert shapes[f"weight_ih_l1{suffix}"] == (rows, 200)
        for number in (0, 1):
            assert shapes[f"weight_hh_l{number}{suffix}"] == (rows, 100)
            assert shapes[f"bias_ih_l{number}{suffix}"] == shapes[f"bias_hh_l{number}{suffix}"] == (rows,)
    assert len(shapes) == 16
    cell = cell_kind(3, 100, dtype=dtype, rng=0)
    assert [array.shape for array in cell.parameters()] == [(rows, 3), (rows, 100), (rows,), (rows,)]
    for array in (*layer.parameters(), *cell.parameters()):
        assert array.dtype == dtype
        assert 0.095 < np.abs(array).max() <= 0.1
        assert array.std() == pytest.approx(0.1 / 3**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({}, "(3, 4)"),
        ({"num_layers": 2}, "(3, 4, num_layers=2)"),
        ({"bias": False, "batch_first": True}, "(3, 4, bias=False, batch_first=True)"),
        ({"bidirectional": True}, "(3, 4, bidirectional=True)"),
    ],
)
@of_both
def test_the_text_is_torchs(kind: Any, kwargs: dict[str, Any], text: str) -> None:
    assert repr(kind(3, 4, **kwargs)) == kind.__name__ + text


@of_both
def test_arguments_stand_in_torchs_order(kind: Any) -> None:
    text = f"{kind.__name__}(3, 4, num_layers=2, bias=False, batch_first=True, bidirectional=True)"
    assert repr(kind(3, 4, 2, False, True, True)) == text


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((0, 4), ValueError, "input_size must be at least 1, got 0"),
        ((3, -1), ValueError, "hidden_size must be at least 1, got -1"),
        ((3.0, 4), TypeError, r"input_size should be an int, got 3\.0"),
        ((3, 4.0), TypeError, r"hidden_size should be an int, got 4\.0"),
    ],
)
@of_all
def test_sizes_that_make_no_layer_are_named(
    kind: Any, args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(*args)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((3, 4, 0), ValueError, "num_layers must be at least 1, got 0"),
        ((3, 4, True), TypeError, "num_layers should be an int, got True"),
        # torch's sixth argument is a dropout probability.
        ((3, 4, 1, True, False, 0.5), TypeError, r"bidirectional should be a bool, got 0\.5"),
    ],
)
@of_both
def test_arguments_that_make_no_layer_are_named(
    kind: Any, args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(*args)


@of_all
def test_another_dtype_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="dtype should be float32 or float64, got float16"):
        kind(3, 4, dtype=np.float16)
