"""In FastAPI, `async def` handlers await, and `def` handlers, which run in its threads, use the facade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

import asyncjit
from asyncjit import sync
from tests.support import optional


@pytest.mark.parametrize("path", ["/async", "/sync"])
async def test_handlers_of_both_kinds_use_the_runtime_of_the_lifespan(path: str) -> None:
    optional("fastapi")
    from fastapi import FastAPI

    seen: list[asyncjit.Runtime] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncjit.Runtime(2) as runtime:
            seen.append(runtime)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/async")
    async def awaiting() -> dict[str, float]:
        seen.append(asyncjit.current_runtime())
        return {"sum": float(await asyncjit.call(np.sum, np.ones(3)))}

    @app.get("/sync")
    def blocking() -> dict[str, float]:
        seen.append(asyncjit.current_runtime())
        return {"sum": float(sync.call(np.sum, np.ones(3)))}

    transport = httpx.ASGITransport(app=app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get(path)
    assert answer.json() == {"sum": 3.0}
    assert seen[0] is seen[1]
