"""Functions that fail in the middle of things, and one that runs over many lines: for what tells of lines."""

from __future__ import annotations

from typing import Any

from asyncjit import fork, sync
from tests.scripting.calls import Failed, fail, late, logged, said


def in_a_wait(log: Any, x: Any) -> Any:
    return 1 + sync.wait(fork(fail, x)) + 1


def in_a_plain_call(log: Any, x: Any) -> Any:
    return said(log, 1) + fail(x) + said(log, 2)


def in_an_unknown_call(log: Any, x: Any) -> Any:
    do = fail
    return log.append(do(x)) or sync.wait(late(log, 1))


def in_an_argument(log: Any, x: Any) -> Any:
    return sync.wait(late(log, log[5]))


def without_the_attribute(log: Any, x: Any) -> Any:
    return log.index(1).bit_length().missing(said(log, 2))


def not_callable(log: Any, x: Any) -> Any:
    return log.append(x(said(log, 1)))


def wrong_argument(log: Any, x: Any) -> Any:
    return log.append(said(log, 1), 2)


def over_lines(log: Any, x: Any) -> Any:
    return (
        str(x)
        .upper()
        .join(
            [],
        )
        .replace(
            "a",
            fail(
                x,
            ),
        )
    )


def at_the_end_of_lines(log: Any, x: Any) -> Any:
    return (
        str(x)
        .upper()
        .index(
            "missing",
        )
        .bit_length()
    )


def with_stars_over_lines(log: Any, x: Any) -> Any:
    return (
        str(x)
        .upper()
        .index(
            *said(log, ["missing"]),
        )
    )


def in_a_comprehension(log: Any, x: Any) -> Any:
    return {n: [sync.wait(fork(fail, m)) for m in range(n)] for n in range(3)}


def in_an_f_string(log: Any, x: Any) -> Any:
    return f"{x} {log.append(1)} {log.index(9)}"


def in_a_with(log: Any, x: Any) -> Any:
    with logged(log, "a"), logged(log, "b"):
        sync.wait(fork(fail, x))


def in_entering(log: Any, x: Any) -> Any:
    with logged(log, "a"), log.pop():
        sync.wait(fork(fail, x))


def in_a_nested_function(log: Any, x: Any) -> Any:
    def inner(y: Any) -> Any:
        return sync.wait(fork(fail, y))

    return inner(x)


def in_a_handler(log: Any, x: Any) -> Any:
    try:
        sync.wait(fork(fail, x))
    except Failed as error:
        raise ValueError(log.index(9)) from error


class Holder:
    """Has a method that fails."""

    def method(self, log: Any, x: Any) -> Any:
        if x:
            return self.method(log, x - 1)
        return self.missing(said(log, 1))  # type: ignore[attr-defined]


# fmt: off
def many_lines(log: Any, x: Any) -> Any:
    fut = late(
        log,
        x,
    )
    chained = str(
        x,
    ).join(
        [*str(x)],
    )
    for _ in range(
        2,
    ):
        if x.bit_length(

        ):
            taken = fut.wait()
        else:
            taken = 3
    with logged(log, "a") as a, logged(
        log,
        "b",
    ):
        log.append(
            a,
        )
        if a == "a":
            log.append(1)
    try:
        log.index(
            "missing",
        )
    except ValueError as error:
        str(error).upper()
    finally:
        log.count(1)
    listed = [
        sync.wait(late(log, n))
        for n in range(3)
        if log.count(n) < 9
    ]
    mapped = {
        fut.wait(): log.count(1)
        for n in listed
    }
    while log.count("end") < 2:
        log.append("end")
        if log.count("end") == 1:
            continue
    match fut.wait():
        case 3 if log.count(1):
            return None
        case 4 if sync.wait(
            late(log, 1)
        ):
            log.append("four")
    assert log.count("four"), log.count(1)

    def inner(
        y: int = log.count(9),
    ) -> Any:
        """Have lines of its own."""
        return fut.wait(
        ) + y

    class Inner:
        size = log.count(
            9)

        def method(self) -> Any:
            return inner(
                y=2
            )

    return (
        inner()
        and log.count(9)
    ) or (
        Inner().method()
    ), taken, chained, mapped
