"""The ensemble of bidirectional LSTMs of TorchScript's tutorial, in five forms, and the measuring of them.

All forms share one set of weights, so their outputs must be equal bit for bit. The first runs on one thread; in the
others layers may split their work over threads that are free, which few are where everything is forked.
"""

from __future__ import annotations

import asyncio
import contextvars
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import asyncjit
from asyncjit import nn, sync
from asyncjit.profiler import Cause, profile

Array = NDArray[np.float32]


class BidirectionalRecurrentLSTM(nn.Module):
    """Two LSTMs on the same sequence, one of them in reverse; input (T, B, C), output (T, B, 2 C)."""

    def __init__(self, num_channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.cell_f = nn.LSTM(num_channels, num_channels, rng=rng)
        self.cell_b = nn.LSTM(num_channels, num_channels, rng=rng)

    def forward(self, x: Array) -> Array:
        """Run forward, then backward."""
        output_f, _ = self.cell_f(x)
        return self.joined(output_f, self.backward(x))

    def backward(self, x: Array) -> Array:
        """Run the backward layer alone."""
        output_b, _ = self.cell_b(np.flip(x, axis=0))
        return np.flip(output_b, axis=0)

    def joined(self, output_f: Array, output_b: Array) -> Array:
        """Join the outputs of both directions."""
        return np.concatenate((output_f, output_b), axis=2)


class ForkedLSTM(BidirectionalRecurrentLSTM):
    """The same, the forward layer forked."""

    def forward(self, x: Array) -> Array:
        """Run both directions at once."""
        future_f = sync.fork(self.cell_f, x)
        output_b = self.backward(x)
        output_f, _ = sync.wait(future_f)
        return self.joined(output_f, output_b)


class AsyncLSTM(BidirectionalRecurrentLSTM):
    """The same as a coroutine, which holds no thread while it waits."""

    async def forward(self, x: Array) -> Array:  # type: ignore[override]  # an async model has another signature
        """Run both directions at once."""
        future_f = asyncjit.fork(self.cell_f, x)
        output_b = await asyncjit.call(self.backward, x)
        output_f, _ = await asyncjit.wait(future_f)
        return self.joined(output_f, output_b)


class Ensemble(nn.Module):
    """Models run one by one on the same input, their results summed."""

    def __init__(self, models: Iterable[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Array) -> Array:
        """Run the models one by one."""
        return total([model(x) for model in self.models])


class ForkedEnsemble(Ensemble):
    """The same, every model forked."""

    def forward(self, x: Array) -> Array:
        """Run all models at once."""
        futures = [sync.fork(model, x) for model in self.models]
        return total([sync.wait(future) for future in futures])


class AsyncEnsemble(Ensemble):
    """The same as a coroutine."""

    async def forward(self, x: Array) -> Array:  # type: ignore[override]  # an async model has another signature
        """Run all models at once."""
        return await asyncjit.call(total, await asyncjit.wait_all([asyncjit.fork(model, x) for model in self.models]))


def total(results: list[Any]) -> Array:
    """Sum the models' results, without the copy of all that `np.stack(results).sum(axis=0)` makes first."""
    summed: Array = results[0].copy()
    for result in results[1:]:
        summed += result
    return summed


@dataclass(frozen=True)
class Size:
    """How large the ensemble and its input are."""

    steps: int = 50
    batch: int = 50
    hidden: int = 1024
    models: int = 4


@dataclass(frozen=True)
class Row:
    """What one form took."""

    form: str
    seconds: float
    speedup: float
    utilisation: float
    is_identical: bool


SERIAL = "serial, one thread"
FORMS: dict[str, tuple[type[Ensemble], type[BidirectionalRecurrentLSTM]]] = {
    SERIAL: (Ensemble, BidirectionalRecurrentLSTM),
    "serial, layers split": (Ensemble, BidirectionalRecurrentLSTM),
    "forward/backward forked": (Ensemble, ForkedLSTM),
    "everything forked": (ForkedEnsemble, ForkedLSTM),
    "async models": (AsyncEnsemble, AsyncLSTM),
}
PROFILED = "everything forked"


def make_forms(size: Size) -> dict[str, Ensemble]:
    """Return the ensemble in its forms, all with the weights of the first."""
    rng = np.random.default_rng(0)
    made: dict[str, Ensemble] = {}
    for form, (ensemble, member) in FORMS.items():
        models = [member(size.hidden, rng) for _ in range(size.models)]
        if made:
            for model, first in zip(models, made[SERIAL].models, strict=True):
                for cell in ("cell_f", "cell_b"):
                    setattr(model, cell, getattr(first, cell))
        made[form] = ensemble(models)
    return made


def run(model: Ensemble, x: Array, runner: asyncio.Runner) -> Array:
    """Run one form. The serial one runs as a kernel too, so that BLAS is held at one thread for all alike."""
    output: Array
    if isinstance(model, AsyncEnsemble):

        async def main() -> Array:
            result: Array = await asyncjit.call(model, x)
            return result

        # The runner's own context is older than the profile.
        output = runner.run(main(), context=contextvars.copy_context())
    else:
        output = sync.call(model, x)
    return output


@contextmanager
def threads_for(form: str) -> Iterator[None]:
    """Let no layer split its work in the serial form."""
    before = asyncjit.get_num_threads()
    asyncjit.set_num_threads(1 if form == SERIAL else before)
    try:
        yield
    finally:
        asyncjit.set_num_threads(before)


def make_input(size: Size) -> Array:
    """Return a random input of shape (T, B, C), float32."""
    return np.random.default_rng(1).random((size.steps, size.batch, size.hidden), dtype=np.float32)


def measure(
    forms: Mapping[str, Ensemble],
    x: Array,
    *,
    rounds: int,
    progress: Callable[[str], None] = lambda form: None,
    on_profile: Callable[[str, profile], object] = lambda form, prof: None,
) -> list[Row]:
    """Run each form `rounds` times in turn, and return the medians, with the first form as the one to compare with.

    Parameters
    ----------
    forms : mapping of str to Ensemble
        As `make_forms` returns them.
    x : ndarray of shape (T, B, C), float32
        The input of all forms.
    rounds : int
        How often each form runs, after the first form has run once to warm up.
    progress : callable
        Told the name of each form before it runs, the warm-up included.
    on_profile : callable
        Told the name of each form and its profile after it has run.
    """
    first = next(iter(forms))
    times: dict[str, list[float]] = {form: [] for form in forms}
    shares: dict[str, list[float]] = {form: [] for form in forms}
    is_identical = dict.fromkeys(forms, True)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        progress("warm-up")
        with threads_for(first):
            expected = run(forms[first], x, runner)
        for _ in range(rounds):
            for form, model in forms.items():
                progress(form)
                with threads_for(form), profile() as prof:
                    start = time.perf_counter()
                    output = run(model, x, runner)
                    times[form].append(time.perf_counter() - start)
                shares[form].append(prof.utilisation())
                is_identical[form] &= bool(np.array_equal(output, expected))
                on_profile(form, prof)
    seconds = {form: statistics.median(times[form]) for form in forms}
    return [
        Row(
            form=form,
            seconds=seconds[form],
            speedup=seconds[first] / seconds[form],
            utilisation=statistics.median(shares[form]),
            is_identical=is_identical[form],
        )
        for form in forms
    ]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # absent on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def as_json(
    size: Size, num_interop_threads: int, rows: Iterable[Row], *, explanation: Iterable[Cause], files: Iterable[Path]
) -> dict[str, Any]:
    """Return the result for machines."""
    return {
        "size": asdict(size),
        "num_interop_threads": num_interop_threads,
        "forms": [asdict(row) for row in rows],
        "explanation": [cause._asdict() for cause in explanation],
        "files": [str(file) for file in files],
    }
