"""`LayerNorm` and `layer_norm`, `softmax` and `log_softmax`: what is computed from all numbers of a row at once.

The mean is taken off before the squares are summed: the formula of one pass would lose all digits of rows that lie far
from zero. Rows are computed in blocks (`blocks`).
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from asyncjit.nn.arguments import checked_dtype, checked_flag, checked_size
from asyncjit.nn.blocks import BLOCK, Kernel, check_floating, floating, run_in_blocks
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import by_element, operation, spread

Array = NDArray[Any]


@operation(by_element)
def softmax(input: ArrayLike, dim: int | None = None, *, dtype: DTypeLike | None = None) -> Array:
    """Return exp(x) / sum(exp(x)), the sum being that along the axis `dim`.

    Parameters
    ----------
    input : array-like of float32 or float64, any shape
        Of any dtype that converts, if `dtype` is given.
    dim : int
        Left out it is 0 for arrays of no, one or three axes, else 1, with a warning, as in torch.
    dtype : float32 or float64, optional
        What `input` is converted to first.

    Raises
    ------
    IndexError
        If there is no such axis.
    NotImplementedError
        If the dtype is neither float32 nor float64.
    TypeError
        If `dtype` is another.

    Examples
    --------
    >>> from asyncjit.nn import functional as F
    >>> F.softmax([[0.0, 0.0], [1.0, 1.0]], dim=1)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """

    def kernel(x: Array, out: Array) -> None:
        np.subtract(x, x.max(axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        out /= out.sum(axis=1, keepdims=True)

    return _along("softmax", kernel, input, dim, dtype)


@operation(by_element)
def log_softmax(input: ArrayLike, dim: int | None = None, *, dtype: DTypeLike | None = None) -> Array:
    """Return log(softmax(input, dim)), computed without the quotient; arguments and errors are those of `softmax`."""

    def kernel(x: Array, out: Array) -> None:
        np.subtract(x, x.max(axis=1, keepdims=True), out=out)
        out -= np.log(np.exp(out).sum(axis=1, keepdims=True))

    return _along("log_softmax", kernel, input, dim, dtype)


def _layer_norm_shapes(
    fn: Callable[..., Array], input: ArrayLike, normalized_shape: Sequence[SupportsIndex], *args: Any, **kwargs: Any
) -> Array:
    return spread(lambda x: fn(x, normalized_shape, *args, **kwargs), input, len(normalized_shape))


@operation(_layer_norm_shapes)
def layer_norm(
    input: ArrayLike,
    normalized_shape: Sequence[SupportsIndex],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """Return ``(input - mean) / sqrt(variance + eps) * weight + bias``, both taken over the last axes.

    Parameters
    ----------
    input : array-like of shape ``(*, *normalized_shape)``, float32 or float64
        Neither kept nor changed.
    normalized_shape : sequence of int
    weight, bias : ndarray of shape normalized_shape, of the dtype of `input`, optional
    eps : float, default 1e-5

    Returns
    -------
    ndarray of the shape and dtype of `input`

    Raises
    ------
    RuntimeError
        If a shape does not fit, `normalized_shape` is empty, or dtypes differ.
    NotImplementedError
        If the dtype is neither float32 nor float64.

    Examples
    --------
    >>> from asyncjit.nn import functional as F
    >>> F.layer_norm([[1.0, 3.0], [10.0, 30.0]], (2,)).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = np.asarray(input, order="C")
    shape = tuple(map(int, normalized_shape))
    _check_operands(x, shape, {"weight": weight, "bias": bias})
    check_floating("layer_norm", x)
    out: Array = np.empty(x.shape, x.dtype)
    if not x.size:
        return out
    K = math.prod(shape)
    scale = None if weight is None else weight.reshape(K)
    shift = None if bias is None else bias.reshape(K)

    def kernel(rows: Array, out: Array) -> None:
        np.subtract(rows, rows.sum(axis=1, keepdims=True) / K, out=out)
        variance = np.square(out).sum(axis=1, keepdims=True) / K
        out /= np.sqrt(variance + eps)
        if scale is not None:
            out *= scale
        if shift is not None:
            out += shift

    run_in_blocks(kernel, x.reshape(-1, K), out.reshape(-1, K), max(1, BLOCK // K))
    return out


class LayerNorm(Layer):
    """Normalisation over the last axes, to mean 0 and variance 1, and then a learned scale and shift.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the axes that are normalised together.
    eps : float, default 1e-5
        Added to the variance.
    elementwise_affine : bool, default True
        Whether there are `weight` and `bias`.
    bias : bool, default True
        Whether there is `bias`, if there is `weight`.
    dtype : float32 or float64, default float32
        Of the parameters, and of the arrays that the module takes and returns; without parameters it takes both.

    Attributes
    ----------
    weight : ndarray of shape normalized_shape, or None
        Ones at first.
    bias : ndarray of shape normalized_shape, or None
        Zeros at first.

    Raises
    ------
    TypeError
        If a length is no int, a flag no bool, or `dtype` another.
    ValueError
        If a length is negative, or there is none.

    References
    ----------
    Ba, Kiros and Hinton, Layer Normalization, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> nn.LayerNorm(2)(np.array([[1, 3]], dtype=np.float32)).round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    weight: Array | None
    bias: Array | None

    def __init__(
        self,
        normalized_shape: SupportsIndex | Sequence[SupportsIndex],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        lengths = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        self.normalized_shape = tuple(checked_size("normalized_shape", length, 0) for length in lengths)
        if not self.normalized_shape:
            raise ValueError("normalized_shape should have at least one axis, got ()")
        self.eps = eps
        self.elementwise_affine = checked_flag("elementwise_affine", elementwise_affine)
        has_bias = checked_flag("bias", bias) and self.elementwise_affine
        dtype = checked_dtype(dtype)
        self.weight = np.ones(self.normalized_shape, dtype) if self.elementwise_affine else None
        self.bias = np.zeros(self.normalized_shape, dtype) if has_bias else None

    if TYPE_CHECKING:

        def __call__(self, x: ArrayLike) -> Array:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: ArrayLike) -> Array:
        """Return `x` normalised over its last axes.

        Parameters
        ----------
        x : ndarray of shape ``(*, *normalized_shape)``, of the module's dtype
            Neither kept nor changed.

        Returns
        -------
        ndarray of the shape and dtype of `x`

        Raises
        ------
        RuntimeError
            If the shape or the dtype does not fit.
        NotImplementedError
            If there are no parameters, and the dtype is neither float32 nor float64.
        """
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def _shapes(self, x: ArrayLike) -> Array:
        return spread(self.forward, x, len(self.normalized_shape))

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


def _along(name: str, kernel: Kernel, input: ArrayLike, dim: int | None, dtype: DTypeLike | None) -> Array:
    """Run `kernel` on blocks (rows, K, columns) of `input`, K being the length of the axis `dim`."""
    x = floating(name, input if dtype is None else np.asarray(input).astype(checked_dtype(dtype), copy=False))
    axis = _axis(name, x.ndim, dim)
    out: Array = np.empty(x.shape, x.dtype)
    if x.size:
        shape = x.shape or (1,)
        blocked = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
        run_in_blocks(kernel, x.reshape(blocked), out.reshape(blocked), max(1, BLOCK // (blocked[1] * blocked[2])))
    return out


def _axis(name: str, ndim: int, dim: int | None) -> int:
    if dim is None:
        dim = 0 if ndim in (0, 1, 3) else 1
        warnings.warn(
            f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
            f"argument (here it was {dim}).",
            stacklevel=5,
        )
    ndim = max(1, ndim)  # as torch has it, a number has one axis
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})"
        )
    return dim % ndim


def _check_operands(x: Array, shape: tuple[int, ...], parameters: dict[str, Array | None]) -> None:
    if not shape:
        raise RuntimeError(
            "layer_norm: Expected normalized_shape to be at least 1-dimensional, got normalized_shape=()"
        )
    for name, parameter in parameters.items():
        if parameter is None:
            continue
        if parameter.shape != shape:
            raise RuntimeError(
                f"layer_norm: Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{parameter.shape} and normalized_shape={shape}"
            )
        if parameter.dtype != x.dtype:
            raise RuntimeError(
                f"layer_norm: input dtype ({x.dtype}) does not match {name} dtype ({parameter.dtype}); convert it "
                f"with x.astype(np.{parameter.dtype})"
            )
    if x.shape[-len(shape) :] != shape:
        expected = ", ".join(map(str, ("*", *shape)))
        raise RuntimeError(
            f"layer_norm: Given normalized_shape={shape}, expected input of shape ({expected}), but got {x.shape}"
        )
