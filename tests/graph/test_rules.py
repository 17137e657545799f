"""The rules of shapes: they say of large arrays what NumPy says."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from asyncjit.graph import rules
from asyncjit.graph.dummies import SMALL, dummy, type_of
from asyncjit.graph.methods import Method
from asyncjit.graph.rules import METHOD_RULES, RULES, NotCovered, evaluate
from asyncjit.graph.trees import leaves_of

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def of(shape: tuple[int, ...], dtype: Any = F32) -> Any:
    return dummy(np.dtype(dtype), shape)


def agrees(rule: rules.Rule, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Compare a rule with the function itself; scalars with scalars."""
    with np.errstate(all="ignore"):
        expected = list(leaves_of(fn(*args, **kwargs)))
    found = list(leaves_of(rule(fn, args, kwargs)))
    assert [(type_of(leaf), isinstance(leaf, np.generic)) for leaf in found] == [
        (type_of(leaf), isinstance(leaf, np.generic)) for leaf in expected
    ]


@given(mutually_broadcastable_shapes(num_shapes=2, min_side=0), st.sampled_from([F32, np.dtype(np.int8)]))
def test_elementwise_operands_are_broadcast(shapes: Any, dtype: Any) -> None:
    a, b = (of(shape, dtype) for shape in shapes.input_shapes)
    for fn in (np.add, np.less, np.divide, np.divmod, operator.pow):
        agrees(rules.elementwise, fn, a, b)
        agrees(rules.elementwise, fn, a, 2)


@given(array_shapes(max_dims=3, max_side=4), st.data())
def test_reductions_leave_out_their_axes(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes: Any = st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1))
    axis, keepdims = data.draw(axes), data.draw(st.booleans())
    for fn in (np.sum, np.mean, np.max, np.any, np.argmax, np.std, np.median):
        agrees(rules.reduction, fn, of(shape), axis=axis, keepdims=keepdims)
    agrees(rules.reduction, np.sum, of(shape), axis)
    agrees(rules.reduction, np.sum, of(shape), axis=tuple(range(len(shape)))[:2])
    agrees(rules.reduction, Method("prod"), of(shape), axis)
    agrees(rules.reduction, np.add.reduce, of(shape))


@given(array_shapes(max_dims=3, max_side=4), st.data())
def test_running_sums_and_copies_keep_their_shape(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis: Any = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    for fn in (np.cumsum, np.sort, np.argsort):
        agrees(rules.like_first, fn, of(shape), axis=axis)
    agrees(rules.like_first, np.copy, of(shape))
    agrees(rules.like_first, Method("astype"), of(shape), np.int8)


@given(array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_concatenated_and_stacked_arrays(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    other = list(shape)
    other[axis] += 2
    agrees(rules.concatenate, np.concatenate, [of(shape), of(tuple(other), F64)], axis=axis)
    agrees(rules.concatenate, np.concatenate, (of(shape), of(shape)), axis)
    agrees(rules.stack, np.stack, [of(shape), of(shape, F64)], axis=data.draw(st.integers(-len(shape) - 1, len(shape))))


SIDES = st.integers(1, 4)


@given(SIDES, SIDES, SIDES, mutually_broadcastable_shapes(num_shapes=2, max_dims=2))
def test_products(m: int, k: int, n: int, batch: Any) -> None:
    first, second = batch.input_shapes
    agrees(rules.matmul, np.matmul, of((*first, m, k)), of((*second, k, n), F64))
    agrees(rules.matmul, np.matmul, of((k,)), of((*second, k, n)))
    agrees(rules.matmul, np.matmul, of((*first, m, k)), of((k,)))
    agrees(rules.matmul, np.matmul, of((k,)), of((k,)))
    agrees(rules.dot, np.dot, of((*first, m, k)), of((*second, k, n)))
    agrees(rules.dot, np.dot, of((*first, m, k)), of((k,)))
    agrees(rules.dot, np.dot, of((k,)), of((k,)))
    agrees(rules.dot, Method("dot"), of((m, k)), 2.0)
    agrees(rules.inner, np.inner, of((*first, m, k)), of((n, k)))
    agrees(rules.inner, np.inner, of((k,)), of((k,)))
    agrees(rules.outer, np.outer, of((*first, m)), of((n,), F64))
    agrees(rules.outer_of_ufunc, np.subtract.outer, of((*first, m)), of((k, n)))
    agrees(rules.tensordot, np.tensordot, of((m, k)), of((k, n)), 1)
    agrees(rules.tensordot, np.tensordot, of((m, k, n)), of((n, k, 2)), axes=([1, 2], [1, 0]))
    agrees(rules.tensordot, np.tensordot, of((m, k)), of((n, k)), axes=(1, -1))
    agrees(rules.multi_dot, np.linalg.multi_dot, [of((m, k)), of((k, n)), of((n, m))])


@pytest.mark.parametrize("subscripts", ["ij,jk->ik", "ij,jk", "ij,jk->", "ij , jk -> kij", "ij,ji"])
def test_einsum_by_its_subscripts(subscripts: str) -> None:
    side = 3 if subscripts.endswith("ji") else 5
    agrees(rules.einsum, np.einsum, subscripts, of((3, 4)), of((4, side)))


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["full", "same", "valid"]))
def test_convolutions_by_their_mode(m: int, n: int, mode: Any) -> None:
    agrees(rules.convolve, np.convolve, of((m,)), of((n,)), mode)
    agrees(rules.convolve, np.correlate, of((m,)), of((n,)), mode=mode)
    agrees(rules.convolve, np.convolve, of((m,)), of((n,)))
    agrees(rules.convolve, np.correlate, of((m,)), of((n,)))


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (5, 3), (3, 5), (1, 1), (2, 1, 3)])
def test_factors_of_matrices_have_the_lengths_of_real_ones(shape: tuple[int, ...]) -> None:
    real = np.random.default_rng(0).standard_normal(shape)
    square: dict[Any, tuple[Any, ...]] = {
        **dict.fromkeys((np.linalg.inv, np.linalg.det, np.linalg.slogdet, np.linalg.eigh, np.linalg.eigvalsh), ()),
        np.linalg.matrix_power: (3,),
    }
    any_shape: dict[Any, tuple[Any, ...]] = {
        **dict.fromkeys((np.linalg.svd, np.linalg.svdvals, np.linalg.qr, np.linalg.pinv, np.linalg.matrix_rank), ()),
        np.linalg.matrix_norm: (),
    }
    for fn, args in (any_shape | (square if shape[-1] == shape[-2] else {})).items():
        agrees(rules.matrices, fn, real, *args)
    agrees(rules.matrices, np.linalg.svd, real, full_matrices=False)
    agrees(rules.matrices, np.linalg.svd, real, compute_uv=False)
    agrees(rules.matrices, np.linalg.qr, real, "complete")


@pytest.mark.parametrize(("a", "b"), [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 1))])
def test_solutions_have_the_shape_of_the_right_hand_side(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    agrees(rules.solve, np.linalg.solve, random.standard_normal(a), random.standard_normal(b))


def test_large_arrays_take_no_time_and_no_memory() -> None:
    million = (1_000_000, 1_000_000)
    x = of(million)
    assert type_of(evaluate(np.tanh, [x], {})).shape == million
    assert type_of(evaluate(np.matmul, [x, x], {})).shape == million
    assert type_of(evaluate(np.sum, [x], {"axis": 0})).shape == million[:1]
    assert type_of(evaluate(np.concatenate, [[x, x]], {"axis": 1})).shape == (1_000_000, 2_000_000)
    assert type_of(evaluate(Method("astype"), [x, np.float64], {})) == type_of(of(million, F64))
    assert type_of(evaluate(np.linalg.svdvals, [x], {})).shape == million[:1]


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (np.add, (of((3, 4)), of((4, 3)))),
        (np.matmul, (of((3, 4)), of((3, 4)))),
        (np.concatenate, ([of((3, 4)), of((4, 3))],)),
        (np.sum, (of((3, 4)), 5)),
        (np.linalg.inv, (of((3, 4)),)),
        (np.linalg.solve, (of((3, 3)), of((4,)))),
        (np.einsum, ("ij,jk", of((3, 4)), of((3, 4)))),
    ],
)
def test_a_mistake_is_told_by_numpy_itself(fn: Any, args: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SMALL", 0)
    with pytest.raises((ValueError, np.linalg.LinAlgError)) as expected:
        fn(*args)
    with pytest.raises(expected.type) as found:
        evaluate(fn, args, {})
    assert str(found.value) == str(expected.value)


def test_small_arrays_are_asked_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError

    for name in (np.sum, np.concatenate):
        monkeypatch.setitem(RULES, name, never)
    assert evaluate(np.sum, [of((SMALL,))], {}) == SMALL
    monkeypatch.setitem(METHOD_RULES, "sum", never)
    assert evaluate(Method("sum"), [of((SMALL,))], {}) == SMALL


def test_what_a_rule_does_not_cover_it_says() -> None:
    with pytest.raises(NotCovered):
        rules.reduction(np.sum, [of((0, 2))], {})
    with pytest.raises(NotCovered):
        rules.concatenate(np.concatenate, [[of((2,))]], {"axis": None})
    with pytest.raises(NotCovered):
        rules.einsum(np.einsum, ["...i->...", of((2,))], {})
