"""What torch does in the benchmarks: forks in TorchScript, and the tutorial's ensemble. Needs torch.

Parameters and inputs require no gradients, which holds on every thread; torch's no_grad would hold on one.
"""

# torch need not be there, and is Any then.
# mypy: allow-subclassing-any

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, List  # noqa: UP035  # what TorchScript knows

import torch

from asyncjit import sync

warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")  # torch.jit: that is the peer
warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")


def _negative(x: torch.Tensor) -> torch.Tensor:
    return torch.neg(x)


def _burst(x: torch.Tensor, n: int) -> None:
    futures: List[torch.jit.Future[torch.Tensor]] = []  # noqa: UP006
    for _ in range(n):
        futures.append(torch.jit.fork(_negative, x))
    for future in futures:
        torch.jit.wait(future)


def _one_at_a_time(x: torch.Tensor, n: int) -> None:
    for _ in range(n):
        torch.jit.wait(torch.jit.fork(_negative, x))


def fork_wait_cases(n: int, repeats: int) -> dict[str, Callable[[], float]]:
    """Return the cases of fork_wait: seconds per fork and wait in TorchScript."""
    x = torch.ones(1)
    burst, one_at_a_time = torch.jit.script(_burst), torch.jit.script(_one_at_a_time)
    for _ in range(3):  # TorchScript specialises in its first runs
        burst(x, n)
        one_at_a_time(x, n)

    def measure(scripted: Any) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            scripted(x, n)
        return (time.perf_counter() - start) / (n * repeats)

    return {
        "torch burst": partial(measure, burst),
        "torch one at a time": partial(measure, one_at_a_time),
    }


class Bidirectional(torch.nn.Module):
    """Two LSTMs on the same sequence, one of them backwards."""

    def __init__(self, C: int) -> None:
        super().__init__()
        self.cell_f = torch.nn.LSTM(input_size=C, hidden_size=C)
        self.cell_b = torch.nn.LSTM(input_size=C, hidden_size=C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        future_f = torch.jit.fork(self.cell_f, x)
        output_b, _ = self.cell_b(torch.flip(x, dims=[0]))
        output_b_rev = torch.flip(output_b, dims=[0])
        output_f, _ = torch.jit.wait(future_f)
        return torch.cat((output_f, output_b_rev), dim=2)


class Ensemble(torch.nn.Module):
    """The tutorial's last version: everything is forked."""

    def __init__(self, num_models: int, C: int) -> None:
        super().__init__()
        self.models = torch.nn.ModuleList([Bidirectional(C) for _ in range(num_models)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        futures: List[torch.jit.Future[torch.Tensor]] = []  # noqa: UP006
        for model in self.models:
            futures.append(torch.jit.fork(model, x))
        results: List[torch.Tensor] = []  # noqa: UP006
        for future in futures:
            results.append(torch.jit.wait(future))
        return torch.stack(results).sum(dim=0)


def forked_by_asyncjit(ensemble: Ensemble, x: torch.Tensor) -> torch.Tensor:
    """Run the same eager modules with every one forked by asyncjit."""

    def bidirectional(model: Bidirectional) -> torch.Tensor:
        future_f = sync.fork(model.cell_f, x)
        output_b, _ = model.cell_b(torch.flip(x, dims=[0]))
        output_b_rev = torch.flip(output_b, dims=[0])
        output_f, _ = sync.wait(future_f)
        return torch.cat((output_f, output_b_rev), dim=2)

    futures = [sync.fork(bidirectional, model) for model in ensemble.models]
    return torch.stack([sync.wait(future) for future in futures]).sum(dim=0)


def ensemble_cases(shape: tuple[int, int, int, int], *, num_threads: int | None) -> dict[str, Callable[[], float]]:
    """Return the cases of a worker; `num_threads` is what torch.set_num_threads is given, if anything."""
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    T, B, C, num_models = shape
    eager = Ensemble(num_models, C).requires_grad_(False)
    scripted = torch.jit.script(eager)
    x = torch.rand(T, B, C)

    def measure(run: Callable[[], torch.Tensor]) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    cases: dict[str, Callable[[], float]] = {"scripted": partial(measure, partial(scripted, x))}
    if num_threads is not None:  # asyncjit holds OpenMP at one thread, so not where no setting shall be touched
        torch.testing.assert_close(forked_by_asyncjit(eager, x), scripted(x))
        cases["eager, forked by asyncjit"] = partial(measure, partial(forked_by_asyncjit, eager, x))
    return cases


def kernel_calls(
    linear: tuple[int, int], batches: tuple[int, ...], hidden: int, num_steps: int
) -> dict[str, Callable[[], object]]:
    """Return calls of eager layers at one thread: a Linear with each batch, and an LSTM with batch 1."""
    torch.set_num_threads(1)
    layer = torch.nn.Linear(*linear).requires_grad_(False)
    lstm = torch.nn.LSTM(hidden, hidden).requires_grad_(False)
    calls: dict[str, Callable[[], object]] = {
        f"linear {batch}": partial(layer, torch.rand(batch, linear[0])) for batch in batches
    }
    return calls | {"lstm": partial(lstm, torch.rand(num_steps, 1, hidden))}
