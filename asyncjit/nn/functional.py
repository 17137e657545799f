"""torch.nn.functional, as far as inference with this package's layers needs it, on NumPy arrays.

Plain functions with torch's names, argument order and defaults. They neither keep nor change what they are given, so
`inplace` is taken, for code that was written for torch, and has no effect. Numbers that overflow or are not defined
come out as inf and NaN without a warning, as in torch. Operands are made contiguous first, because NumPy's loops for
strided arrays may round differently: a view gives the bits of its copy.

Here are the elementwise functions, in blocks that fit the cache and that free threads share (`blocks`); the
others stand beside their layers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asyncjit.nn.blocks import BLOCK, Kernel, check_floating, floating, run_in_blocks
from asyncjit.nn.convolution import conv1d
from asyncjit.nn.dropout import dropout
from asyncjit.nn.embedding import embedding
from asyncjit.nn.normalization import layer_norm, log_softmax, softmax
from asyncjit.nn.operations import by_element, operation, spread

__all__ = [
    "conv1d",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "hardtanh",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

Array = NDArray[Any]


@operation(by_element)
def relu(input: ArrayLike, inplace: bool = False) -> Array:
    """Return max(0, x) of each element, of any integer or floating dtype; RuntimeError for bools."""
    x = np.asarray(input, order="C")
    if x.dtype == bool:
        raise RuntimeError("relu: Boolean inputs not supported for relu")
    if x.dtype.kind not in "iu":
        check_floating("relu", x)
    return _elementwise(lambda x, out: np.maximum(x, 0, out=out), x)


@operation(by_element)
def leaky_relu(input: ArrayLike, negative_slope: float = 0.01, inplace: bool = False) -> Array:
    """Return x where it is positive, else negative_slope · x; NotImplementedError for integers."""

    def kernel(x: Array, out: Array) -> None:
        np.minimum(x, 0, out=out)
        out *= negative_slope
        out += np.maximum(x, 0)

    return _elementwise(kernel, floating("leaky_relu", input))


@operation(by_element)
def elu(input: ArrayLike, alpha: float = 1.0, inplace: bool = False) -> Array:
    """Return x where it is not negative, else alpha · (exp(x) - 1); NotImplementedError for integers.

    Clevert, Unterthiner and Hochreiter, Fast and Accurate Deep Network Learning by Exponential Linear Units, 2015.
    """

    def kernel(x: Array, out: Array) -> None:
        np.minimum(x, 0, out=out)
        np.expm1(out, out=out)
        out *= alpha
        out += np.maximum(x, 0)

    return _elementwise(kernel, floating("elu", input))


@operation(by_element)
def gelu(input: ArrayLike, approximate: str = "none") -> Array:
    """Return x · Φ(x), Φ being the distribution function of the normal distribution.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.

    Parameters
    ----------
    input : array-like of float32 or float64, any shape
    approximate : {"none", "tanh"}, default "none"
        "tanh" is 0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))).

    Raises
    ------
    RuntimeError
        If `approximate` is neither.
    NotImplementedError
        If the dtype is neither float32 nor float64.

    Examples
    --------
    >>> from asyncjit.nn import functional as F
    >>> F.gelu([-1.0, 0.0, 1.0]).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    check_approximate(approximate)
    return _elementwise(_gelu if approximate == "none" else _gelu_tanh, floating("gelu", input))


@operation(by_element)
def silu(input: ArrayLike, inplace: bool = False) -> Array:
    """Return x / (1 + exp(-x)) of each element; NotImplementedError for integers."""

    def kernel(x: Array, out: Array) -> None:
        _one_plus_exp_minus(x, out)
        np.divide(x, out, out=out)

    return _elementwise(kernel, floating("silu", input))


@operation(by_element)
def sigmoid(input: ArrayLike) -> Array:
    """Return 1 / (1 + exp(-x)) of each element; integers and bools are taken as float32."""

    def kernel(x: Array, out: Array) -> None:
        _one_plus_exp_minus(x, out)
        np.reciprocal(out, out=out)

    return _elementwise(kernel, _promoted("sigmoid", input))


@operation(by_element)
def tanh(input: ArrayLike) -> Array:
    """Return the hyperbolic tangent of each element; integers and bools are taken as float32."""
    return _elementwise(lambda x, out: np.tanh(x, out=out), _promoted("tanh", input))


@operation(by_element)
def softplus(input: ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Return log(1 + exp(beta · x)) / beta, and x where beta · x is above `threshold`.

    NotImplementedError for integers.
    """

    def kernel(x: Array, out: Array) -> None:
        np.multiply(x, beta, out=out)
        is_linear = out > threshold
        np.exp(out, out=out)
        np.log1p(out, out=out)
        out /= beta
        np.copyto(out, x, where=is_linear)

    return _elementwise(kernel, floating("softplus", input))


@operation(by_element)
def hardtanh(input: ArrayLike, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Array:
    """Return each element, at least `min_val` and at most `max_val`; signed integers stay integers.

    Raises
    ------
    ValueError
        If `min_val` is above `max_val`.
    NotImplementedError
        If the dtype is none that torch takes: bools, unsigned integers.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    x = np.asarray(input, order="C")
    if x.dtype.kind != "i":
        check_floating("hardtanh", x)
    low, high = x.dtype.type(min_val), x.dtype.type(max_val)

    def kernel(x: Array, out: Array) -> None:
        np.maximum(x, low, out=out)
        np.minimum(out, high, out=out)

    return _elementwise(kernel, x)


def _linear_shapes(fn: Callable[..., Array], input: ArrayLike, *args: Any, **kwargs: Any) -> Array:
    return spread(lambda x: fn(x, *args, **kwargs), input, 1)


@operation(_linear_shapes)
def linear(input: ArrayLike, weight: Array, bias: Array | None = None) -> Array:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : ndarray of shape (..., in_features)
    weight : ndarray of shape (out_features, in_features) or (in_features,), of the dtype of `input`
    bias : ndarray of shape (out_features,) or (), of the same dtype, optional

    Returns
    -------
    ndarray of shape (..., out_features), or (...) for a weight of one axis

    Raises
    ------
    RuntimeError
        If a shape or a dtype does not fit.

    See Also
    --------
    Linear : which prepares the weight for the products to come.
    """
    x, weight = np.asarray(input, order="C"), np.asarray(weight)
    if weight.ndim not in (1, 2) or x.ndim == 0 or x.shape[-1] != weight.shape[-1] or x.dtype != weight.dtype:
        raise RuntimeError(
            f"linear: input of shape {x.shape} and dtype {x.dtype} does not fit weight of shape {weight.shape} "
            f"and dtype {weight.dtype}"
        )
    if bias is not None and (bias.shape != weight.shape[:-1] or bias.dtype != weight.dtype):
        raise RuntimeError(
            f"linear: bias of shape {bias.shape} and dtype {bias.dtype} does not fit weight of shape {weight.shape} "
            f"and dtype {weight.dtype}"
        )
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    with np.errstate(all="ignore"):
        y: Array = rows @ weight.T
        if bias is not None:
            y += bias
    return y.reshape((*x.shape[:-1], *weight.shape[:-1]))


def check_approximate(approximate: str) -> None:
    """Raise RuntimeError, as torch does, if `gelu` has no such form."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate argument must be either none or tanh, got {approximate!r}")


def _elementwise(kernel: Kernel, x: Array) -> Array:
    out: Array = np.empty(x.shape, x.dtype)
    run_in_blocks(kernel, x.reshape(-1), out.reshape(-1), BLOCK)
    return out


def _promoted(name: str, input: ArrayLike) -> Array:
    """Return `input` as a contiguous array of float32 or float64; torch computes float32 of integers and bools."""
    x = np.asarray(input, order="C")
    return x.astype(np.float32) if x.dtype.kind in "biu" else floating(name, x)


def _one_plus_exp_minus(x: Array, out: Array) -> None:
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1


def _gelu_tanh(x: Array, out: Array) -> None:
    # 0.5 · (1 + tanh(u)) is the sigmoid of 2u.
    np.multiply(x, x, out=out)
    out *= 0.044715
    out += 1
    out *= x
    out *= -2 * math.sqrt(2 / math.pi)
    np.exp(out, out=out)
    out += 1
    np.divide(x, out, out=out)


def _gelu(x: Array, out: Array) -> None:
    # Φ(x) is Φ(-|x|) for negative x, else 1 - Φ(-|x|); a sum does not guess at branches, as a mask would.
    tail = _normal_tail(np.abs(x))
    np.copysign(tail, x, out=tail)
    np.subtract(x >= 0, tail, out=tail)
    np.multiply(x, tail, out=out)


# For a ≥ 0, Φ(-a) = exp(-a²/2) · p(t) / (1 + a) with t = (a - k) / (a + k), which maps the half-line on [-1, 1), and a
# polynomial p: the form of Shepherd and Laframboise, Chebyshev approximation of (1 + 2x)·exp(x²)·erfc x in 0 ≤ x < ∞,
# Mathematics of Computation 36, 1981. The coefficients, highest power first, were fitted at Chebyshev points with 60
# digits (mpmath's chebyfit) to (1 + a)·exp(a²/2)·Φ(-a); p's largest errors are 4.4e-9 and 1.0e-16.
_TAIL_CENTER = {"float32": 4.0, "float64": 5.0}
_TAIL_COEFFICIENTS = {
    "float32": (
        *(1.308965502e-5, -5.801647096e-5, -8.599175619e-5, 0.0006648009035, -0.0002898238614, -0.004987548936),
        *(0.01793706101, -0.03220122241, 0.02860028233, 0.01399992119, -0.09670347619, 0.4720532025),
    ),
    "float64": (
        *(-2.884794724105449e-10, 2.2027448318350712e-09, 3.661836535863277e-09, -2.5444050458032668e-08),
        *(-2.636797167357404e-08, 1.8841037002080884e-07, 1.2798783282871204e-07, -1.3003901927413688e-06),
        *(-7.04376663890156e-08, 9.055694907386791e-06, -9.896049006398792e-06, -5.360599672837992e-05),
        *(0.0001823341283884788, 7.791206884373869e-06, -0.0016760723409777719, 0.006522000726622294),
        *(-0.015170415402960762, 0.02453696323875023, -0.02640104296627982, 0.010002352385420084),
        *(0.031030368425963, -0.09155228183401122, 0.46151582985003775),
    ),
}


def _normal_tail(a: Array) -> Array:
    """Return Φ(-a) of a ≥ 0; `a` is overwritten."""
    np.minimum(a, 40, out=a)  # where Φ(-a) is 0 in float64; inf would give NaN
    center = _TAIL_CENTER[a.dtype.name]
    first, *others, last = _TAIL_COEFFICIENTS[a.dtype.name]
    t = (a - center) / (a + center)
    p = t * first
    for coefficient in others:
        p += coefficient
        p *= t
    p += last
    p /= np.add(a, 1, out=t)
    a *= a
    a *= -0.5
    p *= np.exp(a, out=a)
    return p
