"""Random bodies of functions: their statements."""

from __future__ import annotations

from collections.abc import Callable

from tests.programs.expressions import Expressions
from tests.programs.kinds import ARRAY, Function, Kind, future_of, literal

MAX_STATEMENTS = 5
MAX_DEPTH = 2  # of blocks within blocks


class Body(Expressions):
    """Writes one block; those in it are bodies too, whose names are theirs alone."""

    def write(self, max_given: int, *, is_plain: bool) -> Kind:
        """Write a function's body; return what it gives back: no futures if it is to be plain."""
        self._statements()
        given = [self._any(is_plain=is_plain) for _ in range(self.choices.number(1, max_given))]
        arrays = [expression for expression, kind in self.known if kind == ARRAY]
        given.append((f"np.stack([{', '.join(arrays)}]).mean(axis=0)", ARRAY))
        if len(given) == 1:
            self.lines.append(f"return {given[0][0]}")
            return given[0][1]
        name = self.choices.one_of(("tuple", "list", "dict"))
        self.lines.append(f"return {literal(name, [expression for expression, _ in given])}")
        return Kind(name, tuple(kind for _, kind in given))

    def recursion(self, made: Function) -> list[str]:
        """Return statements by which a function leaves its work to a fork of itself, and so on."""
        given = ", ".join(f"{name}={name}" if kind is not None else f"{name}={name} - 1" for name, kind in made.params)
        return ["if n > 2:", f"    return {self._waited(f'{self._word}.fork({made.name}, {given})')}"]

    def _statements(self) -> None:
        kinds: list[Callable[[], None]] = [self._operate, self._fork, self._fork, self._wait, self._wait, self._call]
        kinds += [self._wait_all, self._collect, self._pack, self._fork_many]
        if self.depth < MAX_DEPTH:
            kinds += [self._if, self._for, self._while]
            kinds += [self._nested] if self.times == 1 else []  # else it would see the next round's names
            kinds += [self._try, self._try] if self.choices.may_fail else []
        if self.choices.may_fail:
            kinds += [self._raise, self._wait_for_errors]
        for _ in range(self.choices.number(1, MAX_STATEMENTS)):
            self.choices.one_of(kinds)()

    # -- simple statements

    def _operate(self) -> None:
        self._let(self._operation(), ARRAY)

    def _fork(self) -> None:
        self._let(*self._forked())

    def _wait(self) -> None:
        future, kind = self._future()
        self._note_wait(kind)
        self._let(self._waited(future), kind.parts[0])

    def _call(self) -> None:
        function = self._callable(by_fork=False)
        if function is None:
            return
        given = self._arguments(function)
        self.work += self.times * (function.work + 1)
        self.fails |= function.may_fail and not self.is_caught
        if self.is_async:
            self._let(f"await there.call({function.name}, {given})", function.result)
        elif function.is_async or self.choices.number(0, 1):
            self._let(f"{self._word}.call({function.name}, {given})", function.result)
        else:
            self._let(f"{function.name}({given})", function.result)

    def _wait_all(self) -> None:
        futures = self._some_futures()
        self._let(self._waited_all(futures), Kind("list", tuple(kind.parts[0] for _, kind in futures)))

    def _collect(self) -> None:
        futures = self._some_futures()
        listed = ", ".join(expression for expression, _ in futures)
        collected = self._waited(f"{self._word}.collect_all([{listed}])")
        self._let(collected, Kind("list", tuple(kind for _, kind in futures)))

    def _wait_for_errors(self) -> None:
        futures = [self._future(ARRAY) for _ in range(self.choices.number(1, 3))]
        self._let(self._waited_all(futures, ", return_exceptions=True"), Kind("list"))
        self._let(f"np.stack([x if isinstance(r, Exception) else r for r in {self._last}]).mean(axis=0)", ARRAY)

    def _pack(self) -> None:
        given = [self._any() for _ in range(self.choices.number(1, 3))]
        name = self.choices.one_of(("tuple", "list", "dict"))
        self._let(literal(name, [expression for expression, _ in given]), Kind(name, tuple(kind for _, kind in given)))

    def _raise(self) -> None:
        text = self.choices.new_name("error ")
        statement = self.choices.one_of(
            (f'raise Failed("{text}")', f'np.ones({self.choices.number(4, 9)}, "f") + x', "x[[7]]")
        )
        self.lines += [f"if {self._condition()}:", f"    {statement}"]
        self.fails |= not self.is_caught

    # -- statements of several lines

    def _fork_many(self) -> None:
        """Fork in a loop, and wait in another, in some order."""
        function = self._callable(by_fork=True, of=ARRAY, times=3)
        if function is None or (function.may_fail and not self.choices.may_fail):
            return
        futures, result = self.choices.new_name("futures"), self.choices.new_name("v")
        self.integers.append("i")
        self.lines.append(
            f"{futures} = [{self._word}.fork({function.name}, {self._arguments(function)}) for i in range(3)]"
        )
        self.integers.remove("i")
        self.work += 3 * self.times * (function.work + 1)
        self.fails |= function.may_fail and not self.is_caught
        order = self.choices.one_of(("{}", "reversed({})", "[{0}[1], {0}[0], {0}[2], {0}[1]]")).format(futures)
        if self.choices.number(0, 1):
            self.lines.append(f"{result} = np.stack([{self._waited('f')} for f in {order}]).mean(axis=0)")
        else:
            added = f"    {result} = ({result} + {self._waited('f')}) * HALF"
            self.lines += [f"{result} = {self._array()}", f"for f in {order}:", added]
        self._know(result, ARRAY)

    def _nested(self) -> None:
        """Define a function that sees the names around it, and fork or call it."""
        name = self.choices.new_name("inner")
        body = self._block(style="plain" if self.is_async else self.style)
        body.known.append(("z", ARRAY))
        body._statements()
        self.lines += [f"def {name}(z):", *body.indented(f"return ({body._array()} + z) * HALF")]
        self.work = body.work
        if self.is_async or self.choices.number(0, 1):
            self._let(f"{self._word}.fork({name}, {self._array()})", future_of(ARRAY, may_fail=body.fails))
        else:
            self.fails |= body.fails and not self.is_caught
            self._let(f"{name}({self._array()})", ARRAY)

    def _if(self) -> None:
        name = self.choices.new_name("v")
        self.lines.append(f"if {self._condition()}:")
        self._inner(name)
        self.lines.append("else:")
        self._inner(name)
        self._know(name, ARRAY)

    def _for(self) -> None:
        name, number = self.choices.new_name("v"), self.choices.new_name("i")
        times = self.choices.number(1, 3)
        self.lines += [f"{name} = {self._array()}", f"for {number} in range({times}):"]
        self._inner(name, times, number)
        self._know(name, ARRAY)

    def _while(self) -> None:
        name, number = self.choices.new_name("v"), self.choices.new_name("i")
        self.lines += [f"{name} = {self._array()}", f"{number} = 0", f"while {number} < 2:", f"    {number} += 1"]
        self._inner(name, 2, number)
        self._know(name, ARRAY)

    def _try(self) -> None:
        name = self.choices.new_name("v")
        self.lines.append("try:")
        self._inner(name, is_caught=True)
        self.lines += ["except Exception as error:", f"    {name} = x * np.float32(len(str(error)) / 128)"]
        self._know(name, ARRAY)

    def _inner(self, name: str, times: int = 1, number: str | None = None, *, is_caught: bool = False) -> None:
        """Write a block that gives a name its value."""
        body = self._block()
        body.times *= times
        body.is_caught |= is_caught
        body.integers += [number] if number else []
        body._statements()
        future = [expression for expression, kind in body.known if kind == future_of(ARRAY)]
        value = body._array() if not future or self.choices.number(0, 1) else body._waited(self.choices.one_of(future))
        self.lines += body.indented(f"{name} = {value}")
        self.fails |= body.fails
        self.work = body.work

    def _block(self, style: str | None = None) -> Body:
        body = Body(self.choices, self.functions, style or self.style)
        body.known, body.integers = list(self.known), list(self.integers)
        body.depth, body.times, body.is_caught = self.depth + 1, self.times, style is None and self.is_caught
        body.work = self.work  # what is left is less
        return body

    def indented(self, *last: str) -> list[str]:
        return [f"    {line}" for line in (*self.lines, *last)]
