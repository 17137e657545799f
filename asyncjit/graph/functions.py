"""Which of NumPy's functions can be traced, and what to write instead of the others.

A function that is in neither table is refused as unknown: what it would do with a traced array nobody has looked at.
Names are as in graphs: of NumPy's own functions without a prefix, `linalg.norm` and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN = _names(
    """
    all amax amin angle any append argmax argmin argpartition argsort around array_split astype atleast_1d atleast_2d
    atleast_3d average block broadcast_arrays broadcast_to choose clip column_stack compress concatenate convolve copy
    corrcoef correlate count_nonzero cov cross cumprod cumsum cumulative_prod cumulative_sum delete diag diagflat
    diagonal diff digitize dot dsplit dstack ediff1d einsum empty_like expand_dims fix flip fliplr flipud full_like
    geomspace gradient hsplit hstack i0 imag inner insert interp iscomplex isclose isin isneginf isposinf isreal kron
    lexsort linspace logspace matrix_transpose max mean median meshgrid min moveaxis nan_to_num nanargmax nanargmin
    nancumprod nancumsum nanmax nanmean nanmedian nanmin nanpercentile nanprod nanquantile nanstd nansum nanvar
    ones_like outer packbits pad partition percentile polyval prod ptp quantile ravel ravel_multi_index real repeat
    reshape resize roll rollaxis rot90 round searchsorted select sinc sort sort_complex split squeeze stack std sum
    swapaxes take take_along_axis tensordot tile trace transpose trapezoid trapz tril triu unpackbits unravel_index
    unstack unwrap vander var vdot vsplit vstack where zeros_like
    polyadd polyder polyint polymul polysub
    linalg.cholesky linalg.cond linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv
    linalg.matmul linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose linalg.multi_dot
    linalg.norm linalg.outer linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals
    linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm
    fft.fft fft.fft2 fft.fftn fft.fftshift fft.hfft fft.ifft fft.ifft2 fft.ifftn fft.ifftshift fft.ihfft fft.irfft
    fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn
    lib.stride_tricks.sliding_window_view
    """
)

_BY_VALUES = "the shape of its result depends on values, and a graph's shapes do not: {}"
_MASK = _BY_VALUES.format("compute all elements and choose with np.where(condition, a, b)")
_SET = _BY_VALUES.format("np.sort, np.diff and comparisons keep their shape")
_COUNTS = _BY_VALUES.format("count with comparisons, as np.sum(x[:, None] == np.arange(n), axis=0)")
_TRUTH = "it gives a Python bool, which would be fixed in the graph: use {}"
_DTYPE = "the dtype of its result depends on values: {}"
_INTO = "it writes into an array: use {}"
_TEXT = "its text would be fixed in the graph: return the array and show it outside of the traced function"
_FILE = "a graph writes no files: return the array and save it outside of the traced function"
_MEMORY = "it depends on where arrays lie in memory: leave it out"
_PYTHON = "it calls a Python function for each part, which the graph could not see: {}"
_CALENDAR = "it looks at values one by one: compute it outside of the traced function"

#: What to write instead, and why.
REFUSED = {
    **dict.fromkeys(("nonzero", "argwhere", "flatnonzero", "extract"), _MASK),
    "where with one argument": _MASK,
    "place": _INTO.format("np.where(mask, values, array)"),
    "putmask": _INTO.format("np.where(mask, values, array)"),
    "put": _INTO.format("np.where with a condition on np.arange"),
    "put_along_axis": _INTO.format("np.where with a condition on np.arange"),
    "copyto": _INTO.format("the value itself, or np.full_like, np.broadcast_to, np.where for a part of it"),
    "fill_diagonal": _INTO.format("np.where(np.eye(n, dtype=bool), value, array)"),
    **dict.fromkeys(
        (
            *("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"),
            *("union1d", "intersect1d", "setdiff1d", "setxor1d"),
        ),
        _SET,
    ),
    "trim_zeros": _BY_VALUES.format("slice with fixed bounds"),
    **dict.fromkeys(("bincount", "histogram", "histogram2d", "histogramdd", "histogram_bin_edges"), _COUNTS),
    **dict.fromkeys(("allclose", "array_equal", "array_equiv"), _TRUTH.format("np.all(np.isclose(a, b)), traced too")),
    "can_cast": "it looks at a value: give it the dtype, as np.can_cast(x.dtype, np.float32)",
    "min_scalar_type": _DTYPE.format("name the dtype"),
    "real_if_close": _DTYPE.format("use np.real"),
    "linalg.eig": _DTYPE.format("use np.linalg.eigh for symmetric matrices, or compute it outside"),
    "linalg.eigvals": _DTYPE.format("use np.linalg.eigvalsh for symmetric matrices, or compute it outside"),
    "linalg.lstsq": _BY_VALUES.format("use np.linalg.pinv(a) @ b"),
    "linalg.tensorinv": "it is not known to the tracer: use np.linalg.inv of a reshaped array",
    "linalg.tensorsolve": "it is not known to the tracer: use np.linalg.solve of reshaped arrays",
    **dict.fromkeys(("roots", "poly", "polydiv", "polyfit"), _BY_VALUES.format("compute it outside")),
    **dict.fromkeys(("array2string", "array_repr", "array_str", "datetime_as_string"), _TEXT),
    **dict.fromkeys(("save", "savetxt", "savez", "savez_compressed"), _FILE),
    **dict.fromkeys(("may_share_memory", "shares_memory"), _MEMORY),
    **dict.fromkeys(
        ("apply_along_axis", "apply_over_axes", "piecewise"),
        _PYTHON.format("write it with functions of whole arrays, as np.where"),
    ),
    **dict.fromkeys(("busday_count", "busday_offset", "is_busday"), _CALENDAR),
    "einsum_path": "it gives a plan, no array: compute it outside of the traced function",
    **dict.fromkeys(
        ("diag_indices_from", "tril_indices_from", "triu_indices_from"),
        "it gives plain indices that fit one shape: use np.tril, np.triu or np.diagonal",
    ),
    "ix_": "index with x[rows[:, None], columns]",
}


def _size(x: Any, axis: int | None = None) -> Any:
    return x.size if axis is None else x.shape[axis]


#: These read a shape or a dtype, and give no array.
READS: dict[str, Callable[..., Any]] = {
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "size": _size,
    "iscomplexobj": lambda x: x.dtype.kind == "c",
    "isrealobj": lambda x: x.dtype.kind != "c",
}

#: Of arrays: no function has the name, so that graphs take the method's.
METHOD_KINDS = {"conj": "conjugate"}


def name_of(fn: Any) -> str:
    """Return the name of one of NumPy's functions, as in graphs but for `numpy::`."""
    module = fn.__module__.removeprefix("numpy").removeprefix(".")
    return f"{module}.{fn.__name__}" if module else str(fn.__name__)


def ufunc_kind(fn: np.ufunc, method: str) -> str:
    """Return the kind of node that a call of a ufunc is: `numpy::add`, `numpy::add.reduce`."""
    name = fn.__name__
    prefix = "numpy" if getattr(np, name, None) is fn else "ufunc"
    return f"{prefix}::{name}" if method == "__call__" else f"{prefix}::{name}.{method}"
