"""Random expressions, over the names that a block knows: arrays, forks, waits, arguments."""

from __future__ import annotations

from collections.abc import Sequence

from tests.programs.kinds import ARRAY, Choices, Function, Kind, future_of, literal

MAX_WORK = 300  # chosen: operations and forks of a call, so that an example takes milliseconds

UNARY = ("np.negative({})", "np.absolute({})", "{}[::-1]", "{} @ W", "np.roll({}, 1)", "{}.copy()", "-{}", "{} * HALF")
BINARY = (
    "({} + {}) * HALF",
    "({} - {}) * HALF",
    "np.maximum({}, {})",
    "np.minimum({}, {})",
    "np.where({} > 0, {}, HALF)",
    "np.stack([{}, {}]).mean(axis=0)",
    "np.concatenate(({}[:1], {}[1:]))",
)
UFUNCS = {"np.negative": 1, "np.absolute": 1, "np.maximum": 2, "np.minimum": 2, "np.copysign": 2}


class Expressions:
    """What a block of a function knows, and writes expressions of.

    Parameters
    ----------
    choices : Choices
    functions : list of Function
        Those above.
    style : str
        Of the function: which words it may use.
    params : sequence of (str, Kind or None)
    """

    def __init__(
        self, choices: Choices, functions: list[Function], style: str, params: Sequence[tuple[str, Kind | None]] = ()
    ) -> None:
        self.choices = choices
        self.functions = functions
        self.style = style
        self.is_async = style == "async"
        self.known: list[tuple[str, Kind]] = []  #: every expression that gives something, by a path from a name
        self.integers = [str(number) for number in range(4)]
        self.lines: list[str] = []
        self.fails = False
        self.is_caught = False  #: whether errors go no further
        self.work = 0
        self.times = 1  #: how often it runs
        self.depth = 0
        for name, kind in params:
            if kind is None:
                self.integers += [name, f"{name} - 1"]
            else:
                self.known += kind.paths(name)

    def _array(self) -> str:
        found = [expression for expression, kind in self.known if kind == ARRAY]
        return self.choices.one_of(found[-3:] if self.choices.number(0, 1) else found)

    def _operation(self) -> str:
        self.work += self.times
        if self.choices.number(0, 1):
            return self.choices.one_of(UNARY).format(self._array())
        return self.choices.one_of(BINARY).format(self._array(), self._array())

    def _condition(self) -> str:
        if self.choices.may_fail and self.choices.number(0, 2) == 0:
            return f"float({self._array()}[{self.choices.number(0, 2)}]) > 0"
        return f"({self._integer()}) % 2 == {self.choices.number(0, 1)}"

    def _integer(self) -> str:
        return self.choices.one_of(self.integers)

    def _any(self, *, is_plain: bool = False) -> tuple[str, Kind]:
        found = [item for item in self.known if item[1].name != "list" or item[1].parts]
        return self.choices.one_of([item for item in found if item[1].is_plain] if is_plain else found)

    def _forked(self) -> tuple[str, Kind]:
        """Return a fork of something."""
        function = self._callable(by_fork=True) if self.choices.number(0, 2) else None
        if function is not None:
            self.work += self.times * (function.work + 1)
            kind = future_of(function.result, may_fail=function.may_fail)
            return f"{self._word}.fork({function.name}, {self._arguments(function)})", kind
        self.work += 2 * self.times
        if self.choices.number(0, 3) == 0:
            seen = self._array() if self.times == 1 else "W[0]"
            return f"{self._word}.fork(lambda z: (z - {seen}) * HALF, {self._array()})", future_of(ARRAY)
        name = self.choices.one_of(list(UFUNCS))
        given = ", ".join(self._array() for _ in range(UFUNCS[name]))
        return f"{self._word}.fork({name}, {given})", future_of(ARRAY)

    def _future(self, of: Kind | None = None, *, may_fail: bool = True) -> tuple[str, Kind]:
        """Return a future that is there, or a new one."""
        found = [
            (expression, kind)
            for expression, kind in self.known
            if kind.name == "future" and of in (None, kind.parts[0]) and (may_fail or not kind.may_fail)
        ]
        if found and self.choices.number(0, 4):
            return self.choices.one_of(found)
        name = self.choices.new_name("f")
        if of is None:
            expression, kind = self._forked()
        else:
            expression, kind = f"{self._word}.fork(same, {self._of(of)})", future_of(of)
        self.lines.append(f"{name} = {expression}")
        self._know(name, kind)
        return (name, kind) if may_fail or not kind.may_fail else self._future(of or ARRAY, may_fail=False)

    def _some_futures(self) -> list[tuple[str, Kind]]:
        """Return futures to wait for at once: of several that fail it would be chance which is seen."""
        futures = [self._future()]
        futures += [self._future(may_fail=False) for _ in range(self.choices.number(0, 2))]
        self._note_wait(futures[0][1])
        return futures if self.choices.number(0, 1) else futures[::-1]

    def _note_wait(self, kind: Kind) -> None:
        self.fails |= kind.may_fail and not self.is_caught

    def _waited(self, future: str) -> str:
        if self.is_async:
            return self.choices.one_of(("await there.wait({})", "await {}")).format(future)
        words = [
            "here.wait({})",
            "{}.wait()",
            "{}.result()",
            "take({})",
            "here.wait({}, 60.0)",
            "{}.result(timeout=60)",
        ]
        words += ["either.wait({})"] * 3 if self.style in ("marked", "model") else []
        return self.choices.one_of(words).format(future)

    def _waited_all(self, futures: list[tuple[str, Kind]], end: str = "") -> str:
        listed = ", ".join(expression for expression, _ in futures)
        return f"{'await ' if self.is_async else ''}{self._word}.wait_all([{listed}]{end})"

    @property
    def _word(self) -> str:
        """Return a door."""
        if self.is_async:
            return "there"
        return self.choices.one_of(("here", "either")) if self.style in ("marked", "model") else "here"

    def _callable(self, *, by_fork: bool, of: Kind | None = None, times: int = 1) -> Function | None:
        """Return a function that may be used here, if there is one."""
        found = [
            function
            for function in self.functions
            if of in (None, function.result) and self.work + times * self.times * (function.work + 1) <= MAX_WORK
        ]
        return self.choices.one_of(found) if found else None

    def _arguments(self, function: Function) -> str:
        """Return arguments: positional ones, then ones by name in any order."""
        given = [
            (name, f"({self._integer()})" if kind is None else self._of(kind, self.depth))
            for name, kind in function.params
        ]
        num_positional = self.choices.number(0, len(given))
        by_name = [f"{name}={value}" for name, value in given[num_positional:]]
        self.choices.random.shuffle(by_name)
        return ", ".join([*(value for _, value in given[:num_positional]), *by_name])

    def _of(self, kind: Kind, depth: int = 0) -> str:
        """Return an expression of a kind."""
        found = [expression for expression, other in self.known if other == kind]
        if found and (kind == ARRAY or self.choices.number(0, 3)):
            return self.choices.one_of(found)
        if kind.name == "future":
            self.work += 2 * self.times
            if kind == future_of(ARRAY) and self.choices.number(0, 1):
                return f"{self._word}.fork(np.negative, {self._array()})"
            return f"{self._word}.fork(same, {self._of(kind.parts[0])})"
        return literal(kind.name, [self._of(part) for part in kind.parts])

    # -- names

    def _let(self, expression: str, kind: Kind) -> None:
        self._last = self.choices.new_name("v")
        self.lines.append(f"{self._last} = {expression}")
        self._know(self._last, kind)

    def _know(self, name: str, kind: Kind) -> None:
        self.known += kind.paths(name)
