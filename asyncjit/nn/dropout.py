"""`Dropout`, which in inference is the identity; and `dropout`, the same as a function.

They are there so that models are written, printed and loaded as in torch. Nothing is ever dropped: there is no training
here, and `training`, of the module or the argument, changes nothing.
"""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from asyncjit.nn.arguments import checked_flag
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import operation


@operation()
def dropout(input: NDArray[Any], p: float = 0.5, training: bool = True, inplace: bool = False) -> NDArray[Any]:
    """Return `input` itself; the other arguments are torch's, and have no effect.

    Raises
    ------
    ValueError
        If `p` is not between 0 and 1.
    TypeError
        If `p` is no number.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit.nn import functional as F
    >>> F.dropout(np.array([1.0, 2.0]), p=0.9)
    array([1., 2.])
    """
    _check_probability(p)
    return input


class Dropout(Layer):
    """The identity, in the place where training would set elements to zero.

    Parameters
    ----------
    p : float, default 0.5
        The probability that training would use.
    inplace : bool, default False
        No effect, and shown as torch shows it.

    Raises
    ------
    ValueError
        If `p` is not between 0 and 1.
    TypeError
        If `p` is no number, or `inplace` no bool.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> nn.Dropout(0.2)(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        _check_probability(p)
        self.p = p
        self.inplace = checked_flag("inplace", inplace)

    if TYPE_CHECKING:

        def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return `x` itself, an array of any shape and dtype."""
        return x

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        return f"p={self.p}, inplace={self.inplace}"


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
