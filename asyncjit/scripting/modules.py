"""`script` for modules: a copy whose `forward`, and whatever else of it waits, is scripted, and its submodules.

A module is anything with `forward` and `named_children`. What has nothing to suspend is shared with the original, and
so are all arrays and other attributes. The class of a copy is derived from the original's and bears its name: what asks
for the class, prints it, walks its submodules or takes its state sees no difference.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

from asyncjit._core.stepping import ScriptFunction
from asyncjit.errors import ScriptError
from asyncjit.scripting.functions import has_source, is_async, may_call, may_wait, script_callable

ORIGINAL = "_asyncjit_original"  #: the slot for the module that was scripted

_derived: weakref.WeakKeyDictionary[type, weakref.ref[type]] = weakref.WeakKeyDictionary()
_PACKAGE = __name__.partition(".")[0] + "."
_known: weakref.WeakKeyDictionary[FunctionType, bool] = weakref.WeakKeyDictionary()  # methods, and whether they wait


def is_module(value: object) -> bool:
    """Whether `value` is a module, and no class of them."""
    return not isinstance(value, type) and hasattr(type(value), "forward") and hasattr(type(value), "named_children")


def script_module(module: Any) -> Any:
    """Return a scripted copy of a module; the module itself if nothing in it has to suspend, or is scripted."""
    return _scripted(module, {})


def _scripted(module: Any, done: dict[int, Any]) -> Any:
    """Script a module once: `done` has by identity those that were seen, so that one that occurs twice stays one."""
    if id(module) not in done:
        done[id(module)] = module  # itself, for modules that contain each other
        done[id(module)] = _copied(module, done)
    return done[id(module)]


def _copied(module: Any, done: dict[int, Any]) -> Any:
    kind = type(module)
    if isinstance(module, ScriptedModule) or is_async(kind.forward):
        return module
    children = {name: value for name, value in vars(module).copy().items() if is_module(value)}
    scripted = {name: _scripted(child, done) for name, child in children.items()}
    changed = {name: child for name, child in scripted.items() if child is not children[name]}
    if not changed and (_is_scripted(module) or not (any(map(_is_scripted, children.values())) or _waits(kind))):
        return module
    copied = _filled(derived_class(kind), module)
    vars(copied).update(changed)
    object.__setattr__(copied, ORIGINAL, module)  # whatever its class does when attributes are set
    return copied


def _filled(kind: type, module: Any) -> Any:
    """Return an instance of `kind` that has the attributes of a module."""
    filled: Any = object.__new__(kind)
    vars(filled).update(vars(module))
    for name, value in _slots_of(module).items():
        object.__setattr__(filled, name, value)
    return filled


def _slots_of(module: Any) -> dict[str, Any]:
    """Return by name what a module holds in slots of its class."""
    state: Any = object.__getstate__(module)  # the dictionary, and the slots' one if any is set
    slots = state[1] if isinstance(state, tuple) else {}
    return {name: value for name, value in slots.items() if name != ORIGINAL}


def _is_scripted(module: Any) -> bool:
    return isinstance(type(module).forward, ScriptFunction)


def _waits(kind: type) -> bool:
    """Whether a module of this class waits by itself."""
    return any(_method_waits(method) for base in kind.__mro__ for method in _methods_of(base).values())


def _methods_of(kind: type) -> dict[str, FunctionType]:
    """Return the plain methods that a class itself defines, but for those that Python calls."""
    functions = {name: value for name, value in vars(kind).items() if isinstance(value, FunctionType)}
    return {name: fn for name, fn in functions.items() if not (name.startswith("__") and name.endswith("__"))}


def _method_waits(method: FunctionType) -> bool:
    """Whether a method waits by itself, as far as could be told when it was first asked for."""
    if method not in _known:
        _known[method] = not is_async(method) and has_source(method) and may_wait(method)
    return _known[method]


def _method_calls(method: FunctionType) -> bool:
    """Whether a method calls what may turn out to be scripted."""
    return not is_async(method) and has_source(method) and may_call(method)


def derived_class(kind: type) -> type:
    """Return the class of scripted copies of the instances of `kind`."""
    reference = _derived.get(kind)
    derived = reference() if reference is not None else None
    if derived is None:
        derived = _derive(kind)
        _derived[kind] = weakref.ref(derived)
    return derived


def _derive(kind: Any) -> type:
    """Derive from `kind` and, for `super()`, from a layer above each of its bases that waits."""
    methods = _scripted_methods(kind)
    namespace = {
        **methods,
        "forward": methods.get("forward") or script_callable(kind.forward),
        "__doc__": kind.__doc__,
        "__slots__": (ORIGINAL,),  # the instance's dictionary is where submodules and state are
        "__reduce_ex__": _reduce,
        "_asyncjit_plain": kind,
    }
    layers = [(base, methods) for base in kind.__mro__[1:] if (methods := _scripted_methods(base))]
    bases = [_class_like(base, (base,), {"__slots__": (), **methods}) for base, methods in layers]
    return _class_like(kind, (kind, *bases, ScriptedModule), namespace)


def _class_like(kind: type, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind)(kind.__name__, (_shield(), *bases), names | namespace)


def _shield() -> type:
    """Return a first base for a class that is made here, which lets it be seen only by our own hook for new classes.

    Those of users are for the classes that they write: they keep registers of them by name, or want arguments. Each
    class has a base of its own, for a common one could stand in one place only of the order of all bases.
    """

    class Shield:
        __slots__ = ()

        def __init_subclass__(cls) -> None:
            below = cls.__mro__[cls.__mro__.index(Shield) + 1 :]
            ours = [base for base in below if base.__module__.startswith(_PACKAGE) and base.__module__ != __name__]
            hooks = [vars(base)["__init_subclass__"] for base in ours if "__init_subclass__" in vars(base)]
            if hooks:
                hooks[0].__get__(None, cls)()  # it calls the next

    return Shield


def _scripted_methods(kind: type) -> dict[str, Any]:
    """Return the scripted forms of what a class itself defines and waits, or may: `forward`, by what it calls."""
    found = {}
    for name, method in _methods_of(kind).items():
        if _method_waits(method) or (name == "forward" and _method_calls(method)):
            try:
                found[name] = script_callable(method)
            except ScriptError:  # it may never be called; if it is, it waits as it does now
                pass
    return found


class _Shown:
    """An attribute that gives way to the module's own of that name."""

    def __init__(self, get: Callable[[Any], Any]) -> None:
        self._get = get
        self.__doc__ = get.__doc__

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        return self if module is None else self._get(module)


class ScriptedModule:
    """What scripted copies of modules have beside what their originals have."""

    __slots__ = ()

    _asyncjit_plain: ClassVar[type]

    @_Shown
    def original(self: Any) -> Any:
        """Return the module that was scripted."""
        try:
            return object.__getattribute__(self, ORIGINAL)
        except AttributeError:  # it was copied or unpickled
            object.__setattr__(self, ORIGINAL, _plain(self, {}))
            return object.__getattribute__(self, ORIGINAL)

    @_Shown
    def code(self: Any) -> str:
        """Return the source that runs in place of `forward`."""
        return type(self).forward.code  # type: ignore[no-any-return]


def _reduce(module: Any, protocol: object) -> Any:
    """Pickle and copy it as its class and its state; it is scripted anew where it arrives."""
    by_default: Any = object.__getstate__
    if type(module).__getstate__ is by_default:
        slots = _slots_of(module)
        state = (vars(module).copy(), slots) if slots else vars(module).copy()
    else:
        state = module.__getstate__()
    return _revive, (type(module)._asyncjit_plain,), state


def _revive(kind: type) -> Any:
    return object.__new__(derived_class(kind))


def _plain(module: Any, done: dict[int, Any]) -> Any:
    """Return what a scripted module would have been made of."""
    if not isinstance(module, ScriptedModule):
        return module
    if id(module) not in done:
        done[id(module)] = plain = _filled(type(module)._asyncjit_plain, module)
        vars(plain).update({name: _plain(value, done) for name, value in vars(module).items() if is_module(value)})
    return done[id(module)]
