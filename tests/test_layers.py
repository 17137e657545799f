"""Imports point down: the package is held to the table of layers that the design page prints.

The table is the page's one fenced block with the info string ``layers``. A line is a layer, top first; a
name is a module relative to ``asyncjit`` (``_core.pool``; ``__init__`` is ``asyncjit`` itself; a package's
bare name is its ``__init__``), and ``nn.*`` is the package ``nn`` with all that is in it. A module may
import modules of lower lines, and those of its own ``.*`` entry; never its siblings. An entry for a module
beats a ``.*``. Imports for type checking count as well. An entry may name a module that is yet to come.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "asyncjit"
DESIGN = ROOT / "docs" / "explanation" / "design.md"
MAX_LINES = 400


class Place(NamedTuple):
    """Where a module stands: its line in the table, from 0 at the top, and the entry that names it."""

    line: int
    entry: str


class Import(NamedTuple):
    """One import of a module of the package."""

    target: str
    line: int
    is_in_function: bool


Table = dict[str, int]


def parse_table(page: str) -> Table:
    """Return the line of each entry of the page's table."""
    blocks = re.findall(r"^```layers\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        raise ValueError(f"the design page has {len(blocks)} blocks with the info string 'layers', not one")
    table: Table = {}
    layers = [layer.split() for layer in blocks[0].splitlines() if layer.strip()]
    for line, entries in enumerate(layers):
        for entry in entries:
            if not re.fullmatch(r"\w+(\.\w+)*(\.\*)?", entry):
                raise ValueError(f"{entry!r} in the table of layers is not a module")
            if entry in table:
                raise ValueError(f"{entry!r} stands twice in the table of layers")
            table[entry] = line
    return table


def find_place(table: Table, module: str) -> Place | None:
    """Return the place of the most precise entry that names the module, if any does."""
    parts = module.split(".")
    packages = [".".join([*parts[:depth], "*"]) for depth in range(len(parts), 0, -1)]
    for entry in [module, *packages]:
        if entry in table:
            return Place(table[entry], entry)
    return None


def find_modules(package: Path) -> dict[str, Path]:
    """Return every module of the package by its name in the table."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        modules[".".join(parts)] = path
    return modules


def find_imports(path: Path, modules: dict[str, Path], package: Path) -> Iterator[Import]:
    """Yield what a file imports from the package, relative imports and those inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nested = {id(inner) for node in ast.walk(tree) if isinstance(node, functions) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        for name in imported_names(node, path, package):
            target = resolve(name, modules, package.name)
            if target is not None:
                yield Import(target, node.lineno, id(node) in nested)  # type: ignore[attr-defined]


def imported_names(node: ast.AST, path: Path, package: Path) -> list[str]:
    """Return the dotted names that a statement imports, as absolute names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            folders = [package.name, *path.relative_to(package).parent.parts]
            base = ".".join([*folders[: len(folders) - node.level + 1], *filter(None, [node.module])])
        return [f"{base}.{alias.name}" for alias in node.names]
    return []


def resolve(name: str, modules: dict[str, Path], package_name: str) -> str | None:
    """Return the module of the package that a dotted name lives in, or None for other packages' names."""
    root, *parts = name.split(".")
    if root != package_name:
        return None
    while parts and ".".join(parts) not in modules:
        parts.pop()
    return ".".join(parts) or "__init__"


def find_offences(package: Path, table: Table) -> list[str]:
    """Return a line of text for everything in the package that breaks the table or a file's length."""
    modules = find_modules(package)
    offences = []
    for module, path in modules.items():
        where = path.relative_to(package.parent)
        num_lines = path.read_text(encoding="utf-8").count("\n")
        if num_lines > MAX_LINES:
            offences.append(f"{where} has {num_lines} lines, more than {MAX_LINES}: split it")
        place = find_place(table, module)
        if place is None:
            offences.append(f"{where}: {module!r} does not stand in the table of layers")
            continue
        for found in find_imports(path, modules, package):
            offences += [f"{where}:{found.line} {text}" for text in judge(module, place, found, table)]
    return offences


def judge(module: str, place: Place, found: Import, table: Table) -> Iterator[str]:
    """Yield what is wrong with one import."""
    if found.is_in_function:
        yield f"imports {found.target!r} inside a function: an import of ours stands at the top of its file"
    target = find_place(table, found.target)
    if target is None or found.target == module or target.line > place.line:
        return  # a target that has no place is an offence of its own
    if target.line < place.line:
        yield f"imports {found.target!r}, which is in a higher layer"
    elif target.entry != place.entry:
        yield f"imports {found.target!r}, its sibling in the layer"


def test_the_package_keeps_to_the_layers_of_the_design_page() -> None:
    offences = find_offences(PACKAGE, parse_table(DESIGN.read_text(encoding="utf-8")))
    assert not offences, "\n".join(["", *offences])


# The rest tests the judge itself, on a package made of strings.

TABLE = parse_table("# Layers\n\n```layers\n__init__  sync\nnn.*  graph.*\n_core.pool  _core\nerrors\n```\n")


def offences_of(tmp_path: Path, **sources: str) -> list[str]:
    """Write a package whose modules are named ``a__b`` for ``a.b``, and judge it by TABLE."""
    package = tmp_path / "asyncjit"
    for name in ["nn", "graph", "_core"]:
        (package / name).mkdir(parents=True)
    files = dict.fromkeys(["__init__.py", "errors.py", "_core/__init__.py", "_core/pool.py", "graph/ir.py"], "")
    files |= {"nn/__init__.py": "", "nn/lstm.py": ""}
    files |= {name.replace("__", "/") + ".py": source for name, source in sources.items()}
    for name, source in files.items():
        (package / name).write_text(source, encoding="utf-8")
    return find_offences(package, TABLE)


@pytest.mark.parametrize(
    "source",
    [
        "import asyncjit.errors",
        "import asyncjit._core.pool as pool, numpy",
        "from asyncjit import errors",
        "from asyncjit.errors import Overloaded",
        "from .. import errors",
        "from ..errors import Overloaded",
        "from . import lstm",
        "from asyncjit.nn import LSTM, lstm",
        "def f():\n    import numpy",
    ],
)
def test_imports_of_lower_layers_and_of_ones_own_package_are_fine(tmp_path: Path, source: str) -> None:
    assert offences_of(tmp_path, nn__linear=source) == []


@pytest.mark.parametrize(
    ("source", "offence"),
    [
        ("import asyncjit.nn.lstm", "imports 'nn.lstm', which is in a higher layer"),
        ("from asyncjit import nn", "imports 'nn', which is in a higher layer"),
        ("from ..nn.lstm import LSTM", "imports 'nn.lstm', which is in a higher layer"),
        ("from asyncjit import fork", "imports '__init__', which is in a higher layer"),
        ("import asyncjit", "imports '__init__', which is in a higher layer"),
        ("if TYPE_CHECKING:\n    from asyncjit.nn import LSTM", "imports 'nn', which is in a higher layer"),
        ("from asyncjit import _core", "imports '_core', its sibling in the layer"),
        ("def f():\n    from asyncjit.errors import Overloaded", "imports 'errors' inside a function"),
        (
            "class C:\n    async def f(self):\n        from .. import errors",
            "imports 'errors' inside a function",
        ),
    ],
)
def test_imports_that_point_up_or_sideways_or_hide_are_found(tmp_path: Path, source: str, offence: str) -> None:
    (found,) = offences_of(tmp_path, _core__pool=source)
    assert found.startswith(f"asyncjit/_core/pool.py:{source.count(chr(10)) + 1} {offence}")


def test_packages_of_one_layer_are_siblings(tmp_path: Path) -> None:
    (found,) = offences_of(tmp_path, nn__linear="import asyncjit.graph.ir")
    assert found.endswith("imports 'graph.ir', its sibling in the layer")


def test_a_module_without_a_place_is_found(tmp_path: Path) -> None:
    assert offences_of(tmp_path, stray="") == ["asyncjit/stray.py: 'stray' does not stand in the table of layers"]


def test_a_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    assert offences_of(tmp_path, nn__linear="\n" * MAX_LINES) == []
    (found,) = offences_of(tmp_path / "longer", nn__linear="\n" * (MAX_LINES + 1))
    assert found == "asyncjit/nn/linear.py has 401 lines, more than 400: split it"


def test_an_entry_for_a_module_beats_its_packages() -> None:
    table = parse_table("```layers\n_core.runtime\n_core.*\n```\n")
    assert find_place(table, "_core.runtime") == Place(0, "_core.runtime")
    assert find_place(table, "_core.pool") == find_place(table, "_core") == Place(1, "_core.*")
    assert find_place(table, "_corelike") is None


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("# no table", "0 blocks with the info string 'layers'"),
        ("```layers\nsync\n```\n\n```layers\ncli\n```\n", "2 blocks with the info string 'layers'"),
        ("```layers\nsync\ncli sync\n```\n", "'sync' stands twice"),
        ("```layers\nnn/ > errors\n```\n", "'nn/' in the table of layers is not a module"),
    ],
)
def test_a_broken_table_is_refused(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_table(page)
