"""Where arrays lie: on cache lines, padded where rows would meet in the caches, and out of everybody's reach."""

import mmap
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from asyncjit import nn, sync
from asyncjit._core.products import Form, get_product_form, set_product_form
from asyncjit.nn.layer import Layer
from asyncjit.nn.memory import aligned, pickled, read_only

Array = NDArray[Any]

DTYPES: st.SearchStrategy[np.dtype[Any]] = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)


def address(array: Array) -> int:
    return int(array.ctypes.data)


@given(shape=SHAPES, dtype=DTYPES)
def test_an_aligned_array_begins_on_a_cache_line_and_is_like_any_fresh_array(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    array, other = aligned(shape, dtype), aligned(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert address(array) % 64 == 0 or array.size == 0
    assert array.flags.c_contiguous
    array[...] = 1
    other[...] = 2
    assert (array == 1).all()


@given(
    array=hnp.arrays(DTYPES, SHAPES, elements=st.floats(width=32)),
    by_columns=st.booleans(),
    is_transposed=st.booleans(),
    is_writeable=st.booleans(),
)
def test_the_copy_is_equal_aligned_and_read_only_whatever_it_is_made_of(
    array: Array, by_columns: bool, is_transposed: bool, is_writeable: bool
) -> None:
    array = array.T if is_transposed else array
    array.flags.writeable = is_writeable
    copy = read_only(array, by_columns=by_columns)
    assert (copy.shape, copy.dtype, type(copy)) == (array.shape, array.dtype, np.ndarray)
    np.testing.assert_array_equal(copy, array)
    assert address(copy) % 64 == 0 or copy.size == 0
    assert not copy.flags.writeable
    assert not np.shares_memory(copy, array)
    assert read_only(copy) is copy
    assert read_only(copy, by_columns=True) is copy


@pytest.mark.parametrize(
    ("dtype", "num_rows", "pitch"),
    [
        ("float32", 100, 100),
        ("float32", 255, 255),
        ("float32", 256, 272),  # 1 KB: a cache line more
        ("float32", 257, 257),
        ("float32", 512, 528),
        ("float64", 128, 136),
        ("float64", 64, 64),
        ("float64", 384, 392),
        ("float32", 0, 0),
    ],
)
def test_columns_of_a_multiple_of_1_kb_are_padded_by_a_cache_line(dtype: str, num_rows: int, pitch: int) -> None:
    weight = np.arange(num_rows * 3).reshape(num_rows, 3).astype(dtype)
    kept = read_only(weight, by_columns=True)
    assert kept.shape == (num_rows, 3)
    np.testing.assert_array_equal(kept, weight)
    if num_rows:
        assert kept.strides == (weight.itemsize, pitch * weight.itemsize)
        assert kept.base is not None


@pytest.mark.parametrize("shape", [(256,), (2, 3, 256)])
def test_what_is_no_matrix_lies_in_c_order_all_the_same(shape: tuple[int, ...]) -> None:
    assert read_only(np.ones(shape, np.float32).T, by_columns=True).flags.c_contiguous


def test_a_matrix_lies_in_c_order_unless_asked_by_columns() -> None:
    assert read_only(np.ones((3, 256), np.float32).T).flags.c_contiguous


def test_views_of_kept_memory_are_kept_themselves() -> None:
    kept = read_only(np.arange(12.0).reshape(3, 4))
    for view in (kept.T, kept[1:], kept.reshape(4, 3), kept[0]):
        assert read_only(view) is view


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (1, 7), (7, 1), (256, 3), (4, 4)])
def test_a_pickle_restores_memory_that_is_laid_out_and_kept_alike(shape: tuple[int, ...], by_columns: bool) -> None:
    kept = read_only(np.random.default_rng(0).random(shape, np.float32), by_columns=by_columns)
    first, again = pickle.loads(pickle.dumps([pickled(kept), pickled(kept)]))
    assert first is again
    assert first is not kept
    np.testing.assert_array_equal(first, kept)
    assert first.dtype == kept.dtype
    axes = [axis for axis, length in enumerate(shape) if length > 1]  # the stride of any other says nothing
    assert [first.strides[axis] for axis in axes] == [kept.strides[axis] for axis in axes]
    assert read_only(first) is first, "it is kept itself"


# What looks read-only, and is not

READ_ONLY_TO_ITS_HOLDER: list[Callable[[Array], Array]] = [
    lambda array: array[:],  # a plain view
    lambda array: np.asarray(array.data.toreadonly()),
    lambda array: np.broadcast_to(array, array.shape),
    lambda array: np.frombuffer(array.data.toreadonly(), array.dtype).reshape(array.shape),
]


@pytest.mark.parametrize("form", READ_ONLY_TO_ITS_HOLDER)
def test_memory_that_somebody_else_can_write_to_is_copied(form: Callable[[Array], Array]) -> None:
    mine = np.ones((2, 3))
    theirs = form(mine)
    theirs.flags.writeable = False
    kept = read_only(theirs)
    mine[...] = 5
    assert (theirs == 5).all()
    assert (kept == 1).all()


def test_foreign_buffers_are_copied() -> None:
    with mmap.mmap(-1, 64) as memory:
        kept = read_only(np.frombuffer(memory, np.float32))
        memory[:4] = b"\xff\xff\xff\xff"
    assert not np.isnan(kept).any()
    assert read_only(np.frombuffer(bytes(8), np.float32)).tolist() == [0, 0]


def test_subclasses_become_plain_arrays() -> None:
    class Named(np.ndarray[Any, Any]):
        pass

    kept = read_only(np.ones((2, 2)).view(Named))
    assert type(kept) is np.ndarray
    assert type(read_only(read_only(np.ones((2, 2))).view(Named))) is np.ndarray


# Ways to write


def multiply_in_place(array: Array) -> None:
    array *= 2


WRITES: dict[str, Callable[[Array], object]] = {
    "item assignment": lambda array: array.__setitem__((0, 0), 2),
    "slice assignment": lambda array: array.__setitem__(slice(None), 2),
    "in-place operator": multiply_in_place,
    "np.copyto": lambda array: np.copyto(array, 2),
    "out=": lambda array: np.add(array, 1, out=array),
    "matmul's out=": lambda array: np.matmul(np.eye(3), np.ones((3, 3)), out=array),
    "ufunc.at": lambda array: np.add.at(array, 0, 1),
    "fill": lambda array: array.fill(2),
    "sort": lambda array: array.sort(),
    "partition": lambda array: array.partition(1),
    "put": lambda array: array.put(0, 2),
    "np.place": lambda array: np.place(array, array == array, 2),
    "np.putmask": lambda array: np.putmask(array, array == array, 2),
    "fill_diagonal": lambda array: np.fill_diagonal(array, 2),
    "byteswap": lambda array: array.byteswap(inplace=True),
    "random out=": lambda array: np.random.default_rng(0).random(out=array),
    "a view": lambda array: array[1:].__setitem__(0, 2),
    "its transpose": lambda array: array.T.__setitem__(0, 2),
    "another dtype": lambda array: array.view(np.uint8).__setitem__(0, 2),
    "as_strided": lambda array: np.lib.stride_tricks.as_strided(array, writeable=True).__setitem__(0, 2),
    "flat": lambda array: array.flat.__setitem__(0, 2),
    "nditer": lambda array: np.nditer(array, op_flags=["readwrite"]),
    "buffer": lambda array: memoryview.__setitem__(array.data, (0, 0), 2),
    "flags": lambda array: setattr(array.flags, "writeable", True),
    "setflags": lambda array: array.setflags(write=True),
    "flags of a view": lambda array: array.T.setflags(write=True),
    "flags of the base": lambda array: array.base.setflags(write=True),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("way", WRITES)
def test_no_way_to_write_leads_to_kept_memory(way: str, by_columns: bool) -> None:
    values = np.arange(9.0)[::-1].reshape(3, 3)
    kept = read_only(values, by_columns=by_columns)
    view = kept.T.T
    with pytest.raises((ValueError, TypeError, AttributeError, RuntimeError)):
        WRITES[way](kept)
    np.testing.assert_array_equal(view, values)
    np.testing.assert_array_equal(kept, values)


@pytest.mark.xfail(
    strict=False, reason="NumPy's ufunc.at writes to any read-only array, of given elements, even to bytes"
)
def test_ufunc_at_of_single_elements_does_not_lead_there_either() -> None:
    kept = read_only(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="read-only"):
        np.add.at(kept, (0, 0), 1)


# What layers take


@pytest.mark.parametrize("size", [160, 256, 384])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("form", "bound"), [("packed", 2.1), ("plain", 1.1)])
@pytest.mark.parametrize("kind", [nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell])
def test_a_layer_takes_at_most_2_1_times_its_weights(
    kind: Callable[..., Layer], form: Form, bound: float, dtype: str, size: int
) -> None:
    x = np.ones((14, size) if kind in (nn.LSTMCell, nn.GRUCell) else (1, 14, size), dtype)
    x = np.ones((60, size), dtype) if kind is nn.Linear else x  # for each product, panels serve
    form_before = get_product_form()
    set_product_form(form)
    with sync.Runtime(1):  # a helping thread would hold the result for a moment longer
        kind(size, size, dtype=dtype, rng=0)(x)  # what is made once for all layers
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            layer = kind(size, size, dtype=dtype, rng=0)
            layer(x)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            set_product_form(form_before)
    weights = sum(array.nbytes for name, array in layer.named_parameters() if "weight" in name)
    others = sum(array.nbytes for name, array in layer.named_parameters() if "bias" in name)
    assert (bound - 0.2) * weights < after - before < bound * weights + 2 * others + 8000  # of Python's own objects
