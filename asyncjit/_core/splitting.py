"""Forked NumPy functions on large arrays, split by themselves: which are, and how.

A ufunc, a matrix product or a reduction that is forked or called by name is cut into blocks where that gives the same
result bit for bit: elements are independent, so are rows of a product and what a reduction keeps; and a sum of floats
is cut where NumPy's own pairwise summation cuts it. Whatever is not plainly so (overlapping arguments, subclasses,
objects, a keyword that is not known here) runs whole, as NumPy does it; errors are NumPy's own for the same reason.

What is worth splitting was measured: two blocks of some 150 µs of work (`benchmarks/kernels.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit._core.intraop import parallel_for

Array = NDArray[Any]

MIN_BYTES = 2**19  # of the first argument: with less there is nothing to look at
BLOCK_SIZE = 2**18  # elements of a block at least; from two blocks on a call is split
MAX_BLOCKS = 16  # of what has no reason for more: each costs its thread some 30 µs
BLOCK_ROWS = 480  # of a matrix product: the other factor is packed for each block, which takes the time of 20 rows
NUM_ROW_BLOCKS, MANY_ROWS = 4, 2048  # chosen: no more blocks than that, unless each has so many rows
ROW_MULTIPLE = 48  # measured: of multiples of 24, with 16, 32 or 64 float64 products differ from the whole
BLOCK_WORK = 8_000_000  # multiplications: some 150 µs
MIN_KEPT = 64  # elements of a kept axis in a block: with one, a reduction would run in another order

_NUMBERS = "biufc"
_PLACE_MATTERS = {np.fmax, np.fmin}  # which of two zeros they choose depends on the place in the array

# NumPy's functions that reduce with a ufunc, and take these keywords alike.
REDUCTIONS: dict[Any, np.ufunc] = {
    np.sum: np.add,
    np.prod: np.multiply,
    np.max: np.maximum,
    np.amax: np.maximum,
    np.min: np.minimum,
    np.amin: np.minimum,
    np.any: np.logical_or,
    np.all: np.logical_and,
}
NumpyFunction = type(np.sum)


def splits(fn: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call may be worth splitting: a quick look at every fork of a NumPy function."""
    if not args or type(args[0]) is not np.ndarray or args[0].nbytes < MIN_BYTES:
        return False
    return type(fn) is np.ufunc or fn is np.dot or fn in REDUCTIONS


class Split:
    """A NumPy function that splits its call over free threads, and looks like the function."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.func = fn  # as functools.partial calls it, so that the fork bears its name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return ``fn(*args, **kwargs)``."""
        fn: Any = self.func
        if fn in REDUCTIONS:
            result = _reduce(REDUCTIONS[fn], args, kwargs)
        elif fn is np.matmul or fn is np.dot:
            result = _multiply(args, kwargs)
        elif fn.signature is None and fn not in _PLACE_MATTERS:
            result = _map(fn, args, kwargs)
        else:
            result = NotImplemented
        return fn(*args, **kwargs) if result is NotImplemented else result


# Each of what follows returns NotImplemented for a call that it can't split, a wrong one among them.


def _map(fn: np.ufunc, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    options = kwargs.copy()
    out, where = options.pop("out", None), options.pop("where", True)
    inputs, outs = args[: fn.nin], args[fn.nin :]
    if not options.keys() <= {"dtype", "casting"} or (outs and "out" in kwargs):
        return NotImplemented
    outs = outs or (out if isinstance(out, tuple) else (out,) * fn.nout if out is None or fn.nout == 1 else ())
    masks = () if where is True else (where,)
    if len(inputs) < fn.nin or len(outs) != fn.nout or not all(map(_is_plain, (*inputs, *masks))):
        return NotImplemented
    if not all(type(given) is np.ndarray or (given is None and not masks) for given in outs):
        return NotImplemented
    try:
        outs = _allocated(fn, inputs, outs, masks, **options)
    except (TypeError, ValueError):  # the call itself shall tell why
        return NotImplemented
    if outs[0].size < 2 * BLOCK_SIZE or _overlaps(outs, (*inputs, *masks)):
        return NotImplemented
    axis = _outer_axis(outs[0])
    length = outs[0].shape[axis]
    num_blocks = min(length, outs[0].size // BLOCK_SIZE, MAX_BLOCKS)
    operands = [_Cut(operand, outs[0].shape, axis) for operand in (*inputs, *outs, *masks)]

    def run(start: int, stop: int) -> None:
        block = slice(start * length // num_blocks, stop * length // num_blocks)
        parts = [operand[block] for operand in operands]
        mask = parts[-1] if masks else True
        fn(*parts[: fn.nin], out=tuple(parts[fn.nin : fn.nargs]), where=mask, **options)

    parallel_for(run, num_blocks, grain=1)
    return outs[0] if fn.nout == 1 else outs


def _allocated(
    fn: Any,
    inputs: tuple[Any, ...],
    outs: tuple[Any, ...],
    masks: tuple[Any, ...],
    dtype: Any = None,
    casting: Any = None,
) -> tuple[Array, ...]:
    """Return the outputs; those that are not given have the dtype and the memory layout that the ufunc gives them."""
    kinds = tuple(type(x) if type(x) in (int, float, complex) else np.asarray(x).dtype for x in inputs)
    given = tuple(None if x is None else x.dtype for x in outs)
    asked = {} if dtype is None else {"signature": (None,) * fn.nin + (np.dtype(dtype),) * fn.nout}
    dtypes = fn.resolve_dtypes(kinds + given, casting=casting or "same_kind", **asked)
    if any(dtype.kind not in _NUMBERS for dtype in (*dtypes, *filter(None, given))):
        raise TypeError("only numbers are split")
    arrays = [np.asarray(x) for x in (*inputs, *masks)]
    flags: Any = [["readonly"]] * len(arrays) + [["writeonly", "allocate", "no_broadcast"]] * fn.nout
    wanted = [None] * len(arrays) + list(dtypes[fn.nin :])
    made = np.nditer([*arrays, *outs], None, flags, wanted, casting="unsafe").operands[-fn.nout :]
    return tuple(new if old is None else old for old, new in zip(outs, made, strict=True))


def _multiply(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) != 2 or kwargs.keys() - {"out"} or not all(type(x) is np.ndarray and x.ndim == 2 for x in args):
        return NotImplemented
    a, b = args
    is_fitting = a.shape[1] == len(b) and a.dtype == b.dtype and a.dtype.isnative and a.dtype.kind in "fc"
    if not is_fitting or num_row_blocks(len(a), b.size) < 2 or not a.flags.c_contiguous:
        return NotImplemented
    shape, out = (len(a), b.shape[1]), kwargs.get("out")
    y: Any = np.empty(shape, a.dtype) if out is None else out
    if type(y) is not np.ndarray or y.shape != shape or y.dtype != a.dtype or not y.flags.c_contiguous:
        return NotImplemented
    if _overlaps((y,), (a, b)):
        return NotImplemented
    multiply_by_rows(a, b, y)
    return y


def num_row_blocks(num_rows: int, size: int) -> int:
    """Return how many blocks of rows a product with a matrix of `size` numbers is cut into."""
    num_blocks = min(num_rows // BLOCK_ROWS, max(NUM_ROW_BLOCKS, num_rows // MANY_ROWS), num_rows * size // BLOCK_WORK)
    return max(1, num_blocks)


def multiply_by_rows(a: Array, b: Array, y: Array, bias: Array | None = None) -> None:
    """Write ``a @ b``, plus `bias` if there is one, to `y`, in blocks of rows.

    The blocks begin at multiples of 48 rows, where OpenBLAS's kernels begin anew, so that the bits are those of the
    whole product.
    """
    num_blocks = num_row_blocks(len(a), b.size)

    def run(start: int, stop: int) -> None:
        first, last = (len(a) * block // num_blocks // ROW_MULTIPLE * ROW_MULTIPLE for block in (start, stop))
        rows = slice(first, len(a) if stop == num_blocks else last)
        np.matmul(a[rows], b, y[rows])
        if bias is not None:
            np.add(y[rows], bias, y[rows])

    parallel_for(run, num_blocks, grain=1)


def _reduce(fn: np.ufunc, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) + len(kwargs) > 2 or kwargs.keys() - {"axis"}:
        return NotImplemented
    x, axis = args[0], args[1] if len(args) == 2 else kwargs.get("axis")
    if x.dtype.kind not in _NUMBERS or x.size < 2 * BLOCK_SIZE or 0 in x.strides:
        return NotImplemented
    if axis is None:
        return _reduce_all(fn, x)
    try:
        kept = _kept_axes(x, axis)
    except TypeError:
        return NotImplemented
    main = max(kept, key=lambda i: abs(x.strides[i]), default=None)
    num_blocks = 0 if main is None else min(x.shape[main] // MIN_KEPT, x.size // BLOCK_SIZE, MAX_BLOCKS)
    if main is None or num_blocks < 2:
        return NotImplemented
    length = x.shape[main]
    result = _like_kept(x, kept, fn.resolve_dtypes((None, x.dtype, None), reduction=True)[2])
    into = np.moveaxis(result, kept.index(main), 0)
    from_ = np.moveaxis(x, main, -1)

    def run(start: int, stop: int) -> None:
        block = slice(start * length // num_blocks, stop * length // num_blocks)
        fn.reduce(np.moveaxis(from_[..., block], -1, main), axis, out=np.moveaxis(into[block], 0, kept.index(main)))

    parallel_for(run, num_blocks, grain=1)
    return result


def _kept_axes(x: Array, axis: Any) -> list[int]:
    reduced = axis if isinstance(axis, tuple) else (axis,)
    if any(type(i) is not int or not -x.ndim <= i < x.ndim for i in reduced) or len(
        {i % x.ndim for i in reduced}
    ) < len(reduced):
        raise TypeError("the call itself tells why")
    return [i for i in range(x.ndim) if i not in {i % x.ndim for i in reduced}]


def _like_kept(x: Array, kept: list[int], dtype: np.dtype[Any]) -> Array:
    """Return an array for what is kept of `x`, whose axes lie in memory in the same order."""
    outer_first = sorted(kept, key=lambda axis: -abs(x.strides[axis]))
    result = np.empty([x.shape[axis] for axis in outer_first], dtype)
    return result.transpose([outer_first.index(axis) for axis in kept])


def _reduce_all(fn: np.ufunc, x: Array) -> Any:
    is_summed = fn is np.add and x.dtype.kind in "fc"
    if not (x.flags.c_contiguous or x.flags.f_contiguous):
        return NotImplemented
    if (is_summed and x.dtype not in (np.float32, np.float64)) or (fn is np.multiply and x.dtype.kind in "fc"):
        return NotImplemented
    flat = x.ravel(order="K")
    cuts = _pairwise_cuts(0, flat.size)
    parts: list[Any] = [None] * (len(cuts) - 1)

    def run(start: int, stop: int) -> None:
        for part in range(start, stop):
            parts[part] = fn.reduce(flat[cuts[part] : cuts[part + 1]])

    parallel_for(run, len(parts), grain=1)
    while len(parts) > 1:  # the tree is even: every level has half as many
        parts = [fn.reduce(np.array(pair)) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _pairwise_cuts(start: int, size: int) -> list[int]:
    """Return where NumPy's pairwise summation cuts so many numbers, down to blocks of at least BLOCK_SIZE / 2.

    numpy/_core/src/umath/loops_utils.h.src: halves, the left one rounded down to a multiple of 8.
    """
    sizes = [size]
    while min(sizes) >= BLOCK_SIZE and len(sizes) < MAX_BLOCKS:
        lefts = [size // 2 - size // 2 % 8 for size in sizes]
        sizes = [part for size, left in zip(sizes, lefts, strict=True) for part in (left, size - left)]
    return [start, *(start + int(cut) for cut in np.cumsum(sizes))]


def _is_plain(x: Any) -> bool:
    """Whether an argument is an array of numbers, no subclass, or a single number."""
    if type(x) is np.ndarray:
        return x.dtype.kind in _NUMBERS
    return isinstance(x, int | float | complex | np.number | np.bool_)


def _overlaps(outs: tuple[Array, ...], inputs: tuple[Any, ...]) -> bool:
    """Whether an output shares memory with another argument that is not the very same elements, or can't be written."""
    arrays = [x for x in inputs if type(x) is np.ndarray]
    return any(
        not out.flags.writeable
        or 0 in out.strides
        or any(np.may_share_memory(out, x) and not _is_same(out, x) for x in arrays)
        or any(np.may_share_memory(out, other) for other in outs[:number])
        for number, out in enumerate(outs)
    )


def _is_same(a: Array, b: Array) -> bool:
    return a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype


def _outer_axis(y: Array) -> int:
    """Return the axis to cut: the outermost in memory that is long enough, else the longest."""
    outer_first = sorted(range(y.ndim), key=lambda axis: -abs(y.strides[axis]))
    return next((axis for axis in outer_first if y.shape[axis] >= 16), int(np.argmax(y.shape)))


class _Cut:
    """An operand of a ufunc, to be cut along one axis of the result; what is the same all along is not."""

    def __init__(self, operand: Any, shape: tuple[int, ...], axis: int) -> None:
        is_cut = type(operand) is np.ndarray and operand.size > 1
        self._operand = np.broadcast_to(operand, shape) if is_cut and operand.shape != shape else operand
        self._before = (slice(None),) * axis if is_cut else None

    def __getitem__(self, block: slice) -> Any:
        return self._operand if self._before is None else self._operand[(*self._before, block)]
