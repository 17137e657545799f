"""Modules written to files of their own: for source that no file here should have."""

from __future__ import annotations

import importlib.util
import itertools
import textwrap
from pathlib import Path
from typing import Any

numbers = itertools.count()


def imported(source: str, folder: Path) -> Any:
    """Write a module into `folder` and import it, under a name that no other has."""
    name = f"imported_{next(numbers)}"
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line_of(module: Any, mark: str = "# here") -> int:
    """Return the number of the one line of a module's file that has the mark."""
    lines = Path(module.__file__).read_text(encoding="utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if mark in line]
    return number
