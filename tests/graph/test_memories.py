"""Changes of traced arrays: made pure where nobody else would see them, refused where somebody would."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit.errors import TraceError
from asyncjit.graph.memories import Memory
from asyncjit.graph.tracing import trace
from tests.graph.eager import assert_same, check, refusal

X = np.arange(12, dtype=np.float32).reshape(3, 4)


class Array:
    """Can be weakly referred to."""


def test_another_array_counts_as_long_as_it_is_alive() -> None:
    memory, first, second = Memory(), Array(), Array()
    memory.members += [weakref.ref(first), weakref.ref(second)]
    assert memory.has_others(first)
    del second
    assert not memory.has_others(first)
    assert not memory.is_foreign
    assert Memory(is_foreign=True).is_foreign


def test_a_change_is_seen_by_every_name_of_the_array() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        names = {"same": y}
        y += 1
        np.multiply(y, x, out=y)
        y.sort(axis=1)
        np.negative(y, y)
        return names["same"], y

    check(f, {"x": X}, {"x": -X})


def test_a_change_keeps_the_dtype_of_the_array() -> None:
    def f(x: Any, wide: Any) -> Any:
        y = x * 2
        y += wide
        y *= np.float64(3)
        return y

    wide = np.full(4, 1 / 3)
    check(f, {"x": X, "wide": wide}, {"x": X, "wide": wide * 1e-9})
    for x, other in ((X.astype(np.float64), wide), (X, wide), (X[:1], wide.astype(np.float16))):
        assert_same(f(x, other), trace(f, (X.astype(np.float64), wide), check_trace=False)(x, other))
        assert_same(f(x, other), trace(f, (X, wide), check_trace=False)(x, other))


def test_out_decides_on_the_dtype_that_is_computed_with_as_in_numpy() -> None:
    def f(x: Any, wide: Any) -> Any:
        total = wide * 1
        np.sum(x, axis=0, out=total)
        return total

    x = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    check(f, {"x": x, "wide": np.ones(4)}, {"x": -x, "wide": np.ones(4)})
    narrow = np.ones(4, np.float32)
    assert_same(f(x, narrow), trace(f, (x, np.ones(4)), check_trace=False)(x, narrow))


def test_a_change_keeps_an_array_without_axes_an_array() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        y += 1
        y **= 2
        return y

    check(f, {"x": np.array(1.5)}, {"x": np.array(2.5)})


def test_a_change_that_does_not_fit_other_shapes_raises_in_the_run() -> None:
    def f(x: Any, other: Any) -> Any:
        y = x * 2
        y += other
        return y

    traced = trace(f, (X, X))
    with pytest.raises(ValueError, match=r"non-broadcastable output operand with shape \(1,4\)"):
        traced(X[:1], X)


def test_a_scalar_is_bound_anew_as_in_numpy() -> None:
    def f(x: Any) -> Any:
        total = before = x.sum()
        total += np.float64(1)
        return total, before

    check(f, {"x": X}, {"x": -X})


def test_a_change_that_does_not_fit_raises_what_numpy_raises() -> None:
    def too_large(x: Any) -> Any:
        y = x[0] * 2
        y += x
        return y

    def no_cast(j: Any) -> Any:
        y = j * 2
        y += 1.5
        return y

    with pytest.raises(ValueError, match=r"non-broadcastable output operand with shape \(4,\) doesn't match"):
        trace(too_large, X)
    with pytest.raises(TypeError, match=r"from dtype\('float64'\) to dtype\('int64'\) with casting rule 'same_kind'"):
        trace(no_cast, np.arange(3))


def test_out_of_functions_and_of_several_results_is_written_to() -> None:
    def f(x: Any) -> Any:
        total, low, high = x.sum(axis=0), x * 0, x * 0
        given = np.sum(x * 2, axis=0, out=total)
        assert given is total
        low_too, high_too = np.modf(x * 1.5, out=(low, high))
        assert low_too is low
        assert high_too is high
        fraction, whole = np.modf(x, out=(None, high))  # type: ignore[arg-type]  # the stubs know it not
        assert whole is high
        x.mean(axis=0, out=total)
        return total, low, high, fraction

    check(f, {"x": X}, {"x": X / 3})


def test_a_plain_array_is_never_written_to() -> None:
    plain = np.zeros((3, 4), np.float32)

    def add(x: Any) -> Any:
        total = plain
        total += x
        return total

    text = "numpy::add writes into an array that is not traced (out=, or an operator like +=): the graph would not"
    assert refusal(add).startswith(text)
    assert refusal(lambda x: np.exp(x, out=plain)).startswith("numpy::exp writes into an array that is not traced")
    assert refusal(lambda x: np.sum(x, axis=0, out=plain[0])).startswith("numpy::sum writes into")
    assert refusal(lambda x: x.sum(axis=0, out=plain[0])).startswith("numpy::sum writes into")
    assert not plain.any()


def test_an_out_by_position_is_refused_too() -> None:
    def f(x: Any) -> Any:
        y = x[0] * 1
        np.sum(x, 0, None, y)
        return y

    assert refusal(f).startswith("numpy::sum writes into a traced array: use its result instead")
    assert refusal(lambda x: np.nan_to_num(x, copy=False)).startswith("numpy::nan_to_num writes into a traced array")


def test_where_of_ufuncs_is_refused() -> None:
    assert refusal(lambda x: np.exp(x, where=x > 0)).startswith("numpy::exp with where= leaves elements as they were")
    assert refusal(lambda x: np.exp(x, out=x * 1, where=x > 0)).endswith("use np.where(condition, np.exp(...), y)")


INSTEAD = "write a new array instead, as y = y + 1 or y = np.add(y, 1)"


def test_an_input_is_not_changed() -> None:
    def f(x: Any) -> Any:
        x += 1
        return x

    assert refusal(f) == f"`+=` would change the memory of an input, or of an array that is not traced: {INSTEAD}"
    assert refusal(lambda x: x.sort()).startswith(".sort() would change the memory of an input")
    assert refusal(lambda x: x.T.fill(0)).startswith(".fill() would change the memory of an input")
    assert refusal(lambda x: np.exp(x, out=x)).startswith("out= of numpy::exp would change the memory of an input")


VIEWS: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda y: y[1:],
    "reshape": lambda y: y.reshape(-1),
    "ravel": lambda y: np.ravel(y),
    "T": lambda y: y.T,
    "transpose": lambda y: np.transpose(y),
    "swapaxes": lambda y: y.swapaxes(0, 1),
    "squeeze": lambda y: y[None].squeeze(),
    "expand_dims": lambda y: np.expand_dims(y, 0),
    "broadcast_to": lambda y: np.broadcast_to(y, (2, 3, 4)),
    "split": lambda y: np.split(y, 3),
    "flip": lambda y: np.flip(y),
    "real": lambda y: y.real,
    "view": lambda y: y.view(np.int32),
    "diagonal": lambda y: y.diagonal(),
    "astype": lambda y: y.astype(np.float32, copy=False),
    "atleast_1d": lambda y: np.atleast_1d(y),
    "broadcast_arrays": lambda y: np.broadcast_arrays(y, 1.0),
    "iteration": lambda y: list(y),
    # What is a view in other runs only: of other dtypes, orders and sizes.
    "astype to another dtype": lambda y: y.astype(np.float64, copy=False),
    "conj": lambda y: y.conj(),
    "reshape in another order": lambda y: y.reshape(-1, order="F"),
    "an empty slice": lambda y: y[7:],
    "einsum": lambda y: np.einsum("ij->ji", y),
    "matrix_power": lambda y: np.linalg.matrix_power(y[:, :3], 1),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": lambda y: y.copy(),
    "flatten": lambda y: y.flatten(),
    "add": lambda y: y + 0,
    "index": lambda y: y[[0, 1]],
    "astype": lambda y: y.astype(np.float32),
    "concatenate": lambda y: np.concatenate([y, y]),
    "sum": lambda y: y.sum(axis=0),
    "einsum that sums": lambda y: np.einsum("ij->i", y),
    "matrix_power": lambda y: np.linalg.matrix_power(y[:, :3], 2),
    "where": lambda y: np.where(y > 0, y, 0),
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_has_views_alive_or_is_one_is_not_changed(name: str) -> None:
    def of_base(x: Any) -> Any:
        y = x * 2
        view = VIEWS[name](y)
        y += 1
        return y, view

    def of_view(x: Any) -> Any:
        y = x * 2
        view = VIEWS[name](y)
        view = view[0] if isinstance(view, (list, tuple)) else view
        view += 1
        return y, view

    text = f"`+=` would change memory that another array shares: a view of it, or a future's value: {INSTEAD}"
    assert refusal(of_base) == refusal(of_view) == text


def test_a_view_of_a_large_array_is_seen_too() -> None:
    def f(x: Any) -> Any:
        y = x + 1
        view = np.einsum("ij->ji", y)
        view *= 2
        return y

    with pytest.raises(TraceError, match=r"`\*=` would change memory that another array shares"):
        trace(f, np.ones((100, 100)))


@pytest.mark.parametrize("name", COPIES)
def test_what_was_copied_may_be_changed(name: str) -> None:
    def f(x: Any) -> Any:
        y = x * 2
        copy = COPIES[name](y)
        y += 1
        copy *= 3
        return y, copy

    check(f, {"x": X}, {"x": X - 5})


def test_a_view_whose_base_is_gone_may_be_changed() -> None:
    def f(x: Any) -> Any:
        y = (x * 2).reshape(-1)
        y += 1
        return y

    check(f, {"x": X}, {"x": -X})


def test_a_view_of_a_plain_array_is_not_changed() -> None:
    plain = np.zeros((3, 4), np.float32)

    def f(x: Any) -> Any:
        view = np.broadcast_arrays(plain, x)[0]
        view += 1
        return view

    assert "the memory of an input, or of an array that is not traced" in refusal(f)
