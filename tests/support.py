"""What tests share beside fixtures.

Parts that may be missing on a developer's machine are asked for here, so that CI (which sets ``ASYNCJIT_CI``)
cannot lose a test to a silent skip.
"""

import importlib
import os
import shutil
from types import ModuleType
from typing import cast

import pytest


def optional(module_name: str) -> ModuleType:
    """Import a module; where it is missing, skip the test, or fail it in CI."""
    if is_ci():
        return importlib.import_module(module_name)
    return cast("ModuleType", pytest.importorskip(module_name))


def optional_command(name: str) -> str:
    """Return a command's path; where it is missing, skip the test, or fail it in CI."""
    path = shutil.which(name)
    if path is None:
        reason = f"the command {name!r} is not on PATH"
        if is_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def is_ci() -> bool:
    """Say whether everything a test may want has to be there."""
    return bool(os.environ.get("ASYNCJIT_CI"))
