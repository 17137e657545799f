"""`Linear`: the product with the weights, for any leading axes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn
from asyncjit._core import splitting
from asyncjit._core.products import Form, set_product_form
from asyncjit.nn import packing
from tests.nn.test_packing import assert_same_bits_everywhere, in_layout, textbook
from tests.reference.textbook import assert_close

Array = NDArray[Any]

RTOL = {"float32": 1e-5, "float64": 1e-12}


@given(
    leading=st.lists(st.integers(0, 4), max_size=3),
    sizes=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    is_reversed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_each_output_is_a_weighted_sum_of_the_inputs_plus_bias(
    leading: list[int], sizes: tuple[int, int], bias: bool, dtype: str, is_reversed: bool, seed: int
) -> None:
    in_features, out_features = sizes
    rng = np.random.default_rng(seed)
    layer = nn.Linear(in_features, out_features, bias, dtype=dtype, rng=rng)
    x = rng.standard_normal((in_features, *leading)).astype(dtype).transpose(*range(1, len(leading) + 1), 0)
    x = x[..., ::-1] if is_reversed else x
    x.flags.writeable = False
    y = layer(x)
    assert (y.shape, y.dtype) == ((*leading, out_features), np.dtype(dtype))
    for index in np.ndindex(*leading):
        for row in range(out_features):
            expected = sum(float(layer.weight[row, k]) * float(x[(*index, k)]) for k in range(in_features))
            expected += float(layer.bias[row]) if layer.bias is not None else 0
            assert y[(*index, row)] == pytest.approx(expected, rel=RTOL[dtype], abs=RTOL[dtype])


def test_known_numbers_come_out() -> None:
    layer = nn.Linear(2, 3, dtype=np.float64)
    layer.load_state_dict({"weight": [[1, 2], [3, 4], [5, 6]], "bias": [0.5, 0, -0.5]})
    assert layer(np.array([10.0, 1.0])).tolist() == [12.5, 34, 55.5]
    assert layer(np.array([[10.0, 1.0], [0.0, 0.0]])).tolist() == [[12.5, 34, 55.5], [0.5, 0, -0.5]]


def test_more_axes_give_the_bits_of_the_same_rows_in_two() -> None:
    layer = nn.Linear(70, 50, rng=1)
    x = np.random.default_rng(2).standard_normal((3, 4, 5, 70)).astype(np.float32)
    np.testing.assert_array_equal(layer(x).reshape(60, 50), layer(x.reshape(60, 70)))


# The forms of the product


def is_packed(layer: nn.Linear) -> bool:
    return layer._forms["weight"]._panels is not None


@pytest.mark.usefixtures("packed")
@given(
    num_rows=st.integers(0, 130),
    sizes=st.tuples(st.sampled_from([1, 30, 255, 256, 300, 600]), st.one_of(st.integers(1, 70), st.just(256))),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    form=st.sampled_from(["packed", "plain"]),
    layout=st.sampled_from(["rows", "columns", "strided", "reversed"]),
    seed=st.integers(0, 99),
)
def test_in_either_form_each_row_is_the_textbooks(
    num_rows: int, sizes: tuple[int, int], bias: bool, dtype: str, form: Form, layout: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = nn.Linear(*sizes, bias, dtype=dtype, rng=rng)
    x = in_layout(rng.standard_normal((num_rows, sizes[0])).astype(dtype), layout)
    x.flags.writeable = False
    set_product_form(form)
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        y = layer(x)
    assert is_packed(layer) == (form == "packed" and 1 < num_rows <= 64)
    assert_close(y, textbook(x, layer.weight, layer.bias), scale=sizes[0] ** 0.5)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Let small products take panels, and split them."""
    patch.setattr(packing, "SMALL_LIMIT", 0)
    patch.setattr(packing, "SPLIT_WORK", 1000)
    patch.setattr(splitting, "BLOCK_WORK", 1000)
    patch.setattr(splitting, "BLOCK_ROWS", 48)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("leading", [(), (1,), (2, 4), (64,), (65,), (300,)], ids=str)
@pytest.mark.usefixtures("packed")
def test_the_bits_are_the_same_however_many_threads_make_them(
    leading: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    layer = nn.Linear(300, 200, dtype=dtype, rng=0)
    x = np.random.default_rng(1).standard_normal((*leading, 300)).astype(dtype)
    assert_same_bits_everywhere(lambda: [layer(x)])


@pytest.mark.parametrize(
    ("num_rows", "has_panels"), [(1, False), (2, True), (8, True), (64, True), (65, False), (512, False)]
)
@pytest.mark.usefixtures("packed")
def test_at_real_sizes_each_form_is_taken_and_right_and_has_the_same_bits(num_rows: int, has_panels: bool) -> None:
    layer = nn.Linear(600, 1000, rng=0)  # 512 rows of it are cut into two blocks, 64 into nine shares
    x = np.random.default_rng(1).standard_normal((num_rows, 600)).astype(np.float32)
    y = layer(x)
    assert is_packed(layer) == has_panels
    rows = slice(None, None, 1 + num_rows // 9)
    assert_close(y[rows].copy(), textbook(x[rows], layer.weight, layer.bias), scale=25)
    assert_same_bits_everywhere(lambda: [layer(x)])


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("num_rows", [1, 3, 40, 100])
def test_beyond_the_small_products_the_layout_of_the_input_changes_no_bit(num_rows: int) -> None:
    layer = nn.Linear(1100, 1000, rng=0)
    x = np.random.default_rng(1).standard_normal((num_rows, 1100)).astype(np.float32)
    expected = layer(x)
    for layout in ("columns", "strided", "reversed"):
        np.testing.assert_array_equal(layer(in_layout(x, layout)), expected)


@pytest.mark.parametrize("form", ["packed", "plain"])
@pytest.mark.usefixtures("packed")
def test_nan_and_inf_in_a_row_stay_in_that_row(form: Form) -> None:
    set_product_form(form)
    layer = nn.Linear(600, 1000, rng=0)
    x = np.random.default_rng(1).standard_normal((9, 600)).astype(np.float32)
    clean = layer(x)
    x[3, 7], x[5, 599] = np.nan, np.inf
    y = layer(x)
    assert np.isnan(y[3]).all()
    np.testing.assert_array_equal(np.isinf(y[5]), layer.weight[:, 599] != 0)
    np.testing.assert_array_equal(np.delete(y, (3, 5), axis=0), np.delete(clean, (3, 5), axis=0))


@pytest.mark.usefixtures("packed")
def test_a_huge_input_is_refused_as_a_small_one_is() -> None:
    layer = nn.Linear(1100, 1000)
    weight = r"weight of shape \(1000, 1100\) and dtype float32"
    for shape, dtype in [((9, 1000), "float32"), ((9, 1100), "float64"), ((9, 1100), "int64")]:
        found = rf"input of shape \({shape[0]}, {shape[1]}\) and dtype {dtype}"
        with pytest.raises(RuntimeError, match=f"{found} does not fit {weight}"):
            layer(np.zeros(shape, dtype))


# Construction


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_drawn_within_torchs_bound(dtype: type[np.floating[Any]]) -> None:
    layer = nn.Linear(64, 500, dtype=dtype, rng=0)
    assert (layer.weight.shape, layer.weight.dtype) == ((500, 64), np.dtype(dtype))
    assert layer.bias is not None
    assert (layer.bias.shape, layer.bias.dtype) == ((500,), np.dtype(dtype))
    for array in layer.parameters():
        assert np.abs(array).max() == pytest.approx(1 / 8, rel=0.02)
        assert np.abs(array).max() <= 1 / 8
        assert array.std() == pytest.approx(1 / 8 / 3**0.5, rel=0.1)


def test_a_seed_or_a_generator_draws_the_same_parameters_again() -> None:
    np.testing.assert_array_equal(nn.Linear(3, 4, rng=5).weight, nn.Linear(3, 4, rng=5).weight)
    rng = np.random.default_rng(5)
    first, second = nn.Linear(3, 4, rng=rng), nn.Linear(3, 4, rng=rng)
    np.testing.assert_array_equal(first.weight, nn.Linear(3, 4, rng=5).weight)
    assert not np.array_equal(first.weight, second.weight)
    assert not np.array_equal(nn.Linear(3, 4).weight, nn.Linear(3, 4).weight)


def test_without_bias_there_is_none_to_load() -> None:
    layer = nn.Linear(2, 3, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Linear(in_features=2, out_features=3, bias=False)"


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.zeros((2, 2), np.float32), r"shape \(2, 2\) and dtype float32"),
        (np.zeros((2, 3)), r"shape \(2, 3\) and dtype float64"),
        (np.float32(1), r"shape \(\) and dtype float32"),
        ([1, 2, 3], r"shape \(3,\) and dtype int64"),
    ],
)
def test_an_input_that_does_not_fit_is_shown_beside_the_weight(x: Any, found: str) -> None:
    weight = r"weight of shape \(4, 3\) and dtype float32"
    with pytest.raises(RuntimeError, match=rf"^Linear\(in.*: input of {found} does not fit {weight}: .*\.astype"):
        nn.Linear(3, 4)(x)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((-1, 2), {}, ValueError, "in_features must be at least 0, got -1"),
        ((1, 2.0), {}, TypeError, r"out_features should be an int, got 2\.0"),
        ((True, 2), {}, TypeError, "in_features should be an int, got True"),
        ((1, 2, 1), {}, TypeError, "bias should be a bool, got 1"),
        ((1, 2), {"dtype": np.float16}, TypeError, "dtype should be float32 or float64, got float16"),
        ((1, 2), {"dtype": int}, TypeError, "dtype should be float32 or float64, got int64"),
    ],
)
def test_arguments_that_make_no_layer_are_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nn.Linear(*args, **kwargs)


def test_sizes_may_be_numpys_integers() -> None:
    assert repr(nn.Linear(np.int64(1), np.uint8(2))) == "Linear(in_features=1, out_features=2, bias=True)"
