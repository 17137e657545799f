"""Where the user's own code stands, and the errors that name it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np

from asyncjit._core.context import current_handler
from asyncjit.errors import TraceError
from asyncjit.graph.ir import Place

_PACKAGE = Path(__file__).parents[1]
# Code that stands between the user's and the tracer: the runtime's, the layers', NumPy's. Not the package's examples.
_BETWEEN = (
    *(str(_PACKAGE / name) for name in ("graph", "_core", "nn", "scripting")),
    str(Path(np.__file__).parent),
    "<",
)


def place_of(frame: FrameType) -> Place:
    """Return where the user's own code stands that led to `frame`, or to the outermost frame if none did."""
    while frame.f_code.co_filename.startswith(_BETWEEN) and frame.f_back is not None:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def user_place() -> Place:
    """Return where the calling user's code stands."""
    return place_of(sys._getframe(1))


def refuse(what: str, way_out: str) -> NoReturn:
    """Raise TraceError for something that cannot be traced: where, what, and what to write instead.

    The trace is told, for the code may catch the error and go on with what it must not.
    """
    error = TraceError(f"{user_place()}: {what}: {way_out}")
    told = getattr(current_handler(), "refusals", None)
    if told is not None:
        told.append(error)
    raise error
