"""`Conv1d`: convolution over the last axis, with torch's names and layout; and `conv1d`, the same as a function.

The windows that the kernel sees are laid out as columns, (C·K, L_out), and one product with the weight, (C_out, C·K),
gives the output of one sample in torch's layout. This copies each number up to K times, but strided windows cannot go
into BLAS as they are, and a product for each of the K taps would read and write the output K times. A kernel of one
tap takes the input as it is.

A sample's product does not depend on what else is in the batch: its bits are those it has alone.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from asyncjit._core.intraop import parallel_for
from asyncjit.nn.arguments import checked_dtype, checked_flag, checked_single, checked_size
from asyncjit.nn.initial import uniform
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import operation, unset
from asyncjit.nn.padding import PADDING_MODES, Size, checked_padding, find_margins, padded

Array = NDArray[Any]

BLOCK = 65_536  # numbers in the columns that are computed at once: chosen; they fit a second-level cache
MIN_WIDTH = 256  # windows: chosen; in narrower products BLAS is busy with packing the weight


def _conv1d_shapes(fn: Callable[..., Array], input: ArrayLike, *args: Any, **kwargs: Any) -> Array:
    x = np.asarray(input)
    none = x[np.newaxis][:0] if x.ndim == 2 else x[:0]  # no samples: nothing is computed
    with suppress(Exception):
        y = fn(none, *args, **kwargs)
        return unset((*x.shape[:-2], *y.shape[1:]), y.dtype)
    return fn(x, *args, **kwargs)  # says what is wrong of the real shape


@operation(_conv1d_shapes)
def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: SupportsIndex = 1,
) -> Array:
    """Return the convolution (cross-correlation, as in torch) of `input` with `weight`, plus `bias`.

    Parameters
    ----------
    input : ndarray of shape (N, C_in, L) or (C_in, L), float32 or float64
        Neither kept nor changed.
    weight : ndarray of shape (C_out, C_in / groups, K), of the dtype of `input`
    bias : ndarray of shape (C_out,), of the same dtype, optional
    stride, dilation, groups : int, default 1
        Steps between windows, and between the taps of one; into how many convolutions the channels are divided.
    padding : int, "valid" or "same", default 0
        Zeros on both sides; as many as keep the length, if "same".

    Returns
    -------
    ndarray of shape (N, C_out, L_out) or (C_out, L_out), of the dtype of `input`
        With L_out = ⌊(L + padding on both sides - dilation · (K - 1) - 1) / stride⌋ + 1.

    Raises
    ------
    RuntimeError
        If a shape or a dtype does not fit, or the padded input is shorter than the kernel.
    TypeError
        If a size is no int.
    ValueError
        If a size is too small, or `padding` is another string.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit.nn import functional as F
    >>> F.conv1d(np.array([[1.0, 2.0, 4.0, 8.0]]), np.array([[[-1.0, 1.0]]]))
    array([[1., 2., 4.]])
    """
    weight = np.asarray(weight)
    if weight.ndim != 3 or 0 in weight.shape:
        raise RuntimeError(f"conv1d: Expected weight to have three axes, none of them empty, got shape {weight.shape}")
    steps = _Steps(
        checked_single("stride", stride, 1), checked_single("dilation", dilation, 1), checked_size("groups", groups, 1)
    )
    if weight.shape[0] % steps.groups:
        raise RuntimeError(f"conv1d: weight of shape {weight.shape} does not divide into {steps.groups} groups")
    x = _checked_input(np.asarray(input), weight, bias, steps.groups)
    margins = find_margins(checked_padding(padding, steps.stride), weight.shape[2], steps.dilation)
    y = _convolve(padded(x, margins, "zeros"), weight, bias, steps)
    return y if np.ndim(input) == 3 else y[0]


class Conv1d(Layer):
    """Convolution (cross-correlation, as in torch) of sequences with several channels.

    ::

        y[n, o, l] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, stride · l + dilation · k - padding]

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        K, the taps of each window; like the three below it may be a tuple of one int, as torch keeps it.
    stride : int, default 1
        Steps between windows.
    padding : int, "valid" or "same", default 0
        What is put on both sides; nothing if "valid"; if "same", as much as keeps the length, and of an odd number the
        larger part behind.
    dilation : int, default 1
        Steps between the taps of one window.
    groups : int, default 1
        Into how many convolutions the channels are divided.
    bias : bool, default True
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, default "zeros"
        What the padding is made of: zeros, the sequence mirrored at its first and last item, these items repeated, or
        the sequence's other end.
    dtype : float32 or float64, default float32
        Of the parameters, and of the arrays that the module takes and returns.
    rng : numpy.random.Generator or int, optional
        Draws the initial parameters, uniform in ±1/sqrt(in_channels / groups · K); fresh entropy if not given.

    Attributes
    ----------
    weight : ndarray of shape (out_channels, in_channels / groups, K)
    bias : ndarray of shape (out_channels,), or None

    Raises
    ------
    TypeError
        If a size is no int, `bias` no bool, or `dtype` another.
    ValueError
        If a size is too small, the channels do not divide into `groups`, `padding` or `padding_mode` is another
        string, or `padding` is "same" with a stride.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> layer = nn.Conv1d(16, 33, 3, stride=2)
    >>> layer(np.ones((20, 16, 50), dtype=np.float32)).shape
    (20, 33, 24)
    """

    weight: Array
    bias: Array | None

    def __init__(
        self,
        in_channels: SupportsIndex,
        out_channels: SupportsIndex,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: SupportsIndex = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = checked_size("in_channels", in_channels, 1)
        self.out_channels = checked_size("out_channels", out_channels, 1)
        self.kernel_size = (checked_single("kernel_size", kernel_size, 1),)
        self.stride = (checked_single("stride", stride, 1),)
        self.padding = checked_padding(padding, self.stride[0])
        self.dilation = (checked_single("dilation", dilation, 1),)
        self.groups = checked_size("groups", groups, 1)
        for name in ("in_channels", "out_channels"):
            if vars(self)[name] % self.groups:
                raise ValueError(f"{name} must be divisible by groups, got {vars(self)[name]} and {self.groups}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {', '.join(PADDING_MODES)}, but got {padding_mode!r}")
        self.padding_mode = padding_mode
        dtype, rng = checked_dtype(dtype), np.random.default_rng(rng)
        shape = (self.out_channels, self.in_channels // self.groups, self.kernel_size[0])
        fan = shape[1] * shape[2]
        has_bias = checked_flag("bias", bias)
        self.weight = uniform(rng, shape, fan, dtype)
        self.bias = uniform(rng, shape[:1], fan, dtype) if has_bias else None

    if TYPE_CHECKING:

        def __call__(self, x: Array) -> Array:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: Array) -> Array:
        """Return the convolution of `x` with `weight`, plus `bias`.

        Parameters
        ----------
        x : ndarray of shape (N, in_channels, L) or (in_channels, L), of the module's dtype
            Neither kept nor changed.

        Returns
        -------
        ndarray of shape (N, out_channels, L_out) or (out_channels, L_out), of the module's dtype
            With L_out = ⌊(L + padding on both sides - dilation · (K - 1) - 1) / stride⌋ + 1.

        Raises
        ------
        RuntimeError
            If the shape or the dtype does not fit, the padded sequence is shorter than a window, or the sequence too
            short to be padded in this mode.
        """
        x = np.asarray(x)
        samples = _checked_input(x, self.weight, self.bias, self.groups)
        margins = find_margins(self.padding, self.kernel_size[0], self.dilation[0])
        steps = _Steps(self.stride[0], self.dilation[0], self.groups)
        y = _convolve(padded(samples, margins, self.padding_mode), self.weight, self.bias, steps)
        return y if x.ndim == 3 else y[0]

    def _shapes(self, x: Array) -> Array:
        return _conv1d_shapes(self.forward, x)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, the later ones where they are not the default, as torch shows them."""
        shown = [str(self.in_channels), str(self.out_channels)]
        shown += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        defaults = {"padding": (0,), "dilation": (1,), "groups": 1}
        shown += [f"{name}={vars(self)[name]}" for name in defaults if vars(self)[name] != defaults[name]]
        shown += ["bias=False"] if self.bias is None else []
        shown += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(shown)


class _Steps(NamedTuple):
    stride: int
    dilation: int
    groups: int


def _convolve(x: Array, weight: Array, bias: Array | None, steps: _Steps) -> Array:
    """Return (N, C_out, L_out) from a contiguous (N, C, L)."""
    N, C, L = x.shape
    C_out, _, K = weight.shape
    span = steps.dilation * (K - 1) + 1
    if span > L:
        raise RuntimeError(
            f"conv1d: Calculated padded input size per channel: {L}. Kernel size: {span}. Kernel size can't be "
            "greater than actual input size"
        )
    L_out = (L - span) // steps.stride + 1
    y: Array = np.empty((N, C_out, L_out), x.dtype)
    if N == 0:
        return y
    in_groups = y.reshape(N, steps.groups, C_out // steps.groups, L_out)
    kernels = weight.reshape(steps.groups, C_out // steps.groups, -1)
    item = x.itemsize
    strides = (C * L * item, L * item, steps.dilation * item, steps.stride * item)
    windows: Array = np.ndarray((N, C, K, L_out), x.dtype, x, strides=strides)

    width = min(L_out, max(MIN_WIDTH, BLOCK // (C * K)))
    num_samples = max(1, BLOCK // (C * K * width))
    pieces = [
        (slice(n, n + num_samples), slice(first, first + width))
        for n in range(0, N, num_samples)
        for first in range(0, L_out, width)
    ]

    def compute(start: int, stop: int) -> None:
        for samples, places in pieces[start:stop]:
            columns = np.ascontiguousarray(windows[samples, :, :, places])
            columns = columns.reshape(len(columns), steps.groups, -1, columns.shape[3])
            with np.errstate(all="ignore"):  # inf and NaN pass through
                np.matmul(kernels, columns, out=in_groups[samples, :, :, places])
                if bias is not None:
                    y[samples, :, places] += bias[:, np.newaxis]

    if len(pieces) == 1:
        compute(0, 1)
    else:
        parallel_for(compute, len(pieces), grain=1)
    return y


def _checked_input(x: Array, weight: Array, bias: Array | None, groups: int) -> Array:
    """Return `x` as (N, C, L)."""
    if x.ndim not in (2, 3):
        raise RuntimeError(
            f"conv1d: Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of shape {x.shape}"
        )
    num_channels = groups * weight.shape[1]
    if x.shape[-2] != num_channels:
        raise RuntimeError(
            f"conv1d: Given groups={groups}, weight of shape {weight.shape}, expected input of shape {x.shape} to have "
            f"{num_channels} channels, but got {x.shape[-2]} channels instead"
        )
    if x.dtype != weight.dtype or x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise RuntimeError(
            f"conv1d: input dtype ({x.dtype}) and weight dtype ({weight.dtype}) should be the same, float32 or "
            f"float64; convert the input with x.astype(np.{weight.dtype})"
        )
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype):
        raise RuntimeError(
            f"conv1d: Given weight of shape {weight.shape} and dtype {weight.dtype}, expected bias of shape "
            f"{weight.shape[:1]} and that dtype, but got {bias.shape} and {bias.dtype}"
        )
    return x if x.ndim == 3 else x[np.newaxis]
