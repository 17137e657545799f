"""`examples/traced.py`: a serial ensemble, its graph, and the same forked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_it_forks_a_serial_model_and_gets_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCJIT_NUM_INTEROP_THREADS", "2")
    serial, forked, report, results = run("traced.py", "10", "50", "256", folder=tmp_path).split("\n\n")
    assert serial.count("nn::LSTM[256, 256](") == 8
    assert "prim::fork" not in serial
    assert report.startswith("work ")
    num_forked = int(report.split("\nforked: ")[1].split()[0])  # none, if there was no second CPU to be had meanwhile
    assert forked.count("with prim::fork_") == num_forked
    results_of = dict(line.split(": ") for line in results.splitlines()[:3])
    assert results_of == {"the graph gives the model's bits": "True", "forked too": "True", "and awaited": "True"}


def test_on_one_thread_there_is_nothing_to_gain_and_it_stays_serial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCJIT_NUM_INTEROP_THREADS", "1")
    serial, forked, report, results = run("traced.py", "3", "2", "8", folder=tmp_path).split("\n\n")
    assert forked == serial
    assert "forked: 0" in report
    assert "forked too: True" in results
