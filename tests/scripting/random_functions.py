"""Random functions of the constructs that scripted code may wait in, as source text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from random import Random

from hypothesis import strategies as st

HEAD = """\
from asyncjit import fork, sync
from asyncjit.sync import wait as alias
from tests.scripting.calls import Box, Failed, Swallows, double, fail, late, logged, said

"""
NAMES = ("a", "b", "x")
WAITS = (
    "sync.wait(late(log, {}))",
    "alias(late(log, {}))",
    "late(log, {}).wait()",
    "late(log, {}).result(60.0)",
    "sync.call(double, {})",
    "sum(sync.wait_all([late(log, {}), late(log, 1)]))",
    "wait_in(log, {})",
    "box.of(alias)(late(log, {}))",
)
RAISING = (
    "sync.wait(fork(fail, {}))",
    "alias(fork(fail, {}), 60.0)",
    "{} // 0",
    "[][{}]",
    "log.missing({})",
    "int(box)({})",
)
OTHERS = (
    "said(log, {})",
    "box.of({})",
    "box[{} % 2]",
    "(a := {})",
    "len([said(log, n) for n in range(2) if {}])",
    "sum([n + {} for n in (1, 2)])",
    "max({{n: {} for n in range(2)}}.values())",
    "(lambda n=said(log, {}): n + 1)()",
    "len({{{}, 1}})",
    "-{}",
)
SIMPLE = (  # what no string and no assignment may be in
    "int(f'{{{}:>3}}')",
    "sum(n for n in [{}, 1])",
    "sum([m + n for m in range({} % 3) for n in (1, 2)])",
)
PAIRS = ("({} + {})", "({} and {})", "({} or {})", "({} < {})", "said(log, said)(log, {} - {})", "max({}, {})")


class Writer:
    """Writes one function; `depth` is that of its blocks and of its expressions."""

    def __init__(self, random: Random, depth: int) -> None:
        self._random = random
        self._depth = depth
        self._num_names = 0

    def function(self) -> str:
        body = ["box = Box(log)", "a = b = 1", *self.block(self._depth, in_loop=False), "return a, b, x, box"]
        helper = "def wait_in(log, x):\n    return sync.wait(late(log, x)) + 1\n\n\n"
        return HEAD + helper + "def random(log, x):\n" + textwrap.indent("\n".join(body), "    ") + "\n"

    def block(self, depth: int, *, in_loop: bool) -> list[str]:
        return [line for _ in range(self._number(1, 3)) for line in self.statement(depth, in_loop=in_loop)]

    def statement(self, depth: int, *, in_loop: bool) -> list[str]:
        kinds = [*self._simple, *([self._leave] if in_loop else []), *(self._compound if depth else [])]
        return self._random.choice(kinds)(depth, in_loop)

    def expression(self, depth: int | None = None) -> str:
        depth = self._depth if depth is None else depth
        if not depth or self._number(0, 4) == 0:
            return self._one_of((*NAMES, "0", "1", "2"))
        kind = self._number(0, 19)
        if kind < 9:
            return self._one_of(WAITS).format(self.expression(depth - 1))
        if kind < 14:
            return self._one_of(OTHERS).format(self.expression(depth - 1))
        if kind == 14:
            return self._one_of(SIMPLE).format(self._one_of(WAITS).format(self._one_of(NAMES)))
        if kind == 15:
            return self._one_of(RAISING).format(self.expression(depth - 1))
        if kind == 16:
            return "({} if {} else {})".format(*(self.expression(depth - 1) for _ in range(3)))
        return self._one_of(PAIRS).format(self.expression(depth - 1), self.expression(depth - 1))

    # -- statements

    @property
    def _simple(self) -> list[Callable[[int, bool], list[str]]]:
        return [self._assign, self._assign, self._item, self._say, self._assert, self._return]

    @property
    def _compound(self) -> list[Callable[[int, bool], list[str]]]:
        return [self._if, self._for, self._while, self._try, self._try_star, self._with, self._match, self._def]

    def _assign(self, depth: int, in_loop: bool) -> list[str]:
        return [f"{self._one_of(NAMES)} {self._one_of(('=', '+=', '-='))} {self.expression()}"]

    def _item(self, depth: int, in_loop: bool) -> list[str]:
        return [f"box[{self.expression(1)} % 2] {self._one_of(('=', '+='))} {self.expression()}"]

    def _say(self, depth: int, in_loop: bool) -> list[str]:
        return [self.expression()]

    def _assert(self, depth: int, in_loop: bool) -> list[str]:
        return [f"assert {self.expression()} < 50, {self.expression(1)}"]

    def _return(self, depth: int, in_loop: bool) -> list[str]:
        return [f"if {self.expression(1)} > 9:", f"    return {self.expression()}"]

    def _leave(self, depth: int, in_loop: bool) -> list[str]:
        return [f"if {self.expression(1)}:", f"    {self._one_of(('break', 'continue'))}"]

    def _if(self, depth: int, in_loop: bool) -> list[str]:
        lines = [f"if {self.expression()}:", *self._inner(depth, in_loop)]
        return [*lines, "else:", *self._inner(depth, in_loop)] if self._number(0, 1) else lines

    def _for(self, depth: int, in_loop: bool) -> list[str]:
        lines = [f"for a in range({self.expression()} % 3):", *self._inner(depth, True)]
        return [*lines, "else:", *self._inner(depth, in_loop)] if self._number(0, 1) else lines

    def _while(self, depth: int, in_loop: bool) -> list[str]:
        count = self._new_name("count")
        lines = [f"{count} = 0", f"while {count} < 2 and {self.expression()} < 90:", f"    {count} += 1"]
        return [*lines, *self._inner(depth, True)]

    def _try(self, depth: int, in_loop: bool) -> list[str]:
        handlers = [
            f"except {self._one_of(('Failed', 'ZeroDivisionError', 'Exception'))} as error:",
            "    said(log, str(error))",
        ]
        endings = (
            [*handlers, *self._inner(depth, in_loop)],
            [*handlers, *self._inner(depth, in_loop), "else:", *self._inner(depth, in_loop)],
            ["finally:", *self._inner(depth, in_loop)],
            [*handlers, *self._inner(depth, in_loop), "finally:", *self._inner(depth, in_loop)],
        )
        return ["try:", *self._inner(depth, in_loop), *endings[self._number(0, 3)]]

    def _try_star(self, depth: int, in_loop: bool) -> list[str]:
        handler = ["except* (Failed, ArithmeticError) as group:", "    said(log, len(group.exceptions))"]
        return ["try:", *self._inner(depth, in_loop), *handler, f"    a = {self.expression()}"]

    def _with(self, depth: int, in_loop: bool) -> list[str]:
        managers = (
            "logged(log, {})",
            "Swallows(log) as manager",
            "logged(log, 1), logged(log, {}) as a, Swallows(log)",
        )
        return [f"with {self._one_of(managers).format(self.expression())}:", *self._inner(depth, in_loop)]

    def _match(self, depth: int, in_loop: bool) -> list[str]:
        cases = [f"case 2 | 4 if {self.expression()}:", *self._inner(depth, in_loop)]
        cases += [
            f"case int() as b if {self.expression()}:",
            *self._inner(depth, in_loop),
            "case _:",
            *self._inner(depth, in_loop),
        ]
        return [f"match {self.expression()}:", *(f"    {line}" for line in cases)]

    def _def(self, depth: int, in_loop: bool) -> list[str]:
        name = self._new_name("inner")
        head = [f"def {name}(x, y={self.expression(1)}, *, z={self.expression(1)}):", "    nonlocal a, b"]
        end = [
            f"    return x + y + z + {self.expression()}",
            f"b = {name}({self.expression()}, z={self.expression(1)})",
        ]
        return [*head, *self._inner(depth, False), *end]

    # -- drawing

    def _inner(self, depth: int, in_loop: bool) -> list[str]:
        return [f"    {line}" for line in self.block(depth - 1, in_loop=in_loop)]

    def _number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def _one_of(self, choices: tuple[str, ...]) -> str:
        return self._random.choice(choices)

    def _new_name(self, stem: str) -> str:
        self._num_names += 1
        return f"{stem}{self._num_names}"


sources = st.builds(
    lambda seed, depth: Writer(Random(seed), depth).function(), st.integers(0, 2**32), st.integers(1, 3)
)
