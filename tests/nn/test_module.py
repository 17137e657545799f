"""`Module`: what counts as state, walking the tree, copies, and the text."""

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

from asyncjit import nn
from tests.nn.trees import Coroutine, Kernel, Leaf, Tree


def test_floating_point_arrays_are_parameters_and_nothing_else_is() -> None:
    module = nn.Module()
    vars(module).update(
        single=np.zeros(1, np.float32),
        double=np.zeros(1),
        complex=np.zeros(1, complex),
        table=np.zeros(1, int),
        mask=np.zeros(1, bool),
        _workspace=np.zeros(1),
        number=1.5,
        scalar=np.float32(1),
        arrays=[np.zeros(1)],
        modules_in_a_list=[Leaf()],
        bias=None,
    )
    assert [name for name, _ in module.named_parameters()] == ["single", "double", "complex"]
    assert list(module.named_buffers()) == []
    assert list(module.children()) == []


def test_parameters_come_once_in_the_order_of_the_attributes() -> None:
    tree = Tree()
    names = ["scale", "first.weight", "first.bias", "other.0.weight", "other.0.bias"]
    assert [name for name, _ in tree.named_parameters()] == names
    arrays = [tree.scale, tree.first.weight, tree.first.bias]
    assert all(found is array for found, array in zip(tree.parameters(), arrays, strict=False))
    assert len(list(tree.parameters())) == 5


def test_an_array_that_two_modules_share_is_one_parameter() -> None:
    tree = Tree()
    leaf = tree.other[0]
    assert isinstance(leaf, Leaf)
    leaf.weight = tree.first.weight
    assert [name for name, _ in tree.named_parameters()] == [
        "scale",
        "first.weight",
        "first.bias",
        "other.0.bias",
    ]


def test_without_recursion_only_the_modules_own_arrays_come() -> None:
    assert [name for name, _ in Tree().named_parameters(recurse=False)] == ["scale"]
    assert list(Tree().buffers(recurse=False)) == []
    assert len(list(Leaf().parameters(recurse=False))) == 2


def test_a_registered_buffer_is_no_parameter_whatever_its_dtype_and_name() -> None:
    leaf = Leaf()
    leaf.register_buffer("mean", np.zeros(3))
    leaf.register_buffer("_count", np.zeros(1, int))
    leaf.register_buffer("later", None)
    assert [name for name, _ in leaf.named_buffers()] == ["steps", "mean", "_count"]
    assert [name for name, _ in leaf.named_parameters()] == ["weight", "bias"]
    leaf.register_buffer("later", np.ones(1))
    leaf.__dict__["mean"] = np.ones(3)
    assert len(list(leaf.buffers())) == 4
    other = Leaf()
    vars(other)["mean"] = np.ones(3)
    assert [name for name, _ in other.named_buffers()] == ["steps"], "one object's buffers are not its class's"


def test_modules_and_children_come_once_or_under_each_name() -> None:
    tree = Tree()
    assert [name for name, _ in tree.named_children()] == ["first", "other"]
    assert list(tree.children()) == [tree.first, tree.other]
    assert [name for name, _ in tree.named_modules()] == ["", "first", "other", "other.0"]
    every = tree.named_modules(remove_duplicate=False)
    assert [name for name, _ in every] == ["", "first", "again", "other", "other.0"]
    assert next(tree.modules()) is tree


def test_a_module_below_itself_is_walked_once() -> None:
    tree = Tree()
    tree.first.parent = tree  # type: ignore[attr-defined]
    assert len(list(tree.modules())) == 4
    assert tree.eval() is tree


def test_modules_that_compare_equal_are_still_different_modules() -> None:
    class Equal(nn.Module):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    pair = nn.ModuleList([Equal(), Equal()])
    assert len(list(pair.children())) == 2
    assert len(list(pair.modules())) == 3


def test_a_subclass_that_forgets_the_constructor_of_its_base_works() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(2, 2)
            self.register_buffer("count", np.zeros(1))

    module = Forgetful()
    assert module.training
    assert not module.eval().training
    assert list(module.state_dict()) == ["count", "linear.weight", "linear.bias"]
    assert repr(module).startswith("Forgetful(\n  (linear): Linear(")


def test_add_module_sets_and_replaces_and_takes_none() -> None:
    module = nn.Module()
    module.add_module("0", Kernel())
    module.add_module("1", Coroutine())
    module.add_module("0", Coroutine())
    module.add_module("2", None)
    module.add_module("3", None)
    module.add_module("3", Kernel())
    children = [(name, type(child)) for name, child in module.named_children()]
    assert children == [("0", Coroutine), ("1", Coroutine), ("3", Kernel)]


@pytest.mark.parametrize(
    ("name", "child", "error", "message"),
    [
        ("a.b", Kernel(), KeyError, "module name should not be empty or contain a dot, got 'a.b'"),
        ("", Kernel(), KeyError, "module name should not be empty or contain a dot, got ''"),
        ("forward", Kernel(), KeyError, "attribute 'forward' already exists"),
        (3, Kernel(), TypeError, "module name should be a string, got int"),
        ("child", 3, TypeError, "int is not a Module subclass"),
    ],
)
def test_add_module_refuses(name: Any, child: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        nn.Module().add_module(name, child)


@pytest.mark.parametrize(
    ("name", "array", "error", "message"),
    [
        ("a.b", None, KeyError, "buffer name should not be empty or contain a dot, got 'a.b'"),
        ("weight", np.zeros(1), KeyError, "attribute 'weight' already exists"),
        (None, np.zeros(1), TypeError, "buffer name should be a string, got NoneType"),
        ("mean", [1.0], TypeError, "buffer 'mean' should be an ndarray or None, got list"),
    ],
)
def test_register_buffer_refuses(name: Any, array: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Leaf().register_buffer(name, array)


def test_eval_reaches_every_module_and_returns_the_module() -> None:
    tree = Tree()
    assert all(module.training for module in tree.modules())
    assert tree.eval() is tree
    assert not any(module.training for module in tree.modules())
    assert Tree().training, "one object's mode is not its class's"


def test_modules_copy_and_pickle_with_what_they_share() -> None:
    for clone in (copy.deepcopy(Tree()), pickle.loads(pickle.dumps(Tree()))):
        assert clone.first is clone.again
        assert list(clone.state_dict()) == list(Tree().state_dict())
        assert list(clone.first.buffers()) == [7]


def test_walking_bears_with_attributes_set_meanwhile() -> None:
    module = Tree()

    class Meddler:
        """Stands for another thread: looking at it sets an attribute of the module."""

        @property  # type: ignore[misc]
        def __class__(self) -> type:
            setattr(module, f"extra{len(vars(module))}", 1)
            return Meddler

    vars(module)["meddler"] = Meddler()
    module.last = np.zeros(1)  # type: ignore[attr-defined]
    num_attributes = len(vars(module))
    assert len(list(module.parameters())) == 6
    assert len(vars(module)) > num_attributes


# Text. Each is what torch 2.13 prints for the same tree.


def test_the_text_is_torchs() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(3, 4)
            self.layers = nn.ModuleList([*(nn.LSTM(3, 4) for _ in range(3)), nn.Linear(2, 3)])
            self.heads = nn.ModuleDict({"x": nn.Linear(2, 3, bias=False)})
            self.chain = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
            self.none = nn.ModuleList()
            self.deep = nn.LSTM(3, 4, num_layers=2, bias=False, batch_first=True, bidirectional=True)
            self.shared = self.cell

    assert repr(Model()) == (
        "Model(\n"
        "  (cell): LSTM(3, 4)\n"
        "  (layers): ModuleList(\n"
        "    (0-2): 3 x LSTM(3, 4)\n"
        "    (3): Linear(in_features=2, out_features=3, bias=True)\n"
        "  )\n"
        "  (heads): ModuleDict(\n"
        "    (x): Linear(in_features=2, out_features=3, bias=False)\n"
        "  )\n"
        "  (chain): Sequential(\n"
        "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "    (1): Linear(in_features=3, out_features=2, bias=True)\n"
        "  )\n"
        "  (none): ModuleList()\n"
        "  (deep): LSTM(3, 4, num_layers=2, bias=False, batch_first=True, bidirectional=True)\n"
        "  (shared): LSTM(3, 4)\n"
        ")"
    )


def test_extra_text_stands_before_the_submodules() -> None:
    class Model(nn.Module):
        def __init__(self, extra: str) -> None:
            super().__init__()
            self.extra = extra

        def extra_repr(self) -> str:
            return self.extra

    assert repr(nn.Module()) == "Module()"
    assert repr(Model("a=1")) == "Model(a=1)"
    assert repr(Model("a=1\nb=2")) == "Model(\n  a=1\n  b=2\n)"
    parent = Model("a=1")
    parent.child = Model("b=2\nc=3")  # type: ignore[attr-defined]
    assert repr(parent) == "Model(\n  a=1\n  (child): Model(\n    b=2\n    c=3\n  )\n)"
