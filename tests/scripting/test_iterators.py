"""Iterators whose steps wait: the end of one is an exception that no coroutine can raise."""

from __future__ import annotations

from typing import Any

from asyncjit import fork, script, sync


def test_a_scripted_iterator_ends_its_loop(runtime: sync.Runtime) -> None:
    @script
    def fn(n: int) -> Any:
        class Values:
            left = n

            def __iter__(self) -> Any:
                return self

            def __next__(self) -> Any:
                if not self.left:
                    raise StopIteration
                self.left -= 1
                return sync.wait(fork(abs, -self.left))

        return list(Values()), [value for value in Values()]  # noqa: C416  # Python's own loop beside C's

    assert fn(3) == sync.wait(fork(fn, 3)) == ([2, 1, 0], [2, 1, 0])
