"""State dicts: what is in them, and how their values get into a module's arrays."""

import copy
import re
from typing import Any

import numpy as np
import pytest

from asyncjit import nn
from tests.nn.trees import Leaf, Tree


def test_a_state_dict_has_every_name_and_the_modules_own_arrays() -> None:
    tree = Tree()
    state = tree.state_dict()
    leaf = ["weight", "bias", "steps"]
    names = ["scale", *(f"{prefix}.{name}" for prefix in ("first", "again", "other.0") for name in leaf)]
    assert list(state) == names
    assert state["first.weight"] is state["again.weight"] is tree.first.weight


def test_loading_copies_values_and_keeps_dtype_and_identity() -> None:
    leaf = Leaf()
    weight, source = leaf.weight, np.array([[5.0, 6.0]])
    keys = leaf.load_state_dict({"weight": source, "bias": [4], "steps": np.array([9], np.int32)})
    source[:] = 0
    assert keys == nn.IncompatibleKeys([], [])
    assert leaf.weight is weight
    assert [array.dtype.name for array in leaf.state_dict().values()] == ["float32", "float64", "int64"]
    assert weight.tolist() == [[5, 6]]
    assert leaf.bias.tolist() == [4]
    assert leaf.state_dict()["steps"].tolist() == [9]


def test_a_tree_goes_through_a_state_dict_and_back() -> None:
    source, target = Tree(), Tree()
    for number, array in enumerate(source.parameters()):
        array += number
    target.load_state_dict(source.state_dict())
    for name, array in target.state_dict().items():
        np.testing.assert_array_equal(array, source.state_dict()[name])
    assert target.first is target.again
    source.load_state_dict(source.state_dict())


def test_every_fault_of_a_state_dict_is_listed_at_once_and_nothing_changes() -> None:
    module = nn.ModuleDict({"a": Leaf(), "b": Leaf()})
    before = copy.deepcopy(module.state_dict())
    state: dict[str, Any] = {
        "a.weight": np.array([[8.0, 8.0]]),
        "a.bias": np.zeros((2, 1)),
        "a.steps": np.array([0.5]),
        "b.weight": [[1.0], [2.0, 3.0]],
        "b.steps": np.array([1]),
        "b.extra": np.zeros(1),
        "more": np.zeros(1),
    }
    expected = (
        "Error(s) in loading state_dict for ModuleDict:\n"
        '\tMissing key(s) in state_dict: "b.bias".\n'
        '\tUnexpected key(s) in state_dict: "b.extra", "more".\n'
        "\tsize mismatch for a.bias: the state dict has shape (2, 1), the module has shape (1,).\n"
        "\tdtype mismatch for a.steps: the state dict has float64, the module has int64.\n"
        "\tb.weight is no array: setting an array element with a sequence."
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(expected)}"):
        module.load_state_dict(state)
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_an_array_that_is_read_only_is_a_fault() -> None:
    leaf = Leaf()
    leaf.bias.flags.writeable = False
    with pytest.raises(RuntimeError, match="bias is read-only in the module"):
        leaf.load_state_dict({name: array + 1 for name, array in leaf.state_dict().items()})
    assert leaf.weight.tolist() == [[1, 2]]


def test_a_value_that_overflows_the_modules_dtype_changes_nothing() -> None:
    leaf = Leaf()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        leaf.load_state_dict({"weight": [[0.0, 1e300]], "bias": [0.0], "steps": [1]})
    assert leaf.weight.tolist() == [[1, 2]]
    assert leaf.bias.tolist() == [3]


def test_not_strict_loading_takes_what_fits_by_name_and_tells_the_rest() -> None:
    leaf = Leaf()
    keys = leaf.load_state_dict({"weight": [[0, 0]], "extra": 1}, strict=False)
    assert keys.missing_keys == ["bias", "steps"]
    assert keys.unexpected_keys == ["extra"]
    assert leaf.weight.tolist() == [[0, 0]]
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        leaf.load_state_dict({"weight": [0]}, strict=False)


def test_a_state_dict_has_to_be_a_mapping() -> None:
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got list"):
        Leaf().load_state_dict([])  # type: ignore[arg-type]
