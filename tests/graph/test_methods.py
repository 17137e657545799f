"""The methods and attributes of arrays, on traced ones: each is captured, read and guarded, or refused."""

import copy
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncjit.errors import TraceError
from asyncjit.graph import rules
from asyncjit.graph.methods import Method
from asyncjit.graph.tracing import trace
from tests.graph.eager import check, kinds
from tests.graph.numpy_calls import arrays

#: The kind of node, and a call.
CAPTURED: dict[str, tuple[str, Callable[..., Any]]] = {
    "T": ("transpose", lambda x: x.T),
    "mT": ("matrix_transpose", lambda b: b.mT),
    "real": ("real", lambda c: c.real),
    "imag": ("imag", lambda c: c.imag),
    "all": ("all", lambda m: m.all(axis=1)),
    "any": ("any", lambda m: m.any()),
    "argmax": ("argmax", lambda x: x.argmax(axis=1)),
    "argmin": ("argmin", lambda x: x.argmin()),
    "argpartition": ("argpartition", lambda v: v.argpartition(2)),
    "argsort": ("argsort", lambda x: x.argsort()),
    "astype": ("astype", lambda x: x.astype(np.float64)),
    "byteswap": ("byteswap", lambda k: k.byteswap()),
    "choose": ("choose", lambda i, u: i.choose([u, u + 1, 2 * u])),
    "clip": ("clip", lambda x: x.clip(min=0, max=1)),
    "compress": ("compress", lambda x: x.compress([False, True, True], axis=0)),
    "conj": ("conjugate", lambda c: c.conj()),
    "conjugate": ("conjugate", lambda c: c.conjugate()),
    "copy": ("copy", lambda x: x.copy()),
    "cumprod": ("cumprod", lambda x: x.cumprod(axis=0)),
    "cumsum": ("cumsum", lambda x: x.cumsum()),
    "diagonal": ("diagonal", lambda s: s.diagonal()),
    "dot": ("dot", lambda x, w: x.dot(w)),
    "flatten": ("flatten", lambda x: x.flatten()),
    "max": ("max", lambda x: x.max(axis=(0, 1))),
    "mean": ("mean", lambda x: x.mean(axis=-1, keepdims=True)),
    "min": ("min", lambda x: x.min(0)),
    "prod": ("prod", lambda x: x.prod()),
    "ravel": ("ravel", lambda x: x.ravel()),
    "repeat": ("repeat", lambda x: x.repeat(2)),
    "reshape": ("reshape", lambda x: x.reshape(2, -1)),
    "round": ("round", lambda x: x.round(1)),
    "searchsorted": ("searchsorted", lambda r, v: r.searchsorted(v)),
    "squeeze": ("squeeze", lambda x: x[:1].squeeze(0)),
    "std": ("std", lambda x: x.std(ddof=1)),
    "sum": ("sum", lambda x: x.sum(axis=0, dtype=np.float64)),
    "swapaxes": ("swapaxes", lambda b: b.swapaxes(0, 1)),
    "take": ("take", lambda x, i: x.take(i, axis=0)),
    "to_device": ("to_device", lambda x: x.to_device("cpu")),
    "trace": ("trace", lambda s: s.trace()),
    "transpose": ("transpose", lambda b: b.transpose(2, 0, 1)),
    "var": ("var", lambda x: x.var(axis=1)),
    "view": ("view", lambda x: x.view(np.int32)),
    "fill": ("full_like", lambda x: operator.mul(y := x * 2, y.fill(3) or 1)),
    "partition": ("partition", lambda v: operator.mul(y := v * 2, y.partition(2) or 1)),
    "sort": ("sort", lambda x: operator.mul(y := x * 2, y.sort(axis=0) or 1)),
    "__copy__": ("copy", lambda x: copy.copy(x)),
    "__deepcopy__": ("copy", lambda x: copy.deepcopy(x)),
    "__getitem__": ("getitem", lambda x: x[1:, ::2]),
    "__iter__": ("getitem", lambda x: [row * 2 for row in x]),
}

OPERATORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "__neg__": ("negative", lambda x: -x),
    "__pos__": ("positive", lambda x: +x),
    "__abs__": ("absolute", lambda x: abs(x)),
    "__invert__": ("invert", lambda j: ~j),
    "__add__": ("add", lambda x: x + 1),
    "__radd__": ("add", lambda x: 1 + x),
    "__sub__": ("subtract", lambda x, y: x - y),
    "__rsub__": ("subtract", lambda x: 2.5 - x),
    "__mul__": ("multiply", lambda x, a: x * a),
    "__rmul__": ("multiply", lambda x: np.float32(3) * x),
    "__truediv__": ("divide", lambda j: j / 2),
    "__rtruediv__": ("divide", lambda x: 1 / x),
    "__floordiv__": ("floor_divide", lambda j: j // 2),
    "__rfloordiv__": ("floor_divide", lambda x: 7 // x),
    "__mod__": ("remainder", lambda j: j % 2),
    "__rmod__": ("remainder", lambda x: 7 % x),
    "__divmod__": ("divmod", lambda x: divmod(x, 2)),
    "__rdivmod__": ("divmod", lambda x: divmod(7, x)),
    "__pow__": ("power", lambda x: x**2),
    "__rpow__": ("power", lambda x: 2**x),
    "__matmul__": ("matmul", lambda x, w: x @ w),
    "__rmatmul__": ("matmul", lambda x: np.arange(3) @ x),
    "__and__": ("bitwise_and", lambda j: j & 1),
    "__rand__": ("bitwise_and", lambda m: True & m),
    "__or__": ("bitwise_or", lambda j: j | 4),
    "__ror__": ("bitwise_or", lambda j: 4 | j),
    "__xor__": ("bitwise_xor", lambda m: m ^ True),
    "__rxor__": ("bitwise_xor", lambda j: 1 ^ j),
    "__lshift__": ("left_shift", lambda j: j << 2),
    "__rlshift__": ("left_shift", lambda j: 2 << j),
    "__rshift__": ("right_shift", lambda j: j >> 1),
    "__rrshift__": ("right_shift", lambda j: 64 >> j),
    "__lt__": ("less", lambda x: x < 0),
    "__le__": ("less_equal", lambda x, y: x <= y),
    "__gt__": ("greater", lambda x: x > np.zeros(4)),
    "__ge__": ("greater_equal", lambda x: x >= 0),
    "__eq__": ("equal", lambda j: j == 1),
    "__ne__": ("not_equal", lambda j: j != 1),
}


def _changed(sign: str) -> Callable[..., Any]:
    change = getattr(operator, f"i{sign}")

    def f(y: Any, other: Any) -> Any:
        same = y = y + 0
        y = change(y, other)
        return y, same

    return f


IN_PLACE = {
    "__iadd__": ("add", _changed("add"), "xa"),
    "__isub__": ("subtract", _changed("sub"), "xy"),
    "__imul__": ("multiply", _changed("mul"), "xa"),
    "__itruediv__": ("divide", _changed("truediv"), "xy"),
    "__ifloordiv__": ("floor_divide", _changed("floordiv"), "xa"),
    "__imod__": ("remainder", _changed("mod"), "xy"),
    "__ipow__": ("power", _changed("pow"), "xy"),
    "__imatmul__": ("matmul", _changed("matmul"), "ss"),
    "__iand__": ("bitwise_and", _changed("and"), "jj"),
    "__ior__": ("bitwise_or", _changed("or"), "jj"),
    "__ixor__": ("bitwise_xor", _changed("xor"), "jj"),
    "__ilshift__": ("left_shift", _changed("lshift"), "jj"),
    "__irshift__": ("right_shift", _changed("rshift"), "jj"),
}


def _got(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(x, name)


def _called(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(x, name)()


REFUSED: dict[str, Callable[[Any], Any]] = {
    **{name: _got(name) for name in ("base", "ctypes", "data", "flags", "flat", "strides")},
    **{name: _called(name) for name in ("dump", "dumps", "item", "nonzero", "tolist", "tobytes", "setflags")},
    **{name: _called(name) for name in ("__dlpack__", "__dlpack_device__", "__reduce__")},
    "tofile": lambda x: x.tofile("never"),
    "put": lambda x: x.put([0], 1),
    "resize": lambda x: x.resize((2, 2)),
    "setfield": lambda x: x.setfield(1, np.int8),
    "getfield": lambda x: x.getfield(np.int8),
    "__array__": lambda x: np.array(x),
    "__bool__": lambda x: not x,
    "__float__": lambda x: float(x),
    "__int__": lambda x: int(x),
    "__complex__": lambda x: complex(x),
    "__index__": lambda x: range(x),
    "__format__": lambda x: f"{x}",
    "__contains__": lambda x: 1 in x,
    "__setitem__": lambda x: operator.setitem(x, 0, 1),
    "__delitem__": lambda x: operator.delitem(x, 0),
    "__hash__": lambda x: {x: 1},
    "__reduce_ex__": lambda x: x.__reduce_ex__(2),
}

READ = {"shape", "ndim", "size", "dtype", "itemsize", "nbytes", "device", "__len__", "__class__", "__array_namespace__"}
PROTOCOLS = {"__array_ufunc__", "__array_function__"}
TEXTS = {"__repr__", "__str__"}

#: Of the class or of Python's objects; or what NumPy looks for, in vain, before it asks for `__array__`.
NOT_THERE = {
    *("__array_finalize__", "__array_interface__", "__array_priority__", "__array_struct__", "__array_wrap__"),
    *("__class_getitem__", "__buffer__", "__setstate__", "_set_dtype", "_set_shape"),
}
OF_OBJECTS = set(dir(object)) - {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}


def test_every_name_that_an_array_has_is_captured_or_read_or_refused() -> None:
    handled = {*CAPTURED, *OPERATORS, *IN_PLACE, *REFUSED, *READ, *PROTOCOLS, *TEXTS}
    assert not set(dir(np.ndarray)) - handled - NOT_THERE - OF_OBJECTS


@pytest.mark.parametrize("is_large", [False, True], ids=["called", "by rules"])
@pytest.mark.parametrize("name", [*CAPTURED, *OPERATORS])
def test_it_is_captured_under_the_functions_name(name: str, is_large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_large:
        monkeypatch.setattr(rules, "SMALL", 0)
    kind, fn = (CAPTURED | OPERATORS)[name]
    names = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    traced = check(fn, {key: arrays(1)[key] for key in names}, {key: arrays(2)[key] for key in names})
    assert f"numpy::{kind}" in kinds(traced.graph)


@pytest.mark.parametrize("name", IN_PLACE)
def test_an_operator_that_changes_its_array_becomes_a_pure_one_that_all_its_names_see(name: str) -> None:
    kind, fn, names = IN_PLACE[name]
    example, others = ({"y": given[names[0]], "other": given[names[1]]} for given in (arrays(1), arrays(2)))
    traced = check(fn, example, others)
    assert kinds(traced.graph)[:2] == ["numpy::add", f"numpy::{kind}"]
    assert len(set(map(id, traced.graph.outputs()))) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_a_value_or_memory_is_refused_with_the_place_and_the_way_out(name: str) -> None:
    fn = REFUSED[name]
    with pytest.raises(
        TraceError, match=rf"^{__file__}:{fn.__code__.co_firstlineno}: .* of the traced array %x .*: \w"
    ):
        trace(fn, (np.ones(()),) if name in ("__float__", "__int__", "__index__") else (np.ones((2, 2)),))


def test_a_method_is_called_of_whatever_is_there() -> None:
    assert Method("sum")(np.ones((2, 2)), axis=0).tolist() == [2, 2]
    assert Method("sum")(np.float32(3)) == 3


def test_numbers_keep_their_place_in_numpys_promotion() -> None:
    def f(x: Any, j: Any) -> Any:
        return x + 1, x * 2.5, np.float64(2) * x, 3**x, j + 1, j / 2, x + j, np.float32(1) + j

    f32, i16 = np.ones((2, 3), np.float32), np.ones((2, 3), np.int16)
    traced = check(f, {"x": f32, "j": i16}, {"x": 2 * f32, "j": 3 * i16})
    dtypes = [value.type.dtype.name for value in traced.graph.outputs()]  # type: ignore[union-attr]
    assert dtypes == ["float32", "float32", "float64", "float32", "int16", "float64", "float32", "float32"]


def test_an_object_that_declines_ufuncs_gets_the_operator() -> None:
    class Own:
        __array_ufunc__ = None

        def __radd__(self, other: Any) -> Any:
            return other * 2

        def __add__(self, other: Any) -> Any:
            return other * 3

    traced = trace(lambda x: (x + Own(), Own() + x), np.ones(2))
    assert kinds(traced.graph) == ["numpy::multiply", "numpy::multiply"]


def test_comparing_with_what_is_no_number_gives_what_arrays_give() -> None:
    check(lambda x: (x == None, x != "a"), {"x": np.ones(2)}, {"x": np.zeros(2)})  # noqa: E711
