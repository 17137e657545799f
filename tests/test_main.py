"""`python -m asyncjit` is the command line."""

import runpy
import subprocess
import sys

import pytest

import asyncjit


def test_the_package_runs_as_a_program_with_the_commands_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["asyncjit", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("asyncjit", run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out == f"asyncjit {asyncjit.__version__}\n"


@pytest.mark.parametrize("code", [0, 1])
def test_what_the_command_line_returns_is_the_exit_code(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncjit.cli.main", lambda: code)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("asyncjit", run_name="__main__")
    assert left.value.code == code


def test_a_missing_command_is_refused_in_a_process_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-m", "asyncjit"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: asyncjit ")


def test_to_import_it_runs_nothing() -> None:
    assert runpy.run_module("asyncjit.__main__", run_name="imported")["__name__"] == "imported"
