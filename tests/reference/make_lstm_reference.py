"""Make the reference values that `nn.LSTM` is held to, with torch: ``python make_lstm_reference.py``.

One file per configuration and dtype: the constructor's arguments as JSON, the parameters, inputs and outputs.
Parameters are drawn twice as wide as torch's defaults, so that gates reach where they saturate. The files in
the repository were made with torch 2.13.0 (CPU).
"""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "lstm"
INPUT_SIZE, HIDDEN_SIZE = 3, 5
L, N = 7, 4

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


def main() -> None:
    """Write all files anew."""
    FOLDER.mkdir(exist_ok=True)
    for seed, name in enumerate(CONFIGURATIONS):
        for dtype in ("float32", "float64"):
            np.savez(FOLDER / f"{name}_{dtype}.npz", allow_pickle=False, **reference(name, dtype, seed))


def reference(name: str, dtype: str, seed: int) -> dict[str, np.ndarray]:
    """Return what is stored for one configuration."""
    import torch  # here, since collecting tests imports this file, and torch is there for regenerating only

    config, is_batched, has_states = CONFIGURATIONS[name]
    torch.manual_seed(seed)
    lstm = torch.nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, **config, dtype=getattr(torch, dtype))
    for parameter in lstm.parameters():
        parameter.data *= 2
    rng = np.random.default_rng(seed)
    steps_and_batch = (N, L) if config.get("batch_first") else (L, N)
    x = rng.standard_normal((*(steps_and_batch if is_batched else (L,)), INPUT_SIZE)).astype(dtype)
    stored = {"config": np.array(json.dumps(config)), "x": x}
    states = None
    if has_states:
        num_states = int(config.get("num_layers", 1)) * (2 if config.get("bidirectional") else 1)
        shape = (num_states, N, HIDDEN_SIZE) if is_batched else (num_states, HIDDEN_SIZE)
        stored["h_0"], stored["c_0"] = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        states = (torch.from_numpy(stored["h_0"]), torch.from_numpy(stored["c_0"]))
    with torch.no_grad():
        output, (h_n, c_n) = lstm(torch.from_numpy(x), states)
    stored |= {"output": output.numpy(), "h_n": h_n.numpy(), "c_n": c_n.numpy()}
    return stored | {f"parameter.{key}": value.numpy() for key, value in lstm.state_dict().items()}


if __name__ == "__main__":
    main()
