"""`check_traced`: whether a graph gives what its function gives, on the example and on other values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit._core.blocking import call
from asyncjit._core.future import Future
from asyncjit.errors import TraceError
from asyncjit.graph.dummies import is_array
from asyncjit.graph.ir import Place
from asyncjit.graph.trees import map_tree

SEED = 0  # chosen: any, so that a check is the same each time
NUM_PERTURBED = 1  # chosen: what values decide mostly shows in the first

_WHY = (
    "The function depends on values, has side effects, or draws random numbers, which the graph does not show. Let it "
    "depend on its arguments alone, and use np.where for choices; check_trace=False leaves this check out"
)


def check_traced(
    fn: Callable[..., Any], traced: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], place: Place
) -> None:
    """Compare `fn` and `traced` on copies of the arguments, and on perturbed ones.

    Raises
    ------
    TraceError
        If the results differ; tells where, and how much.
    """
    expected = _run(fn, copy.deepcopy((args, kwargs)))
    _compare(expected, _run(traced, copy.deepcopy((args, kwargs))), f"{place}: on the example inputs")
    random = np.random.default_rng(SEED)
    for _ in range(NUM_PERTURBED):
        others = map_tree(
            lambda leaf: perturbed(leaf, random) if is_array(leaf) else copy.deepcopy(leaf), (args, kwargs)
        )
        try:
            expected = _run(fn, copy.deepcopy(others))
        except Exception:  # values that the function refuses prove nothing
            continue
        _compare(expected, _run(traced, others), f"{place}: on other values than the example's")


def _run(fn: Callable[..., Any], arguments: tuple[Any, Any]) -> Any:
    args, kwargs = arguments
    result = call(fn, *args, **kwargs)  # as a fork: before the first one BLAS may use threads, and gives other bits
    return _settled(result)


def _settled(tree: Any) -> Any:
    """Return a structure with what its futures give in their places, and what the futures in that give."""
    return map_tree(lambda leaf: _settled(leaf.result()) if isinstance(leaf, Future) else leaf, tree)


def perturbed(array: Any, random: np.random.Generator) -> Any:
    """Return an array, or NumPy scalar, of the same dtype and shape with other values.

    Floating-point values get noise of their usual size; all others are drawn from the values that are there, so
    that indices stay indices.
    """
    values = np.asarray(array)
    if values.size == 0:
        return array
    if values.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            usual = float(np.median(np.abs(values)))
            noise = random.standard_normal(values.shape) * (usual if 0 < usual < np.inf else 1.0)
            other = (values + noise).astype(values.dtype)
    else:
        other = random.choice(values.reshape(-1), values.shape)
    other = np.asarray(other, values.dtype)
    return other[()] if isinstance(array, np.generic) else other


def _compare(expected: Any, found: Any, where: str) -> None:
    for path, one, other in _pairs(expected, found, "the result"):
        difference = _difference(one, other)
        if difference:
            raise TraceError(f"{where}, the graph and the function differ in {path}: {difference}. {_WHY}")


def _pairs(expected: Any, found: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of both structures by their paths; where the structures differ, what is there."""
    if isinstance(expected, (tuple, list)) and type(found) is type(expected) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _pairs(one, other, f"{path}[{index}]")
    elif isinstance(expected, dict) and type(found) is type(expected) and found.keys() == expected.keys():
        for key, one in expected.items():
            yield from _pairs(one, found[key], f"{path}[{key!r}]")
    else:
        yield path, expected, found


def _difference(expected: Any, found: Any) -> str:
    if not is_array(expected) or not is_array(found):
        if type(expected) is type(found) and not is_array(expected) and (expected is found or expected == found):
            return ""
        return f"the function gives {_show(expected)}, the graph {_show(found)}"
    one, other = np.asarray(expected), np.asarray(found)
    if one.dtype != other.dtype or one.shape != other.shape:
        return f"the function gives {_show(one)}, the graph {_show(other)}"
    differs = _bits_differ(one, other)
    if not differs.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(differs)[0]) if one.ndim else ()
    text = f"{int(differs.sum())} of {one.size} elements differ, first at {index}: {one[index]!r} and {other[index]!r}"
    if one.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            text += f", the largest difference being {np.nanmax(np.abs(one - other)):.3g}"
    return text


def _bits_differ(one: NDArray[Any], other: NDArray[Any]) -> Any:
    if one.dtype.kind == "c":
        return _bits_differ(one.real, other.real) | _bits_differ(one.imag, other.imag)
    if one.dtype.kind != "f":
        return np.asarray(one != other)
    is_same = (one == other) & (np.signbit(one) == np.signbit(other))
    return np.asarray(~(is_same | (np.isnan(one) & np.isnan(other))))


def _show(value: Any) -> str:
    if is_array(value):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"{value!r} of type {type(value).__name__}"
