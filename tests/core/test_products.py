"""Which form products have: told by the BLAS that NumPy calls, the setting and the environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import asyncjit
from asyncjit import nn
from asyncjit._core import products
from asyncjit._core.blas import Library
from asyncjit._core.products import describe_products, has_small_kernel, knows_small, numpy_blas, packs
from tests.core.libraries import NUMPYS

SCIPYS = replace(
    NUMPYS, filepath="/opt/lib/python/site-packages/scipy.libs/libscipy_openblas-68440149.so", version="0.3.29"
)
SYSTEMS = replace(
    NUMPYS, filepath="/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblasp-r0.3.20.so", version="0.3.20"
)
OPENMP = replace(NUMPYS, user_api="openmp", internal_api="openmp", filepath="/opt/numpy.libs/libgomp.so.1")
OTHER = replace(NUMPYS, architecture="Haswell")


class Found:
    """Stands in for the libraries of the process."""

    def __init__(self, *libraries: Library) -> None:
        self._libraries = list(libraries)

    def libraries(self) -> list[Library]:
        return self._libraries


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no form chosen, neither by a call nor by the environment, and nothing found yet."""
    monkeypatch.setattr(products._Setting, "form", None)
    monkeypatch.delenv("ASYNCJIT_PRODUCT_FORM", raising=False)
    has_small_kernel.cache_clear()
    yield
    has_small_kernel.cache_clear()


def find(monkeypatch: pytest.MonkeyPatch, *libraries: Library) -> None:
    monkeypatch.setattr(products, "blas", Found(*libraries))


# -- which BLAS has the kernel


@pytest.mark.parametrize("architecture", ["SkylakeX", "Cooperlake", "SapphireRapids"])
def test_an_openblas_for_avx_512_has_it(architecture: str) -> None:
    assert knows_small(replace(NUMPYS, architecture=architecture))


@pytest.mark.parametrize("architecture", ["Haswell", "Zen", "Nehalem", "neoversev1", "Prescott", "skylakex", "", None])
def test_an_openblas_for_another_cpu_has_none(architecture: str | None) -> None:
    assert not knows_small(replace(NUMPYS, architecture=architecture))


@pytest.mark.parametrize("internal_api", ["mkl", "blis", "flexiblas", "accelerate"])
def test_another_blas_has_none(internal_api: str) -> None:
    assert not knows_small(replace(NUMPYS, internal_api=internal_api))


@pytest.mark.parametrize("version", ["0.3.17", "0.3.31", "0.3.33.112", "0.4", "0.4.0", "1.0.0", "0.10.0"])
def test_it_is_there_from_0_3_17_on(version: str) -> None:
    assert knows_small(replace(NUMPYS, version=version))


@pytest.mark.parametrize(
    "version", ["0.3.16", "0.3.9", "0.2.20", "0.3", "0", "", None, "0.3.x", "0.3.20dev", "unknown"]
)
def test_a_version_before_it_or_that_cannot_be_read_has_none(version: str | None) -> None:
    assert not knows_small(replace(NUMPYS, version=version))


# -- which BLAS NumPy calls


@pytest.mark.parametrize(
    ("libraries", "expected"),
    [
        ([], None),
        ([OPENMP], None),
        ([NUMPYS], NUMPYS),
        ([SYSTEMS], SYSTEMS),
        ([OPENMP, SYSTEMS], SYSTEMS),
        ([SCIPYS, NUMPYS], NUMPYS),
        ([NUMPYS, SYSTEMS, SCIPYS, OPENMP], NUMPYS),
        ([SCIPYS, SYSTEMS], None),
        ([NUMPYS, replace(NUMPYS, filepath="/other/numpy.libs/libopenblas.so")], None),
    ],
)
def test_numpys_blas_is_the_one_beside_numpy_or_the_only_one(
    libraries: list[Library], expected: Library | None
) -> None:
    assert numpy_blas(libraries) is expected


@pytest.mark.parametrize(
    "filepath",
    [
        "/opt/site-packages/numpy/.dylibs/libscipy_openblas64_.dylib",
        "/opt/site-packages/numpy.libs/libscipy_openblas64_-56d6093b.so",
        "/opt/site-packages/numpy/core/libopenblas.so",
    ],
)
def test_a_blas_that_came_with_numpy_lies_in_a_folder_of_its(filepath: str) -> None:
    own = replace(NUMPYS, filepath=filepath)
    assert numpy_blas([SYSTEMS, own]) is own


def test_a_folder_farther_up_that_is_called_numpy_says_nothing() -> None:
    far = replace(NUMPYS, filepath="/home/numpy/lib/x86_64/libs/libopenblas.so")
    assert numpy_blas([far, SYSTEMS]) is None


# -- the rule


@pytest.mark.parametrize(
    ("libraries", "is_packed"),
    [([NUMPYS], True), ([SCIPYS, NUMPYS], True), ([OTHER], False), ([], False), ([SCIPYS, SYSTEMS], False)],
)
def test_by_itself_weights_are_packed_where_the_kernel_is_known_to_be(
    monkeypatch: pytest.MonkeyPatch, libraries: list[Library], is_packed: bool
) -> None:
    find(monkeypatch, *libraries)
    assert packs() is is_packed


def test_what_was_found_stays_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, NUMPYS)
    assert packs()
    find(monkeypatch, OTHER)
    assert packs()


@pytest.mark.parametrize("library", [NUMPYS, OTHER])
def test_a_form_that_is_chosen_is_used_whatever_the_blas(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    find(monkeypatch, library)
    nn.set_product_form("packed")
    assert packs()
    nn.set_product_form("plain")
    assert not packs()
    nn.set_product_form("auto")
    assert packs() is (library is NUMPYS)


# -- the setting


def test_by_default_the_form_is_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nn.get_product_form() == "auto"
    monkeypatch.setattr(products._Setting, "form", None)
    monkeypatch.setenv("ASYNCJIT_PRODUCT_FORM", "")
    assert nn.get_product_form() == "auto"


@pytest.mark.parametrize("form", ["packed", "plain", "auto"])
def test_the_environment_chooses_a_form_and_a_call_another(monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    monkeypatch.setenv("ASYNCJIT_PRODUCT_FORM", form)
    assert nn.get_product_form() == form
    nn.set_product_form("plain")
    assert nn.get_product_form() == "plain"


def test_a_call_before_the_first_look_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCJIT_PRODUCT_FORM", "no such")
    nn.set_product_form("packed")
    assert nn.get_product_form() == "packed"


@pytest.mark.parametrize("form", ["no such", "PACKED", ""])
def test_a_form_that_does_not_exist_is_refused_and_the_one_before_stays(form: Any) -> None:
    nn.set_product_form("packed")
    with pytest.raises(ValueError, match=f"form should be 'auto', 'packed' or 'plain', not '{form}'"):
        nn.set_product_form(form)
    assert nn.get_product_form() == "packed"


def test_a_form_in_the_environment_that_does_not_exist_is_refused_at_every_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASYNCJIT_PRODUCT_FORM", "fast")
    for look in (nn.get_product_form, packs, nn.get_product_form):
        with pytest.raises(ValueError, match="ASYNCJIT_PRODUCT_FORM should be 'auto', 'packed' or 'plain', not 'fast'"):
            look()


# -- what people are told


PANELS, PLAIN = "panels where they win, by shape", "plain products"


@pytest.mark.parametrize(
    ("library", "form", "rule", "found"),
    [
        (NUMPYS, "auto", PANELS, "openblas 0.3.31 SkylakeX, which has a"),
        (OTHER, "auto", PLAIN, "openblas 0.3.31 Haswell, which has no known"),
        (NUMPYS, "plain", PLAIN, "openblas 0.3.31 SkylakeX, which has a"),
        (None, "packed", PANELS, "an unknown BLAS, which has no known"),
    ],
)
def test_the_form_and_the_blas_that_decided_are_told(
    monkeypatch: pytest.MonkeyPatch, library: Library | None, form: Any, rule: str, found: str
) -> None:
    find(monkeypatch, *([] if library is None else [library]))
    nn.set_product_form(form)
    assert describe_products() == f"{rule} (form {form!r}; NumPy calls {found} kernel for small matrices)"


def test_parallel_info_tells_it() -> None:
    assert f"products of asyncjit.nn : {describe_products()}\n" in asyncjit.parallel_info()
