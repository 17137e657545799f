"""`Conv1d` and `functional.conv1d`."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit.nn.convolution import Conv1d, conv1d
from tests.nn.stored import assert_as_stored
from tests.nn.test_padding import NUMPY_MODES
from tests.reference.make_layers_reference import cases

RTOL = {"float32": 1e-5, "float64": 1e-12}
ATOL = {"float32": 1e-5, "float64": 1e-13}

Array = NDArray[Any]


@pytest.mark.parametrize(("config", "stored"), cases("convolution"))
def test_outputs_are_torchs(config: dict[str, Any], stored: dict[str, Array]) -> None:
    assert_as_stored(Conv1d, config, stored, RTOL, ATOL)


def textbook(x: Array, weight: Array, bias: Array | None, stride: int, dilation: int, groups: int) -> Array:
    """Return the convolution of one padded sample, number by number."""
    C_out, C_group, K = weight.shape
    L_out = (x.shape[1] - dilation * (K - 1) - 1) // stride + 1
    y = np.zeros((C_out, L_out))
    for o, place in np.ndindex(C_out, L_out):
        first = o // (C_out // groups) * C_group
        taps = [(c, k) for c in range(C_group) for k in range(K)]
        total = sum(float(weight[o, c, k]) * float(x[first + c, place * stride + k * dilation]) for c, k in taps)
        y[o, place] = total + (0 if bias is None else float(bias[o]))
    return y


@given(
    N=st.integers(0, 3),
    L=st.integers(1, 12),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    K=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    groups=st.integers(1, 3),
    padding=st.sampled_from([0, 1, 2, "same", "valid"]),
    mode=st.sampled_from(list(NUMPY_MODES)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_each_output_is_the_sum_over_its_window(
    N: int,
    L: int,
    channels: tuple[int, int],
    K: int,
    stride: int,
    dilation: int,
    groups: int,
    padding: int | str,
    mode: str,
    bias: bool,
    dtype: str,
    seed: int,
) -> None:
    stride = 1 if padding == "same" else stride
    total = {"same": dilation * (K - 1), "valid": 0}.get(str(padding), 2 * int(padding if padding in (0, 1, 2) else 0))
    margins = (total // 2, total - total // 2)
    if L + total <= dilation * (K - 1) or max(margins) > {"reflect": L - 1, "circular": L}.get(mode, 99):
        return
    C_in, C_out = channels[0] * groups, channels[1] * groups
    rng = np.random.default_rng(seed)
    layer = Conv1d(C_in, C_out, K, stride, padding, dilation, groups, bias, mode, dtype=dtype, rng=rng)
    # Neither contiguous nor writable: inputs are as they come.
    x = rng.standard_normal((L, 2 * C_in, N)).astype(dtype).T[:, ::-2]
    x.flags.writeable = False
    y = layer(x)
    np.testing.assert_array_equal(y, layer(x.copy(order="C")), strict=True)
    assert y.dtype == dtype
    assert y.shape[:2] == (N, C_out)
    for n in range(N):
        padded = np.pad(x[n], ((0, 0), margins), NUMPY_MODES[mode])  # type: ignore[call-overload]
        expected = textbook(padded, layer.weight, layer.bias, stride, dilation, groups)
        assert y.shape[2] == expected.shape[1]
        np.testing.assert_allclose(y[n], expected, RTOL[dtype], ATOL[dtype])
        np.testing.assert_array_equal(layer(x[n]), y[n], strict=True)
    if mode == "zeros":
        of_function = conv1d(x, layer.weight, layer.bias, stride, padding, dilation, groups)
        np.testing.assert_array_equal(of_function, y, strict=True)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((9, 64, 90), {"kernel_size": 3}),  # some samples at once, and a rest
        ((2, 128, 1500), {"kernel_size": 5}),  # more windows than are computed at once, and a rest
        ((3, 8, 20_000), {"kernel_size": 1}),
        ((70, 32, 40), {"kernel_size": 9, "padding": 4, "groups": 32}),  # each channel by itself
    ],
)
def test_split_or_not_a_sample_has_the_bits_that_it_has_alone(
    shape: tuple[int, ...], arguments: dict[str, Any], runtime: sync.Runtime
) -> None:
    layer = Conv1d(shape[1], 32, **arguments, rng=0)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    y = sync.call(layer, x)
    np.testing.assert_array_equal(y, np.array([layer(sample) for sample in x]))
    places = [0, 255, 256, y.shape[2] - 1] if y.shape[2] > 256 else [0, y.shape[2] - 1]
    last = np.pad(x[-1], ((0, 0), (layer.padding[0],) * 2))  # type: ignore[arg-type]
    for place in places:
        window = last[:, place * layer.stride[0] :][:, : layer.kernel_size[0]]
        for o in (0, y.shape[1] - 1):
            ours = window[o : o + 1] if layer.groups > 1 else window
            assert layer.bias is not None
            expected = np.sum(ours.astype(float) * layer.weight[o]) + layer.bias[o]
            assert y[-1, o, place] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_input_is_neither_changed_nor_kept() -> None:
    x = np.ones((2, 3, 5), np.float32)
    for layer in (Conv1d(3, 2, 1), Conv1d(3, 2, 5), Conv1d(3, 2, 2, padding=1)):
        y = layer(x)
        assert not np.shares_memory(x, y)
        before = y.copy()
        x[...] = 1
        np.testing.assert_array_equal(layer(x), before)
        x[...] = 2
        assert not np.array_equal(layer(x), before)
        np.testing.assert_array_equal(y, before)
        assert (x == 2).all()
        x[...] = 1


def test_a_new_weight_is_seen_at_the_next_call() -> None:
    layer, x = Conv1d(1, 1, 2, bias=False, dtype=np.float64), np.array([[1.0, 2.0, 4.0]])
    for weight, expected in (([[[1.0, 1.0]]], [[3, 6]]), ([[[0.0, 2.0]]], [[4, 8]])):
        layer.load_state_dict({"weight": weight})
        assert layer(x).tolist() == expected


def test_nan_and_inf_reach_the_windows_that_hold_them_and_no_others() -> None:
    x = np.array([[0, 0, np.nan, 0, 0, 0, np.inf, -np.inf, 0]])
    with np.errstate(all="raise"):
        y = conv1d(x, np.ones((1, 1, 2)))
    np.testing.assert_array_equal(y, [[0, np.nan, np.nan, 0, 0, np.inf, np.nan, -np.inf]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_drawn_within_torchs_bound(dtype: type[np.floating[Any]]) -> None:
    layer = Conv1d(32, 500, 4, groups=2, dtype=dtype, rng=0)
    assert layer.bias is not None
    assert (layer.weight.shape, layer.bias.shape) == ((500, 16, 4), (500,))
    for array in layer.parameters():
        assert array.dtype == dtype
        assert np.abs(array).max() == pytest.approx(1 / 8, rel=0.02)
        assert np.abs(array).max() <= 1 / 8
    np.testing.assert_array_equal(Conv1d(2, 3, 4, rng=5).weight, Conv1d(2, 3, 4, rng=5).weight)


def test_sizes_may_be_torchs_tuples() -> None:
    layer = Conv1d(2, 4, (3,), (2,), (1,), (2,), 2, False, "reflect")
    text = "kernel_size=(3,), stride=(2,), padding=(1,), dilation=(2,), groups=2, bias=False, padding_mode=reflect"
    assert repr(layer) == f"Conv1d(2, 4, {text})"
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((0, 4, 3), {}, ValueError, "in_channels must be at least 1, got 0"),
        ((3, 4, 3), {"groups": 2}, ValueError, "in_channels must be divisible by groups, got 3 and 2"),
        ((4, 3, 3), {"groups": 2}, ValueError, "out_channels must be divisible by groups, got 3 and 2"),
        ((4, 3, 3), {"groups": 0}, ValueError, "groups must be at least 1, got 0"),
        ((4, 3, 0), {}, ValueError, "kernel_size must be at least 1, got 0"),
        ((4, 3, (3, 3)), {}, TypeError, r"kernel_size should be an int, got \(3, 3\)"),
        ((4, 3, 3, 0), {}, ValueError, "stride must be at least 1, got 0"),
        ((4, 3, 3), {"dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
        ((4, 3, 3), {"padding": -1}, ValueError, "padding must be at least 0, got -1"),
        ((4, 3, 3), {"padding": 1.0}, TypeError, r"padding should be an int, got 1\.0"),
        ((4, 3, 3), {"padding": "x"}, ValueError, "Invalid padding string 'x', should be one of same, valid"),
        ((4, 3, 3, 2, "same"), {}, ValueError, "padding='same' is not supported for strided .*, got stride 2"),
        ((4, 3, 3), {"padding_mode": "x"}, ValueError, "padding_mode must be one of zeros, .* but got 'x'"),
        ((4, 3, 3), {"bias": 0}, TypeError, "bias should be a bool, got 0"),
        ((4, 3, 3), {"dtype": np.float16}, TypeError, "dtype should be float32 or float64, got float16"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Conv1d(*args, **kwargs)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 3, 9), "float32", r"weight of shape \(3, 4, 3\), expected .* \(2, 3, 9\) to have 4 channels, but got 3"),
        ((3, 9), "float32", r"expected input of shape \(3, 9\) to have 4 channels, but got 3"),
        ((9,), "float32", r"Expected 2D \(unbatched\) or 3D \(batched\) input to conv1d, .* shape \(9,\)"),
        ((1, 2, 4, 9), "float32", r"Expected 2D .* got input of shape \(1, 2, 4, 9\)"),
        ((2, 4, 9), "float64", r"input dtype \(float64\) and weight dtype \(float32\) should be .*astype\(np.float32"),
        ((2, 4, 9), "int64", r"input dtype \(int64\) and weight dtype \(float32\) should be the same"),
        ((2, 4, 2), "float32", r"padded input size per channel: 2. Kernel size: 3. .* can't be greater"),
        ((2, 4, 0), "float32", "padded input size per channel: 0. Kernel size: 3"),
        ((0, 4, 2), "float32", "padded input size per channel: 2. Kernel size: 3"),
    ],
)
def test_an_input_that_does_not_fit_is_shown(shape: tuple[int, ...], dtype: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^conv1d: .*{message}"):
        Conv1d(4, 3, 3)(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("weight", "kwargs", "message"),
    [
        (np.zeros((3, 4)), {}, r"Expected weight to have three axes, .* got shape \(3, 4\)"),
        (np.zeros((3, 4, 0)), {}, r"Expected weight to have three axes, none of them empty, got shape \(3, 4, 0\)"),
        (np.zeros((3, 2, 3)), {"groups": 2}, r"weight of shape \(3, 2, 3\) does not divide into 2 groups"),
        (np.zeros((3, 4, 3)), {"bias": np.zeros(4)}, r"expected bias of shape \(3,\) .* got \(4,\) and float64"),
        (np.zeros((3, 4, 3)), {"bias": np.zeros(3, np.float32)}, r"expected bias .* got \(3,\) and float32"),
    ],
)
def test_operands_of_the_function_that_do_not_fit_are_shown(weight: Array, kwargs: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^conv1d: .*{message}"):
        conv1d(np.zeros((2, 4, 9)), weight, **kwargs)


def test_the_functions_arguments_are_checked_as_the_layers() -> None:
    x, weight = np.zeros((4, 9)), np.zeros((3, 4, 3))
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        conv1d(x, weight, stride=0)
    with pytest.raises(ValueError, match="padding='same' is not supported for strided"):
        conv1d(x, weight, stride=2, padding="same")
    with pytest.raises(ValueError, match="groups must be at least 1, got 0"):
        conv1d(x, weight, groups=0)
