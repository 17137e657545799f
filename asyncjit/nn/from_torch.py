"""`from_torch`: a torch module made anew of this package's layers, with copies of its weights.

A table says for each of torch's classes which of ours stands for it. It is looked up by the exact class: a subclass may
have another `forward`, which nothing here can see into, so it is an error to convert one, not a guess. For the same
reason hooks are refused (weight_norm and its kin work by them).

torch is never imported: its classes are known by their names, and whoever has a module of it has imported it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncjit.nn.activations import (
    ELU,
    GELU,
    Hardtanh,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from asyncjit.nn.containers import ModuleDict, ModuleList, Sequential
from asyncjit.nn.convolution import Conv1d
from asyncjit.nn.dropout import Dropout
from asyncjit.nn.embedding import Embedding
from asyncjit.nn.gru import GRU, GRUCell
from asyncjit.nn.linear import Linear
from asyncjit.nn.lstm import LSTM, LSTMCell
from asyncjit.nn.module import Module
from asyncjit.nn.normalization import LayerNorm


class _Rule(NamedTuple):
    """How a layer of torch's is made here."""

    layer: type[Module]
    arguments: tuple[str, ...] = ()  # of our constructor, which torch's layer has as attributes of these names
    only: Mapping[str, Any] = {}  # attributes that can be converted for one value alone


_CONTAINERS: dict[str, type[Module]] = {
    f"torch.nn.modules.container.{container.__name__}": container for container in (ModuleDict, ModuleList, Sequential)
}
_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
_CELL = ("input_size", "hidden_size", "bias")
_CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
_RULES = {
    "activation.ELU": _Rule(ELU, ("alpha", "inplace")),
    "activation.GELU": _Rule(GELU, ("approximate",)),
    "activation.Hardtanh": _Rule(Hardtanh, ("min_val", "max_val", "inplace")),
    "activation.LeakyReLU": _Rule(LeakyReLU, ("negative_slope", "inplace")),
    "activation.LogSoftmax": _Rule(LogSoftmax, ("dim",)),
    "activation.ReLU": _Rule(ReLU, ("inplace",)),
    "activation.SiLU": _Rule(SiLU, ("inplace",)),
    "activation.Sigmoid": _Rule(Sigmoid),
    "activation.Softmax": _Rule(Softmax, ("dim",)),
    "activation.Softplus": _Rule(Softplus, ("beta", "threshold")),
    "activation.Tanh": _Rule(Tanh),
    "conv.Conv1d": _Rule(Conv1d, (*_CONVOLUTION, "padding_mode")),
    "dropout.Dropout": _Rule(Dropout, ("p", "inplace")),
    "linear.Identity": _Rule(Identity),
    "linear.Linear": _Rule(Linear, ("in_features", "out_features", "bias")),
    "normalization.LayerNorm": _Rule(LayerNorm, ("normalized_shape", "eps", "elementwise_affine", "bias")),
    "rnn.GRU": _Rule(GRU, _RECURRENT, {"proj_size": 0}),
    "rnn.GRUCell": _Rule(GRUCell, _CELL),
    "rnn.LSTM": _Rule(LSTM, _RECURRENT, {"proj_size": 0}),
    "rnn.LSTMCell": _Rule(LSTMCell, _CELL),
    "sparse.Embedding": _Rule(Embedding, ("num_embeddings", "embedding_dim", "padding_idx"), {"max_norm": None}),
}
_LAYERS = {f"torch.nn.modules.{name}": rule for name, rule in _RULES.items()}
_KEPT = {"torch.float32", "torch.float64"}
_WIDENED = {"torch.float16", "torch.bfloat16"}


def from_torch(module: Any) -> Module:
    """Make a module of this package's layers that computes what a torch module does in inference.

    Parameters
    ----------
    module : torch.nn.Module
        A layer that this package has too, or a Sequential, ModuleList or ModuleDict of such, at any depth. On any
        device, in training or not: dropout is never applied here, and LSTM and GRU lose theirs. Neither kept nor
        changed.

    Returns
    -------
    Module
        With the same structure and names, and so the same state dict. Parameters are copies, float32 or float64 as
        they were; float16 and bfloat16 ones become float32. What is shared there, a parameter or a whole module, is
        shared here.

    Raises
    ------
    TypeError
        If `module` is no torch module; for the first layer that cannot be converted, with its dotted path: one that
        this package does not have, or not with an option it was made with; one with hooks; a parameter of another
        dtype; a class of your own (port its `forward`, and load its state dict).

    See Also
    --------
    load : for a model whose weights are in a file.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> from asyncjit import nn
    >>> nn.from_torch(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU()))  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """
    if "torch.nn.modules.module.Module" not in map(_full_name, type(module).__mro__):
        raise TypeError(f"from_torch takes a torch.nn.Module, got {_full_name(type(module))}")
    return _Conversion().convert(_Source(module, ""))


class _Source(NamedTuple):
    """A torch module, and its dotted name in the one that is converted."""

    module: Any
    path: str

    @property
    def class_name(self) -> str:
        return _full_name(type(self.module))

    def error(self, reason: str) -> TypeError:
        where = repr(self.path) if self.path else "this module"
        return TypeError(f"from_torch cannot convert {where} ({self.class_name}): {reason}")


class _Conversion:
    """One call of `from_torch`: what has been converted, by the identity of what it was made of."""

    def __init__(self) -> None:
        self._modules: dict[int, Module] = {}
        self._arrays: dict[int, NDArray[Any]] = {}

    def convert(self, source: _Source) -> Module:
        key = id(source.module)
        if key not in self._modules:
            self._modules[key] = self._converted(source)
        return self._modules[key]

    def _converted(self, source: _Source) -> Module:
        name = source.class_name
        if name not in _CONTAINERS and name not in _LAYERS:
            raise source.error(_unknown_class_text(name))
        _check_forward(source)
        if name in _CONTAINERS:
            return self._container(source, _CONTAINERS[name])
        return self._layer(source, _LAYERS[name])

    def _container(self, source: _Source, container: type[Module]) -> Module:
        own = [*source.module._parameters, *source.module._buffers]
        if own:
            raise source.error(f"it has arrays of its own, which a container does not use: {', '.join(own)}")
        result = container()
        for name, child in source.module._modules.items():
            path = f"{source.path}.{name}" if source.path else name
            result.add_module(name, self.convert(_Source(child, path)))
        return result

    def _layer(self, source: _Source, rule: _Rule) -> Module:
        parameters = source.module.state_dict(keep_vars=True)  # the Parameters themselves: their identity tells ties
        arrays = {name: self._array(source, name, parameter) for name, parameter in parameters.items()}
        layer = rule.layer(**_arguments(source, rule), **_dtype_argument(source, arrays))
        try:
            layer.load_state_dict(arrays)
        except RuntimeError as error:
            raise source.error(f"its parameters are not those of its class: {error}") from None
        # What one layer made its own, another takes as it is: so ties hold.
        self._arrays |= {id(parameter): getattr(layer, name) for name, parameter in parameters.items()}
        return layer

    def _array(self, source: _Source, name: str, parameter: Any) -> NDArray[Any]:
        if id(parameter) in self._arrays:
            return self._arrays[id(parameter)]
        dtype, tensor = str(parameter.dtype), parameter.detach().cpu()
        if dtype in _WIDENED:
            tensor = tensor.float()
        elif dtype not in _KEPT:
            known = ", ".join(sorted(_KEPT | _WIDENED))
            raise source.error(f"its {name} has the dtype {dtype}; supported are {known}")
        array: NDArray[Any] = tensor.numpy()
        return array


def _arguments(source: _Source, rule: _Rule) -> dict[str, Any]:
    for name, value in rule.only.items():
        found = getattr(source.module, name)
        if found != value:
            raise source.error(f"{name}={found!r} is not supported, only {name}={value!r}")
    arguments = {name: getattr(source.module, name) for name in rule.arguments}
    if "bias" in arguments:  # a flag in some of torch's layers, the parameter itself or None in others
        arguments["bias"] = arguments["bias"] is not None and arguments["bias"] is not False
    return arguments


def _dtype_argument(source: _Source, arrays: Mapping[str, NDArray[Any]]) -> dict[str, np.dtype[Any]]:
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) > 1:
        found = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise source.error(f"its parameters are of several dtypes: {found}")
    return {"dtype": dtypes.pop()} if dtypes else {}


def _check_forward(source: _Source) -> None:
    module = source.module
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise source.error(
            "it has hooks, or a forward of its own, which would be lost. What weight_norm, spectral_norm and pruning "
            "put on a layer, torch's functions that remove them take off"
        )


def _unknown_class_text(class_name: str) -> str:
    if class_name.startswith("torch."):
        return f"supported are {', '.join(sorted(name.rpartition('.')[2] for name in [*_CONTAINERS, *_LAYERS]))}"
    return (
        "it is a class of its own, whose forward cannot be converted. Port it as an asyncjit.nn.Module with attributes "
        "of the same names, and give that the weights: model.load_state_dict(nn.load(path)), or "
        "model.load_state_dict({name: tensor.numpy() for name, tensor in module.state_dict().items()})"
    )


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
