"""Activations as modules: what is passed on to `functional`, and how they are shown."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from asyncjit.nn import activations as nn
from asyncjit.nn import functional
from asyncjit.nn.module import Module
from tests.reference.make_layers_reference import cases

MODULES: dict[str, type[Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "hardtanh": nn.Hardtanh,
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
}


@pytest.mark.parametrize(("config", "stored"), cases("activations"))
def test_a_module_computes_its_function_with_its_arguments(config: dict[str, Any], stored: dict[str, Any]) -> None:
    layer = MODULES[config["function"]](**config["arguments"])
    expected = getattr(functional, config["function"])(stored["x"], **config["arguments"])
    for module in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(module(stored["x"]), expected, strict=True)
    np.testing.assert_allclose(expected, stored["y"], rtol=1e-5, atol=1e-6)
    assert layer.state_dict() == {}


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Identity(1, a=2), "Identity()"),
        (nn.ReLU(), "ReLU()"),
        (nn.ReLU(inplace=True), "ReLU(inplace=True)"),
        (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
        (nn.LeakyReLU(0.2, True), "LeakyReLU(negative_slope=0.2, inplace=True)"),
        (nn.ELU(), "ELU(alpha=1.0)"),
        (nn.ELU(2, True), "ELU(alpha=2, inplace=True)"),
        (nn.GELU(), "GELU(approximate='none')"),
        (nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (nn.SiLU(), "SiLU()"),
        (nn.SiLU(True), "SiLU(inplace=True)"),
        (nn.Sigmoid(), "Sigmoid()"),
        (nn.Tanh(), "Tanh()"),
        (nn.Softplus(), "Softplus(beta=1.0, threshold=20.0)"),
        (nn.Softplus(2, 3.0), "Softplus(beta=2, threshold=3.0)"),
        (nn.Hardtanh(), "Hardtanh(min_val=-1.0, max_val=1.0)"),
        (nn.Hardtanh(-2, 2.0, inplace=True), "Hardtanh(min_val=-2, max_val=2.0, inplace=True)"),
        (nn.Softmax(), "Softmax(dim=None)"),
        (nn.Softmax(-1), "Softmax(dim=-1)"),
        (nn.LogSoftmax(1), "LogSoftmax(dim=1)"),
    ],
)
def test_they_are_shown_as_torch_shows_them(layer: Module, text: str) -> None:
    assert repr(layer) == text


def test_the_identity_gives_what_it_takes() -> None:
    x = np.arange(3)
    assert nn.Identity()(x) is x


@pytest.mark.parametrize("layer", [nn.ReLU(True), nn.LeakyReLU(0.1, True), nn.ELU(1.0, True), nn.SiLU(True)])
def test_in_place_changes_nothing_in_place(layer: Any) -> None:
    x = np.array([-1.0, 2.0])
    assert layer(x)[0] != -1
    assert x.tolist() == [-1, 2]


def test_arguments_that_make_no_layer_are_named() -> None:
    with pytest.raises(RuntimeError, match="approximate argument must be either none or tanh, got 'x'"):
        nn.GELU("x")
    for min_val, max_val in ((1, -1), (1, 1)):
        with pytest.raises(ValueError, match=rf"max_val \({max_val}\) must be greater than min_val \(1\)"):
            nn.Hardtanh(min_val, max_val)
    for layer in (nn.ReLU, nn.SiLU):
        with pytest.raises(TypeError, match=r"inplace should be a bool, got 0\.2"):
            layer(0.2)  # type: ignore[arg-type]
    for other in (nn.LeakyReLU, nn.ELU):
        with pytest.raises(TypeError, match="inplace should be a bool, got 1"):
            other(0.2, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="inplace should be a bool, got 'no'"):
        nn.Hardtanh(0, 6, "no")  # type: ignore[arg-type]
