"""Functions that wait in the expressions and statements of the language; each takes a log of calls and a number."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

from asyncjit import Future, fork, sync
from tests.scripting.calls import Box, Failed, Log, Swallows, double, fail, late, logged, said

alias = sync.wait


def one_wait(log: Log, x: int) -> Any:
    future = late(log, x)
    normal = double(x)
    return normal, sync.wait(future)


def by_alias(log: Log, x: int) -> Any:
    return alias(late(log, x))


def by_local_name(log: Log, x: int) -> Any:
    get = sync.wait
    return get(late(log, x)) + get(fut=late(log, x))


def by_local_import(log: Log, x: int) -> Any:
    from asyncjit.sync import wait as w

    return w(late(log, x))


def by_parameter(log: Log, x: int, wait: Callable[..., Any] = sync.wait) -> Any:
    return wait(late(log, x))


def by_partial(log: Log, x: int) -> Any:
    return functools.partial(sync.wait, timeout=60.0)(late(log, x)), functools.partial(sync.wait)(late(log, 2))


def by_method_of_a_future(log: Log, x: int) -> Any:
    future = late(log, x)
    return future.wait(), future.result(60.0), future.exception(), Future.result(future), future.value()


def by_bound_method(log: Log, x: int) -> Any:
    get = late(log, x).result
    return get() + get(timeout=60.0)


def by_call(log: Log, x: int) -> Any:
    return sync.call(double, x), sync.call(said, log, x=x)


def all_at_once(log: Log, x: int) -> Any:
    futures = [late(log, n) for n in range(x)]
    return sync.wait_all(futures), sync.wait_all(iter(futures), 60.0), sync.wait_all(futures, return_exceptions=True)


def errors_of_all(log: Log, x: int) -> Any:
    found = sync.wait_all([late(log, x), fork(fail, x)], return_exceptions=True)
    return [str(each) for each in found]


def error_of_one(log: Log, x: int) -> Any:
    return str(fork(fail, x).exception())


def error_that_leaves(log: Log, x: int) -> Any:
    sync.wait(fork(fail, x))


def waits_twice(log: Log, x: int) -> Any:
    future = late(log, x)
    return sync.wait(future) + sync.wait(future)


def loops(log: Log, x: int) -> Any:
    total = 0
    for n in range(sync.wait(late(log, x))):
        if n == 1:
            continue
        if n == 5:
            break
        total += sync.wait(late(log, n))
    else:
        total += 100
    while sync.wait(late(log, total)) < 50:
        total += 7
        if total == 1:
            break
    else:
        total += sync.wait(late(log, 1))
    return total


def comprehensions(log: Log, x: int) -> Any:
    listed = [sync.wait(late(log, n)) for n in range(sync.wait(late(log, x))) if sync.wait(late(log, n)) > 1]
    seen = {sync.wait(late(log, n)) for n in listed}
    mapped = {sync.wait(late(log, n)): sync.wait(late(log, -n)) for n in seen}
    return listed, seen, mapped, [[sync.wait(late(log, m)) for m in range(n)] for n in range(3)], x


def nested_comprehensions(log: Log, x: int) -> Any:
    return [(y := sync.wait(late(log, m + n))) for m in range(3) for n in [sync.wait(late(log, m))]], y, x


def first_iterable_of_a_generator(log: Log, x: int) -> Any:
    return sum(n + 1 for n in sync.wait_all([late(log, x), late(log, 2)]))


def conditions(log: Log, x: int) -> Any:
    if sync.wait(late(log, x)) == 4:
        return sync.wait(late(log, 1)) if sync.wait(late(log, 0)) else sync.wait(late(log, 2))
    elif sync.wait(late(log, 3)):
        return "three"
    return None


def boolean(log: Log, x: int) -> Any:
    first = sync.wait(late(log, 0)) or (sync.wait(late(log, x)) and sync.wait(late(log, 3)))
    second = not sync.wait(late(log, 0)) and (sync.wait(late(log, 0)) or None)
    return first, second, 1 < sync.wait(late(log, x)) < sync.wait(late(log, 1)) < sync.wait(late(log, 9))


def walrus(log: Log, x: int) -> Any:
    if (n := sync.wait(late(log, x))) > 1:
        return n, (m := n + sync.wait(late(log, n))), m
    return n


def f_strings(log: Log, x: int) -> Any:
    return f"{sync.wait(late(log, x))!r:>{sync.wait(late(log, 3))}} {'a'.join('bc')} {sync.wait(late(log, x)) = }"


def try_finally(log: Log, x: int) -> Any:
    try:
        return sync.wait(late(log, x))
    finally:
        log.append(sync.wait(late(log, 10)))


def try_except(log: Log, x: int) -> Any:
    try:
        sync.wait(fork(fail, x))
    except (ValueError, said(log, Failed)) as error:
        log.append(sync.wait(late(log, str(error))))
    else:
        log.append("not reached")
    try:
        late(log, 1).result()
    except Failed:
        log.append("not reached")
    else:
        log.append(sync.wait(late(log, 3)))
    return log


def try_except_star(log: Log, x: int) -> Any:
    try:
        raise ExceptionGroup("two", [Failed(sync.wait(late(log, x))), ValueError("v")])
    except* Failed as group:
        log.append((str(group.exceptions), sync.wait(late(log, 1))))
    except* ValueError as group:
        log.append(sync.wait(late(log, len(group.exceptions))))
    return log


def raises_from(log: Log, x: int) -> Any:
    try:
        sync.wait(fork(fail, x))
    except Failed as error:
        raise ValueError(sync.wait(late(log, 2))) from error


def managers(log: Log, x: int) -> Any:
    with logged(log, "a") as a, logged(log, str(sync.wait(late(log, x)))) as b:
        log.append((a, b, sync.wait(late(log, 1))))
    with Swallows(log) as manager:
        manager.log.append("in")
        sync.wait(fork(fail, x))
        log.append("not reached")
    with logged(log, "c"):
        with logged(log, "d"):
            return sync.wait(late(log, 5))


def manager_that_sees_an_error(log: Log, x: int) -> Any:
    with logged(log, "a"), logged(log, "b"):
        sync.wait(fork(fail, x))


def no_manager(log: Log, x: Any) -> Any:
    with logged(log, "a"), x:
        sync.wait(late(log, x))


def groups(log: Log, x: int) -> Any:
    with sync.fork_group() as group, sync.fail_after(60.0):
        futures = [group.fork(double, n) for n in range(x)]
        log.append([future.wait() for future in futures])
    return sync.wait_all(futures)


def matches(log: Log, x: int) -> Any:
    match [sync.wait(late(log, x)), *sync.wait_all([late(log, 1)])]:
        case [4, *rest] if sync.wait(late(log, 0)):
            return "no", rest
        case [first, 2 as second] if sync.wait(late(log, 1)):
            return first, second, sync.wait(late(log, 3))
        case _:
            return None


def targets(log: Log, x: int) -> Any:
    box = Box(log)
    box[sync.wait(late(log, 0))] = sync.wait(late(log, x))
    box[sync.wait(late(log, 0))] += sync.wait(late(log, 1))
    box.value *= sync.wait(late(log, x))
    box.other, *box.rest = sync.wait_all([late(log, n) for n in range(3)])
    del box[box.of(0)]
    typed: int = sync.wait(late(log, 7))
    box.of(box).value += box.of(1)
    return box.items, box.value, box.other, box.rest, typed


def asserts(log: Log, x: int) -> Any:
    assert sync.wait(late(log, x)) == 4, "never"
    assert sync.wait(late(log, 0)), sync.wait(late(log, "because"))


def stars(log: Log, x: int) -> Any:
    def show(*args: Any, **kwargs: Any) -> Any:
        log.append((args, kwargs))
        return sync.wait(late(log, len(args)))

    pairs = {"k": sync.wait(late(log, 1))}
    return show(*sync.wait_all([late(log, x)]), said(log, 1), *[2], a=said(log, 3), **pairs, b=sync.wait(late(log, 4)))


def order(log: Log, x: int) -> Any:
    box = Box(log)
    return operator.itemgetter(0, 1)(
        [
            box.of(box.of)(said(log, x) + sync.wait(late(log, 1)), *said(log, ())),
            said(log, max)(said(log, 1), box.of(2)),
        ]
    )


def chains(log: Log, x: int) -> Any:
    return " ".join(
        str(sync.wait(late(log, x)))
        .zfill(sync.wait(late(log, 3)))
        .replace(
            "0",
            "-",
        )
    ).upper()


def nothing_to_wait_for(log: Log, x: int) -> Any:
    return None
