"""NumPy's functions on traced arrays: each captured as it is, or refused by name."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit.errors import TraceError
from asyncjit.graph import rules
from asyncjit.graph.functions import KNOWN, READS, REFUSED, name_of, ufunc_kind
from asyncjit.graph.tracing import trace
from tests.graph.eager import check, kinds
from tests.graph.numpy_calls import TABLE, arrays

LATER = {"cumulative_prod", "cumulative_sum", "unstack"}  # than NumPy 2.0
GONE = {"trapz"}  # in some version
MODULES = (np, np.linalg, np.fft, np.lib.stride_tricks)


def dispatched() -> set[str]:
    """Return the names of all functions that hand a call over to its arguments."""
    return {
        name_of(fn)
        for module in MODULES
        for name, fn in inspect.getmembers(module)
        if type(fn).__name__ == "_ArrayFunctionDispatcher" and not name.startswith("_")
    }


def run(fn: Callable[..., Any]) -> list[str]:
    """Trace a function of some of the arrays, compare it on other values, and return the kinds of its nodes."""
    names = list(inspect.signature(fn).parameters)
    example, others = arrays(1), arrays(2)
    return kinds(check(fn, {name: example[name] for name in names}, {name: others[name] for name in names}).graph)


def test_every_function_that_numpy_hands_over_is_known_or_refused_or_a_read() -> None:
    classified = KNOWN | set(REFUSED) | set(READS) | {"result_type", "common_type"}
    assert not dispatched() - classified
    assert not classified - dispatched() - {"where with one argument"} - LATER - GONE
    assert not KNOWN & set(REFUSED)


def test_every_known_function_has_a_call_in_the_table() -> None:
    assert set(TABLE) == KNOWN - GONE
    assert len(TABLE) >= 120


@pytest.mark.parametrize("is_large", [False, True], ids=["called", "by rules"])
@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(set(TABLE) & (dispatched() | LATER)))
def test_a_function_is_captured_and_gives_the_same_on_other_values(
    name: str, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in LATER and not hasattr(np, name):
        pytest.skip("not in this NumPy")
    if is_large:
        monkeypatch.setattr(rules, "SMALL", 0)
    assert f"numpy::{name}" in run(TABLE[name])


REFUSED_CALLS: dict[str, Callable[..., Any]] = {
    "nonzero": lambda x: np.nonzero(x),
    "argwhere": lambda x: np.argwhere(x),
    "flatnonzero": lambda x: np.flatnonzero(x),
    "extract": lambda m, x: np.extract(m, x),
    "where with one argument": lambda m: np.where(m),
    "place": lambda x, m: np.place(x, m, [0]),
    "putmask": lambda x, m: np.putmask(x, m, 0),
    "put": lambda x: np.put(x, [0], 1),
    "put_along_axis": lambda x, j: np.put_along_axis(x, j, 0, axis=0),
    "copyto": lambda x: np.copyto(np.zeros((3, 4), np.float32), x),
    "fill_diagonal": lambda s: np.fill_diagonal(s, 0),
    "unique": lambda v: np.unique(v),
    "unique_all": lambda v: np.unique_all(v),
    "unique_counts": lambda v: np.unique_counts(v),
    "unique_inverse": lambda v: np.unique_inverse(v),
    "unique_values": lambda v: np.unique_values(v),
    "union1d": lambda v: np.union1d(v, v),
    "intersect1d": lambda v: np.intersect1d(v, v),
    "setdiff1d": lambda v: np.setdiff1d(v, v),
    "setxor1d": lambda v: np.setxor1d(v, v),
    "trim_zeros": lambda v: np.trim_zeros(v),
    "bincount": lambda i: np.bincount(i),
    "histogram": lambda v: np.histogram(v),
    "histogram2d": lambda v: np.histogram2d(v, v),
    "histogramdd": lambda v: np.histogramdd(v),
    "histogram_bin_edges": lambda v: np.histogram_bin_edges(v),
    "allclose": lambda x: np.allclose(x, x),
    "array_equal": lambda x: np.array_equal(x, x),
    "array_equiv": lambda x: np.array_equiv(x, x),
    "can_cast": lambda x: np.can_cast(x, np.float32),
    "min_scalar_type": lambda x: np.min_scalar_type(x),
    "real_if_close": lambda c: np.real_if_close(c),
    "linalg.eig": lambda s: np.linalg.eig(s),
    "linalg.eigvals": lambda s: np.linalg.eigvals(s),
    "linalg.lstsq": lambda s, u: np.linalg.lstsq(s, u),
    "linalg.tensorinv": lambda s: np.linalg.tensorinv(s),
    "linalg.tensorsolve": lambda s: np.linalg.tensorsolve(s, s),
    "roots": lambda v: np.roots(v),
    "poly": lambda v: np.poly(v),
    "polydiv": lambda v, u: np.polydiv(v, u),
    "polyfit": lambda v: np.polyfit(v, v, 1),
    "array2string": lambda x: np.array2string(x),
    "array_repr": lambda x: np.array_repr(x),
    "array_str": lambda x: np.array_str(x),
    "datetime_as_string": lambda x: np.datetime_as_string(x),
    "save": lambda x: np.save("never", x),
    "savetxt": lambda x: np.savetxt("never", x),
    "savez": lambda x: np.savez("never", x),
    "savez_compressed": lambda x: np.savez_compressed("never", x),
    "may_share_memory": lambda x: np.may_share_memory(x, x),
    "shares_memory": lambda x: np.shares_memory(x, x),
    "apply_along_axis": lambda x: np.apply_along_axis(sum, 0, x),
    "apply_over_axes": lambda x: np.apply_over_axes(np.sum, x, [0]),
    "piecewise": lambda x: np.piecewise(x, [x > 0], [1]),
    "busday_count": lambda x: np.busday_count(x, x),
    "busday_offset": lambda x: np.busday_offset(x, 1),
    "is_busday": lambda x: np.is_busday(x),
    "einsum_path": lambda x: np.einsum_path("ij->i", x),
    "diag_indices_from": lambda s: np.diag_indices_from(s),
    "tril_indices_from": lambda s: np.tril_indices_from(s),
    "triu_indices_from": lambda s: np.triu_indices_from(s),
    "ix_": lambda i: np.ix_(i, i),
}


def test_every_refused_function_has_a_call() -> None:
    assert set(REFUSED_CALLS) == set(REFUSED)


@pytest.mark.parametrize("name", sorted(REFUSED_CALLS))
def test_a_refused_function_names_itself_the_place_and_the_way_out(name: str) -> None:
    fn = REFUSED_CALLS[name]
    example = arrays(1)
    with pytest.raises(TraceError) as caught:
        trace(fn, {name: example[name] for name in inspect.signature(fn).parameters})
    text = str(caught.value)
    assert text.startswith(f"{__file__}:{fn.__code__.co_firstlineno}: numpy.{name} of a traced array: ")
    assert text.endswith(REFUSED[name])


def test_a_function_nobody_has_looked_at_is_refused_as_unknown() -> None:
    class Dispatcher:
        __module__ = "other"
        __name__ = "f"

    def f(x: Any) -> Any:
        return x.__array_function__(Dispatcher(), (type(x),), (x,), {})

    with pytest.raises(TraceError, match=r"other\.f of a traced array is not known to the tracer: write it with other"):
        trace(f, np.ones(2))


UFUNCS = sorted({fn.__name__ for _, fn in inspect.getmembers(np) if isinstance(fn, np.ufunc)})
_OF_INTS = {"gcd", "lcm", "left_shift", "right_shift", "invert", "bitwise_and", "bitwise_or", "bitwise_xor"}


def operands(name: str, seed: int) -> dict[str, Any]:
    """Return arrays that a ufunc takes."""
    random = np.random.default_rng(seed)
    ufunc = getattr(np, name)
    given: list[Any]
    if name in _OF_INTS | {"bitwise_count"}:
        given = [random.integers(1, 9, (3, 3)) for _ in range(ufunc.nin)]
    elif name == "isnat":
        given = [random.integers(0, 9, (3, 3)).astype("datetime64[D]")]
    elif name == "ldexp":
        given = [random.standard_normal((3, 3)), random.integers(0, 3, (3, 3))]
    else:
        given = [random.standard_normal((3, 3)) for _ in range(ufunc.nin)]
    return dict(zip("pq", given, strict=False))


@pytest.mark.parametrize("is_large", [False, True], ids=["called", "by rules"])
@pytest.mark.parametrize("name", UFUNCS)
def test_a_ufunc_is_captured_by_its_name(name: str, is_large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_large:
        monkeypatch.setattr(rules, "SMALL", 0)
    ufunc = getattr(np, name)
    traced = check(lambda **given: ufunc(*given.values()), operands(name, 1), operands(name, 2))
    assert kinds(traced.graph) == [f"numpy::{name}"]
    assert next(traced.graph.nodes()).fn is ufunc


@pytest.mark.parametrize("is_large", [False, True], ids=["called", "by rules"])
@pytest.mark.parametrize("method", ["reduce", "accumulate", "outer", "reduceat"])
def test_a_ufuncs_methods_are_captured(method: str, is_large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_large:
        monkeypatch.setattr(rules, "SMALL", 0)
    second = {"outer": "u", "reduceat": "i"}.get(method)

    def f(**given: Any) -> Any:
        return getattr(np.add, method)(*given.values())

    names = ["x", *filter(None, [second])]
    traced = check(f, {name: arrays(1)[name] for name in names}, {name: arrays(2)[name] for name in names})
    assert kinds(traced.graph) == [f"numpy::add.{method}"]


def test_a_ufunc_at_places_is_refused() -> None:
    with pytest.raises(TraceError, match=r"test_functions.py:\d+: numpy::add.at writes into an array: use np.where"):
        trace(lambda x: np.add.at(x, [0], 1), np.ones(2))


def test_a_ufunc_of_another_package_has_no_numpy_name() -> None:
    other = np.frompyfunc(abs, 1, 1)
    assert ufunc_kind(other, "__call__") == "ufunc::abs (vectorized)"


def test_reads_of_type_and_shape_by_functions_give_plain_values_and_are_guarded() -> None:
    seen: list[Any] = []

    def f(x: Any, c: Any) -> Any:
        seen.append((tuple(np.shape(x)), np.ndim(x), np.size(x), np.size(x, 1), np.iscomplexobj(c), np.isrealobj(c)))
        seen.append((np.result_type(x, np.float64), np.common_type(x)))
        return x * np.size(x, 0)

    traced = trace(f, (np.ones((2, 3), np.float32), np.ones(2, complex)), check_trace=False)
    assert seen[0] == ((2, 3), 2, 6, 3, True, False)
    assert seen[1] == (np.dtype(np.float64), np.float32)
    assert {(guard.value.name, guard.what) for guard in traced.graph.guards} == {
        *(("x", "ndim"), ("x", 0), ("x", 1), ("x", "dtype"), ("c", "dtype"))
    }
