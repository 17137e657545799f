"""`Embedding`: rows of a table by their numbers, with torch's names; and `embedding`, the same as a function.

NumPy counts a negative index from the end; torch refuses it, and so does this, because the usual -1 is a word that was
not found, and the last row would stand in for it silently.
"""

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from asyncjit.nn.arguments import checked_dtype, checked_size
from asyncjit.nn.layer import Layer
from asyncjit.nn.operations import by_element, operation


@operation(by_element)
def embedding(input: ArrayLike, weight: NDArray[Any], padding_idx: SupportsIndex | None = None) -> NDArray[Any]:
    """Return the rows of `weight` that `input` numbers.

    Parameters
    ----------
    input : array-like of any integer dtype and any shape
        From 0 to num_embeddings - 1. Neither kept nor changed.
    weight : ndarray of shape (num_embeddings, embedding_dim), of any dtype
    padding_idx : int, optional
        In torch the row that is not trained; here it is checked and has no effect.

    Returns
    -------
    ndarray of shape ``(*input.shape, embedding_dim)``, of the dtype of `weight`

    Raises
    ------
    RuntimeError
        If `input` is not of an integer dtype, or `weight` has not two axes.
    IndexError
        If a number is negative or too large.
    TypeError, ValueError
        If `padding_idx` is no int, or no row's number.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit.nn import functional as F
    >>> F.embedding([[0, 2]], np.array([[1.0, 1.5], [2.0, 2.5], [3.0, 3.5]]))
    array([[[1. , 1.5],
            [3. , 3.5]]])
    """
    indices = np.asarray(input)
    weight = np.asarray(weight)
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: weight must be 2-D, got shape {weight.shape}")
    if indices.dtype.kind not in "iu":
        raise RuntimeError(
            f"embedding: expected indices of an integer dtype, got {indices.dtype} (shape {indices.shape}); "
            "convert them with x.astype(np.int64)"
        )
    if padding_idx is not None:
        _checked_padding_idx(padding_idx, len(weight))
    if indices.size and not (indices.min() >= 0 and indices.max() < len(weight)):
        wrong = indices[(indices < 0) | (indices >= len(weight))][0]
        raise IndexError(f"embedding: index {wrong} is out of range for {len(weight)} embeddings")
    return weight.take(indices.astype(np.intp, copy=False), axis=0)


class Embedding(Layer):
    """A table of vectors, looked up by integers.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    padding_idx : int, optional
        The row that stands for padding, zero at first; counted from the end if negative.
    dtype : float32 or float64, default float32
        Of the table, and of what the module returns.
    rng : numpy.random.Generator or int, optional
        Draws the initial table, normal with mean 0 and deviation 1; fresh entropy if not given.

    Attributes
    ----------
    weight : ndarray of shape (num_embeddings, embedding_dim)

    Raises
    ------
    TypeError
        If a size or `padding_idx` is no int, or `dtype` another.
    ValueError
        If a size is negative, or `padding_idx` no row's number.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> layer = nn.Embedding(10, 3, padding_idx=0)
    >>> layer(np.array([[1, 2, 4, 5], [4, 3, 2, 9]])).shape
    (2, 4, 3)
    >>> layer(np.array([0]))
    array([[0., 0., 0.]], dtype=float32)
    """

    weight: NDArray[Any]

    def __init__(
        self,
        num_embeddings: SupportsIndex,
        embedding_dim: SupportsIndex,
        padding_idx: SupportsIndex | None = None,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = checked_size("num_embeddings", num_embeddings, 0)
        self.embedding_dim = checked_size("embedding_dim", embedding_dim, 0)
        self.padding_idx: int | None = None
        dtype, rng = checked_dtype(dtype), np.random.default_rng(rng)
        weight = rng.standard_normal((self.num_embeddings, self.embedding_dim), dtype=dtype)
        if padding_idx is not None:
            self.padding_idx = _checked_padding_idx(padding_idx, self.num_embeddings)
            weight[self.padding_idx] = 0
        self.weight = weight

    if TYPE_CHECKING:

        def __call__(self, x: ArrayLike) -> NDArray[Any]:
            """Be Module's call, but typed, and a fork of the layer with it."""

    def forward(self, x: ArrayLike) -> NDArray[Any]:
        """Return the table's rows that `x` numbers.

        Parameters
        ----------
        x : array-like of any integer dtype and any shape
            Neither kept nor changed.

        Returns
        -------
        ndarray of shape ``(*x.shape, embedding_dim)``, of the module's dtype

        Raises
        ------
        RuntimeError
            If `x` is not of an integer dtype.
        IndexError
            If a number is negative, or not below `num_embeddings`.
        """
        return embedding(x, self.weight)

    def _shapes(self, x: ArrayLike) -> NDArray[Any]:
        return by_element(self.forward, x)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as torch shows them."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _checked_padding_idx(padding_idx: SupportsIndex, num_embeddings: int) -> int:
    """Return the number of the row, counted from the start."""
    row = checked_size("padding_idx", padding_idx, -num_embeddings)
    if row >= num_embeddings:
        raise ValueError(f"padding_idx must be within num_embeddings, {num_embeddings}, got {row}")
    return row % num_embeddings
