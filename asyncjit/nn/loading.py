"""How a state dict's values get into a module's arrays: everything is checked and converted, then copied.

Nothing can fail between the first copy and the last, so a state dict with any fault in it changes nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` found to differ between a module's names and a state dict's."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class _MisfitError(Exception):
    """A value does not go into the array it is meant for; the message says why."""


def load_arrays(
    owner: str, own: Mapping[str, NDArray[Any]], given: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy `given` into the arrays `own` of the same names; RuntimeError lists every fault found."""
    if not isinstance(given, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(given).__name__}")
    keys = IncompatibleKeys(
        missing_keys=[name for name in own if name not in given],
        unexpected_keys=[name for name in given if name not in own],
    )
    faults = _key_faults(keys) if strict else []
    fitted: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for name, target in own.items():
        if name in given:
            try:
                fitted.append((target, _fit(name, given[name], target)))
            except _MisfitError as error:
                faults.append(str(error))
    if faults:
        raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {owner}:", *faults]))
    for target, values in fitted:
        target[...] = values
    return keys


def _key_faults(keys: IncompatibleKeys) -> list[str]:
    texts = {"Missing": keys.missing_keys, "Unexpected": keys.unexpected_keys}
    return [
        f"{what} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in names) + "."
        for what, names in texts.items()
        if names
    ]


def _fit(name: str, value: Any, target: NDArray[Any]) -> NDArray[Any]:
    """Return `value` as an array of the target's dtype and shape, or raise _MisfitError."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise _MisfitError(f"{name} is no array: {error}") from error
    if array.shape != target.shape:
        raise _MisfitError(
            f"size mismatch for {name}: the state dict has shape {array.shape}, the module has shape {target.shape}."
        )
    if not np.can_cast(array.dtype, target.dtype, "same_kind"):
        raise _MisfitError(
            f"dtype mismatch for {name}: the state dict has {array.dtype}, the module has {target.dtype}."
        )
    if not target.flags.writeable:
        raise _MisfitError(f"{name} is read-only in the module: set the attribute to a copy first.")
    return array.astype(target.dtype, copy=False)
