"""`Tracer`: stands for an array while a function is traced, and records what is done with it.

It is no subclass of ndarray: `float`, `.T`, `.reshape` and `np.array` pass by the hooks of one, and so would put a
value into the graph that nobody sees. It has an array's whole surface all the same: the two protocols by which NumPy
hands over calls, the operators, the methods and attributes. Whatever would need a value raises, and says what to
write instead. `isinstance(x, np.ndarray)` holds, so that a model's own checks go on.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from asyncjit.graph.functions import KNOWN, READS, REFUSED, name_of, ufunc_kind
from asyncjit.graph.ir import Value
from asyncjit.graph.memories import Memory
from asyncjit.graph.methods import changing, in_place, method, operator_of, reflected, refused, refused_attribute
from asyncjit.graph.places import refuse
from asyncjit.graph.shapes import TracedShape
from asyncjit.graph.trees import leaves_of
from asyncjit.graph.writing import Into

_COMPUTE = "compute with arrays, as x * 2, and return what is to be seen"
_PYTHON = "its value is not there while tracing, and would be fixed in the graph: "
_BRANCH = (
    "if, while, and, or, not and assert need a value, which would be fixed in the graph: "
    "compute both and choose with np.where(condition, a, b); for masks use & | ~"
)
_ITEM = "a graph's arrays are never changed: build the whole, with np.where, np.concatenate or np.stack"
_BYTES = "its bytes are not there while tracing: return it, and convert it outside of the traced function"
_MEMORY = "it has no memory while tracing: leave it out, or do it outside of the traced function"


class Tracer:
    """A traced array.

    Parameters
    ----------
    body : Body
        Of the code that made it.
    value : Value
        What it is in that body's graph; another after it was written to.
    dummy : array or NumPy scalar
        Has its dtype and shape.
    memories : tuple of Memory
        Those it is a view of; none if it is an array of its own.
    """

    __slots__ = ("__weakref__", "_body", "_dummy", "_memories", "_value")

    def __init__(self, body: Any, value: Value, dummy: Any, memories: tuple[Memory, ...] = ()) -> None:
        self._body = body
        self._value = value
        self._dummy = dummy
        self._memories = memories or (Memory(),)
        for memory in self._memories:
            memory.members.append(weakref.ref(self))

    def renewed(self, body: Any, value: Value) -> Tracer:
        """Return the same array as another value."""
        return Tracer(body, value, self._dummy, self._memories)

    @property
    def _recorder(self) -> Any:
        return self._body.recorder

    @property
    def _is_scalar(self) -> bool:
        return isinstance(self._dummy, np.generic)

    def _call(
        self, kind: str, fn: Any, args: Sequence[Any], kwargs: dict[str, Any], *, may_be_view: bool = True
    ) -> Any:
        """Record a call; with `out`, which must be traced, that becomes the result."""
        out = kwargs.get("out")
        outs = out if isinstance(out, tuple) else (out,)
        for into in outs:
            if into is not None and type(into) is not Tracer:
                refuse(
                    f"{kind} writes into an array that is not traced (out=, or an operator like +=)",
                    "the graph would not see it; use the result, as y = y + x",
                )
        if all(into is None for into in outs):
            kwargs.pop("out", None)
            return self._recorder.record(kind, fn, args, kwargs, may_be_view=may_be_view)
        return self._recorder.record_into(kind, Into(fn), args, kwargs, outs, f"out= of {kind}")

    # -- NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kind = ufunc_kind(ufunc, method)
        if method == "at":
            refuse(f"{kind} writes into an array", "use np.where, or a sum over a comparison with np.arange(n)")
        if method == "__call__" and kwargs.get("where", True) is not True:
            refuse(
                f"{kind} with where= leaves elements as they were",
                f"use np.where(condition, np.{ufunc.__name__}(...), y)",
            )
        fn = ufunc if method == "__call__" else getattr(ufunc, method)
        return self._call(kind, fn, inputs, kwargs, may_be_view=False)

    def __array_function__(self, func: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if any(kind is not Tracer and not issubclass(kind, np.ndarray) for kind in types):
            return NotImplemented
        name = name_of(func)
        if name in READS:
            return READS[name](*args, **kwargs)
        if name in ("result_type", "common_type"):
            return func(*(arg._dummy_of_dtype() if type(arg) is Tracer else arg for arg in args))
        rule = "where with one argument" if name == "where" and len(args) + len(kwargs) == 1 else name
        if rule in REFUSED:
            refuse(f"numpy.{rule} of a traced array", REFUSED[rule])
        if name not in KNOWN:
            refuse(
                f"{func.__module__}.{func.__name__} of a traced array is not known to the tracer",
                "write it with other NumPy functions, or call it outside of the traced function",
            )
        if name == "delete" and any(type(leaf) is Tracer for leaf in leaves_of((args[1:], kwargs))):
            refuse("numpy.delete at traced places", "the shape of its result depends on values; use np.where")
        return self._call(f"numpy::{name}", func, args, dict(kwargs))

    def _dummy_of_dtype(self) -> Any:
        self._recorder.guard(self, "dtype")
        return self._dummy

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return np

    __array__ = refused(
        "the conversion to a plain array (np.array, np.asarray, plain[i] = x, plain[x], x in a list of numbers, scipy)",
        "its value would be fixed in the graph; x is an array already; np.stack makes one of a list, which can grow; "
        "nn.functional.embedding(x, plain) looks up in a plain array",
    )

    # -- what is read, and so fixed

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        kind: type = type(self._dummy)
        if self._is_scalar:  # the classes of scalars are their dtypes
            self._recorder.guard(self, "dtype")
        return kind

    @property
    def shape(self) -> TracedShape:
        """Its shape; what is read of it is fixed in the graph."""
        return TracedShape(self._dummy.shape, lambda what: self._recorder.guard(self, what))

    @shape.setter
    def shape(self, shape: Any) -> NoReturn:
        refuse(f"setting .shape of the traced array {self!r}", "write x = x.reshape(...)")

    @property
    def ndim(self) -> int:
        """The number of its dimensions; fixed in the graph."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of its elements; its shape is fixed in the graph."""
        self.shape.plain()
        return int(self._dummy.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype; fixed in the graph."""
        self._recorder.guard(self, "dtype")
        dtype: np.dtype[Any] = self._dummy.dtype
        return dtype

    @property
    def itemsize(self) -> int:
        """The bytes of an element; its dtype is fixed in the graph."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements; its dtype and shape are fixed in the graph."""
        return self.size * self.itemsize

    device = "cpu"  #: as NumPy's

    def __len__(self) -> int:
        if not self._dummy.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tracer]:
        if not self._dummy.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[index] for index in range(len(self)))

    # -- items

    def __getitem__(self, index: Any) -> Any:
        for part in index if isinstance(index, tuple) else (index,):
            if type(part) is Tracer and part._dummy.dtype == bool:
                refuse(
                    f"indexing with the traced mask {part!r}",
                    "the shape of the result depends on values; compute all elements and choose with "
                    "np.where(mask, x, 0), or reduce with np.sum(x, where=mask)",
                )
        return self._call("numpy::getitem", operator.getitem, (self, index), {})

    __setitem__ = refused("assigning items", _ITEM)
    __delitem__ = refused("deleting items", _ITEM)
    __contains__ = refused("`in`", _PYTHON + "use np.any(x == item)")

    # -- what needs a value

    __bool__ = refused("the truth value", _BRANCH)
    __float__ = refused("float() or a function of math", _PYTHON + "use the array itself, and np.sqrt for math.sqrt")
    __int__ = refused("int()", _PYTHON + "use x.astype(int), which stays an array")
    __complex__ = refused("complex()", _PYTHON + "use x.astype(complex), which stays an array")
    __index__ = refused(
        "the use as an index, a size or a range", _PYTHON + "use nn.functional.embedding, or a size read off a shape"
    )
    __round__ = refused("round()", _PYTHON + "use np.round(x)")
    __trunc__ = refused("trunc()", _PYTHON + "use np.trunc(x)")
    __floor__ = refused("math.floor()", _PYTHON + "use np.floor(x)")
    __ceil__ = refused("math.ceil()", _PYTHON + "use np.ceil(x)")
    __format__ = refused("the text", _PYTHON + "return the array; repr(x) shows its type")
    __hash__ = refused("the hash", "arrays have none, so they are no keys: use a name, or a list")
    __reduce__ = __reduce_ex__ = refused("pickling", _BYTES)
    __dlpack__ = refused("DLPack export", _BYTES)
    __dlpack_device__ = refused("DLPack export", _BYTES)
    item = refused("item()", _PYTHON + "x[0], or x itself if it has no axes, stays traced")
    tolist = refused("tolist()", _PYTHON + _COMPUTE)
    nonzero = refused("nonzero()", REFUSED["nonzero"])
    tobytes = refused("tobytes()", _BYTES)
    tofile = refused("tofile()", _BYTES)
    dump = refused("dump()", _BYTES)
    dumps = refused("dumps()", _BYTES)
    put = refused("put()", _ITEM)
    resize = refused("resize()", "write x = np.resize(x, shape)")
    setfield = refused("setfield()", _ITEM)
    getfield = refused("getfield()", _BYTES)
    setflags = refused("setflags()", _MEMORY)
    flags = refused_attribute("flags", _MEMORY)
    strides = refused_attribute("strides", "windows are np.lib.stride_tricks.sliding_window_view(x, size, axis=0)")
    base = refused_attribute("base", _MEMORY)
    data = refused_attribute("data", _MEMORY)
    ctypes = refused_attribute("ctypes", _MEMORY)
    flat = refused_attribute("flat", "use x.ravel(), or x.reshape(-1)[i]")

    def __repr__(self) -> str:
        return f"%{self._value.name} : {self._value.type}"

    # -- operators

    __neg__ = operator_of(np.negative)
    __pos__ = operator_of(np.positive)
    __abs__ = operator_of(np.absolute)
    __invert__ = operator_of(np.invert)
    __lt__ = operator_of(np.less)
    __le__ = operator_of(np.less_equal)
    __gt__ = operator_of(np.greater)
    __ge__ = operator_of(np.greater_equal)
    # These are more than their ufuncs: anything can be compared, and squares and roots are faster, by other loops.
    __eq__ = operator_of(np.equal, operator.eq)
    __ne__ = operator_of(np.not_equal, operator.ne)
    __pow__, __rpow__ = operator_of(np.power, operator.pow), reflected(np.power, operator.pow)
    __add__, __radd__ = operator_of(np.add), reflected(np.add)
    __sub__, __rsub__ = operator_of(np.subtract), reflected(np.subtract)
    __mul__, __rmul__ = operator_of(np.multiply), reflected(np.multiply)
    __truediv__, __rtruediv__ = operator_of(np.divide), reflected(np.divide)
    __floordiv__, __rfloordiv__ = operator_of(np.floor_divide), reflected(np.floor_divide)
    __mod__, __rmod__ = operator_of(np.remainder), reflected(np.remainder)
    __divmod__, __rdivmod__ = operator_of(np.divmod), reflected(np.divmod)
    __matmul__, __rmatmul__ = operator_of(np.matmul), reflected(np.matmul)
    __and__, __rand__ = operator_of(np.bitwise_and), reflected(np.bitwise_and)
    __or__, __ror__ = operator_of(np.bitwise_or), reflected(np.bitwise_or)
    __xor__, __rxor__ = operator_of(np.bitwise_xor), reflected(np.bitwise_xor)
    __lshift__, __rlshift__ = operator_of(np.left_shift), reflected(np.left_shift)
    __rshift__, __rrshift__ = operator_of(np.right_shift), reflected(np.right_shift)

    __iadd__ = in_place("+=", np.add, operator.iadd)
    __isub__ = in_place("-=", np.subtract, operator.isub)
    __imul__ = in_place("*=", np.multiply, operator.imul)
    __itruediv__ = in_place("/=", np.divide, operator.itruediv)
    __ifloordiv__ = in_place("//=", np.floor_divide, operator.ifloordiv)
    __imod__ = in_place("%=", np.remainder, operator.imod)
    __ipow__ = in_place("**=", np.power, operator.ipow)
    __imatmul__ = in_place("@=", np.matmul, operator.imatmul)
    __iand__ = in_place("&=", np.bitwise_and, operator.iand)
    __ior__ = in_place("|=", np.bitwise_or, operator.ior)
    __ixor__ = in_place("^=", np.bitwise_xor, operator.ixor)
    __ilshift__ = in_place("<<=", np.left_shift, operator.ilshift)
    __irshift__ = in_place(">>=", np.right_shift, operator.irshift)

    # -- methods and attributes of arrays

    @property
    def T(self) -> Any:  # noqa: N802  # as NumPy's
        """Its axes in reverse order."""
        return self._call("numpy::transpose", np.transpose, (self,), {})

    @property
    def mT(self) -> Any:  # noqa: N802  # as NumPy's
        """Its last two axes swapped."""
        return self._call("numpy::matrix_transpose", np.matrix_transpose, (self,), {})

    @property
    def real(self) -> Any:
        """Its real part."""
        return self._call("numpy::real", np.real, (self,), {})

    @real.setter
    def real(self, value: Any) -> NoReturn:
        refuse(f"setting .real of the traced array {self!r}", _ITEM)

    @property
    def imag(self) -> Any:
        """Its imaginary part."""
        return self._call("numpy::imag", np.imag, (self,), {})

    @imag.setter
    def imag(self, value: Any) -> NoReturn:
        refuse(f"setting .imag of the traced array {self!r}", _ITEM)

    all, any, argmax, argmin = method("all"), method("any"), method("argmax"), method("argmin")
    argpartition, argsort, astype, byteswap = (
        *(method("argpartition"), method("argsort")),
        *(method("astype"), method("byteswap")),
    )
    choose, clip, compress, conj = method("choose"), method("clip"), method("compress"), method("conj")
    conjugate, copy, cumprod, cumsum = method("conjugate"), method("copy"), method("cumprod"), method("cumsum")
    diagonal, dot, flatten, max = method("diagonal"), method("dot"), method("flatten"), method("max")
    mean, min, prod, ravel = method("mean"), method("min"), method("prod"), method("ravel")
    repeat, reshape, round = method("repeat"), method("reshape"), method("round")
    searchsorted, squeeze, std, sum = method("searchsorted"), method("squeeze"), method("std"), method("sum")
    swapaxes, take, to_device, trace = method("swapaxes"), method("take"), method("to_device"), method("trace")
    transpose, var, view = method("transpose"), method("var"), method("view")
    __copy__ = method("copy")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.copy()

    fill = changing("fill", np.full_like)
    partition = changing("partition", np.partition)
    sort = changing("sort", np.sort)
