"""Traced arrays: what is read of them is guarded, what would fix a value is refused, what changes them is made pure."""

import math
import pickle
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit import fork
from asyncjit.errors import TraceError
from asyncjit.graph.tracer import Tracer
from asyncjit.graph.tracing import trace
from asyncjit.nn.functional import embedding
from tests.graph.eager import check, kinds, refusal

Pair = namedtuple("Pair", "low high")
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def guards(fn: Callable[..., Any], *inputs: Any) -> set[tuple[str, Any, Any]]:
    """Return what the graph of a function was specialised to."""
    traced = trace(fn, inputs or (X,))
    return {(guard.value.name, guard.what, guard.expected) for guard in traced.graph.guards}


# -- values that would be fixed


def test_a_branch_on_a_value_shows_where_it_is_and_names_where() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        if y.sum() > 0:
            return y
        return -y

    text = refusal(f)
    assert text.startswith("the truth value of the traced array %2 : bool[]: if, while, and, or, not and assert need")
    assert text.endswith("np.where(condition, a, b); for masks use & | ~")
    with pytest.raises(TraceError, match=rf"{__file__}:{f.__code__.co_firstlineno + 2}: "):
        trace(f, X)


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda x: x if (x > 0).all() and x.any() else -x, "the truth value"),
        (lambda x: math.sqrt(x.sum()), "and np.sqrt for math.sqrt"),
        (lambda x: int(x[0, 0]), r"int\(\) of .*x.astype\(int\)"),
        (lambda x: np.zeros(x[0, 0]), "the use as an index, a size or a range"),
        (lambda x: np.arange(x[0, 0]), r"float\(\) or|the use as an index|the conversion"),
        (lambda x: round(x[0, 0]), r"round\(\) of .*np.round"),
        (lambda x: math.floor(x[0, 0]), "np.floor"),
        (lambda x: math.ceil(x[0, 0]), "np.ceil"),
        (lambda x: math.trunc(x[0, 0]), "np.trunc"),
        (lambda x: f"{x.sum():.3f}", r"the text of .*repr\(x\)"),
        (lambda x: "%f" % x.sum(), r"float\(\) or"),  # noqa: UP031  # that is the case
        (lambda x: 3.0 in x, "`in` of .*np.any"),
        (lambda x: {x: 1}, "the hash of"),
        (lambda x: pickle.dumps(x), "pickling"),
        (lambda x: np.array(x), r"the conversion to a plain array .*np.stack"),
        (lambda x: np.asarray(x) + 1, "the conversion to a plain array"),
        (lambda x: np.array([x, x]), "np.stack makes one of a list"),
        (lambda x: np.ascontiguousarray(x), "the conversion to a plain array"),
        (lambda x: np.ones((3, 4)).dot(x.T), "the conversion to a plain array"),
        (lambda x: np.random.default_rng(0).normal(x), "the conversion to a plain array"),
        (lambda x: np.random.default_rng(0).normal(size=x[0, 0]), "the use as an index, a size or a range"),
        (lambda x: np.float32(x.sum()), r"the conversion to a plain array|float\(\)"),
    ],
)
def test_what_would_fix_a_value_is_refused(fn: Callable[..., Any], text: str) -> None:
    with pytest.raises(TraceError, match=text):
        trace(fn, X)


def test_a_plain_array_indexed_by_a_traced_one_names_embedding() -> None:
    table = np.ones((5, 2))
    with pytest.raises(TraceError, match=r"nn.functional.embedding\(x, plain\) looks up in a plain array"):
        trace(lambda i: table[i], np.array([0, 3]))
    check(lambda i: embedding(i, table), {"i": np.array([0, 3])}, {"i": np.array([4, 4])})


def test_putting_a_traced_array_into_a_plain_one_is_refused() -> None:
    def f(x: Any) -> Any:
        y = np.zeros((3, 4))
        y[0] = x[0]
        return y

    assert refusal(f).startswith("the conversion to a plain array")


def test_print_and_repr_show_the_type(capsys: pytest.CaptureFixture[str]) -> None:
    trace(lambda x: print(x, repr(x * 2), [x]), X, check_trace=False)
    assert capsys.readouterr().out == "%x : float32[3, 4] %0 : float32[3, 4] [%x : float32[3, 4]]\n"


def test_a_memoryview_is_refused_by_python() -> None:
    with pytest.raises(TypeError, match="a bytes-like object is required"):
        trace(lambda x: memoryview(x), X)


def test_it_is_an_array_to_isinstance_and_a_scalar_where_numpy_gives_one() -> None:
    def f(x: Any) -> Any:
        assert (type(x),) == (Tracer,)
        assert isinstance(x, np.ndarray)
        assert not np.isscalar(x)
        assert isinstance(x.sum(), np.float32)
        assert np.isscalar(x.sum())
        assert not isinstance(x.sum(), np.ndarray)
        return x

    trace(f, X, check_trace=False)


def test_it_has_no_attributes_of_its_own() -> None:
    with pytest.raises(AttributeError):
        trace(lambda x: x.nothing, X)
    with pytest.raises(AttributeError):
        trace(lambda x: setattr(x, "name", "y"), X)
    for name in ("shape", "real", "imag"):
        with pytest.raises(TraceError, match=rf"setting \.{name} of the traced array %x"):
            trace(lambda x, name=name: setattr(x, name, 1), X)


# -- items


def test_basic_indices_are_kept_as_they_are() -> None:
    def f(x: Any) -> Any:
        return x[0], x[-1, 1:], x[..., None], x[::2, ::-1], x[()], x[1][2]

    traced = check(f, {"x": X}, {"x": -X})
    assert "numpy::getitem(%x, (:<2>, :<-1>))" not in str(traced.graph)
    assert kinds(traced.graph) == ["numpy::getitem"] * 7


def test_index_arrays_and_constant_masks_are_kept() -> None:
    mask = X > 4
    check(
        lambda x: (x[[2, 0]], x[np.array([1, 1]), 2:], x[mask], x[:, [True, False, True, False]]), {"x": X}, {"x": -X}
    )


def test_traced_indices_look_up_what_they_are_in_the_run() -> None:
    def f(x: Any, i: Any, n: Any) -> Any:
        return x[i], x[i, i], x[:, i], x[n], x[n, 1:], x[[n, n]]

    check(f, {"x": X, "i": np.array([0, 1]), "n": np.int64(1)}, {"x": X, "i": np.array([2, 0]), "n": np.int64(2)})


def test_traced_masks_are_refused() -> None:
    assert refusal(lambda x: x[x > 0]).startswith("indexing with the traced mask %0 : bool[3, 4]: the shape")
    assert "np.where(mask, x, 0)" in refusal(lambda x: x[0, x[0] > 0])


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, n: x[:n],
        lambda x, n: np.repeat(x, n),
        lambda x, n: x.repeat([1, 2, n], axis=0),
        lambda x, n: np.tile(x, (n, 1)),
        lambda x, n: x.reshape(n, -1),
        lambda x, n: np.linspace(x, 2 * x, n),
        lambda x, n: np.compress([n > 0, True, True], x, axis=0),
    ],
)
def test_a_shape_that_depends_on_a_traced_number_is_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises((TraceError, TypeError), match=r"the shape of its result depends|as an index, a size"):
        trace(fn, (X, np.int64(2)))


def test_assigning_and_deleting_items_is_refused() -> None:
    def assign(x: Any) -> Any:
        y = x * 2
        y[0] = 1
        return y

    text = "assigning items of the traced array %0 : float32[3, 4]: a graph's arrays are never changed: build the whole"
    assert refusal(assign).startswith(text)


# -- shapes


def test_each_size_that_is_read_is_guarded_and_no_other() -> None:
    assert guards(lambda x: x * 2) == set()
    assert guards(lambda x: x.sum(axis=1) + np.zeros_like(x).T.mean()) == set()
    assert guards(lambda x: x * x.shape[0]) == {("x", 0, 3)}
    assert guards(lambda x: x * x.shape[-1]) == {("x", 1, 4), ("x", "ndim", 2)}
    assert guards(lambda x: x * len(x)) == {("x", 0, 3)}
    assert guards(lambda x: x * x.ndim) == {("x", "ndim", 2)}
    assert guards(lambda x: x.astype(x.dtype)) == {("x", "dtype", np.dtype("float32"))}
    assert guards(lambda x: x * x.itemsize) == {("x", "dtype", np.dtype("float32"))}
    assert guards(lambda x: list(x)) == {("x", 0, 3)}
    every = {("x", "ndim", 2), ("x", 0, 3), ("x", 1, 4)}
    assert guards(lambda x: x.reshape(x.shape)) == every
    assert guards(lambda x: x * x.size) == every
    assert guards(lambda x: x * x.nbytes) == every | {("x", "dtype", np.dtype("float32"))}
    assert guards(lambda x: np.broadcast_to(x[0, 0], x.shape)) == every


def test_a_guard_knows_where_it_was_read_and_is_kept_once() -> None:
    def f(x: Any) -> Any:
        a, b = x.shape
        return x * a * b * x.shape[0]

    traced = trace(f, X)
    assert [guard.what for guard in traced.graph.guards] == ["ndim", 0, 1]
    place = traced.graph.guards[0].place
    assert place is not None
    assert (place.filename, place.line, place.function) == (__file__, f.__code__.co_firstlineno + 1, "f")


def test_another_size_of_what_was_read_is_an_error_that_names_it_and_any_other_works() -> None:
    def f(x: Any) -> Any:
        return x.sum(axis=1) / x.shape[1]

    traced = trace(f, X)
    other = np.ones((7, 4), np.float32)
    assert np.array_equal(traced(other), f(other))
    line = f.__code__.co_firstlineno + 1
    with pytest.raises(
        TraceError, match=rf"size in dimension 1 of the input x was read at {__file__}:{line} .*4; now .*5"
    ):
        traced(np.ones((3, 5), np.float32))


def test_the_class_of_a_scalar_is_its_dtype_and_guarded_and_that_of_an_array_is_not() -> None:
    def f(x: Any) -> Any:
        assert isinstance(x, np.ndarray)
        total = x.sum()
        return total * 2 if isinstance(total, np.float32) else total * 3

    assert guards(f) == {("0", "dtype", np.dtype("float32"))}
    with pytest.raises(TraceError, match=r"the dtype of %0, which numpy::sum gives, was read at .* now it is float64"):
        trace(f, X)(np.ones(3))
    assert guards(lambda x: (x.sum() * x, np.stack([x[0, 0], x.max()]), [fork(np.negative, x.mean()).wait()])) == set()


def test_the_length_and_the_items_of_what_has_no_axes_are_as_numpys() -> None:
    with pytest.raises(TypeError, match=r"len\(\) of unsized object"):
        trace(lambda x: len(x[0, 0]), X)
    with pytest.raises(TypeError, match="iteration over a 0-d array"):
        trace(lambda x: list(x[0, 0]), X)


# -- structures


def test_nested_arguments_and_results_keep_their_structure() -> None:
    def f(pair: Any, *, options: Any) -> Any:
        low, high = pair
        return Pair(low + high, {"all": [low, (high * options["scale"], None)], "n": 3}), "text", options["bias"][0]

    example = {"pair": Pair(X, X + 1), "options": {"scale": 2.0, "bias": [X[0], X[1]]}}
    others = {"pair": Pair(-X, X * 3), "options": {"scale": 2.0, "bias": [X[2], X[1]]}}
    traced = check(f, example, others)
    assert [value.name for value in traced.graph.inputs()][:2] == ["pair", "0"]
    assert type(traced(**others)[0]) is Pair


def test_lists_of_traced_arrays_go_where_numpy_hands_them_over() -> None:
    check(
        lambda x, y: (np.stack([x, y * 2]), np.concatenate((x, y)), np.block([x, y])),
        {"x": X, "y": X},
        {"x": -X, "y": X},
    )


def test_what_may_hide_traced_arrays_is_not_returned() -> None:
    class Box:
        def __init__(self, x: Any) -> None:
            self.x = x

    with pytest.raises(
        TraceError, match=r"<lambda>\(\) returns .*Box.* of type Box, which may hide traced arrays: return"
    ):
        trace(lambda x: Box(x * 2), X)
    with pytest.raises(TraceError, match="of type set, which may hide"):
        trace(lambda x: {1, 2}, X)
