"""Activations as modules, for `Sequential` and its kin; what they compute is in `functional`.

torch's `inplace` is taken, for code that was written for torch, and shown as torch shows it; nothing is changed in
place.
"""

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from asyncjit.nn import functional
from asyncjit.nn.arguments import checked_flag
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import by_element

Array = NDArray[Any]


class _Activation(Layer):
    """A module of one array without parameters."""

    if TYPE_CHECKING:

        def __call__(self, x: ArrayLike) -> Array:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def _shapes(self, x: ArrayLike) -> Array:
        return by_element(self.forward, x)


class _InPlace(_Activation):
    """An activation that torch may compute in place."""

    inplace: bool

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        return "inplace=True" if self.inplace else ""


class Identity(_Activation):
    """The identity; it takes any arguments, as in torch.

    Examples
    --------
    >>> from asyncjit import nn
    >>> nn.Identity(54, unused=True)
    Identity()
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def forward(self, x: Array) -> Array:
        """Return `x` itself."""
        return x

    def _shapes(self, x: Any) -> Any:
        return x  # itself, which tells that it is no copy


class ReLU(_InPlace):
    """max(0, x) of each element.

    Examples
    --------
    >>> from asyncjit import nn
    >>> nn.ReLU()([-1.0, 2.0])
    array([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = checked_flag("inplace", inplace)

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.relu` of an array of any shape, of an integer or floating dtype."""
        return functional.relu(x)


class LeakyReLU(_InPlace):
    """The element x where it is positive, else negative_slope · x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = checked_flag("inplace", inplace)

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.leaky_relu` of an array of any shape, float32 or float64."""
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        return _joined(f"negative_slope={self.negative_slope}", super().extra_repr())


class ELU(_InPlace):
    """The element x where it is not negative, else alpha · (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = checked_flag("inplace", inplace)

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.elu` of an array of any shape, float32 or float64."""
        return functional.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        return _joined(f"alpha={self.alpha}", super().extra_repr())


class GELU(_Activation):
    """x · Φ(x) of each element, Φ being the distribution function of the normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"

    Raises
    ------
    RuntimeError
        If `approximate` is neither.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        functional.check_approximate(approximate)
        self.approximate = approximate

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.gelu` of an array of any shape, float32 or float64."""
        return functional.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the constructor's argument, as torch shows it."""
        return f"approximate={self.approximate!r}"


class SiLU(_InPlace):
    """x / (1 + exp(-x)) of each element."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = checked_flag("inplace", inplace)

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.silu` of an array of any shape, float32 or float64."""
        return functional.silu(x)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)) of each element."""

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.sigmoid` of an array of any shape; integers are taken as float32."""
        return functional.sigmoid(x)


class Tanh(_Activation):
    """The hyperbolic tangent of each element."""

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.tanh` of an array of any shape; integers are taken as float32."""
        return functional.tanh(x)


class Softplus(_Activation):
    """log(1 + exp(beta · x)) / beta of each element, and x where beta · x is above `threshold`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.softplus` of an array of any shape, float32 or float64."""
        return functional.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(_InPlace):
    """Each element, at least `min_val` and at most `max_val`.

    Raises
    ------
    ValueError
        If `max_val` is not above `min_val`.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not max_val > min_val:
            raise ValueError(f"max_val ({max_val}) must be greater than min_val ({min_val})")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = checked_flag("inplace", inplace)

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.hardtanh` of an array of any shape, of a signed integer or floating dtype."""
        return functional.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        return _joined(f"min_val={self.min_val}, max_val={self.max_val}", super().extra_repr())


class _AlongAxis(_Activation):
    """A function of all numbers along one axis."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the constructor's argument, as torch shows it."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """exp(x) divided by its sum along the axis `dim`.

    Examples
    --------
    >>> from asyncjit import nn
    >>> nn.Softmax(dim=1)([[0.0, 0.0], [1.0, 1.0]])
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.softmax` of an array of any shape, float32 or float64; IndexError without the axis."""
        return functional.softmax(x, self.dim)


class LogSoftmax(_AlongAxis):
    """The logarithm of `Softmax`, computed without the quotient."""

    def forward(self, x: ArrayLike) -> Array:
        """Return `functional.log_softmax` of an array of any shape, float32 or float64; IndexError without the axis."""
        return functional.log_softmax(x, self.dim)


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))
