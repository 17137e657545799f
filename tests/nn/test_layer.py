"""`Layer`: however a parameter is changed, the next call computes with it, or the change is refused."""

import copy
import io
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import nn
from asyncjit._core.products import set_product_form
from asyncjit.nn.layer import Layer
from asyncjit.nn.packing import Panels

pytestmark = pytest.mark.usefixtures("packed")

Array = NDArray[Any]

SIZE = 160
BATCH = 14  # with SIZE, more than 10⁶ multiplications for three gates or four


def linear(seed: int = 0, dtype: str = "float32") -> nn.Linear:
    return nn.Linear(SIZE, 4 * SIZE, dtype=dtype, rng=seed)


def lstm(seed: int = 0, dtype: str = "float32") -> nn.LSTM:
    return nn.LSTM(SIZE, SIZE, bidirectional=True, dtype=dtype, rng=seed)


def gru(seed: int = 0, dtype: str = "float32") -> nn.GRU:
    return nn.GRU(SIZE, SIZE, num_layers=2, dtype=dtype, rng=seed)


def lstm_cell(seed: int = 0, dtype: str = "float32") -> nn.LSTMCell:
    return nn.LSTMCell(SIZE, SIZE, dtype=dtype, rng=seed)


def gru_cell(seed: int = 0, dtype: str = "float32") -> nn.GRUCell:
    return nn.GRUCell(SIZE, SIZE, dtype=dtype, rng=seed)


LAYERS: list[Callable[..., Layer]] = [linear, lstm, gru, lstm_cell, gru_cell]
EACH = pytest.mark.parametrize("make", LAYERS, ids=lambda make: make.__name__)


def result(layer: Layer, seed: int = 9) -> Array:
    """Return the first of what the layer makes of some input."""
    shape = (BATCH, SIZE) if isinstance(layer, nn.Linear | nn.LSTMCell | nn.GRUCell) else (2, BATCH, SIZE)
    x = np.random.default_rng(seed).standard_normal(shape).astype(next(layer.parameters()).dtype)
    y: Any
    if isinstance(layer, nn.LSTMCell):
        y = layer(x, (x[:, ::-1], x))  # with states, so that all its weights have a say
    elif isinstance(layer, nn.GRUCell):
        y = layer(x, x[:, ::-1])
    else:
        y = layer(x)
    return np.asarray(y[0] if isinstance(y, tuple) else y)


def panels_of(layer: Layer) -> list[Panels]:
    """Return the panels that the layer keeps."""
    found = []
    for form in layer._forms.values():
        products = [form] if isinstance(layer, nn.Linear) else [form[1].ih, form[1].hh]
        found += [product._panels for product in products if product._panels is not None]
    return found


# Changes that are seen


def set_anew(layer: Layer, name: str, value: Array) -> None:
    setattr(layer, name, value)


def load(layer: Layer, name: str, value: Array) -> None:
    layer.load_state_dict({name: value}, strict=False)


def load_all(layer: Layer, name: str, value: Array) -> None:
    layer.load_state_dict({**layer.state_dict(), name: value})


def bypass(layer: Layer, name: str, value: Array) -> None:
    vars(layer)[name] = value.copy()


def all_names() -> Iterator[Any]:
    for make in LAYERS:
        for name in make().state_dict():
            yield pytest.param(make, name, id=f"{make.__name__}.{name}")


@pytest.mark.parametrize("change", [set_anew, load, load_all, bypass], ids=lambda change: change.__name__)
@pytest.mark.parametrize(("make", "name"), list(all_names()))
def test_a_parameter_that_is_replaced_is_computed_with_at_once(
    make: Callable[..., Layer], name: str, change: Callable[[Layer, str, Array], None]
) -> None:
    layer, other = make(0), make(0)
    before = result(layer)
    value = make(1).state_dict()[name]
    other.load_state_dict({**other.state_dict(), name: value})
    expected = result(other)  # of a layer that never computed with anything else
    assert not np.array_equal(before, expected)
    change(layer, name, value.copy())
    np.testing.assert_array_equal(result(layer), expected)


# Changes that are impossible


def multiply_in_place(array: Array) -> None:
    array *= 2


WRITES: dict[str, Callable[[Array], object]] = {
    "item": lambda array: array.__setitem__(0, 2),
    "in place": multiply_in_place,
    "copyto": lambda array: np.copyto(array, 2),
    "out": lambda array: np.negative(array, out=array),
    "view": lambda array: array[1:].__setitem__(0, 2),
    "transpose": lambda array: array.T.__setitem__(0, 2),
    "flags": lambda array: array.setflags(write=True),
}


@pytest.mark.parametrize("way", WRITES)
@EACH
def test_no_parameter_can_be_written_to(make: Callable[..., Layer], way: str) -> None:
    layer = make()
    before = result(layer)
    for arrays in (layer.state_dict().values(), layer.parameters()):
        for array in arrays:
            with pytest.raises(ValueError, match=r"read-only|cannot set WRITEABLE"):
                WRITES[way](array)
    np.testing.assert_array_equal(result(layer), before)


def test_augmented_assignment_to_the_attribute_is_refused_too() -> None:
    layer = linear()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight *= 2


@pytest.mark.parametrize("change", [set_anew, load], ids=lambda change: change.__name__)
@EACH
def test_an_array_that_the_user_still_holds_is_the_users_own(
    make: Callable[..., Layer], change: Callable[[Layer, str, Array], None]
) -> None:
    layer, held = make(0), {name: array.copy() for name, array in make(1).state_dict().items()}
    for name, array in held.items():
        change(layer, name, array)
    before = result(layer)
    for array in held.values():
        assert array.flags.writeable
        array[...] = 0
    np.testing.assert_array_equal(result(layer), before)


# Copies


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "pickle 2": lambda layer: pickle.loads(pickle.dumps(layer, protocol=2)),
}


@pytest.mark.parametrize("way", COPIES)
@EACH
def test_a_copy_computes_the_same_bits_and_is_as_read_only_and_on_its_own(make: Callable[..., Layer], way: str) -> None:
    layer = make()
    before = result(layer)
    other = COPIES[way](layer)
    assert "_forms" not in vars(other)
    assert list(other.state_dict()) == list(layer.state_dict())
    np.testing.assert_array_equal(result(other), before)
    name, array = next(iter(other.state_dict().items()))
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
    assert array.strides == layer.state_dict()[name].strides
    setattr(other, name, np.zeros_like(array))
    assert not np.array_equal(result(other), before)
    np.testing.assert_array_equal(result(layer), before)


@EACH
def test_the_pickle_of_a_layer_that_has_computed_is_no_larger_than_its_parameters(make: Callable[..., Layer]) -> None:
    layer = make()
    fresh = pickle.dumps(layer)
    result(layer)
    assert panels_of(layer)
    assert len(pickle.dumps(layer)) == len(fresh)
    assert len(fresh) < sum(array.nbytes for array in layer.parameters()) + 4000


# Ties


def tied() -> nn.Sequential:
    first, second = nn.Linear(SIZE, SIZE, rng=0), nn.Linear(SIZE, SIZE, rng=1)
    second.weight = first.weight
    return nn.Sequential(first, second)


def are_tied(model: nn.Module) -> bool:
    first, second = model.children()
    return bool(first.weight is second.weight)  # type: ignore[attr-defined]


def test_a_tied_weight_is_one_array_and_stays_one_when_it_is_loaded() -> None:
    model, x = tied(), np.ones((64, SIZE), np.float32)
    assert are_tied(model)
    assert len(list(model.parameters())) == 3
    before = model(x)
    model.load_state_dict({name: 2 * array for name, array in model.state_dict().items()})
    assert are_tied(model)
    untied = nn.Sequential(nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE))
    untied.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(model(x), untied(x))
    assert not np.array_equal(model(x), before)


def test_tied_names_that_are_loaded_apart_take_the_last_value_until_one_is_set_anew() -> None:
    model: Any = tied()
    model.load_state_dict({"0.weight": np.ones((SIZE, SIZE)), "1.weight": np.full((SIZE, SIZE), 2)}, strict=False)
    assert are_tied(model)
    assert (model.state_dict()["0.weight"] == 2).all()
    model[1].weight = np.zeros((SIZE, SIZE), np.float32)
    assert (model.state_dict()["0.weight"] == 2).all(), "set anew, it is untied"


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_of_tied_layers_is_tied(way: str) -> None:
    model: Any = tied()
    other = COPIES[way](model)
    assert are_tied(other)
    assert len(pickle.dumps(other)) < 1.1 * model[0].weight.nbytes, "it is pickled once"
    other.load_state_dict({name: 2 * array for name, array in other.state_dict().items()})
    assert are_tied(other)
    assert not np.array_equal(other[0].weight, model[0].weight), "and is not tied to the original"


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_is_tied_where_a_plain_module_holds_a_layers_weight(way: str) -> None:
    model: Any = nn.Module()
    layer = linear()
    model.weight, model.layer = layer.weight, layer
    other = COPIES[way](model)
    assert other.weight is other.layer.weight


def test_directions_may_share_a_weight() -> None:
    layer, x = lstm(), np.ones((2, BATCH, SIZE), np.float32)
    before = layer(x)[0]
    for name in list(layer.state_dict()):
        if name.endswith("_reverse"):
            setattr(layer, name, getattr(layer, name.removesuffix("_reverse")))
    output, _ = layer(x)
    np.testing.assert_array_equal(output[..., :SIZE], before[..., :SIZE])
    np.testing.assert_array_equal(output[::-1, :, SIZE:], output[..., :SIZE])


# Forms


@EACH
def test_the_state_dict_is_torchs_before_and_after_packing(make: Callable[..., Layer]) -> None:
    layer = make()
    before = {name: (array, array.shape, array.copy()) for name, array in layer.state_dict().items()}
    result(layer)
    assert panels_of(layer)
    after = layer.state_dict()
    assert list(after) == list(before)
    num_gates = {"linear": 4, "lstm": 4, "lstm_cell": 4, "gru": 3, "gru_cell": 3}[make.__name__]
    for name, (array, shape, values) in before.items():
        assert after[name] is array
        assert array.shape == shape == (num_gates * SIZE, SIZE)[: 2 if name.startswith("weight") else 1]
        np.testing.assert_array_equal(array, values)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **after)  # as any reader of the state dict sees it
    with np.load(io.BytesIO(buffer.getvalue())) as stored:
        for name, (_, _, values) in before.items():
            np.testing.assert_array_equal(stored[name], values)


@EACH
def test_panels_are_made_once_and_dropped_with_their_parameter(make: Callable[..., Layer]) -> None:
    layer = make()
    assert panels_of(layer) == []
    result(layer)
    first = panels_of(layer)
    assert first
    result(layer)
    assert all(again is panels for again, panels in zip(panels_of(layer), first, strict=True))
    layer.load_state_dict(layer.state_dict())  # the same arrays: nothing has changed
    result(layer)
    assert all(again is panels for again, panels in zip(panels_of(layer), first, strict=True))
    layer.load_state_dict({name: 2 * array for name, array in layer.state_dict().items()})
    result(layer)
    assert len(panels_of(layer)) == len(first)
    assert not any(again is panels for again in panels_of(layer) for panels in first)


@EACH
def test_with_plain_products_no_panels_are_made(make: Callable[..., Layer]) -> None:
    set_product_form("plain")
    layer = make()
    result(layer)
    assert panels_of(layer) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EACH
def test_both_forms_agree_within_rounding(make: Callable[..., Layer], dtype: str) -> None:
    layer = make(0, dtype)
    packed = result(layer)
    set_product_form("plain")
    rtol, atol = (1e-5, 1e-5) if dtype == "float32" else (1e-12, 1e-13)
    np.testing.assert_allclose(packed, result(layer), rtol, atol)


# Threads


@EACH
def test_ten_threads_may_be_the_first_to_call_one_layer(make: Callable[..., Layer]) -> None:
    expected = [result(make(), seed) for seed in range(10)]
    layer, barrier = make(), threading.Barrier(10)

    def run(seed: int) -> list[Array]:
        barrier.wait()
        return [result(layer, seed) for _ in range(3)]

    with ThreadPoolExecutor(10) as pool:
        for found, wanted in zip(pool.map(run, range(10)), expected, strict=True):
            for y in found:
                np.testing.assert_array_equal(y, wanted)


def test_a_layer_may_be_pickled_while_another_thread_makes_its_first_call() -> None:
    class Name(str):
        """An attribute's name: when it is looked at, the other thread has just made its call."""

        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            return str.__eq__(self, other)

        def __ne__(self, other: object) -> bool:
            result(layer)
            return str.__ne__(self, other)

    layer = linear()
    attributes = vars(layer).copy()
    vars(layer).clear()
    vars(layer).update({Name(name) if name == "in_features" else name: value for name, value in attributes.items()})
    assert "_forms" not in layer.__getstate__()


@EACH
def test_outputs_are_the_callers_own(make: Callable[..., Layer]) -> None:
    layer = make()
    first = result(layer)
    kept = first.copy()
    assert first.flags.writeable
    first[...] = np.nan
    np.testing.assert_array_equal(result(layer), kept)


# What is no parameter


def test_only_parameters_are_made_read_only() -> None:
    layer: Any = Layer()
    counts, buffer, private = np.zeros(2, int), np.zeros(2), np.zeros(2)
    layer.counts, layer._private = counts, private
    layer.register_buffer("buffer", buffer)
    layer.weight = buffer
    assert layer.counts is counts
    assert layer._private is private
    assert vars(layer)["buffer"] is buffer
    assert layer.weight is not buffer
    assert not layer.weight.flags.writeable
