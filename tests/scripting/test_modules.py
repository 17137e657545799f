"""`script` of modules: a copy that suspends, and shows no other difference."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import asyncjit
from asyncjit import fork, nn, sync
from asyncjit._core.stepping import ScriptFunction, script_of
from asyncjit.errors import ScriptError
from asyncjit.scripting import script
from asyncjit.scripting.modules import ScriptedModule, derived_class
from tests.at_rest import all_threads_busy
from tests.scripting.running import is_suspended

Array = NDArray[Any]
X = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)


class Scale(nn.Module):
    """Waits for nothing."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.weight = np.array([factor, -factor], dtype=np.float32)

    def forward(self, x: Array) -> Any:
        return x * self.weight


class Pair(nn.Module):
    """Waits for two forks."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Scale(2.0), Scale(3.0)
        self.bias = np.ones(2, dtype=np.float32)
        self.name = "pair"

    def forward(self, x: Array, *, times: int = 1) -> Any:
        """Add both."""
        right = fork(self.right, x)
        return self.left(x) + sync.wait(right) * times + self.bias


class Stack(nn.Module):
    """Waits for nothing itself, but holds what does: twice, in containers, by other names."""

    def __init__(self) -> None:
        super().__init__()
        pair = Pair()
        self.layers = nn.Sequential(pair, Scale(0.5), pair)
        self.more = nn.ModuleList([pair, Scale(4.0)])
        self.named = nn.ModuleDict({"pair": Pair()})
        self.leaf = nn.Sequential(Scale(1.0))

    def forward(self, x: Array) -> Any:
        x = self.layers(x)
        for layer in self.more:
            x = layer(x)
        return self.leaf(self.named["pair"](x))


class ByMethods(nn.Module):
    """Waits in methods that `forward` calls; one that nobody calls can't be scripted."""

    def forward(self, x: Array) -> Any:
        return self.encode(x) + self.__private(x)

    def encode(self, x: Array) -> Any:
        return sync.wait(fork(np.negative, x))

    def __private(self, x: Array) -> Any:
        return sync.call(np.abs, x)

    def debug(self, futures: Any) -> Any:
        return sorted(futures, key=sync.wait)

    def __len__(self) -> int:
        return sync.wait(fork(abs, -2))


class Decorated(nn.Module):
    @script
    def forward(self, x: Array) -> Any:
        return sync.wait(fork(np.negative, x))


class Awaits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    async def forward(self, x: Array) -> Any:
        return await asyncjit.call(self.pair, x)


class Child(Pair):
    def forward(self, x: Array, *, times: int = 1) -> Any:
        return super().forward(x, times=times).sum() + fork(np.sum, x).wait()


class Mixin:
    def forward(self, x: Array) -> Any:
        return super().forward(x) * 2  # type: ignore[misc]


class Mixed(Mixin, Child):
    """Comes to the waits by way of `super()` alone, through one that waits for nothing."""

    def forward(self, x: Array) -> Any:  # type: ignore[override]
        return super().forward(x)


class Heir(Child):
    """Inherits all."""


MODULES: dict[str, Any] = {kind.__name__: kind for kind in (Pair, Stack, ByMethods, Child, Mixed, Heir)}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> Any:
    return MODULES[request.param]()


def test_a_scripted_module_computes_the_same(runtime: sync.Runtime, module: Any) -> None:
    scripted = script(module)
    expected = module(X)
    assert np.array_equal(scripted(X), expected)
    assert np.array_equal(scripted.forward(X), expected)
    assert np.array_equal(sync.wait(fork(scripted, X)), expected)
    assert np.array_equal(sync.wait(fork(scripted.forward, X)), expected)

    async def main() -> Any:
        return await asyncjit.call(scripted, X)

    assert np.array_equal(asyncio.run(main()), expected)


def test_a_scripted_module_suspends_in_all_its_parts(module: Any) -> None:
    scripted = script(module)
    parts = [part for part in scripted.modules() if isinstance(part, ScriptedModule)]
    assert parts
    for part in parts:
        assert script_of(part) is not None
    with sync.Runtime(1, blas_threads=None) as runtime, all_threads_busy(runtime):
        assert is_suspended(scripted, X)
        assert is_suspended(scripted.forward, X)


def test_what_shows_is_as_before(module: Any) -> None:
    before = repr(module), list(module.state_dict()), [name for name, _ in module.named_modules()], dict(vars(module))
    scripted = script(module)
    assert scripted is not module
    assert (repr(scripted), list(scripted.state_dict()), [name for name, _ in scripted.named_modules()]) == before[:3]
    assert list(vars(scripted)) == list(vars(module))
    assert dict(vars(module)) == before[3]
    assert isinstance(scripted, type(module))
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(type(scripted), attribute) == getattr(type(module), attribute)
    for name, array in module.state_dict().items():
        assert scripted.state_dict()[name] is array


def test_original_and_code() -> None:
    pair = Pair()
    scripted: Any = script(pair)
    assert scripted.original is pair
    assert scripted.code == type(scripted).forward.code
    assert "await _finish(_begin(sync.wait)(right)) * times" in scripted.code
    assert type(scripted).forward.original is Pair.forward
    assert scripted.name == "pair"
    assert not hasattr(pair, "original")


def test_a_modules_own_attributes_are_not_hidden() -> None:
    class Named(Pair):
        original = "of the class"

        def __init__(self) -> None:
            super().__init__()
            self.code = Scale(9.0)

    named = Named()
    scripted: Any = script(named)
    assert scripted.original == "of the class"
    assert scripted.code is named.code
    assert "code.weight" in scripted.state_dict()


def test_what_has_nothing_to_suspend_is_shared() -> None:
    stack = Stack()
    scripted: Any = script(stack)
    assert scripted.layers[1] is stack.layers[1]
    assert scripted.more[1] is stack.more[1]
    assert scripted.leaf is stack.leaf
    assert scripted.named["pair"].left is vars(stack.named["pair"])["left"]
    leaf = nn.Sequential(Scale(1.0), nn.Linear(2, 2))
    assert script(leaf) is leaf


def test_a_submodule_that_occurs_twice_stays_one() -> None:
    scripted: Any = script(Stack())
    assert scripted.layers[0] is scripted.layers[2] is scripted.more[0]
    assert scripted.layers[0] is not scripted.named["pair"]
    assert type(scripted.layers[0]) is type(scripted.named["pair"])


def test_modules_that_hold_each_other_are_scripted_once() -> None:
    pair, other = Pair(), Pair()
    pair.other, other.other = other, pair  # type: ignore[attr-defined]
    assert np.array_equal(script(pair)(X), pair(X))
    assert np.array_equal(script(other)(X), other(X))


def test_what_is_scripted_already_is_returned_unchanged() -> None:
    for module in (script(Stack()), Decorated(), Awaits()):
        assert script(module) is module
    holder: Any = script(nn.Sequential(Decorated(), Scale(2.0)))
    assert is_suspended(holder[:1], X)


def test_a_child_that_is_scripted_by_its_class_makes_its_parents_scripted() -> None:
    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.child = nn.Sequential(Decorated())

        def forward(self, x: Array) -> Any:
            return self.child(x) + 1

    scripted: Any = script(Parent())
    assert script_of(scripted) is not None
    assert np.array_equal(scripted(X), 1 - X)


def test_methods_that_wait_are_scripted_and_those_of_python_are_not() -> None:
    scripted: Any = script(ByMethods())
    assert isinstance(type(scripted).encode, ScriptFunction)
    assert isinstance(type(scripted)._ByMethods__private, ScriptFunction)
    assert type(scripted).debug is ByMethods.debug
    assert type(scripted).__len__ is ByMethods.__len__
    assert len(scripted) == 2


def test_a_wait_where_it_cannot_be_in_forward_is_refused() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Any) -> Any:
            return sync.wait(x[0]), sum(sync.wait(y) for y in x)

    with pytest.raises(ScriptError, match=r"test_modules.py:\d+: `sync.wait\(y\)` inside of a generator expression"):
        script(Wrong())


def test_a_parent_without_source_is_refused_if_its_children_are_scripted() -> None:
    namespace: dict[str, Any] = {"nn": nn}
    exec("class NoSource(nn.Module):\n    def forward(self, x): return self.child(x)", namespace)
    parent = namespace["NoSource"]()
    assert script(parent) is parent
    parent.child = Pair()
    with pytest.raises(ScriptError, match=r"`NoSource.forward` has no source that could be read"):
        script(parent)


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_copies_are_scripted_and_compute_the_same(runtime: sync.Runtime, module: Any, copied: Any) -> None:
    scripted: Any = script(module)
    expected = scripted(X)
    other = copied(scripted)
    assert type(other) is type(scripted)
    assert script_of(other) is not None
    assert repr(other) == repr(scripted)
    assert np.array_equal(other(X), expected)
    assert type(other.original) is type(module)
    assert other.original is other.original
    assert np.array_equal(other.original(X), expected)
    assert not [part for part in other.original.modules() if isinstance(part, ScriptedModule)]
    for name, array in scripted.state_dict().items():
        assert np.array_equal(other.state_dict()[name], array)
    if isinstance(module, Stack):
        assert other.layers[0] is other.layers[2] is other.more[0]


def test_what_is_set_on_a_copy_is_its_own_and_survives_pickling() -> None:
    pair = Pair()
    scripted: Any = script(pair)
    scripted.bias = np.zeros(2, dtype=np.float32)
    assert pair.bias[0] == 1.0
    assert pickle.loads(pickle.dumps(scripted)).bias[0] == 0.0


def test_the_class_of_copies_is_made_once_and_goes_with_its_copies() -> None:
    class Local(Pair):
        pass

    scripted: Any = script(Local())
    assert type(script(Local())) is type(scripted) is derived_class(Local)
    assert Local in type(scripted).__bases__


class Duck:
    """No module of ours, but alike."""

    def __init__(self, child: Any = None) -> None:
        self.child = child

    def named_children(self) -> Iterator[tuple[str, Any]]:
        yield "child", self.child

    def __call__(self, x: Any) -> Any:
        return self.forward(x)

    def forward(self, x: Any) -> Any:
        return sync.wait(fork(abs, x)) if self.child is None else self.child(x)


def test_modules_of_other_kinds_are_scripted_alike() -> None:
    duck = Duck(Duck())
    scripted: Any = script(duck)
    assert isinstance(scripted.child, ScriptedModule)
    assert scripted.forward(-3) == scripted(-3) == 3
    assert scripted.original is duck
    for other in (pickle.loads(pickle.dumps(scripted)), copy.deepcopy(scripted)):
        assert other.forward(-3) == 3
        assert type(other.child) is type(scripted)


def test_a_class_of_modules_is_refused() -> None:
    kind: Any = Pair
    with pytest.raises(ScriptError, match=r"script its methods, by @script above each, or an instance"):
        script(kind)
