"""Make the reference values that recurrent layers are held to, with torch: ``python make_recurrent_reference.py``.

A folder for each kind of layer, and in it one file per configuration and dtype: the constructor's arguments as JSON,
the parameters, inputs and outputs. Parameters are drawn twice as wide as torch's defaults, so that gates reach where
they saturate. The files in the repository were made with torch 2.13.0 (CPU).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
INPUT_SIZE, HIDDEN_SIZE = 3, 5
L, N = 7, 4
DTYPES = ("float32", "float64")

# folder: (torch's name, names of the states)
LAYERS = {"lstm": ("LSTM", ("h", "c")), "gru": ("GRU", ("h",))}
CELLS = {"lstm_cell": ("LSTMCell", ("h", "c")), "gru_cell": ("GRUCell", ("h",))}

# name: (constructor's arguments, has a batch, has initial states)
CONFIGURATIONS: dict[str, tuple[dict[str, int | bool], bool, bool]] = {
    "plain": ({}, True, False),
    "initial_states": ({}, True, True),
    "unbatched": ({}, False, True),
    "no_bias": ({"bias": False}, True, True),
    "batch_first": ({"batch_first": True}, True, True),
    "two_layers": ({"num_layers": 2}, True, False),
    "bidirectional": ({"bidirectional": True}, True, False),
    "everything": ({"num_layers": 2, "batch_first": True, "bidirectional": True}, True, True),
    "everything_unbatched": ({"num_layers": 2, "batch_first": True, "bidirectional": True}, False, True),
}
CELL_CONFIGURATIONS = ("plain", "initial_states", "unbatched", "no_bias")


def main() -> None:
    """Write all files anew."""
    for folder, name, dtype in files():
        path = FOLDER / folder / f"{name}_{dtype}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, allow_pickle=False, **reference(folder, name, dtype))


def files() -> Iterator[tuple[str, str, str]]:
    """Yield the folder, the configuration and the dtype of each file."""
    for folder in (*LAYERS, *CELLS):
        for name in CONFIGURATIONS if folder in LAYERS else CELL_CONFIGURATIONS:
            for dtype in DTYPES:
                yield folder, name, dtype


def stored(folder: str, name: str, dtype: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return a file's constructor's arguments, its parameters by name, and its other arrays by name."""
    with np.load(FOLDER / folder / f"{name}_{dtype}.npz") as file:
        arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    names = [key for key in arrays if key.startswith("parameter.")]
    return config, {key.removeprefix("parameter."): arrays.pop(key) for key in names}, arrays


def reference(folder: str, name: str, dtype: str) -> dict[str, np.ndarray]:
    """Return what is stored for one configuration."""
    import torch  # here, since collecting tests imports this file, and torch is there for regenerating only

    torch_name, state_names = (LAYERS | CELLS)[folder]
    config, is_batched, has_states = CONFIGURATIONS[name]
    seed = list(CONFIGURATIONS).index(name)
    torch.manual_seed(seed)
    layer = getattr(torch.nn, torch_name)(INPUT_SIZE, HIDDEN_SIZE, **config, dtype=getattr(torch, dtype))
    for parameter in layer.parameters():
        parameter.data *= 2
    rng = np.random.default_rng(seed)
    x_shape, state_shape = shapes(config, is_batched, is_cell=folder in CELLS)
    kept = {"config": np.array(json.dumps(config)), "x": rng.standard_normal(x_shape).astype(dtype)}
    if has_states:
        kept |= {f"{state}_0": rng.standard_normal(state_shape).astype(dtype) for state in state_names}
    given = [torch.from_numpy(kept[f"{state}_0"]) for state in state_names] if has_states else []
    with torch.no_grad():
        found = layer(torch.from_numpy(kept["x"]), tuple(given) if len(given) == 2 else given[0] if given else None)
    output, last = (None, found) if folder in CELLS else found
    if output is not None:
        kept["output"] = output.numpy()
    last = last if isinstance(last, tuple) else (last,)
    kept |= {f"{state}_n": array.numpy() for state, array in zip(state_names, last, strict=True)}
    return kept | {f"parameter.{key}": value.numpy() for key, value in layer.state_dict().items()}


def shapes(config: dict[str, int | bool], is_batched: bool, *, is_cell: bool) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the input and of a state."""
    batch = (N,) if is_batched else ()
    if is_cell:
        return (*batch, INPUT_SIZE), (*batch, HIDDEN_SIZE)
    steps_and_batch = (*batch, L) if config.get("batch_first") else (L, *batch)
    num_states = int(config.get("num_layers", 1)) * (2 if config.get("bidirectional") else 1)
    return (*steps_and_batch, INPUT_SIZE), (num_states, *batch, HIDDEN_SIZE)


if __name__ == "__main__":
    main()
