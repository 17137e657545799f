"""Kernels alone: products with weights beside NumPy's and torch's, layers and calls split over two threads.

One interpreter of ours with one thread where nothing else is said, BLAS at one; torch's has `set_num_threads(1)`. The
figures of packed weights are for an OpenBLAS with AVX-512; elsewhere the plain product serves, and the ratio is 1.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from asyncjit import get_num_threads, nn, set_num_threads, sync
from asyncjit.demo import SERIAL, Size, make_forms, make_input
from benchmarks.harness import Options, Samples, Sheet, Worker, interleave, parse_options, serve

LINEAR = 1024, 4096  # specified: K, N
BATCHES = 1, 2, 3, 4, 8, 16, 32, 50, 64, 65, 96, 128, 256, 512
WEIGHTS = (64, 64), (64, 256), (128, 512), (256, 256), (256, 1024), (512, 512), (512, 2048), (1024, 1024), (4096, 4096)
LSTMS = (1024, 50), (512, 50), (1024, 8), (512, 8), (256, 50), (256, 8), (512, 1)  # hidden size and batch
NUM_STEPS = 50
SMALL_LSTM = 128  # specified: hidden size, with batch 1
NUM_ELEMENTS = 10_000_000
MIN_SECONDS = 0.01  # of one sample: shorter calls are repeated

rng = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    """Return random numbers, float32."""
    return rng.standard_normal(shape, dtype=np.float32)


def seconds_of(call: Callable[[], object]) -> float:
    """Return what a call takes, on average over as many as fill a sample."""
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    num = max(1, int(MIN_SECONDS / max(once, 1e-7)))
    start = time.perf_counter()
    for _ in range(num):
        call()
    return (time.perf_counter() - start) / num


@contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Let one kernel use so many threads."""
    before = get_num_threads()
    set_num_threads(num_threads)
    try:
        yield
    finally:
        set_num_threads(before)


def on_threads(num_threads: int, call: Callable[[], object]) -> float:
    """Return what a call takes as a kernel, with so many threads."""
    with threads(num_threads):
        return seconds_of(lambda: sync.call(call))


def compare(options: Options, **cases: Callable[[], float]) -> dict[str, Samples]:
    """Interleave the cases."""
    return interleave(cases, options.rounds)


# -- products


def linear_pair(K: int, N: int, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return our layer and NumPy's plain product, on the same numbers."""
    layer = nn.Linear(K, N, rng=0)
    x, w, b = draw(batch, K), np.ascontiguousarray(layer.weight.T), np.array(layer.bias)
    return partial(layer, x), lambda: x @ w + b


def measure_linear(sheet: Sheet, options: Options, torch: Worker | None) -> None:
    for batch, of_plain, of_torch in ((8, "≤ 0.4 ×", "≤ 0.45 ×"), (50, "≤ 0.8 ×", "")):
        ours, plain = linear_pair(*LINEAR, batch)
        cases: dict[str, Callable[[], float]] = {"ours": partial(seconds_of, ours), "plain": partial(seconds_of, plain)}
        if torch is not None:
            cases["torch"] = partial(torch.ask, f"linear {batch}")
        found = interleave(cases, options.rounds)
        name = f"Linear 1024→4096, batch {batch}, one thread"
        sheet.ratio(f"{name}: x @ w + b", found["ours"], found["plain"], of_plain)
        sheet.ratio(f"{name}: torch", found["ours"], found.get("torch"), of_torch)


def measure_grid(sheet: Sheet, options: Options) -> None:
    """Show, for each weight, the batch at which our layer does worst beside the plain product."""
    batches = BATCHES[::4] if options.is_quick else BATCHES
    for K, N in WEIGHTS[::3] if options.is_quick else (*WEIGHTS, LINEAR, LINEAR[::-1]):
        worst = None
        for batch in batches:
            ours, plain = linear_pair(K, N, batch)
            found = compare(options, ours=partial(seconds_of, ours), plain=partial(seconds_of, plain))
            ratio = float(np.median([a / b for a, b in zip(found["ours"], found["plain"], strict=True)]))
            if worst is None or ratio > worst[0]:
                worst = ratio, batch, found
        assert worst is not None
        sheet.ratio(
            f"Linear {K}→{N}, worst of {len(batches)} batches ({worst[1]}): x @ w + b",
            worst[2]["ours"],
            worst[2]["plain"],
            "≤ 1.05 ×",
        )


# -- recurrent layers


def measure_split_lstms(sheet: Sheet, options: Options) -> None:
    targets = {(1024, 50): "≥ 1.7 ×", (512, 8): "≥ 1.3 ×"}
    for hidden, batch in LSTMS[3:5] if options.is_quick else LSTMS:
        layer, x = nn.LSTM(hidden, hidden, rng=0), draw(NUM_STEPS, batch, hidden)
        call = partial(layer, x)
        found = compare(options, alone=partial(on_threads, 1, call), split=partial(on_threads, 2, call))
        target = targets.get((hidden, batch), "≥ 1 ×")
        name = f"LSTM {hidden} wide, batch {batch}, split over 2: speed-up over one thread"
        sheet.speed_up(name, found["split"], found["alone"], target)


def measure_small_lstm(sheet: Sheet, options: Options, torch: Worker | None) -> None:
    layer, x = nn.LSTM(SMALL_LSTM, SMALL_LSTM, rng=0), draw(NUM_STEPS, 1, SMALL_LSTM)
    cases: dict[str, Callable[[], float]] = {"ours": partial(seconds_of, partial(layer, x))}
    if torch is not None:
        cases["torch"] = partial(torch.ask, "lstm")
    found = interleave(cases, options.rounds)
    name = f"LSTM {SMALL_LSTM} wide, batch 1, {NUM_STEPS} steps: torch eager"
    sheet.ratio(name, found["ours"], found.get("torch"), "≤ 1.3 ×")


# -- calls by name


def measure_calls(sheet: Sheet, options: Options) -> None:
    x = draw(NUM_ELEMENTS // (10 if options.is_quick else 1))
    y = np.empty_like(x)
    a, b = draw(2500, 1024), draw(1024, 4096)
    calls: tuple[tuple[str, Callable[[], object], Callable[[], object], str], ...] = (
        ("tanh, out=", lambda: sync.call(np.tanh, x, out=y), lambda: np.tanh(x, out=y), "≤ 0.6 ×"),
        ("tanh", lambda: sync.call(np.tanh, x), lambda: np.tanh(x), "≤ 0.75 ×"),
        ("sum", lambda: sync.call(np.sum, x), lambda: np.sum(x), ""),
        ("matmul (2500, 1024, 4096)", lambda: sync.call(np.matmul, a, b), lambda: np.matmul(a, b), ""),
    )
    for name, ours, numpy, target in calls:
        found = compare(options, ours=partial(seconds_of, ours), numpy=partial(seconds_of, numpy))
        sheet.ratio(f"call(np.{name}): NumPy", found["ours"], found["numpy"], target)


# -- packing


def measure_packing(sheet: Sheet, options: Options) -> None:
    """Compare the first call of the tutorial's ensemble, which packs, with the next."""
    size = Size(steps=2, hidden=256 if options.is_quick else 1024)
    x, samples = make_input(size), []
    for _ in range(min(options.rounds, 5)):
        model = make_forms(size)[SERIAL]
        first, again = (min(seconds_once(model, x) for _ in range(n)) for n in (1, 3))
        samples.append(first - again)
    found = float(np.median(samples))
    sheet.value("packing the tutorial's ensemble at its first call", f"{found * 1e3:.0f} ms", "≤ 300 ms", samples)


def seconds_once(model: Callable[[Any], object], x: Any) -> float:
    start = time.perf_counter()
    sync.call(model, x)
    return time.perf_counter() - start


def torch_cases() -> dict[str, Callable[[], float]]:
    peers = importlib.import_module("benchmarks.torch_peers")
    calls = peers.kernel_calls(LINEAR, (8, 50), SMALL_LSTM, NUM_STEPS)
    return {name: partial(seconds_of, call) for name, call in calls.items()}


def main() -> None:
    """Measure all, print the table."""
    options = parse_options("Kernels alone.", rounds=11)
    if options.worker == "torch":
        serve(torch_cases())
        return
    sheet = Sheet("kernels", options)
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch:
        sheet.note("torch is not installed: its columns are left out (pip install torch, 2.13 or so).")
    torch = Worker("benchmarks.kernels", "torch", quick=options.is_quick) if has_torch else None
    try:
        sync.call(int)  # the runtime opens: BLAS is held at one thread
        with threads(1):
            measure_linear(sheet, options, torch)
            measure_grid(sheet, options)
            measure_small_lstm(sheet, options, torch)
            measure_packing(sheet, options)
        measure_split_lstms(sheet, options)
        measure_calls(sheet, options)
    finally:
        if torch is not None:
            torch.close()
    sheet.finish()


if __name__ == "__main__":
    main()
