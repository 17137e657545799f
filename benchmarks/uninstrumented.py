"""A copy of asyncjit without the hooks that a profiler uses: what "off" costs is seen against it.

The hooks can't be switched out, being checks in the very code they watch. So the package's sources are read, whatever
depends on `instruments` is taken out as if there never were any, and the result is imported under another name, in
the same interpreter, beside the original.
"""

import ast
import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import asyncjit

NAME = "asyncjit_uninstrumented"
HOOK = "instruments"


def load() -> ModuleType:
    """Import the copy's `sync` door."""
    source = Path(asyncjit.__file__).parent
    num_removed = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in source.rglob("*.py"):
            remover = _Remover()
            tree = ast.fix_missing_locations(remover.visit(ast.parse(path.read_text(encoding="utf-8"))))
            copy = Path(folder) / NAME / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(ast.unparse(tree), encoding="utf-8")
            num_removed += remover.num_removed
        if num_removed < 5:  # the fork's own, the strand's two, the wait's two
            raise RuntimeError(f"only {num_removed} hooks were found in {source}: {HOOK!r} is no more their name")
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"{NAME}.sync")
        finally:
            sys.path.remove(folder)


class _Remover(ast.NodeTransformer):
    """Takes out what runs only where `instruments` is not empty, and renames the package."""

    def __init__(self) -> None:
        self.num_removed = 0

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            alias.name = _renamed(alias.name)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        node.module = _renamed(node.module or "")
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if not _is_false(node.test):
            return node
        self.num_removed += 1
        return node.orelse or ast.Pass()

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return node.orelse if _is_false(node.test) else node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        if not _is_false(node.iter):
            return node
        self.num_removed += 1
        return ast.Pass()

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return ast.Pass() if all(_is_hook(target) for target in node.targets) else self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return ast.Constant(True) if isinstance(node.op, ast.Not) and _is_false(node.operand) else node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Or):
            node.values = [value for value in node.values if not _is_false(value)]
            return node if len(node.values) > 1 else (node.values or [ast.Constant(False)])[0]
        if any(_is_false(value) for value in node.values):
            return ast.Constant(False)
        node.values = [v for v in node.values if not (isinstance(v, ast.Constant) and v.value is True)]
        return node if len(node.values) > 1 else (node.values or [ast.Constant(True)])[0]


def _renamed(module: str) -> str:
    package, dot, rest = module.partition(".")
    return NAME + dot + rest if package == "asyncjit" else module


def _is_hook(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == HOOK) or (isinstance(node, ast.Name) and node.id == HOOK)


def _is_false(node: ast.expr) -> bool:
    return _is_hook(node) or (isinstance(node, ast.Constant) and node.value is False)
