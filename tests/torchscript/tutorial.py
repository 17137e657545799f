"""The code of TorchScript's tutorial on dynamic parallelism, with nothing changed but names and sizes.

`torch.jit` has become `asyncjit`, `torch.nn` `asyncjit.nn`, the profiler asyncjit's; all other functions are NumPy's,
with `axis` for `dim` and `dims`. What the tutorial writes anew under the same name has another one here.
"""

# mypy: ignore-errors
# ruff: noqa: F841, UP006, UP035

import time
from typing import List

import numpy as np

import asyncjit
import asyncjit.nn
import asyncjit.profiler

random = np.random.default_rng(0).random


def foo(x):
    return np.negative(x)


@asyncjit.script
def example(x):
    future = asyncjit.fork(foo, x)

    x_normal = foo(x)

    x_parallel = asyncjit.wait(future)

    return x_normal, x_parallel


print(example(np.ones(1)))


@asyncjit.script
def example_of_many(x):
    futures: List[asyncjit.Future[np.ndarray]] = []
    for _ in range(100):
        futures.append(asyncjit.fork(foo, x))

    results = []
    for future in futures:
        results.append(asyncjit.wait(future))

    return np.sum(np.stack(results))


print(example_of_many(np.ones([])))


T, B, C = 5, 4, 16


class BidirectionalRecurrentLSTM(asyncjit.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell_f = asyncjit.nn.LSTM(input_size=C, hidden_size=C)
        self.cell_b = asyncjit.nn.LSTM(input_size=C, hidden_size=C)

    def forward(self, x: np.ndarray) -> np.ndarray:
        output_f, _ = self.cell_f(x)

        x_rev = np.flip(x, axis=[0])
        output_b, _ = self.cell_b(np.flip(x, axis=[0]))
        output_b_rev = np.flip(output_b, axis=[0])

        return np.concatenate((output_f, output_b_rev), axis=2)


class LSTMEnsemble(asyncjit.nn.Module):
    def __init__(self, n_models):
        super().__init__()
        self.n_models = n_models
        self.models = asyncjit.nn.ModuleList([BidirectionalRecurrentLSTM() for _ in range(self.n_models)])

    def forward(self, x: np.ndarray) -> np.ndarray:
        results = []
        for model in self.models:
            results.append(model(x))
        return np.stack(results).sum(axis=0)


ens = asyncjit.script(LSTMEnsemble(n_models=4))

x = random((T, B, C), dtype=np.float32)

ens(x)

x = random((T, B, C), dtype=np.float32)

s = time.time()
ens(x)
print("Inference took", time.time() - s, " seconds")


class BidirectionalForked(BidirectionalRecurrentLSTM):
    def forward(self, x: np.ndarray) -> np.ndarray:
        future_f = asyncjit.fork(self.cell_f, x)

        x_rev = np.flip(x, axis=[0])
        output_b, _ = self.cell_b(np.flip(x, axis=[0]))
        output_b_rev = np.flip(output_b, axis=[0])

        output_f, _ = asyncjit.wait(future_f)

        return np.concatenate((output_f, output_b_rev), axis=2)


def profiled(ens, x, path):
    with asyncjit.profiler.profile() as prof:
        ens(x)
    prof.export_chrome_trace(path)


class EnsembleForked(LSTMEnsemble):
    def forward(self, x: np.ndarray) -> np.ndarray:
        futures: List[asyncjit.Future[np.ndarray]] = []
        for model in self.models:
            futures.append(asyncjit.fork(model, x))

        results: List[np.ndarray] = []
        for future in futures:
            results.append(asyncjit.wait(future))

        return np.stack(results).sum(axis=0)


class EnsembleForkedInBrief(LSTMEnsemble):
    def forward(self, x: np.ndarray) -> np.ndarray:
        futures = [asyncjit.fork(model, x) for model in self.models]
        results = [asyncjit.wait(fut) for fut in futures]
        return np.stack(results).sum(axis=0)
