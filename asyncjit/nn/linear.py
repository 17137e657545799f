"""`Linear`: y = x Wᵀ + b on the last axis, with torch's names and layout."""

import math
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from asyncjit.nn.arguments import checked_dtype, checked_flag, checked_size
from asyncjit.nn.initial import uniform
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import unset
from asyncjit.nn.packing import Product


class Linear(Layer):
    """An affine map of the last axis: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Length of the last axis of the input and of the output.
    bias : bool, default True
        Without it nothing is added, and the attribute `bias` is None.
    dtype : float32 or float64, default float32
        Of the parameters, and of the arrays that the module takes and returns.
    rng : numpy.random.Generator or int, optional
        Draws the initial parameters, uniform in ±1/sqrt(in_features); fresh entropy if not given.

    Attributes
    ----------
    weight : ndarray of shape (out_features, in_features)
    bias : ndarray of shape (out_features,), or None

    Raises
    ------
    TypeError
        If a size is no int, `bias` no bool, or `dtype` another.
    ValueError
        If a size is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> layer = nn.Linear(20, 30)
    >>> layer(np.ones((128, 20), dtype=np.float32)).shape
    (128, 30)
    """

    bias: NDArray[Any] | None

    _by_columns = True

    def __init__(
        self,
        in_features: SupportsIndex,
        out_features: SupportsIndex,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checked_size("in_features", in_features, 0)
        self.out_features = checked_size("out_features", out_features, 0)
        dtype, rng = checked_dtype(dtype), np.random.default_rng(rng)
        self.weight = uniform(rng, (self.out_features, self.in_features), self.in_features, dtype)
        has_bias = checked_flag("bias", bias)
        self.bias = uniform(rng, (self.out_features,), self.in_features, dtype) if has_bias else None

    if TYPE_CHECKING:

        def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return ``x @ weight.T + bias``.

        Parameters
        ----------
        x : ndarray of shape (..., in_features), of the module's dtype
            Any number of leading axes, or none. Neither kept nor changed.

        Returns
        -------
        ndarray of shape (..., out_features), of the module's dtype

        Raises
        ------
        RuntimeError
            If the shape or the dtype does not fit.
        """
        x, weight = np.asarray(x), self.weight
        self._check(x)
        product = self._forms.get("weight")
        if product is None or product.weight is not weight:
            product = self._keep("weight", Product(weight))
        if x.ndim == 2:
            return product(x, self.bias)
        # One product of all rows: matmul of three or more axes would call BLAS once for each matrix.
        y = product(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), self.bias)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"

    def _shapes(self, x: NDArray[Any]) -> NDArray[Any]:
        x = np.asarray(x)
        self._check(x)
        return unset((*x.shape[:-1], self.weight.shape[0]), x.dtype)

    def _check(self, x: NDArray[Any]) -> None:
        weight = self.weight
        if x.ndim != 0 and x.shape[-1] == weight.shape[1] and x.dtype == weight.dtype:
            return
        raise RuntimeError(
            f"{self!r}: input of shape {x.shape} and dtype {x.dtype} does not fit weight of shape "
            f"{weight.shape} and dtype {weight.dtype}: the input's last axis should be {weight.shape[1]} "
            f"long, its dtype {weight.dtype} (convert it with x.astype(np.{weight.dtype}))"
        )
