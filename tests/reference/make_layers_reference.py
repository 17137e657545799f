"""Make the reference values that the plain layers are held to, with torch: ``python make_layers_reference.py``.

One file for each kind of layer, with float32 and float64 in it; a case is its arguments as JSON, its operands and what
torch made of them, under names that begin with the case's own. The files in the repository were made with torch 2.13.0
(CPU).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "layers"
DTYPES = ("float32", "float64")

SPECIAL = [float("nan"), float("inf"), float("-inf"), 0.0]

# name: [(function of torch.nn.functional, arguments)]
ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("relu", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("elu", {}),
    ("elu", {"alpha": 2.5}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("silu", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("softplus", {}),
    ("softplus", {"beta": 3, "threshold": 4.0}),
    ("hardtanh", {}),
    ("hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    ("softmax", {"dim": -1}),
    ("softmax", {"dim": 0}),
    ("log_softmax", {"dim": -1}),
    ("log_softmax", {"dim": 1}),
]

# (normalized_shape, eps, elementwise_affine, bias, shape of the input)
NORMALIZATIONS = [
    ([6], 1e-5, True, True, [2, 3, 6]),
    ([3, 6], 1e-3, True, True, [2, 3, 6]),
    ([6], 1e-5, True, False, [4, 6]),
    ([6], 1e-5, False, True, [6]),
]

# (arguments of Conv1d, shape of the input)
CONVOLUTIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({"kernel_size": 3}, [2, 4, 9]),
    ({"kernel_size": 3}, [4, 9]),
    ({"kernel_size": 1, "bias": False}, [2, 4, 9]),
    ({"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2}, [2, 4, 11]),
    ({"kernel_size": 4, "padding": "same", "dilation": 3}, [2, 4, 11]),
    ({"kernel_size": 4, "padding": "valid", "groups": 2}, [2, 4, 11]),
    ({"kernel_size": 3, "groups": 2, "padding": 1, "stride": 3, "padding_mode": "reflect"}, [2, 4, 11]),
    ({"kernel_size": 4, "padding": "same", "padding_mode": "replicate"}, [2, 4, 11]),
    ({"kernel_size": 4, "padding": "same", "padding_mode": "reflect"}, [4, 11]),
    ({"kernel_size": 5, "padding": 9, "padding_mode": "circular"}, [2, 4, 9]),
    ({"kernel_size": 5, "padding": 8, "padding_mode": "reflect"}, [2, 4, 9]),
    ({"kernel_size": 5, "padding": 12, "padding_mode": "replicate"}, [2, 4, 9]),
]


def main() -> None:
    """Write all files anew."""
    FOLDER.mkdir(exist_ok=True)
    makers = {
        "activations": activations,
        "convolution": convolution,
        "embedding": embedding,
        "normalization": normalization,
    }
    for name, make in makers.items():
        stored: dict[str, np.ndarray] = {}
        for dtype in DTYPES:
            stored |= make(dtype, np.random.default_rng(0))
        np.savez_compressed(FOLDER / f"{name}.npz", allow_pickle=False, **stored)


def cases(kind: str) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Return the arguments and the arrays of each case that is stored for a kind of layer."""
    with np.load(FOLDER / f"{kind}.npz") as stored:
        grouped: dict[str, dict[str, np.ndarray]] = {}
        for key in stored.files:
            case, _, name = key.partition("/")
            grouped.setdefault(case, {})[name] = stored[key]
    return [(json.loads(str(arrays.pop("config"))), arrays) for arrays in grouped.values()]


def activations(dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return all functions of one array."""
    import torch  # here, since collecting tests imports this file, and torch is there for regenerating only

    x = (rng.standard_normal((3, 4, 5)) * np.array([[[0.3]], [[3]], [[30]]])).astype(dtype)
    special = np.array(SPECIAL, dtype)
    stored: dict[str, np.ndarray] = {}
    for number, (function, arguments) in enumerate(ACTIVATIONS):
        compute = getattr(torch.nn.functional, function)
        config = {"function": function, "arguments": arguments}
        case = _case(number, dtype, config, x=x, y=compute(torch.from_numpy(x), **arguments))
        if "dim" not in arguments:  # one at a time: torch's vector loop makes NaN of gelu(inf), its scalar one inf
            values = [compute(torch.from_numpy(special[i : i + 1]), **arguments) for i in range(len(special))]
            case |= _case(number, dtype, config, special=special, of_special=torch.cat(values))
        stored |= case
    return stored


def embedding(dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return lookups of several shapes."""
    import torch

    weight = rng.standard_normal((6, 3)).astype(dtype)
    stored: dict[str, np.ndarray] = {}
    for number, shape in enumerate([(), (4,), (2, 3), (0, 2)]):
        x = rng.integers(0, 6, shape)
        y = torch.nn.functional.embedding(torch.tensor(x), torch.from_numpy(weight))
        stored |= _case(number, dtype, {}, weight=weight, x=np.asarray(x), y=y)
    return stored


def normalization(dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return LayerNorm in its forms."""
    import torch

    stored: dict[str, np.ndarray] = {}
    for number, (normalized_shape, eps, affine, bias, shape) in enumerate(NORMALIZATIONS):
        config = {"normalized_shape": normalized_shape, "eps": eps, "elementwise_affine": affine, "bias": bias}
        layer = torch.nn.LayerNorm(**config, dtype=getattr(torch, dtype))
        x = (5 + rng.standard_normal(shape)).astype(dtype)
        stored |= _of_layer(number, dtype, config, layer, x, rng)
    return stored


def convolution(dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return Conv1d in its forms."""
    import torch

    stored: dict[str, np.ndarray] = {}
    for number, (arguments, shape) in enumerate(CONVOLUTIONS):
        config = {"in_channels": 4, "out_channels": 6, **arguments}
        layer = torch.nn.Conv1d(**config, dtype=getattr(torch, dtype))
        stored |= _of_layer(number, dtype, config, layer, rng.standard_normal(shape).astype(dtype), rng)
    return stored


def _of_layer(
    number: int, dtype: str, config: dict[str, Any], layer: Any, x: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    import torch

    parameters = {name: rng.standard_normal(value.shape).astype(dtype) for name, value in layer.state_dict().items()}
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    with torch.no_grad():
        y = layer(torch.from_numpy(x))
    config = {**config, "repr": repr(layer)}
    return _case(number, dtype, config, x=x, y=y, **{f"parameter.{name}": array for name, array in parameters.items()})


def _case(number: int, dtype: str, config: dict[str, Any], **arrays: Any) -> dict[str, np.ndarray]:
    prefix = f"{number:02}_{dtype}"
    stored = {f"{prefix}/{name}": np.asarray(array) for name, array in arrays.items()}
    return {f"{prefix}/config": np.array(json.dumps(config)), **stored}


if __name__ == "__main__":
    main()
