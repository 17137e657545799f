"""The command line: what it takes, refuses and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncjit import demo
from asyncjit.cli import main

TINY = ["--steps", "3", "--batch", "2", "--hidden", "4", "--models", "2", "--rounds", "1"]


def test_the_demo_measures_all_forms_and_writes_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--json", *TINY, "--output", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["size"] == {"steps": 3, "batch": 2, "hidden": 4, "models": 2}
    assert [form["form"] for form in result["forms"]] == list(demo.FORMS)
    assert all(form["is_identical"] for form in result["forms"])
    events = json.loads((tmp_path / "parallel.json").read_text())["traceEvents"]
    assert sum(event["ph"] == "b" and event["name"] == "LSTM" for event in events) == 2


def test_the_table_tells_speed_ups_and_how_to_open_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *TINY, "--threads", "2", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "everything forked" in out
    assert "equal, bit for bit" in out
    assert "ui.perfetto.dev" in out


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_bad_number_is_refused_by_name(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", f"--models={value}"])
    assert f"argument --models: must be a positive integer, got '{value}'" in capsys.readouterr().err


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--output", str(tmp_path / "missing")])
    assert "must be an existing folder, got" in capsys.readouterr().err
