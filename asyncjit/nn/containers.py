"""`ModuleList`, `ModuleDict` and `Sequential`: modules that hold modules, as torch's.

A container keeps its items as attributes like any module, a list's under the names "0", "1", ...; so walking,
state dicts and pickling need to know nothing about containers.
"""

import inspect
import operator
from abc import abstractmethod
from collections.abc import Coroutine, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import accumulate, count, groupby
from typing import Any, Self, SupportsIndex, overload

from asyncjit.nn.module import Module


class _ModuleSequence(Module):
    """What `ModuleList` and `Sequential` have in common: the list's protocol over the submodules."""

    def __len__(self) -> int:
        return len(self._members(Module))

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._members(Module)])

    @overload
    def __getitem__(self, index: SupportsIndex) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Module | Self":
        if isinstance(index, slice):
            return self._sliced(self._members(Module)[index])
        return self._at(index)[1]

    def __setitem__(self, index: SupportsIndex, module: Module) -> None:
        self.add_module(self._at(index)[0], _checked(module))

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        modules = list(self)
        del modules[index]
        self._replace(modules)

    def append(self, module: Module) -> Self:
        """Add `module` at the end; return the container itself; TypeError if it is no Module."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add `modules` at the end; return the container itself; TypeError if one is no Module."""
        # Names past the length may be taken, in a Sequential of named modules.
        names = (str(number) for number in count(len(self)) if str(number) not in vars(self))
        for module in [_checked(module) for module in modules]:
            self.add_module(next(names), module)
        return self

    def insert(self, index: SupportsIndex, module: Module) -> Self:
        """Put `module` before `index`, number all anew, return itself; TypeError if it is no Module."""
        modules = list(self)
        modules.insert(index, _checked(module))
        return self._replace(modules)

    def pop(self, index: SupportsIndex = -1) -> Module:
        """Take the module at `index` out, number the others anew, return it. IndexError as for a list."""
        module = self[index]
        del self[index]
        return module

    def _at(self, index: SupportsIndex) -> tuple[str, Module]:
        members = self._members(Module)
        try:
            return members[operator.index(index)]
        except IndexError:
            text = f"index {index!r} is out of range for {type(self).__name__} of length {len(members)}"
            raise IndexError(text) from None

    @abstractmethod
    def _sliced(self, members: list[tuple[str, Module]]) -> Self: ...

    def _replace(self, modules: list[Module]) -> Self:
        for name, _ in self._members(Module):
            delattr(self, name)
        return self.extend(modules)


class ModuleList(_ModuleSequence):
    """A list of modules, in which they count as submodules; it has no `forward`.

    Parameters
    ----------
    modules : iterable of Module, optional

    Raises
    ------
    TypeError
        If an item is no Module.

    Examples
    --------
    >>> from asyncjit import nn
    >>> layers = nn.ModuleList([nn.Linear(10, 10) for _ in range(3)])
    >>> layers.append(nn.Linear(10, 1))
    ModuleList(
      (0-2): 3 x Linear(in_features=10, out_features=10, bias=True)
      (3): Linear(in_features=10, out_features=1, bias=True)
    )
    >>> len(layers[1:])
    3
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *modules])

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def _sliced(self, members: list[tuple[str, Module]]) -> Self:
        return type(self)([module for _, module in members])

    def _child_reprs(self) -> list[str]:
        runs = [(text, len(list(run))) for text, run in groupby(repr(module) for module in self)]
        ends = accumulate(length for _, length in runs)
        return [_run_repr(end - length, end - 1, text) for (text, length), end in zip(runs, ends, strict=True)]


class Sequential(_ModuleSequence):
    """Modules called one after the other, each on what the last one gave.

    Calling it is a plain call as long as its modules' are. If one of them gives a coroutine, so does the
    call: await it, or fork the Sequential as any other module. (Plain modules behind an async one then
    compute where the coroutine runs, on the loop: large ones belong in an async module that forks them.)

    Parameters
    ----------
    *modules : Module, or one mapping of str to Module
        A mapping names the modules; else they are "0", "1", ... Taking out or inserting one numbers all anew.

    Raises
    ------
    TypeError
        If an item is no Module.
    KeyError
        If a name is empty, has a dot, or is an attribute of Sequential.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    >>> model(np.zeros((3, 4), dtype=np.float32)).shape
    (3, 2)
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, _checked(module))
        else:
            self.extend(_checked(module) for module in modules)

    def forward(self, x: Any) -> Any:
        """Return the last module's value; a coroutine for it if a module gave one."""
        modules = iter(self)
        for module in modules:
            x = module(x)
            if inspect.iscoroutine(x):
                return _finish(x, modules)
        return x

    def _shapes(self, x: Any) -> Any:
        for module in self:
            x = module._shapes(x)
        return x

    def _sliced(self, members: list[tuple[str, Module]]) -> Self:
        return type(self)(dict(members))


class ModuleDict(Module):
    """A dict of modules by name, in which they count as submodules; it has no `forward`.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional

    Raises
    ------
    TypeError
        If a name is no string or an item no Module.
    KeyError
        If a name is empty, has a dot, or is an attribute of ModuleDict (such as "keys").

    Examples
    --------
    >>> from asyncjit import nn
    >>> heads = nn.ModuleDict({"tone": nn.Linear(64, 5), "stress": nn.Linear(64, 2)})
    >>> heads["stress"]
    Linear(in_features=64, out_features=2, bias=True)
    >>> list(heads)
    ['tone', 'stress']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def __len__(self) -> int:
        return len(self._members(Module))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> Module:
        return dict(self._members(Module))[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, _checked(module))

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def keys(self) -> KeysView[str]:
        """Return the names, in the order they were set."""
        return dict(self._members(Module)).keys()

    def values(self) -> ValuesView[Module]:
        """Return the modules, in the order they were set."""
        return dict(self._members(Module)).values()

    def items(self) -> ItemsView[str, Module]:
        """Return the pairs of name and module, in the order they were set."""
        return dict(self._members(Module)).items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Set every module of a mapping or of an iterable of pairs."""
        for name, module in dict(modules).items():
            self[name] = module

    def pop(self, name: str) -> Module:
        """Take the module called `name` out and return it; KeyError if there is none."""
        module = self[name]
        delattr(self, name)
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for name in self.keys():
            delattr(self, name)


async def _finish(pending: Coroutine[Any, Any, Any], modules: Iterator[Module]) -> Any:
    x = await pending
    for module in modules:
        x = module(x)
        if inspect.iscoroutine(x):
            x = await x
    return x


def _checked(module: object) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{type(module).__name__} is not a Module subclass")
    return module


def _run_repr(first: int, last: int, text: str) -> str:
    if first == last:
        return f"({first}): {text}"
    return f"({first}-{last}): {last - first + 1} x {text}"
