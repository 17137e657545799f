"""The command line: what it takes, refuses and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncjit import demo, sync
from asyncjit.cli import main
from asyncjit.profiler import load, profile
from tests.support import optional

TINY = ["--steps", "3", "--batch", "2", "--hidden", "4", "--models", "2", "--rounds", "1"]


def test_the_demo_measures_all_forms_and_writes_a_trace_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optional("plotly")
    assert main(["demo", "--json", *TINY, "--output", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["size"] == {"steps": 3, "batch": 2, "hidden": 4, "models": 2}
    assert [form["form"] for form in result["forms"]] == list(demo.FORMS)
    assert all(form["is_identical"] for form in result["forms"])
    trace, report = map(Path, result["files"])
    assert [task.name for task in load(trace).tasks()].count("LSTM") == 2
    assert "The tutorial&#x27;s ensemble, everything forked" in report.read_text(encoding="utf-8")
    assert result["explanation"]
    assert set(result["explanation"][0]) == {"text", "share", "advice", "name"}


def test_the_table_tells_speed_ups_what_bounds_them_and_how_to_open_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *TINY, "--threads", "2", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "everything forked" in out
    assert "equal, bit for bit" in out
    assert "What bounds everything forked:" in out
    assert str(load(tmp_path / "parallel.json").explain()) in out
    assert "ui.perfetto.dev" in out


def test_without_plotly_the_demo_says_so_and_writes_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert main(["demo", "--json", *TINY, "--output", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "pip install 'asyncjit[report]'" in told.err
    assert json.loads(told.out)["files"] == [str(tmp_path / "parallel.json")]


# -- saved traces


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a saved trace of two forks."""
    path = tmp_path / "trace.json"
    with sync.Runtime(1), profile() as prof:
        sync.wait_all([sync.fork(sum, [1, 2]), sync.fork(max, [1, 2])])
    prof.export_chrome_trace(path)
    return path


def test_analyse_prints_what_a_saved_trace_says(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(trace)]) == 0
    out = capsys.readouterr().out
    assert out == load(trace).summary() + "\n"
    assert "on 1 lane: 2 forks" in out


@pytest.mark.parametrize("command", ["analyse", "view"])
def test_a_trace_that_is_none_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.json"
    with pytest.raises(SystemExit) as error:
        main([command, str(missing)])
    assert error.value.code == 2
    assert "missing.json" in capsys.readouterr().err


def test_analyse_refuses_a_file_of_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"traceEvents": []}')
    with pytest.raises(SystemExit):
        main(["analyse", str(foreign)])
    assert "foreign.json" in capsys.readouterr().err


def test_view_serves_the_trace_and_prints_where(
    trace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def serve(path: Path, *, ready: Callable[[str], object], **options: object) -> None:
        asked.update(options, path=path)
        ready("http://127.0.0.1:4321/")

    monkeypatch.setattr("asyncjit.cli.serve", serve)
    assert main(["view", str(trace), "--port", "4321", "--no-browser"]) == 0
    assert asked == {"path": trace, "port": 4321, "open_browser": False}
    assert "is shown at http://127.0.0.1:4321/ until Ctrl-C" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_refused(port: str, trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["view", str(trace), f"--port={port}"])
    assert f"must be 0 to 65535, got '{port}'" in capsys.readouterr().err


# -- what is refused


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_bad_number_is_refused_by_name(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", f"--models={value}"])
    assert f"argument --models: must be a positive integer, got '{value}'" in capsys.readouterr().err


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--output", str(tmp_path / "missing")])
    assert "must be an existing folder, got" in capsys.readouterr().err
