"""`Module`: a tree of arrays and submodules with a `forward`, as torch's, without metaclass or `__setattr__`.

What a module holds is read off its `__dict__`, in order, whenever somebody asks. So there is nothing to
register, nothing that `super().__init__()` must prepare, and a module pickles and copies like any object:

- an attribute that is a `Module` is a submodule;
- a floating-point `ndarray` is a parameter, unless its name begins with an underscore (a workspace, a cache)
  or was given to `register_buffer`; arrays of other dtypes are plain attributes unless registered;
- lists and dicts are not looked into: use `ModuleList` and `ModuleDict`.

Whether a module is a kernel, a coroutine function or scripted has to show on its class, where the runtime looks, before
anything is called. So each subclass gets the `__call__` that fits its `forward`, unless it brings its own.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from asyncjit._core.context import current_handler
from asyncjit._core.stepping import ScriptFunction, script_of
from asyncjit.nn.loading import IncompatibleKeys, Place, load_arrays
from asyncjit.nn.memory import Pickled, is_read_only, pickled

Kind = TypeVar("Kind")

_PACKAGE = __name__.rpartition(".")[0] + "."


class Module:
    """Base class of all models and layers.

    Subclasses set arrays and modules as attributes and define `forward`, as a plain method or as `async def`.
    Calling the module calls `forward`; with an async one the call gives a coroutine to await.

    Attributes
    ----------
    training : bool
        True until `eval` is called. No module of asyncjit computes differently by it.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> class Doubled(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(2, 1)
    ...
    ...     def forward(self, x):
    ...         return 2 * self.linear(x)
    >>> model = Doubled()
    >>> model
    Doubled(
      (linear): Linear(in_features=2, out_features=1, bias=True)
    )
    >>> _ = model.load_state_dict({"linear.weight": [[1, 2]], "linear.bias": [3]})
    >>> model(np.array([1, 1], dtype=np.float32))
    array([12.], dtype=float32)
    """

    # Defaults on the class: a subclass that forgets super().__init__() has them all the same.
    training: bool = True
    _buffer_names: frozenset[str] = frozenset()
    _is_operation: ClassVar[bool] = False  # whether it is one node of a traced graph, and not its forward's
    _replaces_parameters: ClassVar[bool] = False  # a new value is set, because what is there can't be written to

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(cls.forward, ScriptFunction):
            fitting: Any = _call_scripted
        else:
            fitting = _call_async if inspect.iscoroutinefunction(cls.forward) else Module.__call__
        # Any other is a __call__ that the class or a base of it brought, and stays.
        if cls.__call__ in (Module.__call__, _call_async, _call_scripted) and cls.__call__ is not fitting:
            cls.__call__ = fitting  # type: ignore[method-assign]
        if "forward" in vars(cls) and "_shapes" not in vars(cls) and not cls.__module__.startswith(_PACKAGE):
            cls._shapes = Module._shapes  # type: ignore[method-assign]  # a layer's are not those of another forward

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return `forward(*args, **kwargs)`."""
        if self._is_operation:
            handler = current_handler()
            if handler is not None:
                return handler.called(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's value; subclasses define it, sync or async.

        Raises
        ------
        NotImplementedError
            If the subclass did not.
        """
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def _shapes(self, *args: Any, **kwargs: Any) -> Any:
        """Return arrays of the shapes and dtypes that `forward` would return, of any values."""
        return self.forward(*args, **kwargs)

    def add_module(self, name: str, module: "Module | None") -> None:
        """Set `module` as the attribute `name`, which may be any name without a dot.

        Raises
        ------
        TypeError
            If `name` is no string or `module` neither a Module nor None.
        KeyError
            If `name` is empty, has a dot, or is taken by an attribute that is no submodule.
        """
        self._check_name("module", name, is_own=isinstance(vars(self).get(name, ""), Module | None))
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        setattr(self, name, module)

    def register_buffer(self, name: str, array: NDArray[Any] | None) -> None:
        """Set `array`, of any dtype, as the attribute `name`, and count it as a buffer from now on.

        Buffers are state that is no parameter, such as running statistics: they are in `state_dict`, and not
        in `parameters`. None reserves the name.

        Raises
        ------
        TypeError
            If `name` is no string or `array` neither an ndarray nor None.
        KeyError
            If `name` is empty, has a dot, or is taken by an attribute that is no buffer.
        """
        self._check_name("buffer", name, is_own=name in self._buffer_names)
        if array is not None and not isinstance(array, np.ndarray):
            raise TypeError(f"buffer {name!r} should be an ndarray or None, got {type(array).__name__}")
        self._buffer_names |= {name}
        setattr(self, name, array)

    def parameters(self, recurse: bool = True) -> Iterator[NDArray[Any]]:
        """Yield each parameter once; without `recurse`, only the module's own."""
        for _, array in self.named_parameters(recurse=recurse):
            yield array

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield `(name, parameter)`, each parameter once under its first name, in torch's order.

        Examples
        --------
        >>> from asyncjit import nn
        >>> [name for name, _ in nn.Sequential(nn.Linear(2, 3)).named_parameters()]
        ['0.weight', '0.bias']
        """
        return self._named_arrays(Module._own_parameters, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[NDArray[Any]]:
        """Yield each buffer once; without `recurse`, only the module's own."""
        for _, array in self.named_buffers(recurse=recurse):
            yield array

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield `(name, buffer)`, each buffer once under its first name."""
        return self._named_arrays(Module._own_buffers, recurse)

    def children(self) -> Iterator["Module"]:
        """Yield each direct submodule once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield `(name, submodule)` for each direct submodule, once."""
        seen: set[int] = set()
        for name, module in self._members(Module):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator["Module"]:
        """Yield the module itself and every module below it, each once, parents first."""
        for _, module in self.named_modules():
            yield module

    def named_modules(self, *, remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        """Yield `(name, module)` for the module itself, named "", and every module below it.

        With `remove_duplicate` each comes once, under its first name; without, under each of its names.
        """
        return self._walk("", set() if remove_duplicate else None)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return every parameter and buffer by its dotted name.

        The arrays are the module's own, not copies; one that is shared is there under each of its names.
        """
        return {name: place.array for name, place in self._places().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy the values of `state_dict` into the module's parameters and buffers.

        Values are converted to the dtype of what they replace. Arrays of your own modules are written to, and keep
        their identity; parameters of layers, which are read-only, are set anew. Nothing is changed if anything is
        wrong. The module must not be computing meanwhile in another thread.

        Parameters
        ----------
        state_dict : mapping of str to array-like
            By dotted name, as `state_dict` or torch's gives it. Not kept.
        strict : bool, default True
            Whether a missing or an unexpected name is an error.

        Returns
        -------
        IncompatibleKeys
            The names missing in `state_dict`, and those the module has no use for.

        Raises
        ------
        RuntimeError
            Lists all at once: missing and unexpected names (if `strict`), values of a wrong shape or of a
            dtype that does not convert, arrays that are read-only.
        TypeError
            If `state_dict` is no mapping.

        Examples
        --------
        >>> from asyncjit import nn
        >>> nn.Linear(2, 1).load_state_dict({"weight": [[1, 2], [3, 4]], "scale": [1]})
        Traceback (most recent call last):
            ...
        RuntimeError: Error(s) in loading state_dict for Linear:
            Missing key(s) in state_dict: "bias".
            Unexpected key(s) in state_dict: "scale".
            size mismatch for weight: the state dict has shape (2, 2), the module has shape (1, 2).
        """
        return load_arrays(type(self).__name__, self._places(), state_dict, strict)

    def eval(self) -> Self:
        """Set `training` to False, here and in every module below; return the module itself."""
        for module in self.modules():
            module.training = False
        return self

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module beside its submodules: nothing, unless overridden."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [_indent(child) for child in self._child_reprs()]
        if not children and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        lines = [*extra.split("\n"), *children] if extra else children
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def _child_reprs(self) -> list[str]:
        return [f"({name}): {module!r}" for name, module in self._members(Module)]

    def _members(self, kind: type[Kind]) -> list[tuple[str, Kind]]:
        # A copy: another thread may set an attribute meanwhile.
        return [(name, value) for name, value in vars(self).copy().items() if isinstance(value, kind)]

    def _own_parameters(self) -> list[tuple[str, NDArray[Any]]]:
        return [(name, array) for name, array in self._members(np.ndarray) if self._is_parameter(name, array)]

    def _own_buffers(self) -> list[tuple[str, NDArray[Any]]]:
        return [(name, array) for name, array in self._members(np.ndarray) if name in self._buffer_names]

    def _places(self) -> dict[str, Place]:
        return {
            _join(module_name, name): Place(module, name, array)
            for module_name, module in self.named_modules(remove_duplicate=False)
            for name, array in module._own_parameters() + module._own_buffers()
        }

    def _is_parameter(self, name: str, array: NDArray[Any]) -> bool:
        is_private = name.startswith("_") or name in self._buffer_names
        return not is_private and np.issubdtype(array.dtype, np.inexact)

    def _named_arrays(
        self, own: Callable[["Module"], list[tuple[str, NDArray[Any]]]], recurse: bool
    ) -> Iterator[tuple[str, NDArray[Any]]]:
        seen: set[int] = set()
        for module_name, module in self.named_modules() if recurse else [("", self)]:
            for name, array in own(module):
                if id(array) not in seen:
                    seen.add(id(array))
                    yield _join(module_name, name), array

    def _walk(self, name: str, seen: set[int] | None) -> Iterator[tuple[str, "Module"]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield name, self
        for child_name, child in self._members(Module):
            yield from child._walk(_join(name, child_name), seen)

    def __getstate__(self) -> dict[str, Any]:
        state = self._state()
        return {name: pickled(value) if is_read_only(value) else value for name, value in state.items()}

    def _state(self) -> dict[str, Any]:
        # A copy: another thread may keep a form meanwhile.
        return {name: value for name, value in vars(self).copy().items() if name != "_forms"}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        state = self._state()
        # What nobody can write to need not be copied, and what is shared stays so.
        memo |= {id(value): value for value in state.values() if is_read_only(value)}
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(state, memo))
        return copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value.array if isinstance(value, Pickled) else value)

    def _check_name(self, noun: str, name: str, is_own: bool) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{noun} name should be a string, got {type(name).__name__}")
        if name == "" or "." in name:
            raise KeyError(f"{noun} name should not be empty or contain a dot, got {name!r}")
        if hasattr(self, name) and not is_own:
            raise KeyError(f"attribute {name!r} already exists")


async def _call_async(self: Module, /, *args: Any, **kwargs: Any) -> Any:
    """Return what `forward(*args, **kwargs)` gives when awaited."""
    return await self.forward(*args, **kwargs)


async def _steps_scripted(self: Module, /, *args: Any, **kwargs: Any) -> Any:
    steps = script_of(self.forward)  # an instance may have a forward of its own
    return self.forward(*args, **kwargs) if steps is None else await steps(*args, **kwargs)


_call_scripted = ScriptFunction(Module.__call__, _steps_scripted, "")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
