"""TorchScript's tutorial, as it stands: in a script, in kernels, on loops, and traced."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import fork, nn, sync, trace
from asyncjit.errors import WaitOnEventLoopError
from asyncjit.graph import inline_fork_wait
from tests.at_rest import assert_at_rest
from tests.programs.running import WAYS, told
from tests.scripts import check_script
from tests.torchscript.running import FORK, WAIT, counts

TUTORIAL = Path(__file__).with_name("tutorial.py")
PRINTED = r"\(array\(\[-1\.\]\), array\(\[-1\.\]\)\)\n-100\.0\nInference took [\d.e-]+  seconds\n"
FORMS = {
    "forward and backward": ("LSTMEnsemble", "BidirectionalForked"),
    "models": ("EnsembleForked", "BidirectionalRecurrentLSTM"),
    "everything": ("EnsembleForked", "BidirectionalForked"),
    "everything, in brief": ("EnsembleForkedInBrief", "BidirectionalForked"),
}
NUM_FORKS = {"forward and backward": 4, "models": 4, "everything": 8, "everything, in brief": 8}


def load() -> dict[str, Any]:
    """Run the tutorial, and return its names."""
    return runpy.run_path(str(TUTORIAL))


def ensemble(names: dict[str, Any], form: str) -> Any:
    """Return a form of the tutorial's ensemble, with the weights of the serial one, scripted."""
    of_models, model = (names[name] for name in FORMS[form])
    made = of_models(n_models=4)
    made.models = nn.ModuleList([model() for _ in range(4)])
    made.load_state_dict(names["ens"].state_dict())
    return asyncjit.script(made)


def test_it_runs_as_a_script_and_prints_what_the_tutorial_prints() -> None:
    done = check_script(f"import runpy; runpy.run_path({str(TUTORIAL)!r})")
    assert re.fullmatch(PRINTED, done.out)


def test_it_runs_on_any_number_of_threads(runtime: sync.Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    load()
    assert re.fullmatch(PRINTED, capsys.readouterr().out)


def test_it_runs_in_a_kernel(runtime: sync.Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    sync.wait(fork(load))
    assert re.fullmatch(PRINTED, capsys.readouterr().out)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bit_for_bit(runtime: sync.Runtime, form: str) -> None:
    names = load()
    x, ens = names["x"], ensemble(names, form)
    expected = told(names["ens"](x))
    for way in WAYS:
        assert (way.__name__, way(ens, x)) == (way.__name__, expected)
    before = runtime.statistics().forked
    ens(x)
    assert runtime.statistics().forked == before + NUM_FORKS[form]


async def test_it_runs_inside_a_running_loop(num_interop_threads: int, capsys: pytest.CaptureFixture[str]) -> None:
    async with asyncjit.Runtime(num_interop_threads, blas_threads=None) as runtime:
        names = await asyncjit.call(load)
        assert re.fullmatch(PRINTED, capsys.readouterr().out)
        assert await asyncjit.call(names["example"], np.ones(1)) == (-1, -1)
        assert await fork(names["example_of_many"], np.ones([])) == -100
        x = names["x"]
        expected = await asyncjit.call(names["ens"], x)
        for form in FORMS:
            ens = ensemble(names, form)
            given = [await asyncjit.call(ens, x), *await asyncio.gather(*(fork(ens, x) for _ in range(10)))]
            for output in given:
                np.testing.assert_array_equal(output, expected, strict=True)
    now = runtime.statistics()
    assert now.forked == now.finished
    assert (now.running, now.queued, now.blocked, now.suspended) == (0, 0, 0, 0)


async def test_on_a_loops_thread_its_functions_name_the_await() -> None:
    names = await asyncjit.call(load)
    with pytest.raises(WaitOnEventLoopError, match=r"await .*call\("):
        names["example"](np.ones(1))


@pytest.mark.parametrize("form", FORMS)
def test_its_graph_shows_every_fork_and_every_wait(runtime: sync.Runtime, form: str) -> None:
    names = load()
    x, ens = names["x"], ensemble(names, form)
    traced = trace(ens, x)
    assert told(traced(x)) == told(names["ens"](x))
    root = 4
    everywhere = NUM_FORKS[form]
    assert counts(traced.graph, FORK) == counts(traced.graph, WAIT) == (root, everywhere)
    assert counts(traced.graph, "nn::LSTM")[1] == 8
    inlined = inline_fork_wait(traced.graph)
    assert counts(inlined, FORK) == counts(inlined, WAIT) == (0, 0)


def test_its_profile_shows_the_forks(runtime: sync.Runtime, tmp_path: Path) -> None:
    names = load()
    path = tmp_path / "parallel.json"
    names["profiled"](ensemble(names, "everything"), names["x"], path)
    shown = [event["name"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "b"]
    assert (shown.count("BidirectionalForked"), shown.count("LSTM")) == (4, 4)


def test_no_thread_is_blocked_on_one_thread() -> None:
    """A hundred callers of a scripted ensemble at once: each suspends, and none keeps the thread."""
    names = load()
    ens, x = ensemble(names, "everything"), names["x"]
    expected = told(names["ens"](x))
    with sync.Runtime(1, blas_threads=None) as runtime:
        futures = [fork(ens, x) for _ in range(100)]
        assert all(told(future.result(60.0)) == expected for future in futures)
        assert runtime.statistics().threads == 1
        assert_at_rest(runtime)
