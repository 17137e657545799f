"""`Into`: calls that write, made pure, compute as NumPy does and leave what they would write into alone."""

import operator
import warnings

import numpy as np
import pytest

from asyncjit.graph.writing import Into, shown_into


def test_out_is_given_as_a_new_array_like_it() -> None:
    y = np.zeros(3, np.float32)
    given = Into(np.multiply)(np.arange(3.0), 2, out=(y,))
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, [0, 2, 4])
    assert not y.any()


def test_of_several_outs_those_that_are_none_are_left_to_numpy() -> None:
    whole = np.zeros(2)
    fraction, given = Into(np.modf)(np.array([1.5, 2.25]), out=(None, whole))
    np.testing.assert_array_equal(fraction, [0.5, 0.25])
    np.testing.assert_array_equal(given, [1, 2])
    assert given is not whole
    assert not whole.any()


@pytest.mark.parametrize(
    ("ufunc", "name", "other"),
    [
        (np.add, "iadd", np.array([1e-9, 2, 3])),
        (np.power, "ipow", 0.5),
        (np.power, "ipow", 2),
        (np.floor_divide, "ifloordiv", 2),
    ],
)
def test_an_operator_gives_what_the_left_operand_would_be(ufunc: np.ufunc, name: str, other: object) -> None:
    y = np.array([1, np.inf, -0.0], np.float32)
    expected = y.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(operator, name)(expected, other)
        given = Into(ufunc, getattr(operator, name))(y, other)
    np.testing.assert_array_equal(given, expected, strict=True)
    np.testing.assert_array_equal(np.signbit(given), np.signbit(expected))
    np.testing.assert_array_equal(y, np.array([1, np.inf, -0.0], np.float32))


def test_the_product_of_matrices_is_the_operators_too() -> None:
    y = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(Into(np.matmul, operator.imatmul)(y, 2 * np.eye(2)), 2 * y)
    row = np.arange(2.0)
    np.testing.assert_array_equal(Into(np.matmul, operator.imatmul)(row, y), row @ y)
    np.testing.assert_array_equal(row, [0, 1])


def test_an_array_without_axes_stays_one_and_a_scalar_is_bound_anew() -> None:
    add = Into(np.add, operator.iadd)
    assert type(add(np.array(1.0, np.float32), 1.5)) is np.ndarray
    given = add(np.float32(1), np.float64(2))
    assert type(given) is np.float64


def test_what_is_shown_has_the_type_of_what_is_written_to() -> None:
    old = np.ones(3, np.float32)
    assert shown_into(np.add, np.ones(3), [old], "`+=`").dtype == np.float32
    first, second = shown_into(np.modf, (np.ones(3), np.ones(3)), [None, old], "out= of numpy::modf")
    assert (first.dtype, second.dtype) == (np.float64, np.float32)


def test_what_does_not_fit_raises_as_numpy_does() -> None:
    with pytest.raises(ValueError, match=r"with shape \(3,\) doesn't match the broadcast shape \(2, 3\)"):
        shown_into(np.add, np.ones((2, 3)), [np.ones(3)], "`+=`")
    with pytest.raises(TypeError, match=r"output of `\+=` from dtype\('float64'\) to dtype\('int64'\)"):
        shown_into(np.add, np.ones(3), [np.ones(3, np.int64)], "`+=`")


def test_a_ufunc_fills_a_larger_out_and_another_function_does_not() -> None:
    row, rows = np.arange(3.0), np.zeros((2, 3))
    assert shown_into(np.add, row, [rows], "out= of numpy::add").shape == (2, 3)
    np.testing.assert_array_equal(Into(np.add)(row, 1, out=rows), [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(ValueError, match="non-broadcastable output operand"):
        shown_into(np.sum, row, [rows], "out= of numpy::sum")
