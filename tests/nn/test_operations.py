"""Layers and functions as operations: a handler takes their calls, and is told shapes that are the real ones."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asyncjit import nn
from asyncjit._core.context import ROOT, Handler, Scope, current
from asyncjit.nn import functional

SMALL = np.random.default_rng(0)


def of(*shape: int, dtype: Any = np.float32) -> Any:
    return SMALL.standard_normal(shape).astype(dtype)


class Taking(Handler):
    """Notes each call, and gives a word for it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def called(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((operation, args, kwargs))
        return "taken"


def handled(fn: Callable[[], Any]) -> tuple[Any, Taking]:
    """Run `fn` where a handler takes the calls; return its value and the handler."""
    handler = Taking()
    token = current.set(Scope(None, None, replace(ROOT, handler=handler)))
    try:
        return fn(), handler
    finally:
        current.reset(token)


LAYERS: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {
    "Linear": (nn.Linear(3, 4), (of(2, 5, 3),)),
    "Linear of one row": (nn.Linear(3, 4, dtype=np.float64), (of(3, dtype=np.float64),)),
    "LSTM": (nn.LSTM(3, 4, num_layers=2, bidirectional=True), (of(5, 2, 3),)),
    "LSTM by batch, with states": (nn.LSTM(3, 4, batch_first=True), (of(2, 5, 3), (of(1, 2, 4), of(1, 2, 4)))),
    "LSTM without batch": (nn.LSTM(3, 4), (of(5, 3),)),
    "GRU": (nn.GRU(3, 4, bidirectional=True), (of(5, 2, 3), of(2, 2, 4))),
    "LSTMCell": (nn.LSTMCell(3, 4), (of(2, 3),)),
    "GRUCell": (nn.GRUCell(3, 4), (of(3),)),
    "Embedding": (nn.Embedding(5, 3), (np.array([[0, 4], [1, 1]]),)),
    "LayerNorm": (nn.LayerNorm((2, 3)), (of(4, 2, 3),)),
    "Conv1d": (nn.Conv1d(3, 4, 3, stride=2, padding=1), (of(2, 3, 9),)),
    "Conv1d of one sample": (nn.Conv1d(3, 4, 2, padding="same", padding_mode="reflect"), (of(3, 9),)),
    "Dropout": (nn.Dropout(), (of(2, 3),)),
    "Softmax": (nn.Softmax(dim=1), (of(2, 3),)),
    "LogSoftmax": (nn.LogSoftmax(dim=-1), (of(2, 3),)),
    "Hardtanh": (nn.Hardtanh(), (np.arange(3),)),
    "Sigmoid of integers": (nn.Sigmoid(), (np.arange(3),)),
    **{name: (getattr(nn, name)(), (of(2, 3),)) for name in ("Identity", "ReLU", "LeakyReLU", "ELU", "GELU", "SiLU")},
    **{name: (getattr(nn, name)(), (of(2, 3),)) for name in ("Tanh", "Softplus")},
    "Stacked": (nn.Stacked([nn.Linear(3, 4), nn.Linear(3, 4)]), (of(2, 3),)),
    "Stacked of sequences": (
        nn.Stacked([nn.Sequential(nn.Linear(3, 4), nn.ReLU()) for _ in range(2)]),
        (of(2, 3),),
    ),
    "Stacked with states": (nn.Stacked([nn.GRU(3, 4), nn.GRU(3, 4)]), (of(5, 2, 3), of(1, 2, 4))),
}

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus"), (of(2, 3),)),
    **dict.fromkeys(("hardtanh", "dropout"), (of(2, 3),)),
    "softmax": (of(2, 3), 1),
    "log_softmax": (of(2, 3), 0),
    "layer_norm": (of(4, 2, 3), (2, 3), of(2, 3)),
    "linear": (of(2, 5, 3), of(4, 3), of(4)),
    "embedding": (np.array([1, 0]), of(3, 2)),
    "conv1d": (of(2, 3, 9), of(4, 3, 3), of(4), 2),
}


def types(tree: Any) -> Any:
    """Return a structure of dtypes and shapes."""
    if isinstance(tree, (tuple, list)):
        return [type(tree), *map(types, tree)]
    return tree.dtype, tree.shape


def test_every_layer_and_every_function_is_here() -> None:
    layers = {name for name in nn.__all__ if inspect.isclass(kind := getattr(nn, name)) and issubclass(kind, nn.Module)}
    containers = {"Layer", "Module", "ModuleDict", "ModuleList", "Sequential"}
    assert {name.partition(" ")[0] for name in LAYERS} == layers - containers
    assert set(FUNCTIONS) == set(functional.__all__)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_call_to_a_handler_and_its_shapes_are_the_real_ones(name: str) -> None:
    layer, args = LAYERS[name]
    value, handler = handled(lambda: layer(*args))
    assert (value, handler.calls) == ("taken", [(layer, args, {})])
    assert types(layer._shapes(*args)) == types(layer(*args))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_call_to_a_handler_and_its_shapes_are_the_real_ones(name: str) -> None:
    fn: Any = getattr(functional, name)
    args = FUNCTIONS[name]
    value, handler = handled(lambda: fn(*args))
    assert (value, handler.calls) == ("taken", [(fn, args, {})])
    assert types(fn._shapes(*args)) == types(fn(*args))
    assert fn.__name__ == name


def test_modules_of_others_and_containers_are_none_themselves() -> None:
    class Own(nn.Module):
        def forward(self, x: Any) -> Any:
            return [x]

    model = nn.Sequential(Own(), Own())
    value, handler = handled(lambda: model(3))
    assert (value, handler.calls) == ([[3]], [])
    assert Own()._shapes(3) == [3]


def test_each_of_stacked_modules_is_one_call() -> None:
    stacked = nn.Stacked([nn.GRU(3, 4), nn.GRU(3, 4)])
    for args in ((of(2, 5, 1, 3), None), ([of(5, 1, 3), of(4, 1, 3)], [of(1, 1, 4), of(1, 1, 4)])):
        value, handler = handled(lambda args=args: stacked.each(*args))  # type: ignore[misc]
        assert value == "taken"
        ((operation, given, _),) = handler.calls
        assert given == (stacked, *args)
        assert types(operation._shapes(*given)) == types(stacked.each(*args))


def test_a_subclass_of_a_layer_is_one_call() -> None:
    class Own(nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x)[:, :1]

    own = Own(3, 2)
    x = of(2, 3)
    assert own._shapes(x).shape == (2, 1)
    assert handled(lambda: own(x))[1].calls == [(own, (x,), {})]


@pytest.mark.parametrize("name", ["Linear", "LSTM", "GRUCell", "Conv1d", "LayerNorm", "Embedding", "Stacked"])
def test_shapes_of_what_does_not_fit_raise_what_the_layer_raises(name: str) -> None:
    layer, (x, *_) = LAYERS[name]
    for wrong in (x[..., :0].astype(np.float16), np.zeros((2, 3, 4, 5), np.float32)):
        with pytest.raises((RuntimeError, ValueError)) as expected:
            layer(wrong)
        with pytest.raises(expected.type) as found:
            layer._shapes(wrong)
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(3, 4), of(2, 3)),
        (nn.LSTM(3, 4), of(5, 2, 3)),
        (nn.GRU(3, 4), of(5, 2, 3)),
        (nn.LSTMCell(3, 4), of(2, 3)),
        (nn.Stacked([nn.LSTM(3, 4), nn.LSTM(3, 4)]), of(5, 2, 3)),
    ],
)
def test_shapes_need_no_packed_weights(layer: Any, x: Any) -> None:
    layer._shapes(x)
    assert not any("_forms" in vars(module) or "_kept" in vars(module) for module in layer.modules())
