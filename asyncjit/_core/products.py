"""Which matrix products NumPy's BLAS is good at, found once per process by its name and architecture.

OpenBLAS has, for CPUs with AVX-512, a kernel for small matrices that skips its packing while rows · columns · depth is
at most 10⁶. Weights cut into panels stay on that path (`nn.packing`) and run several times as fast at small batches. On
other builds panels lose everywhere, so there the plain product serves. The choice is a rule, never a timing, because
forms differ in the last bits, and the same program shall give the same bits after a restart.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import PurePath
from typing import Literal

from asyncjit._core.blas import Library, blas

Form = Literal["auto", "packed", "plain"]

SMALL_LIMIT = (
    10**6
)  # of rows · columns · depth; specified by OpenBLAS, kernel/x86_64/*gemm_small_kernel_permit_skylakex.c

_ARCHITECTURES = ("SkylakeX", "Cooperlake", "SapphireRapids")  # whose kernels have that file
_FIRST_VERSION = (0, 3, 17)


class _Setting:
    """The form in force for the process: that of the environment, or the one set last."""

    form: Form | None = None


def set_product_form(form: Form) -> None:
    """Choose the form of the weights in the products of `asyncjit.nn`, for the whole process.

    Bits may differ between the forms. What runs at this moment goes on in the form that it began with.

    Parameters
    ----------
    form : {"auto", "packed", "plain"}
        By the rule for the BLAS found; or panels, or none, for every product. The environment variable
        ASYNCJIT_PRODUCT_FORM sets it from outside.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    _Setting.form = _checked(form, "form")


def get_product_form() -> Form:
    """Return the form that was chosen; "auto" if none was.

    Raises
    ------
    ValueError
        If ASYNCJIT_PRODUCT_FORM has another value.
    """
    if _Setting.form is None:
        _Setting.form = _checked(os.environ.get("ASYNCJIT_PRODUCT_FORM") or "auto", "ASYNCJIT_PRODUCT_FORM")
    return _Setting.form


def _checked(form: str, name: str) -> Form:
    if form not in ("auto", "packed", "plain"):
        raise ValueError(f"{name} should be 'auto', 'packed' or 'plain', not {form!r}")
    return form  # type: ignore[return-value]


def packs() -> bool:
    """Whether products are made with panels where the rule says that they win."""
    form = get_product_form()
    return has_small_kernel() if form == "auto" else form == "packed"


@cache
def has_small_kernel() -> bool:
    """Whether NumPy's BLAS has the kernel for small matrices."""
    library = numpy_blas(blas.libraries())
    return library is not None and knows_small(library)


def numpy_blas(libraries: list[Library]) -> Library | None:
    """Return the BLAS that NumPy calls, as far as its file tells; None if that can't be said."""
    found = [library for library in libraries if library.user_api == "blas"]
    own = [
        library for library in found if any(part.startswith("numpy") for part in PurePath(library.filepath).parts[-3:])
    ]
    candidates = own or found
    return candidates[0] if len(candidates) == 1 else None


def knows_small(library: Library) -> bool:
    """Whether a BLAS is an OpenBLAS whose kernels for this CPU include the one for small matrices."""
    if library.internal_api != "openblas" or library.architecture not in _ARCHITECTURES:
        return False
    parts = (library.version or "").split(".")[:3]
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) >= _FIRST_VERSION


def describe_products() -> str:
    """Say in a line which form serves and why, for `parallel_info`."""
    library = numpy_blas(blas.libraries())
    name = "an unknown BLAS" if library is None else f"{library.internal_api} {library.version} {library.architecture}"
    kernel = "has a" if has_small_kernel() else "has no known"
    rule = "panels where they win, by shape" if packs() else "plain products"
    return f"{rule} (form {get_product_form()!r}; NumPy calls {name}, which {kernel} kernel for small matrices)"
