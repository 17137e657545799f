"""`script` of modules whose classes have hooks, slots and access to attributes of their own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncjit import fork, nn, sync
from asyncjit.scripting import script
from tests.scripting.running import is_suspended
from tests.scripting.test_modules import Duck

Array = NDArray[Any]
X = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)

registered: dict[str, type] = {}


class Registered(nn.Module):
    """Keeps a register of its subclasses, which must bring a key."""

    def __init_subclass__(cls, *, key: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        assert key not in registered
        registered[key] = cls

    def encode(self, x: Array) -> Any:
        return sync.wait(fork(np.negative, x))


class One(Registered, key="one"):
    def forward(self, x: Array) -> Any:
        return self.encode(x) + sync.wait(fork(np.abs, x))


class Two(One, key="two"):
    """Waits in none of its own methods."""


def test_a_hook_for_new_classes_sees_none_of_the_classes_made_here() -> None:
    scripted: Any = [script(One()), script(Two())]
    assert registered == {"one": One, "two": Two}
    for module in scripted:
        assert is_suspended(module, X)
        assert np.array_equal(module(X), X - X)


class Guarded(nn.Module):
    """Lets nobody set an attribute, and has every one that is asked for."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return "found"

    def forward(self, x: Array) -> Any:
        return sync.wait(fork(np.negative, x))


def test_modules_with_attributes_of_their_own_kind() -> None:
    guarded: Any = Guarded()
    scripted: Any = script(guarded)
    assert scripted.original is guarded
    copied = pickle.loads(pickle.dumps(scripted))
    assert type(copied.original) is Guarded
    assert np.array_equal(copied(X), -X)


class SlottedBase:
    __slots__ = ("factor",)


class Slotted(SlottedBase, Duck):
    """Keeps what it needs in a slot."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.child = None
        self.factor = factor

    def forward(self, x: Any) -> Any:
        return sync.wait(fork(abs, x)) * self.factor


def test_what_a_module_holds_in_slots_is_shared_copied_and_pickled() -> None:
    slotted = Slotted(10)
    scripted: Any = script(slotted)
    copies = [scripted, copy.copy(scripted), copy.deepcopy(scripted), pickle.loads(pickle.dumps(scripted))]
    assert [module(-3) for module in copies] == [30] * 4
    assert [module.original(-3) for module in copies] == [30] * 4
    assert scripted.original is slotted
