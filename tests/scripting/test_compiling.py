"""The compiled code stands where the plain one stands: its lines, its names, its cells."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from asyncjit import fork, sync
from asyncjit._core.stepping import ScriptFunction
from asyncjit.scripting import script
from asyncjit.scripting.compiling import codes_within
from tests.scripting import constructs, failing, nested_constructs
from tests.scripting.calls import constructs_of
from tests.scripting.importing import imported
from tests.scripting.running import WAYS
from tests.scripting.test_random_functions import lines_of

FAILING = [*constructs_of(failing), failing.Holder().method]


def steps_of(fn: ScriptFunction[..., Any]) -> FunctionType:
    """Return the coroutine function itself."""
    assert isinstance(fn.steps, FunctionType)
    return fn.steps


def frames_of(fn: Callable[..., Any], filename: str) -> list[list[Any]]:
    """Return all that a traceback shows of a file: of the error that a call raises, and of those behind it."""
    error: BaseException | None = None
    try:
        fn([[], 1], 3)
    except Exception as raised:
        error = raised
    found = []
    while error is not None:
        told = traceback.TracebackException.from_exception(error)
        frames = [frame for frame in told.stack if frame.filename == filename]
        places = [(f.name, f.lineno, f.end_lineno, f.colno, f.end_colno, f.line) for f in frames]
        found.append([str(told), *places])
        error = error.__cause__
    return found


@pytest.mark.parametrize("way", ["in a script", "forked", "on a loop"])
@pytest.mark.parametrize("fn", FAILING, ids=lambda fn: fn.__qualname__)
def test_tracebacks_show_the_same_lines_and_columns(runtime: sync.Runtime, fn: Callable[..., Any], way: str) -> None:
    plain = frames_of(fn, failing.__file__)
    assert plain or fn is failing.many_lines
    assert frames_of(lambda *args: WAYS[way](script(fn), *args), failing.__file__) == plain


def test_texts_that_look_like_names_of_ours_stay() -> None:
    @script
    def fn(future: Any) -> Any:
        """@asyncjit: a text"""
        return "@asyncjit", "@asyncjit_begin", future.wait()

    assert fn(fork(str, "@asyncjit")) == ("@asyncjit", "@asyncjit_begin", "@asyncjit")
    assert steps_of(fn).__code__.co_consts[0] == "@asyncjit: a text"


def test_a_method_may_bear_the_name_of_its_class_on_any_line(tmp_path: Path) -> None:
    for num_lines in range(4):
        module = imported("\n" * num_lines + "class f:\n    def f(self, future): return future.wait()\n", tmp_path)
        assert script(module.f().f)(fork(abs, -2)) == 2


@pytest.mark.parametrize("num_arguments", [28, 29, 30, 31])
@pytest.mark.parametrize("keyword", ["", "k="])
def test_methods_of_many_arguments_are_placed_as_python_does(tmp_path: Path, num_arguments: int, keyword: str) -> None:
    arguments = "0, " * (num_arguments - 1) + keyword + "0"
    source = f"def fn(log, x):\n    return (\n        log\n        .append\n        ({arguments})\n    )\n"
    module = imported(source, tmp_path)
    plain = frames_of(module.fn, module.__file__)
    assert plain
    assert frames_of(script(module.fn), module.__file__) == plain


def tables_of(code: CodeType) -> dict[str, Any]:
    """Return the name, the first line and all lines of code and the code in it."""
    found: dict[str, Any] = {}
    for each in (code, *codes_within(code)):
        lines = {line for _, _, line in each.co_lines() if line is not None}
        found.setdefault(each.co_qualname, []).append((each.co_name, each.co_firstlineno, each.co_filename, lines))
    return found


EVERYTHING = [fn for module in (constructs, nested_constructs, failing) for fn in constructs_of(module)]


@pytest.mark.parametrize("fn", EVERYTHING, ids=lambda fn: fn.__qualname__)
def test_line_tables_and_names_are_the_same(fn: Any) -> None:
    assert tables_of(steps_of(script(fn)).__code__) == tables_of(fn.__code__)


def test_a_debugger_stops_at_the_same_lines_of_statements_over_many_lines(runtime: sync.Runtime) -> None:
    plain = lines_of(failing.many_lines, failing.__file__, 2)
    scripted = lines_of(script(failing.many_lines), failing.__file__, 2)
    # As sets: of a chain of calls, or of several managers, it may come to a line once more.
    assert {name: set(lines) for name, lines in scripted.items()} == {name: set(lines) for name, lines in plain.items()}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="before 3.13 an instruction of a call comes before its callee")
@pytest.mark.parametrize("fn", [failing.over_lines, failing.at_the_end_of_lines])
def test_a_debugger_stops_along_a_chain_of_calls_as_in_plain_code(fn: Any) -> None:
    assert lines_of(script(fn), failing.__file__, 2) == lines_of(fn, failing.__file__, 2)


# -- names


def test_what_shows_of_a_function_is_its_own() -> None:
    def fn(a: int, /, b: str = "b", *c: float, d: bytes = b"d", **e: None) -> list[int]:
        """Have a docstring."""
        return [sync.wait(fork(len, b))]

    scripted = script(fn)
    steps = steps_of(scripted)
    for each in (scripted, steps):
        assert each.__name__ == "fn"
        assert each.__qualname__ == fn.__qualname__
        assert each.__module__ == __name__
        assert each.__doc__ == "Have a docstring."
    assert scripted.__wrapped__ is scripted.original is fn
    assert scripted.__annotations__ == fn.__annotations__
    assert steps.__defaults__ == ("b",)
    assert steps.__kwdefaults__ == {"d": b"d"}
    assert steps.__code__.co_flags & 0x0C == fn.__code__.co_flags & 0x0C  # *args and **kwargs
    assert scripted(1, d=b"", x=None) == [1]


def test_nested_functions_and_classes_have_their_own_qualified_names() -> None:
    def fn() -> Any:
        def inner() -> Any:
            class Deep:
                def method(self) -> Any:
                    return sync.wait(fork(len, "a"))

            return Deep

        def plain() -> None: ...

        return inner, inner(), plain, [lambda: 1][0]

    assert [each.__qualname__ for each in script(fn)()] == [each.__qualname__ for each in fn()]
    assert script(fn)()[1].method.__qualname__ == fn()[1].method.__qualname__


def test_wrong_arguments_give_pythons_own_error() -> None:
    def fn(a: int) -> Any:
        return sync.wait(fork(len, "a"))

    for args in ((), (1, 2)):
        with pytest.raises(TypeError) as plain:
            fn(*args)
        with pytest.raises(TypeError) as scripted:
            script(fn)(*args)
        assert str(scripted.value) == str(plain.value)
        assert "fn() " in str(plain.value)


# -- cells


def test_cells_are_shared_with_the_functions_around() -> None:
    count = 0

    @script
    def up(by: int) -> int:
        nonlocal count
        count += sync.wait(fork(abs, by))
        return count

    def down() -> None:
        nonlocal count
        count -= 1

    assert up(-3) == 3
    down()
    assert count == 2
    count = 10
    assert up(1) == 11


def test_a_cell_that_is_bound_later_is_seen() -> None:
    @script
    def even(n: int) -> bool:
        return n == 0 or odd(sync.wait(fork(abs, n - 1)))

    @script
    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert even(10)
    assert not odd(10)


def test_a_cell_that_is_never_bound_is_an_error_of_its_own() -> None:
    @script
    def fn() -> Any:
        return never  # noqa: F821

    with pytest.raises(NameError, match="free variable 'never'"):
        fn()
    never = 1
    assert fn() == 1
    del never


def test_globals_are_the_modules_own(tmp_path: Path) -> None:
    source = """
        from asyncjit import fork, sync
        from asyncjit.scripting import script

        count = 1

        @script
        def fn(x):
            global count
            count += sync.wait(fork(abs, x))
            return helper(count)

        @script
        def fact(n):
            return n * fact(n - 1) if n else 1

        def helper(x):
            return -x
    """
    module = imported(source, tmp_path)
    assert module.fn(-2) == -3
    assert module.count == 3
    module.helper = str
    assert module.fn(1) == "4"
    assert module.fact(5) == 120
    assert set(steps_of(module.fn).__globals__) == set(vars(module))


# -- classes


class __Base:
    __secret = 1

    def __init__(self) -> None:
        self.__own = 2

    def get(self) -> Any:
        return self.__secret, __class__  # type: ignore[name-defined]


class _Child(__Base):
    __secret = 3

    @script
    def get(self, *, __keyword: int = 4) -> Any:
        __local = sync.wait(fork(abs, 5))

        def inner(me: Any) -> Any:
            return me.__secret, __local, super().get(), sync.wait(fork(abs, 6))

        return super().get(), self.__secret, __keyword, inner(self), __class__, self.__made()  # type: ignore[name-defined]

    def __made(self) -> Any:
        @script
        def deep(x: Any) -> Any:
            return self.__secret + sync.wait(fork(abs, x))

        return deep(7)


def test_private_names_are_mangled_as_in_the_class() -> None:
    base, child = (1, __Base), _Child()
    assert child.get() == (base, 3, 4, (3, 5, base, 6), _Child, 10)
    assert child.get(_Child__keyword=8)[2] == 8
    assert _Child.get(child)[4] is _Child


def test_super_outside_of_a_class_fails_as_it_does_in_plain_python() -> None:
    def fn(self: Any) -> Any:
        return super().get(), sync.wait(fork(abs, 1))  # type: ignore[misc]

    for each in (fn, script(fn)):
        with pytest.raises((RuntimeError, NameError), match="__class__"):
            each(_Child())


# -- what the file says of itself


@pytest.mark.parametrize("future", [True, False])
def test_annotations_of_nested_functions_are_evaluated_as_the_file_says(tmp_path: Path, future: bool) -> None:
    head = "from __future__ import annotations\n" if future else ""
    body = "def inner(x: 1 + 1): return wait(x)\n    y: fut.missing() = inner(fut)\n    return inner, y\n"
    source = f"{head}def fn(wait, fut):\n    {body}"
    inner, y = script(imported(source, tmp_path).fn)(sync.wait, fork(abs, -2))
    assert inner.__annotations__ == ({"x": "1 + 1"} if future else {"x": 2})
    assert y == 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
def test_type_parameters_mean_what_they_meant(tmp_path: Path) -> None:
    source = """
        class C[S]:
            def fn[T: int](self, wait, fut: T) -> T:
                def inner[U](x: U, y: T) -> U:
                    return wait(x), U.__name__
                assert [str(each) for each in inner.__type_params__] == ["U"]
                type Alias = list[T]
                return T.__name__, S.__name__, inner(fut, 1), Alias.__name__
    """
    module = imported(source, tmp_path)
    scripted = script(module.C.fn)
    assert scripted(module.C(), sync.wait, fork(abs, -2)) == ("T", "S", (2, "U"), "Alias")
    assert scripted.__annotations__ == module.C.fn.__annotations__
    assert scripted.__type_params__ == module.C.fn.__type_params__


def test_the_text_is_python_of_what_runs() -> None:
    def fn(x: list[int], y: int = 2) -> Any:
        """Have a docstring."""
        future = fork(abs, y)
        return [sync.wait(future), x.count(y), len(x)]

    assert script(fn).code == (
        "async def fn(x: list[int], y: int=2) -> Any:\n"
        '    """Have a docstring."""\n'
        "    future = fork(abs, y)\n"
        "    return [await _finish(_begin(sync.wait)(future)), await _finish(_begin(x.count)(y)), len(x)]"
    )
