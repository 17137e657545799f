"""Fakes of torch: classes with the names, attributes and manners of torch's that `from_torch` looks at.

`FakeTorch` and `RealTorch` make modules with torch.nn's signatures, fakes and torch's own, so that one test can run on
both, which is what holds the fakes to torch.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Shapes = dict[str, tuple[int, ...] | None]


class FakeTensor:
    """As much of torch.Tensor as conversions need; as strict as it in what `numpy` takes."""

    def __init__(self, values: NDArray[Any], dtype: str, *, device: str = "cuda", requires_grad: bool = True) -> None:
        self.values, self.dtype, self.device, self.requires_grad = values, dtype, device, requires_grad

    def detach(self) -> "FakeTensor":
        return FakeTensor(self.values, self.dtype, device=self.device, requires_grad=False)

    def cpu(self) -> "FakeTensor":
        return FakeTensor(self.values, self.dtype, device="cpu", requires_grad=self.requires_grad)

    def float(self) -> "FakeTensor":
        values = self.values.astype(np.float32)
        return FakeTensor(values, "torch.float32", device=self.device, requires_grad=self.requires_grad)

    def numpy(self) -> NDArray[Any]:
        if self.requires_grad or self.device != "cpu" or self.dtype == "torch.bfloat16":
            raise AssertionError(f"torch gives no array of {vars(self)}")
        return self.values

    def __eq__(self, other: object) -> Any:
        return NotImplemented if other is None else self.values == other

    __hash__ = object.__hash__


class FakeModule:
    """As much of torch.nn.Module as conversions need."""

    def __init__(self, children: Any = (), **attributes: Any) -> None:
        self.__dict__ |= {"_modules": dict(children), "_parameters": {}, "_buffers": {}, "training": True}
        self.__dict__ |= {"_forward_hooks": {}, "_forward_pre_hooks": {}, **attributes}

    def __getattr__(self, name: str) -> Any:
        for members in (self._parameters, self._buffers, self._modules):
            if name in members:
                return members[name]
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, FakeTensor):
            self._parameters[name] = value
        else:
            super().__setattr__(name, value)

    def __getitem__(self, index: int) -> Any:
        return self._modules[str(index)]

    def register_buffer(self, name: str, tensor: FakeTensor) -> None:
        self._buffers[name] = tensor

    def register_forward_hook(self, hook: Any) -> None:
        self._forward_hooks[0] = hook

    def register_forward_pre_hook(self, hook: Any) -> None:
        self._forward_pre_hooks[0] = hook

    def state_dict(self, *, keep_vars: bool = False) -> dict[str, Any]:
        arrays = {**self._parameters, **self._buffers}
        own = {name: t if keep_vars else t.detach() for name, t in arrays.items() if t is not None}
        below = [(name, child.state_dict(keep_vars=keep_vars)) for name, child in self._modules.items()]
        return own | {f"{name}.{key}": value for name, values in below for key, value in values.items()}


FakeModule.__module__, FakeModule.__qualname__ = "torch.nn.modules.module", "Module"


class Layer(NamedTuple):
    """A class of torch.nn's: its file, its attributes with their defaults, and the shapes of its parameters."""

    file: str
    attributes: dict[str, Any]
    shapes: Callable[[dict[str, Any]], Shapes] = lambda options: {}


def linear_shapes(of: dict[str, Any]) -> Shapes:
    return {
        "weight": (of["out_features"], of["in_features"]),
        "bias": (of["out_features"],) if of.pop("bias") else None,
    }


def norm_shapes(of: dict[str, Any]) -> Shapes:
    shape = of["normalized_shape"]
    of["normalized_shape"] = shape = (shape,) if isinstance(shape, int) else tuple(shape)
    has_bias = of.pop("bias") and of["elementwise_affine"]
    return {"weight": shape if of["elementwise_affine"] else None, "bias": shape if has_bias else None}


def convolution_shapes(of: dict[str, Any]) -> Shapes:
    for name in ("kernel_size", "stride", "padding", "dilation"):
        of[name] = (of[name],) if isinstance(of[name], int) else of[name]
    bias = (of["out_channels"],) if of.pop("bias") else None
    return {"weight": (of["out_channels"], of["in_channels"] // of["groups"], *of["kernel_size"]), "bias": bias}


def recurrent_shapes(gates: int, of: dict[str, Any]) -> Shapes:
    ends = ["", "_reverse"] if of["bidirectional"] else [""]
    rows, state_size = gates * of["hidden_size"], of["proj_size"] or of["hidden_size"]
    shapes: Shapes = {}
    for layer in range(of["num_layers"]):
        width = state_size * len(ends) if layer else of["input_size"]
        for end in ends:
            shapes |= {f"weight_ih_l{layer}{end}": (rows, width), f"weight_hh_l{layer}{end}": (rows, state_size)}
            if of["bias"]:
                shapes |= {f"bias_{kind}_l{layer}{end}": (rows,) for kind in ("ih", "hh")}
    return shapes


def cell_shapes(gates: int, of: dict[str, Any]) -> Shapes:
    rows, bias = gates * of["hidden_size"], (gates * of["hidden_size"],) if of["bias"] else None
    weights = {"weight_ih": (rows, of["input_size"]), "weight_hh": (rows, of["hidden_size"])}
    return {**weights, "bias_ih": bias, "bias_hh": bias}


RECURRENT = {"input_size": ..., "hidden_size": ..., "num_layers": 1, "bias": True, "batch_first": False}
RECURRENT |= {"dropout": 0.0, "bidirectional": False, "proj_size": 0}
CELL = {"input_size": ..., "hidden_size": ..., "bias": True}
CONVOLUTION = {"in_channels": ..., "out_channels": ..., "kernel_size": ..., "stride": 1, "padding": 0, "dilation": 1}
CONVOLUTION |= {"groups": 1, "bias": True, "padding_mode": "zeros"}

LAYERS = {
    "Linear": Layer("linear", {"in_features": ..., "out_features": ..., "bias": True}, linear_shapes),
    "LSTM": Layer("rnn", RECURRENT, partial(recurrent_shapes, 4)),
    "GRU": Layer("rnn", RECURRENT, partial(recurrent_shapes, 3)),
    "LSTMCell": Layer("rnn", CELL, partial(cell_shapes, 4)),
    "GRUCell": Layer("rnn", CELL, partial(cell_shapes, 3)),
    "Embedding": Layer(
        "sparse",
        {"num_embeddings": ..., "embedding_dim": ..., "padding_idx": None, "max_norm": None},
        lambda of: {"weight": (of["num_embeddings"], of["embedding_dim"])},
    ),
    "LayerNorm": Layer(
        "normalization",
        {"normalized_shape": ..., "eps": 1e-5, "elementwise_affine": True, "bias": True},
        norm_shapes,
    ),
    "Conv1d": Layer("conv", CONVOLUTION, convolution_shapes),
    "BatchNorm1d": Layer("batchnorm", {"num_features": ...}, lambda of: {"weight": (of["num_features"],)}),
    "Dropout": Layer("dropout", {"p": 0.5, "inplace": False}),
    "Identity": Layer("linear", {}),
    "ReLU": Layer("activation", {"inplace": False}),
    "LeakyReLU": Layer("activation", {"negative_slope": 0.01, "inplace": False}),
    "ELU": Layer("activation", {"alpha": 1.0, "inplace": False}),
    "GELU": Layer("activation", {"approximate": "none"}),
    "SiLU": Layer("activation", {"inplace": False}),
    "Sigmoid": Layer("activation", {}),
    "Tanh": Layer("activation", {}),
    "Softplus": Layer("activation", {"beta": 1.0, "threshold": 20.0}),
    "Hardtanh": Layer("activation", {"min_val": -1.0, "max_val": 1.0, "inplace": False}),
    "Softmax": Layer("activation", {"dim": None}),
    "LogSoftmax": Layer("activation", {"dim": None}),
}
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


class FakeTorch:
    """Makes fakes with the signatures of torch.nn."""

    Module = FakeModule
    is_real = False

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)

    def __getattr__(self, name: str) -> Any:
        if name not in LAYERS and name not in CONTAINERS:
            raise AttributeError(name)
        return partial(self.container if name in CONTAINERS else self.layer, name)

    def container(self, name: str, *children: Any) -> FakeModule:
        items: Any = children[0] if len(children) == 1 and not isinstance(children[0], FakeModule) else children
        named = items if isinstance(items, dict) else {str(index): child for index, child in enumerate(items)}
        return made("container", name, named)

    def layer(self, name: str, *args: Any, **kwargs: Any) -> FakeModule:
        file, defaults, shapes_of = LAYERS[name]
        attributes = {**defaults, **dict(zip(defaults, args, strict=False)), **kwargs}
        shapes = shapes_of(attributes)
        module = made(file, name, **attributes)
        for key, shape in shapes.items():
            module._parameters[key] = None if shape is None else self.tensor(*shape)
        return module

    def tensor(self, *shape: int, dtype: str = "float32") -> FakeTensor:
        """Make a parameter of random values."""
        numbers = self.rng.standard_normal(shape) * 8
        return FakeTensor(numbers.astype("float32" if dtype == "bfloat16" else dtype), f"torch.{dtype}")

    def cast(self, module: FakeModule, dtype: str, names: Iterable[str] | None = None) -> FakeModule:
        """Make a layer's parameters anew, all or those named, in another dtype."""
        for name, old in module._parameters.items():
            if old is not None and (names is None or name in names):
                module._parameters[name] = self.tensor(*old.values.shape, dtype=dtype)
        return module

    def values(self, tensor: FakeTensor) -> NDArray[Any]:
        """Return a parameter's values, in memory of its own where it is no float32 or float64."""
        return tensor.values if tensor.dtype == "torch.float64" else tensor.values.astype(np.float32, copy=False)


def made(file: str, name: str, children: Any = (), **attributes: Any) -> FakeModule:
    """Make an instance of a new class called torch.nn.modules.`file`.`name`."""
    names = {"__module__": f"torch.nn.modules.{file}", "__qualname__": name}
    module: FakeModule = type(name, (FakeModule,), names)(children, **attributes)
    return module


class RealTorch:
    """The same of torch itself."""

    is_real = True

    def __init__(self, torch: Any) -> None:
        self.torch, self.Module = torch, torch.nn.Module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch.nn, name)

    def tensor(self, *shape: int, dtype: str = "float32") -> Any:
        tensor = (self.torch.randn(shape) * 8).to(getattr(self.torch, dtype))
        return self.torch.nn.Parameter(tensor, requires_grad=dtype != "int32")

    def cast(self, module: Any, dtype: str, names: Iterable[str] | None = None) -> Any:
        for name, old in list(module.named_parameters(recurse=False)):
            if names is None or name in names:
                module._parameters[name] = self.tensor(*old.shape, dtype=dtype)
        return module

    def values(self, tensor: Any) -> NDArray[Any]:
        tensor = tensor.detach()
        values: NDArray[Any] = tensor.numpy() if tensor.dtype == self.torch.float64 else tensor.float().numpy()
        return values
