"""`examples/scripted.py`: TorchScript's tutorial prints what it promises, called and awaited, with one thread too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.test_examples import run

PRINTED = ["(array([-1.], dtype=float32), array([-1.], dtype=float32))", "-100.0", "Inference took"]


@pytest.mark.parametrize("num_interop_threads", ["1", "2"])
def test_it_prints_what_the_tutorial_does_in_a_script_and_in_a_running_loop(
    num_interop_threads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCJIT_NUM_INTEROP_THREADS", num_interop_threads)
    lines = run("scripted.py", "6", "3", "8", folder=tmp_path).splitlines()
    assert [line[: len(start)] for line, start in zip(lines, 2 * PRINTED, strict=False)] == 2 * PRINTED
    assert lines[6:] == ["called and awaited give the same bits: True"]
