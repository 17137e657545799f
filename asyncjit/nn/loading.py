"""How a state dict's values get into a module's arrays: everything is checked and converted, then copied.

Nothing can fail between the first copy and the last, so a state dict with any fault in it changes nothing.

An array of a plain module is written to, and keeps its identity. The parameters of layers are read-only (`layer`), and
replaced; one that several modules of the tree share is replaced in all of them by the same array.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` found to differ between a module's names and a state dict's."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Place(NamedTuple):
    """Where an array stands: an attribute of a module, which replaces its parameters or writes to them."""

    module: Any
    attribute: str
    array: NDArray[Any]

    @property
    def is_replaced(self) -> bool:
        """Whether a new value is set instead of written into the array."""
        return self.module._replaces_parameters and not self.array.flags.writeable


class _MisfitError(Exception):
    """A value does not go into the array it is meant for; the message says why."""


def load_arrays(owner: str, own: Mapping[str, Place], given: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Copy `given` into the arrays at the places `own` of the same names; RuntimeError lists every fault found."""
    if not isinstance(given, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(given).__name__}")
    keys = IncompatibleKeys(
        missing_keys=[name for name in own if name not in given],
        unexpected_keys=[name for name in given if name not in own],
    )
    faults = _key_faults(keys) if strict else []
    fitted: list[tuple[Place, NDArray[Any]]] = []
    for name, place in own.items():
        if name in given:
            try:
                fitted.append((place, _fit(name, given[name], place)))
            except _MisfitError as error:
                faults.append(str(error))
    if faults:
        raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {owner}:", *faults]))
    _fill(fitted)
    return keys


def _fill(fitted: list[tuple[Place, NDArray[Any]]]) -> None:
    latest = {id(place.array): values for place, values in fitted}  # of several names for one array the last counts
    replacements: dict[int, NDArray[Any]] = {}
    for place, values in fitted:
        if not place.is_replaced:
            place.array[...] = values
            continue
        key = id(place.array)
        setattr(place.module, place.attribute, replacements.get(key, latest[key]))
        replacements[key] = getattr(place.module, place.attribute)


def _key_faults(keys: IncompatibleKeys) -> list[str]:
    texts = {"Missing": keys.missing_keys, "Unexpected": keys.unexpected_keys}
    return [
        f"{what} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in names) + "."
        for what, names in texts.items()
        if names
    ]


def _fit(name: str, value: Any, place: Place) -> NDArray[Any]:
    """Return `value` as an array of the dtype and shape that the place has, or raise _MisfitError."""
    target = place.array
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
    if not target.flags.writeable and not place.is_replaced:
        raise _MisfitError(f"{name} is read-only in the module: set the attribute to a copy first.")
    return array.astype(target.dtype, copy=False)
