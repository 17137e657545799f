"""Random programs of forks and waits, as source text.

A program is a module of functions, coroutine functions and models, the last of which is `main(x, y, n)`. Each may fork,
call and wait for those above it. Arrays are float32[3], and never grow; which way a program goes is decided by Python
integers, and, where it need not be traced, by values too. It never matters when what runs: a fork changes nothing, and
of the futures that are waited for together at most one may fail.

The same text means different things under different heads: with `sync` it is eager, with `serial` every fork is called
at once, and with `script` some of its functions are compiled, and use either door.
"""

from __future__ import annotations

from random import Random

from tests.programs.bodies import Body
from tests.programs.kinds import ARRAY, Choices, Function, Kind, future_of

_HEAD = """\
import numpy as np

import asyncjit
from asyncjit import nn, script, sync
from tests.programs import serial
from tests.programs.serial import Failed, same

{doors}
take = here.wait
HALF = np.float32(0.5)
W = np.array([[0.5, 0.25, -0.125], [-0.5, 0.3, 0.1], [0.2, 0.7, -0.1]], np.float32)

"""
_DOORS = {
    "serial": "here, either, there, mark = serial, serial, serial.Awaited, lambda fn: fn",
    "eager": "here, either, there, mark = sync, sync, asyncjit, lambda fn: fn",
    "scripted": "here, either, there, mark = sync, asyncjit, asyncjit, script",
}
HEADS = {name: _HEAD.format(doors=doors) for name, doors in _DOORS.items()}

MAX_FUNCTIONS = 5
STYLES = ("marked", "marked", "plain", "async", "model")  #: of a function; `marked` ones are scripted


def write_program(random: Random, *, may_fail: bool) -> str:
    """Return a program without a head; `may_fail` allows what can't be traced: errors, and decisions by values."""
    choices = Choices(random, may_fail=may_fail)
    functions: list[Function] = []
    texts = [
        _function(choices, functions, choices.one_of(STYLES), is_main=False)
        for _ in range(choices.number(1, MAX_FUNCTIONS))
    ]
    return "\n".join([*texts, _function(choices, functions, "marked", is_main=True)])


def _function(choices: Choices, functions: list[Function], style: str, *, is_main: bool) -> str:
    name = "main" if is_main else choices.new_name("model" if style == "model" else "function")
    given = (
        [("y", ARRAY)] if is_main else [(choices.new_name("p"), _kind(choices, 2)) for _ in range(choices.number(0, 2))]
    )
    params: list[tuple[str, Kind | None]] = [("x", ARRAY), *given, ("n", None)]
    body = Body(choices, functions, style, params)
    result = body.write(6 if is_main else 2, is_plain=is_main and choices.number(0, 3) > 0)
    made = Function(name, style == "async", tuple(params), result, body.fails, body.work)
    lines = body.lines
    if choices.number(0, 3) == 0 and not is_main:
        lines = [*body.recursion(made), *lines]
    functions.append(made)
    return _definition(style, made, lines)


def _kind(choices: Choices, depth: int) -> Kind:
    """Return the kind of a parameter."""
    name = choices.one_of(("array", "future", "tuple", "list", "dict")) if depth else "array"
    if name == "array":
        return ARRAY
    if name == "future":
        return future_of(_kind(choices, depth - 1))
    return Kind(name, tuple(_kind(choices, depth - 1) for _ in range(choices.number(1, 2))))


def _definition(style: str, made: Function, lines: list[str]) -> str:
    params = ", ".join(name for name, _ in made.params)
    if style == "model":
        kind = made.name.capitalize()
        head = ["", f"class {kind}(nn.Module):", f"    def forward(self, {params}):"]
        return "\n".join([*head, *(f"        {line}" for line in lines), "", "", f"{made.name} = mark({kind}())", ""])
    head = ["", "@mark"] if style == "marked" else [""]
    define = "async def" if style == "async" else "def"
    return "\n".join([*head, f"{define} {made.name}({params}):", *(f"    {line}" for line in lines), ""])
