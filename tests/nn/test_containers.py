"""`ModuleList`, `ModuleDict` and `Sequential`: the protocols of list and dict, and the chain of calls."""

import asyncio
import inspect
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from asyncjit import nn


class Add(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: list[int]) -> list[int]:
        return [*x, self.number]


class AddLater(Add):
    async def forward(self, x: list[int]) -> list[int]:  # type: ignore[override]
        await asyncio.sleep(0)
        return [*x, self.number]


def numbers(modules: Any) -> list[int]:
    return [module.number for module in modules]


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def add_list(*values: int) -> nn.ModuleList:
    return nn.ModuleList(Add(value) for value in values)


# ModuleList


def test_a_list_is_indexed_and_iterated_like_one() -> None:
    modules = add_list(0, 1, 2)
    assert len(modules) == 3
    assert numbers(modules) == [0, 1, 2]
    assert numbers([modules[0], modules[-1], modules[np.int64(1)]]) == [0, 2, 1]
    assert names(modules) == ["0", "1", "2"]
    assert modules[1] in modules
    assert list(reversed(modules)) == list(modules)[::-1]


def test_a_slice_is_a_list_of_the_same_modules_numbered_anew() -> None:
    modules = add_list(0, 1, 2, 3)
    part = modules[1::2]
    assert type(part) is nn.ModuleList
    assert numbers(part) == [1, 3]
    assert names(part) == ["0", "1"]
    assert part[0] is modules[1]


def test_a_list_grows_and_shrinks_like_one() -> None:
    modules = add_list(0)
    assert modules.append(Add(2)) is modules
    assert modules.extend([Add(3), Add(4)]) is modules
    assert modules.insert(1, Add(1)) is modules
    assert numbers(modules) == [0, 1, 2, 3, 4]
    modules.insert(-1, Add(9))
    modules += [Add(5)]
    assert numbers(modules) == [0, 1, 2, 3, 9, 4, 5]
    assert numbers([modules.pop(4), modules.pop()]) == [9, 5]
    modules[0] = Add(7)
    del modules[1]
    del modules[-2:]
    assert numbers(modules) == [7, 2]
    assert names(modules) == ["0", "1"]
    assert numbers(modules + add_list(8)) == [7, 2, 8]
    assert len(modules) == 2


def test_one_module_may_be_in_a_list_twice() -> None:
    shared = nn.Linear(1, 1)
    modules = nn.ModuleList([shared, shared])
    assert len(modules) == 2
    assert len(list(modules.parameters())) == 2
    assert list(modules.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize(
    "change",
    [
        lambda modules: nn.ModuleList([cast("Any", 3)]),
        lambda modules: modules.append(3),
        lambda modules: modules.extend([Add(1), 3]),
        lambda modules: modules.insert(0, 3),
        lambda modules: modules.__setitem__(0, 3),
    ],
)
def test_what_is_no_module_is_refused_and_changes_nothing(change: Callable[[nn.ModuleList], Any]) -> None:
    modules = add_list(0, 1)
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        change(modules)
    assert numbers(modules) == [0, 1]


def test_an_index_out_of_range_is_an_index_error() -> None:
    modules = add_list(0, 1)
    with pytest.raises(IndexError, match="index 2 is out of range for ModuleList of length 2"):
        modules[2]
    with pytest.raises(IndexError, match="index -3 is out of range"):
        modules[-3] = Add(1)
    with pytest.raises(IndexError, match="index -1 is out of range for ModuleList of length 0"):
        nn.ModuleList().pop()
    with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
        modules["0"]  # type: ignore[call-overload]


def test_equal_neighbours_share_a_line_of_the_text() -> None:
    one, two = nn.Linear(1, 1), nn.Linear(2, 2)
    assert repr(nn.ModuleList([two, one, one, two, two, two, one])) == (
        "ModuleList(\n"
        "  (0): Linear(in_features=2, out_features=2, bias=True)\n"
        "  (1-2): 2 x Linear(in_features=1, out_features=1, bias=True)\n"
        "  (3-5): 3 x Linear(in_features=2, out_features=2, bias=True)\n"
        "  (6): Linear(in_features=1, out_features=1, bias=True)\n"
        ")"
    )
    nested = nn.ModuleList([nn.ModuleList([one]), nn.ModuleList([one])])
    assert repr(nested) == (
        "ModuleList(\n  (0-1): 2 x ModuleList(\n    (0): Linear(in_features=1, out_features=1, bias=True)\n  )\n)"
    )


# ModuleDict


def test_a_dict_is_used_like_one() -> None:
    first, second = Add(1), Add(2)
    modules = nn.ModuleDict({"first": first})
    modules["second"] = second
    modules.update([("third", Add(3))])
    assert list(modules) == list(modules.keys()) == ["first", "second", "third"]
    assert numbers(modules.values()) == [1, 2, 3]
    assert dict(modules.items())["second"] is modules["second"] is second
    assert "first" in modules
    assert "training" not in modules
    modules["first"] = Add(4)
    assert next(iter(modules)) == "first"
    assert modules.pop("second") is second
    del modules["third"]
    assert len(modules) == 1
    modules.clear()
    assert len(modules) == len(nn.ModuleDict()) == 0


def test_a_dicts_modules_are_submodules_by_their_keys() -> None:
    modules = nn.ModuleDict([("tone", nn.Linear(1, 1))])
    assert list(modules.state_dict()) == ["tone.weight", "tone.bias"]


def test_a_missing_key_is_a_key_error() -> None:
    modules = nn.ModuleDict()
    with pytest.raises(KeyError, match="training"):
        modules["training"]
    with pytest.raises(KeyError, match="tone"):
        modules.pop("tone")
    with pytest.raises(KeyError, match="stress"):
        del modules["stress"]


@pytest.mark.parametrize(
    ("key", "item", "error", "message"),
    [
        ("keys", Add(1), KeyError, "attribute 'keys' already exists"),
        ("a.b", Add(1), KeyError, "module name should not be empty or contain a dot, got 'a.b'"),
        (1, Add(1), TypeError, "module name should be a string, got int"),
        ("x", None, TypeError, "NoneType is not a Module subclass"),
    ],
)
def test_a_dict_refuses(key: Any, item: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nn.ModuleDict({key: item})


# Sequential


def test_modules_are_called_one_after_the_other() -> None:
    assert nn.Sequential(Add(1), Add(2), Add(3))([0]) == [0, 1, 2, 3]
    assert nn.Sequential()([0]) == [0]


def test_a_mapping_names_the_modules() -> None:
    chain = nn.Sequential(OrderedDict(first=Add(1), second=Add(2)))
    assert names(chain) == ["first", "second"]
    assert chain([0]) == [0, 1, 2]
    assert numbers([chain[1], chain.first]) == [2, 1]  # type: ignore[attr-defined]
    assert names(chain[1:]) == ["second"]
    assert type(chain[:1]) is nn.Sequential
    chain[0] = Add(5)
    assert names(chain) == ["first", "second"]
    assert chain([]) == [5, 2]


def test_appending_takes_no_name_that_is_taken() -> None:
    chain = nn.Sequential({"1": Add(1), "2": Add(2)}).append(Add(3))
    assert names(chain) == ["1", "2", "3"]
    assert chain([]) == [1, 2, 3]


def test_inserting_and_deleting_number_a_chain_anew() -> None:
    chain = nn.Sequential({"a": Add(1), "b": Add(3)}).insert(1, Add(2))
    assert names(chain) == ["0", "1", "2"]
    assert chain([]) == [1, 2, 3]
    del chain[0]
    assert names(chain) == ["0", "1"]


async def test_a_chain_with_async_modules_is_awaited_wherever_they_stand() -> None:
    for kinds in ([AddLater, Add, Add], [Add, AddLater, AddLater, Add], [Add, Add, AddLater], [AddLater]):
        chain = nn.Sequential(*(kind(number) for number, kind in enumerate(kinds)))
        pending = chain([])
        assert inspect.iscoroutine(pending)
        assert await pending == list(range(len(kinds)))


async def test_chains_nest_sync_and_async() -> None:
    inner = nn.Sequential(Add(1), AddLater(2))
    assert await nn.Sequential(Add(0), inner, nn.Sequential(Add(3)))([]) == [0, 1, 2, 3]


async def test_an_error_of_an_async_module_surfaces_at_the_await() -> None:
    class Failing(nn.Module):
        async def forward(self, x: Any) -> Any:
            raise LookupError("from within")

    pending = nn.Sequential(Add(1), Failing(), Add(2))([])
    with pytest.raises(LookupError, match="from within"):
        await pending


def test_a_chain_refuses_what_is_no_module() -> None:
    with pytest.raises(TypeError, match="ufunc is not a Module subclass"):
        nn.Sequential(Add(1), np.tanh)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential({"a": 1})  # type: ignore[dict-item]
    with pytest.raises(KeyError, match="attribute 'append' already exists"):
        nn.Sequential({"append": Add(1)})


def test_the_text_of_a_chain_has_a_line_for_each_module() -> None:
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.Sequential(Add(1), Add(1))) == "Sequential(\n  (0): Add()\n  (1): Add()\n)"


def test_a_list_of_modules_has_no_forward() -> None:
    with pytest.raises(NotImplementedError, match=r"Module \[ModuleList\] is missing"):
        add_list(1)([])
    with pytest.raises(NotImplementedError, match=r"Module \[ModuleDict\] is missing"):
        nn.ModuleDict()([])


def test_containers_pickle() -> None:
    model = nn.Sequential({"a": nn.ModuleList([nn.Linear(1, 1)]), "b": nn.ModuleDict({"c": nn.Linear(1, 2)})})
    assert repr(pickle.loads(pickle.dumps(model))) == repr(model)
