"""NumPy functions that split themselves: what comes out is what NumPy gives, to the bit, the dtype and the error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit._core.splitting import REDUCTIONS
from tests.core.numpy_calls import BLOCK, FLAT, SQUARE, TALL, Loops, Make, X, assert_same, call, make_of, small_blocks

Array = NDArray[Any]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with small_blocks():
        yield


# -- any calls

SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-310, 1e-40, 1.0, -1.0, 3e38, 1e308]
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "axes backwards": lambda x: x.reshape(x.shape[::-1]).transpose(),
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[::-1],
    "backwards inside": lambda x: x[..., ::-1],
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), "u1")[1:].view(x.dtype).reshape(x.shape),
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
}
DTYPES = st.sampled_from(["f4", "f8", "f2", "i4", "i8", "i1", "u1", "u8", "?", "F", "D"])
SHAPES = st.sampled_from(
    [(2000,), (2001,), (9999,), (17, 130), (130, 17), (1, 2500), (3, 9, 100), (100, 9, 3), (2, 1, 1999), (700, 3)]
)


def numbers(seed: int, shape: tuple[int, ...], dtype: str, layout: str = "C") -> Array:
    """Return the same array for the same arguments: ordinary numbers among special ones."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape) * 10
    if np.dtype(dtype).kind in "fc":
        values = np.where(random.random(shape) < 0.1, random.choice(SPECIAL, shape), values)
    with np.errstate(all="ignore"):
        array: Array = LAYOUTS[layout](values.astype(dtype))
    array.flags.writeable = False
    return array


@st.composite
def maps(draw: st.DrawFn) -> tuple[Any, Make]:
    """Draw a call of a ufunc."""
    one = [np.tanh, np.exp, np.negative, np.sqrt, np.sign, np.isnan, np.modf, np.frexp, np.square, np.floor]
    two = [np.add, np.multiply, np.maximum, np.arctan2, np.divmod, np.less, np.logical_or, np.true_divide, np.power]
    fn = draw(st.sampled_from(one + two))
    shape, dtype, seed = draw(SHAPES), draw(DTYPES), draw(st.integers(0, 2**32))
    x = numbers(seed, shape, dtype, draw(st.sampled_from(sorted(LAYOUTS))))
    inputs: list[Any] = [x]
    if fn.nin == 2:
        y = numbers(seed + 1, shape, draw(DTYPES), draw(st.sampled_from(sorted(LAYOUTS))))
        others = [y, y[:1], y[..., :1], y[-1], y.reshape(-1)[:1], x, np.asarray(y.flat[0]), y.flat[0], 3, 2.5, True]
        inputs.append(others[draw(st.integers(0, len(others) - 1))])
        if draw(st.booleans()) and type(inputs[1]) is np.ndarray:
            inputs.reverse()
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["dtype"] = draw(st.sampled_from(["f4", "f8", "i8", "D", np.float32]))
    if draw(st.booleans()):
        options["casting"] = draw(st.sampled_from(["unsafe", "same_kind", "safe", "no"]))
    out = draw(st.sampled_from(["none", "new", "positional", "of another dtype", "first input", "shifted", "wide"]))
    has_mask = out not in ("none", "shifted") and draw(st.booleans())

    def make() -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = list(inputs), dict(options)
        result_shape = np.broadcast_shapes(*(np.shape(each) for each in inputs))
        outs: list[Array] = [np.zeros(result_shape, kind) for kind in ("f8", "i4" if fn is np.frexp else "f8")]
        if out == "of another dtype":
            outs = [np.zeros(result_shape, "D") for _ in range(2)]
        elif out == "wide":
            outs = [np.zeros((2, *result_shape), "f8") for _ in range(2)]
        elif out == "first input":
            args[0] = outs[0] = np.array(inputs[0])
        elif out == "shifted":
            memory = np.resize(np.array(inputs[0]), (result_shape[0] + 1, *result_shape[1:]))
            args[0], outs[0] = memory[1:], memory[:-1]
        if out == "positional" and fn is not np.maximum:  # of which NumPy warns
            args += outs[: fn.nout]
        elif out != "none":
            kwargs["out"] = outs[0] if fn.nout == 1 else tuple(outs)
        if has_mask:
            kwargs["where"] = np.random.default_rng(seed).random(result_shape) < 0.5
        return tuple(args), kwargs

    return fn, make


def test_ufuncs_give_what_numpy_gives_bit_for_bit() -> None:
    num_split = 0

    @hypothesis.given(maps())
    @hypothesis.settings(max_examples=250)
    def check(call: tuple[Any, Make]) -> None:
        nonlocal num_split
        num_split += assert_same(*call)

    check()
    assert num_split > 20


def test_reductions_give_what_numpy_gives_bit_for_bit() -> None:
    num_split = 0

    @hypothesis.given(
        st.sampled_from(list(REDUCTIONS)),
        st.integers(0, 2**32),
        st.sampled_from([(2000,), (9999,), (40, 150), (150, 40), (3, 70, 30), (70, 30, 3), (300, 7, 4), (1, 3000)]),
        DTYPES,
        st.sampled_from(sorted(LAYOUTS.keys() - {"repeated"})),
        st.sampled_from([None, 0, 1, -1, -2, 2, (0,), (0, 1), (1, 0), (0, -1), (0, 0), (), np.int64(0)]),
    )
    @hypothesis.settings(max_examples=250)
    def check(fn: Any, seed: int, shape: tuple[int, ...], dtype: str, layout: str, axis: Any) -> None:
        nonlocal num_split
        x = numbers(seed, shape, dtype, layout)
        num_split += assert_same(fn, make_of(x) if axis is None else make_of(x, axis=axis))

    check()
    assert num_split > 10


def test_products_give_what_numpy_gives_bit_for_bit() -> None:
    num_split = 0

    @hypothesis.given(
        st.sampled_from([np.matmul, np.dot]),
        st.integers(960, 1500),
        st.integers(20, 150),
        st.sampled_from([1, 64, 100, 149]),
        st.sampled_from(["f4", "f8"]),
        st.sampled_from(["C", "Fortran", "backwards", "every second"]),
        st.booleans(),
    )
    @hypothesis.settings(max_examples=30)
    def check(fn: Any, M: int, K: int, N: int, dtype: str, layout: str, has_out: bool) -> None:
        nonlocal num_split
        random = np.random.default_rng(M)
        a = random.standard_normal((M, K)).astype(dtype)
        b = LAYOUTS[layout](random.standard_normal((K, N)).astype(dtype))
        num_split += assert_same(fn, make_of(a, b, np.empty((M, N), dtype)) if has_out else make_of(a, b))

    check()
    assert num_split > 0


# -- certain calls


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        call(np.add, X),
        call(np.add, X, X, np.ones(3)),
        call(np.add, X, np.ones(3)),
        call(np.add, X, X, out=np.ones(3)),
        call(np.add, X, X, np.ones(3), np.ones(3)),
        call(np.add, X, X, out=X),  # which is read-only
        call(np.add, X, X, out=3.0),
        call(np.add, X, X, out=np.broadcast_to(0.0, X.shape)),
        call(np.add, X, X, np.zeros(X.shape), out=np.zeros(X.shape)),
        call(np.add, X, X, out=np.zeros(X.shape, "i4")),
        call(np.add, X, X, out=np.zeros(X.shape), where=np.ones(X.shape)),
        call(np.add, X, X, dtype="no such"),
        call(np.add, X, X, casting="no such"),
        call(np.add, X, X, fn=3),
        call(np.add, X, X, args=3),
        call(np.modf, X, out=np.zeros(X.shape)),
        call(np.add, np.ones(3000, "u1"), 300),
        call(np.power, np.ones(3000, int), -1),
        call(np.bitwise_or, X, X),
        call(np.sum, X, axis=2),
        call(np.sum, X, axis=(0, 0)),
        call(np.sum, X, axis="0"),
        call(np.sum, X, x=3),
        call(np.matmul, TALL),
        call(np.matmul, TALL, SQUARE[1:]),
        call(np.matmul, TALL, SQUARE, np.ones((3, 3)), 3),
        call(np.matmul, TALL, SQUARE, out=np.ones((3, 3))),
        call(np.matmul, TALL, SQUARE, no_such=3),
        call(np.dot, TALL),
        call(np.dot, TALL, SQUARE, out=np.ones((3, 3))),
    ],
)
def test_a_wrong_call_raises_the_error_of_numpy(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(Exception) as told_by_numpy:  # noqa: PT011  # whatever it is
        fn(*args, **kwargs)
    with pytest.raises(type(told_by_numpy.value)) as told_by_fork:
        sync.call(fn, *args, **kwargs)
    assert str(told_by_fork.value) == str(told_by_numpy.value)


def test_a_reduction_of_repeated_elements_has_the_memory_layout_that_numpy_gives_it() -> None:
    x = np.broadcast_to(FLAT[:150], (40, 150))
    assert_same(np.sum, make_of(x, axis=()))


@pytest.mark.parametrize("fn", [np.matmul, np.dot])
def test_a_product_of_the_other_byte_order_has_the_byte_order_that_numpy_gives_it(fn: Any) -> None:
    a, b = (x.astype(x.dtype.newbyteorder()) for x in (TALL, SQUARE))
    assert_same(fn, make_of(a, b))


@pytest.mark.parametrize("fn", [np.fmax, np.fmin, np.maximum, np.minimum])
def test_of_two_zeros_that_one_is_chosen_that_numpy_chooses(fn: Any) -> None:
    for size in (2 * BLOCK + 1, 3333, 4551, 4999):
        x, y = np.random.default_rng(size).choice([0.0, -0.0], (2, size))
        assert_same(fn, make_of(x, y))


def test_the_result_is_an_output_that_was_given_and_several_come_as_a_tuple() -> None:
    out, outs = np.empty(X.shape), (np.empty(X.shape), np.empty(X.shape))
    assert sync.call(np.tanh, X, out=out) is out
    assert sync.call(np.tanh, X, out) is out
    quotient, rest = sync.call(np.divmod, X, 3.0, out=outs)
    assert (quotient is outs[0], rest is outs[1]) == (True, True)
    product = np.empty(TALL.shape)
    assert sync.call(np.matmul, TALL, SQUARE, product) is product


def test_where_the_mask_is_false_an_output_keeps_what_it_had() -> None:
    out = np.full(X.shape, 7.0)
    mask = np.arange(100) % 2 == 0
    before = Loops.num
    sync.call(np.negative, X, out=out, where=mask)
    assert Loops.num == before + 1
    assert (out[:, 1::2] == 7.0).all()
    np.testing.assert_array_equal(out[:, ::2], -X[:, ::2])


# -- warnings of floating point

ZEROS = np.zeros(5000)


def test_a_warning_has_the_text_of_numpy() -> None:
    with np.errstate(all="warn"), pytest.warns(RuntimeWarning, match="divide by zero encountered in log"):
        sync.call(np.log, ZEROS)


def test_a_mask_without_an_output_warns_as_numpy_does() -> None:
    with pytest.warns(UserWarning, match="'where' used without 'out'"):
        sync.call(np.negative, X, where=X > 0)


def test_a_sum_of_both_infinities_warns_as_numpy_does() -> None:
    x = np.repeat([np.inf, -np.inf], 2048)
    with np.errstate(all="warn"), pytest.warns(RuntimeWarning, match="invalid value encountered in reduce"):
        np.sum(x)
    with np.errstate(all="warn"), pytest.warns(RuntimeWarning, match="invalid value encountered in reduce"):
        sync.call(np.sum, x)


def test_where_the_caller_wants_errors_one_is_raised() -> None:
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="divide by zero encountered in log"):
        sync.call(np.log, ZEROS)


def test_where_the_caller_ignores_them_nothing_is_said() -> None:
    with warnings.catch_warnings(record=True) as said, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        sync.call(np.log, ZEROS)
    assert said == []
