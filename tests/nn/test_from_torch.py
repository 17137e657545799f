"""`from_torch`: the same structure, the same weights, the same values; and errors that name the layer.

torch is no dependency of the tests, in CI neither (its default build brings gigabytes of CUDA): they run on fakes of
its classes. Where torch is installed, each test runs a second time on the real ones, and values are compared too.
"""

import importlib
import subprocess
import sys
from collections import OrderedDict
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from asyncjit import nn
from asyncjit.nn.embedding import Embedding
from asyncjit.nn.from_torch import from_torch
from tests.nn import fake_torch
from tests.nn.fake_torch import FakeModule, FakeTorch, RealTorch


@pytest.fixture(params=["fake", "real"] if find_spec("torch") else ["fake"])
def torch(request: pytest.FixtureRequest) -> Any:
    return FakeTorch() if request.param == "fake" else RealTorch(importlib.import_module("torch"))


# What comes out.

LAYERS: list[tuple[str, dict[str, Any], Any]] = [
    ("Linear", {"in_features": 3, "out_features": 5}, (4, 2, 3)),
    ("Linear", {"in_features": 3, "out_features": 5, "bias": False}, (4, 3)),
    ("LSTM", {"input_size": 3, "hidden_size": 4}, (5, 2, 3)),
    ("LSTM", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True, "dropout": 0.5}, (5, 2, 3)),
    ("LSTM", {"input_size": 3, "hidden_size": 4, "bias": False, "batch_first": True}, (2, 5, 3)),
    ("GRU", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True, "dropout": 0.5}, (5, 2, 3)),
    ("GRU", {"input_size": 3, "hidden_size": 4, "bias": False, "batch_first": True}, (2, 5, 3)),
    ("LSTMCell", {"input_size": 3, "hidden_size": 4}, (2, 3)),
    ("GRUCell", {"input_size": 3, "hidden_size": 4, "bias": False}, (2, 3)),
    ("Embedding", {"num_embeddings": 9, "embedding_dim": 4, "padding_idx": 2}, 9),
    ("LayerNorm", {"normalized_shape": (2, 3), "eps": 0.5}, (4, 2, 3)),
    ("LayerNorm", {"normalized_shape": (3,), "bias": False}, (4, 3)),
    ("LayerNorm", {"normalized_shape": (3,), "elementwise_affine": False}, (4, 3)),
    ("Conv1d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1}, (2, 4, 9)),
    ("Conv1d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2, "bias": False}, (2, 4, 9)),
    ("Conv1d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "dilation": 2, "padding": "same"}, (2, 4, 9)),
    (
        "Conv1d",
        {"in_channels": 4, "out_channels": 6, "kernel_size": 5, "padding": 2, "padding_mode": "reflect"},
        (4, 9),
    ),
    ("Dropout", {"p": 0.3}, (4, 3)),
    ("Identity", {}, (4, 3)),
    ("ReLU", {"inplace": True}, (4, 3)),
    ("LeakyReLU", {"negative_slope": 0.3}, (4, 3)),
    ("ELU", {"alpha": 0.7}, (4, 3)),
    ("GELU", {}, (4, 3)),
    ("GELU", {"approximate": "tanh"}, (4, 3)),
    ("SiLU", {}, (4, 3)),
    ("Sigmoid", {}, (4, 3)),
    ("Tanh", {}, (4, 3)),
    ("Softplus", {"beta": 2.0, "threshold": 1.5}, (4, 3)),
    ("Hardtanh", {"min_val": -0.3, "max_val": 0.2}, (4, 3)),
    ("Softmax", {"dim": 0}, (4, 3)),
    ("LogSoftmax", {"dim": -1}, (4, 3)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options", "shape"), LAYERS)
def test_each_layer_keeps_its_options_and_weights_and_gives_torchs_values(
    torch: Any, name: str, options: dict[str, Any], shape: Any, dtype: str
) -> None:
    source = torch.cast(getattr(torch, name)(**options), dtype)
    layer = from_torch(source)
    assert (type(layer).__name__, isinstance(layer, nn.Module)) == (name, True)
    for option, value in options.items():
        if option not in ("bias", "dropout"):  # an array in some, without effect in inference
            assert getattr(layer, option) in (value, (value,))
    assert list(layer.state_dict()) == list(source.state_dict())
    for key, tensor in source.state_dict().items():
        assert layer.state_dict()[key].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(layer.state_dict()[key], torch.values(tensor))
    if torch.is_real:
        assert_same_values(torch, source, layer, shape, dtype)


def assert_same_values(torch: Any, source: Any, layer: nn.Module, shape: Any, dtype: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(9, size=shape) if isinstance(layer, Embedding) else rng.standard_normal(shape).astype(dtype)
    expected, found = source.eval()(torch.torch.from_numpy(x)), layer(x)
    if isinstance(found, tuple):
        expected, found = expected[0], found[0]
    rtol = 1e-5 if dtype == "float32" else 1e-12
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=rtol, atol=rtol)


def test_containers_keep_their_structure_and_names(torch: Any) -> None:
    heads = torch.ModuleDict({"tone": torch.Linear(4, 5), "stress": torch.Linear(4, 2, bias=False)})
    layers = torch.ModuleList([torch.Sequential(torch.Linear(4, 4)), torch.LSTM(4, 4), torch.Sequential()])
    source = torch.Sequential(OrderedDict(layers=layers, heads=heads))
    model = from_torch(source)
    assert [(name, type(module)) for name, module in model.named_modules()] == [
        ("", nn.Sequential),
        ("layers", nn.ModuleList),
        ("layers.0", nn.Sequential),
        ("layers.0.0", nn.Linear),
        ("layers.1", nn.LSTM),
        ("layers.2", nn.Sequential),
        ("heads", nn.ModuleDict),
        ("heads.tone", nn.Linear),
        ("heads.stress", nn.Linear),
    ]
    assert list(model.state_dict()) == list(source.state_dict())


def test_a_sequential_computes_through_its_layers(torch: Any) -> None:
    source = torch.Sequential(torch.Linear(3, 4), torch.Sequential(torch.Linear(4, 2)))
    first, second = (torch.values(source.state_dict()[key]) for key in ("0.weight", "1.0.weight"))
    bias, last = (torch.values(source.state_dict()[key]) for key in ("0.bias", "1.0.bias"))
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_allclose(from_torch(source)(x), (x @ first.T + bias) @ second.T + last, rtol=1e-5)


def test_tied_parameters_are_the_same_array(torch: Any) -> None:
    source = torch.Sequential(torch.Linear(3, 3), torch.Linear(3, 3), torch.Linear(3, 3))
    source[2].weight = source[0].weight
    model: Any = from_torch(source)
    assert model[0].weight is model[2].weight
    assert model[0].weight is not model[1].weight
    assert model[0].bias is not model[2].bias
    np.testing.assert_array_equal(model[2].weight, torch.values(source[0].weight))


@pytest.mark.parametrize("is_embedding_first", [True, False])
def test_an_embedding_tied_to_the_layer_that_undoes_it_computes_as_it_should(
    torch: Any, is_embedding_first: bool
) -> None:
    table, out = torch.Embedding(300, 4), torch.Linear(4, 300, bias=False)
    out.weight = table.weight
    model: Any = from_torch(torch.ModuleList([table, out] if is_embedding_first else [out, table]))
    embedding, linear = model if is_embedding_first else reversed(list(model))
    weight = torch.values(table.weight)
    assert embedding.weight is linear.weight
    np.testing.assert_array_equal(embedding(np.array([7, 0])), weight[[7, 0]])
    np.testing.assert_allclose(linear(weight[:2]), weight[:2] @ weight.T, rtol=1e-5, atol=1e-4)


def test_a_module_in_two_places_is_one_module(torch: Any) -> None:
    shared = torch.Linear(3, 3)
    model: Any = from_torch(torch.ModuleList([shared, torch.Sequential(shared), torch.Linear(3, 3)]))
    assert model[0] is model[1][0]
    assert model[0] is not model[2]
    assert list(model.state_dict()) == [f"{path}.{key}" for path in ("0", "1.0", "2") for key in ("weight", "bias")]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_becomes_float32_of_the_same_values(torch: Any, dtype: str) -> None:
    source = torch.cast(torch.Linear(3, 2), dtype)
    layer: Any = from_torch(source)
    assert (layer.weight.dtype, layer.bias.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(layer.weight, torch.values(source.weight))


def test_weights_are_copies(torch: Any) -> None:
    source = torch.Linear(3, 2)
    layer: Any = from_torch(source)
    before = layer.weight.copy()
    torch.values(source.weight)[...] = 0
    np.testing.assert_array_equal(layer.weight, before)


@pytest.mark.parametrize("name", fake_torch.LAYERS)
def test_the_fakes_have_torchs_attributes_and_shapes(torch: Any, name: str) -> None:
    args = [8 for value in fake_torch.LAYERS[name].attributes.values() if value is ...]
    fake, layer = getattr(FakeTorch(), name)(*args), getattr(torch, name)(*args)
    assert vars(layer).items() >= {key: value for key, value in vars(fake).items() if key[0] != "_"}.items()
    for key, tensor in fake.state_dict().items():
        assert tuple(torch.values(layer.state_dict()[key]).shape) == tensor.values.shape
    assert (type(fake).__module__, type(fake).__qualname__) == (type(layer).__module__, type(layer).__qualname__)


# What cannot be converted.


def test_the_first_layer_without_a_counterpart_is_named(torch: Any) -> None:
    source = torch.Sequential(torch.Linear(3, 4), torch.Sequential(torch.Linear(4, 4), torch.BatchNorm1d(4)))
    message = (
        r"cannot convert '1\.1' \(torch\.nn\.modules\.batchnorm\.BatchNorm1d\): "
        r"supported are .*LSTM, .*Linear, .*Sequential"
    )
    with pytest.raises(TypeError, match=message):
        from_torch(source)
    with pytest.raises(TypeError, match=r"cannot convert this module \(torch\.nn\.modules\.batchnorm\.BatchNorm1d\)"):
        from_torch(torch.BatchNorm1d(4))


def test_a_class_of_ones_own_has_to_be_ported(torch: Any) -> None:
    class Own(torch.Module):  # type: ignore[misc]
        pass

    message = r"cannot convert '0' \(tests\..*Own\): .*Port it as an asyncjit\.nn\.Module .*load_state_dict\(nn\.load"
    with pytest.raises(TypeError, match=message):
        from_torch(torch.Sequential(Own()))


def test_a_subclass_of_a_layer_is_a_class_of_its_own(torch: Any) -> None:
    source = torch.Linear(2, 2)
    source.__class__ = type("Scaled", (type(source),), {"__module__": "models"})
    with pytest.raises(TypeError, match=r"this module \(models\.Scaled\): it is a class of its own"):
        from_torch(source)


def test_an_option_that_our_layer_lacks_is_shown(torch: Any) -> None:
    message = r"'1' \(torch\.nn\.modules\.rnn\.LSTM\): proj_size=2 is not supported, only proj_size=0"
    with pytest.raises(TypeError, match=message):
        from_torch(torch.Sequential(torch.Linear(3, 3), torch.LSTM(3, 4, proj_size=2)))
    with pytest.raises(
        TypeError, match=r"this module \(.*Embedding\): max_norm=1.0 is not supported, only max_norm=None"
    ):
        from_torch(torch.Embedding(3, 4, max_norm=1.0))


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("where", ["layer", "container"])
def test_hooks_are_refused(torch: Any, register: str, where: str) -> None:
    source = torch.Sequential(torch.Linear(2, 2))
    getattr(source[0] if where == "layer" else source, register)(lambda *args: None)
    with pytest.raises(TypeError, match="it has hooks, or a forward of its own, which would be lost"):
        from_torch(source)


def test_a_forward_set_on_one_module_is_refused(torch: Any) -> None:
    source = torch.Linear(2, 2)
    source.forward = lambda x: x
    with pytest.raises(TypeError, match="a forward of its own"):
        from_torch(source)


def test_arrays_that_the_class_does_not_have_are_refused(torch: Any) -> None:
    source = torch.Sequential(torch.Linear(2, 2))
    source[0].register_buffer("scale", torch.tensor(2))
    with pytest.raises(TypeError, match=r"'0' .*not those of its class: .*\n.*Unexpected key.*\"scale\""):
        from_torch(source)
    source = torch.Sequential(torch.Linear(2, 2))
    source.scale = torch.tensor(2)
    with pytest.raises(TypeError, match=r"this module .*: it has arrays of its own, .*: scale"):
        from_torch(source)


def test_a_parameter_of_another_shape_than_the_layers_is_refused(torch: Any) -> None:
    source = torch.Linear(2, 2)
    source.weight = torch.tensor(3, 2)
    with pytest.raises(TypeError, match=r"size mismatch for weight: .* shape \(3, 2\), the module has shape \(2, 2\)"):
        from_torch(source)


def test_other_dtypes_are_refused(torch: Any) -> None:
    source = torch.cast(torch.Linear(2, 2), "int32", ["weight"])
    with pytest.raises(TypeError, match=r"its weight has the dtype torch\.int32; supported are torch\.bfloat16, "):
        from_torch(source)


def test_mixed_dtypes_are_refused(torch: Any) -> None:
    source = torch.cast(torch.Linear(2, 2), "float64", ["weight"])
    with pytest.raises(TypeError, match="its parameters are of several dtypes: weight float64, bias float32"):
        from_torch(source)


@pytest.mark.parametrize("value", [None, {"weight": 1}, nn.Linear(1, 1), np.zeros(2), FakeModule])
def test_what_is_no_torch_module_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"from_torch takes a torch\.nn\.Module, got \w+\.\w+"):
        from_torch(value)


def test_torch_is_not_imported() -> None:
    code = "import sys, asyncjit.nn.from_torch; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
