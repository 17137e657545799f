"""The two doors, `asyncjit` and `asyncjit.sync`, as one set of blocking calls."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import asyncjit
from asyncjit import Future, sync


async def listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


class Door:
    """One of the two doors, as blocking calls; the awaiting one on a loop of its own."""

    def __init__(self, *, awaits: bool) -> None:
        self.awaits = awaits

    def wait_all(self, futs: Iterable[Future[Any]], **options: Any) -> list[Any]:
        if not self.awaits:
            values: list[Any] = sync.wait_all(futs, **options)
            return values

        async def main() -> list[Any]:
            values: list[Any] = await asyncjit.wait_all(futs, **options)
            return values

        return asyncio.run(main())

    def as_completed(self, futs: Iterable[Future[Any]]) -> list[Future[Any]]:
        if not self.awaits:
            return list(sync.as_completed(futs))

        async def main() -> list[Future[Any]]:
            return await listed(asyncjit.as_completed(futs))

        return asyncio.run(main())

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], num: int = -1, **options: Any) -> list[Any]:
        """Take `num` values, all by default, and leave."""
        taken: list[Any] = []
        if not self.awaits:
            values = sync.map(fn, *iterables, **options)
            taken += itertools.islice(values, num) if num >= 0 else values
            values.close()  # type: ignore[attr-defined]
            return taken

        async def main() -> list[Any]:
            values = asyncjit.map(fn, *iterables, **options)
            while len(taken) != num:
                try:
                    taken.append(await anext(values))
                except StopAsyncIteration:
                    break
            await values.aclose()  # type: ignore[attr-defined]
            return taken

        return asyncio.run(main())
