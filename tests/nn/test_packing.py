"""`Product`: panels against the plain product and a textbook sum, the cuts, the bits on any number of threads."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import asyncjit
from asyncjit import sync
from asyncjit._core import intraop, splitting
from asyncjit._core.products import Form, set_product_form
from asyncjit.nn import packing
from asyncjit.nn.packing import Multiplier, Panels, Product
from tests.at_rest import all_threads_busy, when_idle
from tests.reference.textbook import assert_close

pytestmark = pytest.mark.usefixtures("packed")

Array = NDArray[Any]


def drawn(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def textbook(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x Wᵀ + b, added up in long doubles, with no BLAS."""
    wide = np.longdouble
    y = (x.astype(wide)[:, np.newaxis] * weight.astype(wide)).sum(axis=-1)
    return np.asarray(y if bias is None else y + bias.astype(wide), x.dtype)


# Numbers


@given(
    num_rows=st.integers(0, 70),
    depth=st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 300, 512, 700])),
    num_gates=st.sampled_from([1, 3, 4]),
    num_columns=st.one_of(st.integers(1, 70), st.sampled_from([16, 32, 64])),
    dtype=st.sampled_from(["float32", "float64"]),
    has_bias=st.booleans(),
    form=st.sampled_from(["packed", "plain"]),
    layout=st.sampled_from(["rows", "columns", "strided", "reversed"]),
    seed=st.integers(0, 99),
)
def test_every_product_is_the_textbook_sum(
    num_rows: int,
    depth: int,
    num_gates: int,
    num_columns: int,
    dtype: str,
    has_bias: bool,
    form: Form,
    layout: str,
    seed: int,
) -> None:
    weight = drawn(num_gates * num_columns, depth, dtype=dtype, seed=seed)
    bias = drawn(num_gates * num_columns, dtype=dtype, seed=seed + 1) if has_bias else None
    x = in_layout(drawn(num_rows, depth, dtype=dtype, seed=seed + 2), layout)
    x.flags.writeable = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SMALL_LIMIT", 0)
        patch.setattr(packing, "SPLIT_WORK", 1000)
        set_product_form(form)
        product = Product(weight, num_gates)
        y = product(x, bias)
    assert product._panels is not None if form == "packed" and 1 < num_rows <= 64 else product._panels is None
    assert_close(y, textbook(x, weight, bias), scale=depth)


def in_layout(x: Array, layout: str) -> Array:
    if layout == "columns":
        return np.asfortranarray(x)
    if layout == "strided":
        return x.repeat(2, axis=0).repeat(3, axis=1)[::2, ::3]
    return x[::-1, ::-1].copy()[::-1, ::-1] if layout == "reversed" else x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("num_rows", "depth", "width"), [(8, 300, 450), (64, 1000, 33), (2, 2500, 201), (65, 128, 256)]
)
def test_at_real_sizes_panels_agree_with_the_plain_product(num_rows: int, depth: int, width: int, dtype: str) -> None:
    weight, x = drawn(width, depth, dtype=dtype), drawn(num_rows, depth, dtype=dtype, seed=1)
    product = Product(weight)
    assert product.is_packed(num_rows) == (num_rows < 65)
    y = product(x)
    set_product_form("plain")
    assert not product.is_packed(num_rows)
    assert_close(y, product(x), scale=depth)


# NaN, inf, subnormals


SPECIAL = [np.nan, np.inf, -np.inf, 1e-42, -1e-42, -0.0, 3e38]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["packed", "plain"])
@pytest.mark.parametrize("special", SPECIAL, ids=str)
def test_special_numbers_reach_what_they_reach_in_numpys_product(special: float, form: Form, dtype: str) -> None:
    set_product_form(form)
    weight, x = drawn(450, 600, dtype=dtype), drawn(6, 600, dtype=dtype, seed=1)
    x[1, 299] = x[4, 599] = weight[7, 500] = weight[449, 3] = special
    with np.errstate(all="ignore"):
        y, plain = Product(weight)(x), x @ weight.T
    np.testing.assert_array_equal(np.isnan(y), np.isnan(plain))
    np.testing.assert_array_equal(np.isposinf(y), np.isposinf(plain))
    np.testing.assert_array_equal(np.isneginf(y), np.isneginf(plain))
    finite = np.isfinite(plain)
    assert_close(y[finite], plain[finite], scale=max(600.0, abs(special) if np.isfinite(special) else 0))


@pytest.mark.parametrize("form", ["packed", "plain"])
def test_subnormals_are_not_flushed_to_zero(form: Form) -> None:
    set_product_form(form)
    weight = np.zeros((450, 600), np.float32)
    np.fill_diagonal(weight, 1)
    x = np.full((6, 600), 1e-42, np.float32)
    product = Product(weight)
    assert product.is_packed(6) == (form == "packed")
    np.testing.assert_array_equal(product(x), x[:, :450])


# Which form serves


@pytest.mark.parametrize(
    ("shape", "num_rows", "is_packed"),
    [
        ((1024, 1024), 0, False),
        ((1024, 1024), 1, False),
        ((1024, 1024), 2, True),
        ((1024, 1024), 64, True),
        ((1024, 1024), 65, False),
        ((1000, 500), 2, False),  # 10⁶: small as it is
        ((1001, 500), 2, True),
    ],
)
def test_panels_serve_from_two_rows_on_beyond_the_small_matrices(
    shape: tuple[int, int], num_rows: int, is_packed: bool
) -> None:
    product = Product(np.zeros(shape, np.float32))
    assert product.is_packed(num_rows) == is_packed
    product(np.zeros((num_rows, shape[1]), np.float32))
    assert (product._panels is not None) == is_packed


def test_a_blas_without_the_small_kernel_gets_no_panels() -> None:
    set_product_form("plain")
    product = Product(drawn(1024, 1024))
    assert not any(product.is_packed(num_rows) for num_rows in range(100))
    for num_rows in (1, 8, 64, 100):
        product(np.zeros((num_rows, 1024), np.float32))
    assert product._panels is None


@pytest.mark.parametrize("is_found", [False, True])
def test_by_itself_the_form_follows_the_blas(is_found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncjit._core.products.has_small_kernel", lambda: is_found)
    set_product_form("auto")
    assert Product(np.zeros((1024, 1024), np.float32)).is_packed(8) == is_found


# Panels


@given(
    depth=st.integers(1, 900),
    num_gates=st.sampled_from([1, 3, 4]),
    num_columns=st.integers(1, 100),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_panels_hold_every_number_of_the_weight_once(depth: int, num_gates: int, num_columns: int, dtype: str) -> None:
    columns = np.arange(depth * num_gates * num_columns, dtype=dtype).reshape(depth, -1)
    panels = Panels(columns, num_gates)
    width = 32 if dtype == "float32" else 16
    assert panels.nbytes == columns.nbytes
    assert panels.pieces[0].start == 0
    assert panels.pieces[-1].stop == depth
    assert all(before.stop == after.start for before, after in pairwise(panels.pieces))
    for piece in panels.pieces:
        gates, num_panels, rows, panel_width = piece.whole.shape
        assert (gates, num_panels, rows) == (num_gates, num_columns // width, piece.stop - piece.start)
        assert panel_width == width
        assert 0 < rows <= 256
        whole = piece.whole.swapaxes(1, 2).reshape(num_gates, rows, -1)
        back = np.concatenate([whole, piece.rest[:, 0]], axis=-1).swapaxes(0, 1).reshape(rows, -1)
        np.testing.assert_array_equal(back, columns[piece.start : piece.stop])
        for array in (piece.whole, piece.rest):
            assert array.flags.c_contiguous
            assert array.ctypes.data % 64 == 0 or array.size == 0


@given(num_columns=st.integers(1, 300), num_shares=st.integers(1, 9))
def test_shares_are_all_columns_once_cut_between_panels(num_columns: int, num_shares: int) -> None:
    panels = Panels(np.zeros((1, num_columns), np.float32), 1)
    num_shares = max(1, min(num_shares, panels.num_panels))
    shares = [panels.share(share, share + 1, num_shares) for share in range(num_shares)]
    assert (shares[0].start, shares[-1].stop) == (0, num_columns)
    assert all(before.stop == after.start for before, after in pairwise(shares))
    assert all(share.start % 32 == 0 for share in shares)
    assert panels.share(0, num_shares, num_shares) == slice(0, num_columns)


@given(num_rows=st.integers(1, 9), depth=st.integers(1, 600), num_shares=st.integers(1, 4), dtype=st.sampled_from("fd"))
def test_a_share_has_the_bits_of_its_columns_in_the_whole(
    num_rows: int, depth: int, num_shares: int, dtype: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SMALL_LIMIT", 0)
        H = 150
        product = Product(drawn(3 * H, depth, dtype=dtype), 3)
        x = drawn(num_rows, depth, dtype=dtype, seed=1)
        whole = product(x).reshape(num_rows, 3, H)
        for share in range(num_shares):
            units = product.panels().share(share, share + 1, num_shares)
            y = np.empty((num_rows, 3, units.stop - units.start), dtype)
            Multiplier(product.panels(), y, units)(x)
            if num_rows > 1:
                np.testing.assert_array_equal(y, whole[:, :, units])
            assert_close(y, whole[:, :, units].copy(), scale=depth)


@pytest.mark.parametrize("num_rows", [0, 1, 2, 64, 65])
def test_a_multiplier_may_be_used_again_and_again_on_the_same_place(num_rows: int) -> None:
    product = Product(drawn(3 * 300, 300), 3)
    y = np.empty((num_rows, 3, 300), np.float32)
    multiply = product.multiplier(y, slice(0, 300))
    for seed in range(3):
        x = drawn(num_rows, 300, seed=seed)
        multiply(x[0] if num_rows == 1 else x)
        assert_close(y.reshape(num_rows, 900).copy(), textbook(x, product.weight), scale=300)


def test_panels_are_made_once() -> None:
    product = Product(drawn(450, 600))
    panels = product.panels()
    product(drawn(8, 600))
    assert product.panels() is panels


def test_results_are_fresh_and_keep_nothing_of_the_next_call() -> None:
    product = Product(drawn(450, 600))
    first, second = drawn(8, 600, seed=1), drawn(8, 600, seed=2)
    y = product(first)
    kept = y.copy()
    product(second)
    np.testing.assert_array_equal(y, kept)
    y[...] = np.nan
    np.testing.assert_array_equal(product(first), kept)


# Bits


@pytest.mark.parametrize("num_rows", [8, 50, 64])
def test_a_row_s_neighbours_are_none_of_its_business(num_rows: int) -> None:
    product, x = Product(drawn(450, 600)), drawn(num_rows, 600, seed=1)
    other = drawn(num_rows, 600, seed=2)
    other[3] = x[3]
    np.testing.assert_array_equal(product(other)[3], product(x)[3])


CASES = [
    pytest.param(8, 1100, 1000, id="panels"),
    pytest.param(64, 300, 500, id="panels, a rest"),
    pytest.param(1, 1100, 1000, id="one row"),
    pytest.param(200, 300, 500, id="blocks of rows"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("num_rows", "depth", "width"), CASES)
def test_the_bits_are_the_same_however_many_threads_make_them(
    num_rows: int, depth: int, width: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SPLIT_WORK", 10_000)
    monkeypatch.setattr(splitting, "BLOCK_WORK", 10_000)
    monkeypatch.setattr(splitting, "BLOCK_ROWS", 50)
    product, x = Product(drawn(width, depth, dtype=dtype)), drawn(num_rows, depth, dtype=dtype, seed=1)
    bias = drawn(width, dtype=dtype, seed=2)

    assert_same_bits_everywhere(lambda: [product(x, bias)])


def assert_same_bits_everywhere(run: Callable[[], list[Array]]) -> None:
    """Hold what `run` gives on one thread to what it gives split, forked, on a busy pool and on a loop's thread."""
    with sync.Runtime(1):
        expected = sync.call(run)  # with BLAS held at one thread, as all that follow
    with sync.Runtime(4) as runtime:
        sync.call(len, ())
        for num_threads in (1, 2, 4):
            asyncjit.set_num_threads(num_threads)
            when_idle(runtime).result()
            results = [
                run(),
                sync.call(run),
                *sync.wait_all([sync.fork(run) for _ in range(6)]),
                asyncio.run(inline(run)),
            ]
            with all_threads_busy(runtime):
                results.append(run())
            for found in results:
                for array, wanted in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(array, wanted)


async def inline(run: Callable[[], list[Array]]) -> list[Array]:
    return run()


@pytest.mark.parametrize(("num_rows", "depth", "width"), [CASES[0].values, CASES[3].values])
def test_on_a_pool_with_free_threads_two_make_one_product(
    num_rows: int, depth: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SPLIT_WORK", 10_000)
    monkeypatch.setattr(splitting, "BLOCK_WORK", 10_000)
    monkeypatch.setattr(splitting, "BLOCK_ROWS", 50)
    both = meeting_in_their_first_block(monkeypatch)
    product, x = Product(drawn(width, depth)), drawn(num_rows, depth, seed=1)
    with sync.Runtime(2, num_threads=2) as runtime:
        when_idle(runtime).result()
        product(x)
    assert len(both) == 2


def meeting_in_their_first_block(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Let no thread go on from its first block until another has begun one; return who they are."""
    barrier, seen = threading.Barrier(2, timeout=30), set[int]()

    def parallel_for(fn: Callable[[int, int], object], n: int, *, grain: int) -> None:
        def run(start: int, stop: int) -> None:
            if threading.get_ident() not in seen:
                seen.add(threading.get_ident())
                barrier.wait()
            fn(start, stop)

        real(run, n, grain=grain)

    real = intraop.parallel_for
    monkeypatch.setattr(packing, "parallel_for", parallel_for)
    monkeypatch.setattr(splitting, "parallel_for", parallel_for)
    return seen


def test_ten_threads_on_one_fresh_product_get_the_bits_of_one() -> None:
    weight = drawn(450, 600)
    inputs = [drawn(8, 600, seed=seed) for seed in range(10)]
    expected = [Product(weight)(x) for x in inputs]
    product, barrier = Product(weight), threading.Barrier(10)

    def run(x: Array) -> list[Array]:
        barrier.wait()
        return [product(x) for _ in range(5)]

    with ThreadPoolExecutor(10) as pool:
        for y, found in zip(expected, pool.map(run, inputs), strict=True):
            for again in found:
                np.testing.assert_array_equal(again, y)
