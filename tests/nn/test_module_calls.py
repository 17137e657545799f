"""How a `Module` is called: its `forward`'s kind decides what the call is."""

import functools
import inspect
from typing import Any

import pytest

from asyncjit import nn
from tests.nn.trees import Coroutine, Kernel, Tree


def is_async(module: nn.Module) -> bool:
    """Say what the runtime finds: whether the class's call is a coroutine function."""
    return inspect.iscoroutinefunction(type(module).__call__)


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
