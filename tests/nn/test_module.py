"""`Module`: what counts as state, how a module is called, state dicts, and its text."""

import copy
import functools
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest

from asyncjit import nn


class Leaf(nn.Module):
    """Two parameters and a buffer, set in an order that is not the one they are listed in."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", np.array([7]))
        self.weight = np.array([[1.0, 2.0]], dtype=np.float32)
        self.bias = np.array([3.0], dtype=np.float64)

    def forward(self, x: Any) -> Any:
        return x + self.bias


class Tree(nn.Module):
    """One leaf under two names, and another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Leaf()
        self.again = self.first
        self.scale = np.array(2.0)
        self.other = nn.ModuleList([Leaf()])


class Kernel(nn.Module):
    def forward(self, x: int) -> int:
        return x + 1


class Coroutine(nn.Module):
    async def forward(self, x: int) -> int:
        return x + 1


def is_async(module: nn.Module) -> bool:
    """Say what the runtime finds: whether the class's call is a coroutine function."""
    return inspect.iscoroutinefunction(type(module).__call__)


# What counts as state.


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


# Calling.


def test_the_call_of_a_sync_forward_is_a_plain_function() -> None:
    assert not is_async(Kernel())
    assert Kernel()(1) == 2
    assert Kernel()(x=1) == 2


async def test_the_call_of_an_async_forward_is_a_coroutine_function() -> None:
    assert is_async(Coroutine())
    assert await Coroutine()(1) == 2
    assert await Coroutine()(x=1) == 2


async def test_an_inherited_forward_decides_for_the_subclass() -> None:
    class Below(Coroutine):
        pass

    class KernelBelow(Kernel):
        pass

    assert is_async(Below())
    assert await Below()(1) == 2
    assert not is_async(KernelBelow())
    assert KernelBelow()(1) == 2


async def test_a_forward_overridden_again_decides_anew() -> None:
    class Plain(Coroutine):
        def forward(self, x: int) -> int:  # type: ignore[override]
            return x + 2

    class Async(Plain):
        async def forward(self, x: int) -> int:  # type: ignore[override]
            return x + 3

    assert not is_async(Plain())
    assert Plain()(1) == 3
    assert is_async(Async())
    assert await Async()(1) == 4


async def test_a_forward_from_a_mixin_decides() -> None:
    class Mixin:
        async def forward(self, x: int) -> int:
            return x + 5

    class Mixed(Mixin, Kernel):  # type: ignore[misc]
        pass

    assert is_async(Mixed())
    assert await Mixed()(1) == 6


def test_a_call_that_a_class_brings_is_kept_also_below_it() -> None:
    class Own(nn.Module):
        def __call__(self, x: int) -> str:
            return f"called with {x}"

        async def forward(self, x: int) -> int:
            return x

    class Below(Own):
        async def forward(self, x: int) -> int:
            return -x

    class Beside(Kernel, Own):  # type: ignore[misc]
        pass

    assert not is_async(Own())
    assert Own()(1) == Below()(1) == Beside()(1) == "called with 1"


async def test_a_call_that_a_class_brings_may_use_the_modules_own() -> None:
    class Counted(nn.Module):
        num_calls = 0

        async def __call__(self, x: int) -> Any:
            self.num_calls += 1
            return await super().__call__(x)

        async def forward(self, x: int) -> int:
            return x + 1

    module = Counted()
    assert await module(1) == 2
    assert module.num_calls == 1


async def test_a_decorated_forward_is_called_as_what_it_is() -> None:
    def logged(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            return fn(*args)

        return wrapper

    class Decorated(nn.Module):
        @logged
        async def forward(self, x: int) -> int:
            return x + 1

    assert not is_async(Decorated())
    assert await Decorated()(1) == 2


def test_a_forward_set_on_the_object_is_called() -> None:
    module = Kernel()
    module.forward = lambda x: x + 10  # type: ignore[method-assign]
    assert module(1) == 11


def test_a_forward_may_have_an_argument_called_self_or_fn() -> None:
    class Odd(nn.Module):
        def forward(this, /, **kwargs: int) -> dict[str, int]:  # noqa: N805
            return kwargs

    assert Odd()(self=1, fn=2) == {"self": 1, "fn": 2}


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r'Module \[Tree\] is missing the required "forward" function'):
        Tree()(1)


def test_class_arguments_of_other_bases_pass_through() -> None:
    class Base:
        kind = ""

        def __init_subclass__(cls, kind: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.kind = kind

    class Both(nn.Module, Base, kind="both"):
        pass

    assert Both.kind == "both"


# State dicts.


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
