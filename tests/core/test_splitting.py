"""NumPy functions that split themselves: which calls are split, and how; the values are in test_splitting_values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import sync
from asyncjit._core import splitting
from asyncjit._core.splitting import REDUCTIONS, Split, splits
from tests.core.numpy_calls import BLOCK, FLAT, SQUARE, TALL, X, assert_same, call, make_of, small_blocks

Array = NDArray[Any]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with small_blocks():
        yield


# -- which calls are split


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        call(np.tanh, X),
        call(np.divmod, X, 3.0),
        call(np.add, X, X[:1]),
        call(np.add, X[:1], np.ones((60, 1))),
        call(np.less, X, X),
        call(np.power, np.full(2000, 2), 3),
        call(np.add, X, 1, dtype="f4", casting="unsafe"),
        call(np.sum, FLAT),
        call(np.sum, X.T),
        call(np.sum, np.ones((40, 150), "F"), 0),
        call(np.max, FLAT),
        call(np.prod, np.full(6000, 3)),
        call(np.any, np.zeros((150, 40)), axis=-1),
        call(np.matmul, TALL, SQUARE),
        call(np.dot, TALL, SQUARE),
    ],
)
def test_a_call_whose_elements_are_independent_is_split(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert assert_same(fn, make_of(*args, **kwargs)) == 1


class Operand:
    """What wants to be asked itself."""

    def __array_ufunc__(self, fn: np.ufunc, method: str, *args: Any, **kwargs: Any) -> str:
        return f"{method} of {fn.__name__}"


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        call(np.add, FLAT[: 2 * BLOCK - 1], 1),
        call(np.add, np.ma.ones(3000), 1),
        call(np.add, FLAT, np.ma.masked_less(FLAT, 0)),
        call(np.add, X.view(np.matrix), X),
        call(np.add, X, X.view(np.matrix)),
        call(np.add, X, Operand()),
        call(np.add, FLAT, list(range(6000))),
        call(np.add, np.arange(3000, dtype="O"), 1),
        call(np.add, X, 1, dtype="O"),
        call(np.add, np.zeros(3000, "M8[s]"), np.timedelta64(1, "s")),
        call(np.add, X, 1, order="F"),
        call(np.add, X, 1, subok=False),
        call(np.frompyfunc(lambda x: x, 1, 1), FLAT),
        call(np.vecdot, X, X),
        call(np.sum, X, 0, None, None, True),
        call(np.max, X, 0, None, False, 3.0),
        call(np.sum, X, axis=0, keepdims=True),
        call(np.max, X, initial=3.0),
        call(np.sum, X, dtype="f4"),
        call(np.sum, X, out=np.empty(())),
        call(np.sum, FLAT.astype("f2")),
        call(np.sum, FLAT[::2]),
        call(np.prod, FLAT),
        call(np.sum, X, axis=(0, 1)),
        call(np.matmul, TALL[:480], SQUARE),
        call(np.matmul, np.asfortranarray(TALL), SQUARE),
        call(np.matmul, TALL, SQUARE.astype("f4")),
        call(np.matmul, TALL.astype(int), SQUARE.astype(int)),
        call(np.matmul, TALL, SQUARE[0]),
        call(np.matmul, TALL, np.ones((2, 64, 64))),
        call(np.matmul, TALL, SQUARE, dtype="f8"),
        call(np.dot, TALL, b=SQUARE),
    ],
)
def test_a_call_that_might_come_out_otherwise_runs_whole(
    fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert assert_same(fn, make_of(*args, **kwargs)) == 0


# -- how it is cut


def test_blocks_of_a_product_begin_at_multiples_of_48_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    matmul = np.matmul

    class Numpy:
        """NumPy, with a product that notes the shape of its first factor."""

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def matmul(self, a: Array, b: Array, y: Array) -> None:
            shapes.append(a.shape)
            matmul(a, b, y)

    monkeypatch.setattr(splitting, "np", Numpy())
    y = np.empty((1500, 64))
    splitting.multiply_by_rows(np.ones((1500, 64)), SQUARE, y, np.full(64, 2.0))
    assert sorted(shapes) == [(480, 64), (480, 64), (540, 64)]
    assert (y == 66.0).all()


@pytest.mark.parametrize(
    ("num_rows", "size", "num_blocks"),
    [
        (959, 10**6, 1),
        (960, 10**6, 2),
        (1920, 10**6, 4),
        (4000, 10**6, 4),
        (16384, 10**6, 8),
        (960, 2000, 1),
        (0, 9, 1),
    ],
)
def test_the_number_of_row_blocks_is_a_rule_of_size(num_rows: int, size: int, num_blocks: int) -> None:
    assert splitting.num_row_blocks(num_rows, size) == num_blocks


@pytest.mark.parametrize("size", [2000, 2001, 4008, 9999, 123457])
def test_a_sum_is_cut_where_numpy_cuts_it(size: int) -> None:
    cuts = splitting._pairwise_cuts(0, size)
    assert cuts[0] == 0
    assert cuts[-1] == size
    middle = size // 2 - size // 2 % 8
    assert middle in cuts
    num_parts = len(cuts) - 1
    assert num_parts & (num_parts - 1) == 0, "the tree is even"
    assert num_parts <= splitting.MAX_BLOCKS
    assert min(np.diff(cuts)) >= BLOCK / 2 - 8


# -- which forks it concerns


@pytest.mark.parametrize("fn", [np.tanh, np.matmul, np.dot, *REDUCTIONS])
def test_a_known_function_of_a_large_array_may_be_worth_splitting(fn: Any) -> None:
    assert splits(fn, (X,))


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (np.tanh, ()),
        (np.tanh, (X[:1, :7],)),
        (np.tanh, (3.0,)),
        (np.tanh, (np.ma.ones(9),)),
        (np.sort, (X,)),
        (abs, (X,)),
    ],
)
def test_anything_else_is_not(fn: Any, args: tuple[Any, ...]) -> None:
    assert not splits(fn, args)


def test_the_fork_bears_the_name_of_the_function() -> None:
    future = sync.fork(np.tanh, X)
    source: Any = future._source
    sync.wait(future)
    assert source.display_name() == "tanh"
    assert Split(np.tanh).func is np.tanh
