"""A web service around a model: Starlette on uvicorn, kernels on asyncjit's pool, the loop free to answer.

Run it with `python examples/service.py`, then:

    curl -s localhost:8000/predict -d '{"sequence": [[0.1, 0.2], [0.3, 0.4]]}'
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncjit import Runtime, call, current_runtime, nn
from asyncjit.errors import Overloaded

NUM_FEATURES = 2
model = nn.Sequential(nn.Linear(NUM_FEATURES, 16, rng=0), nn.Linear(16, 1, rng=1))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep one runtime while the service lives: every handler sees it."""
    async with Runtime(max_queued=1000):
        yield


async def predict(request: Request) -> JSONResponse:
    """Return a prediction for each row of `sequence`, a list of rows of NUM_FEATURES numbers."""
    try:
        body = json.loads(await request.body())
        x = np.asarray(body["sequence"], dtype=np.float32)
    except (ValueError, KeyError, TypeError) as error:
        return JSONResponse({"error": f"the body must be {{'sequence': [[...], ...]}}: {error!r}"}, status_code=400)
    if x.ndim != 2 or x.shape[1] != NUM_FEATURES:
        reason = f"a sequence has the shape (steps, {NUM_FEATURES}), got {x.shape}"
        return JSONResponse({"error": reason}, status_code=400)
    try:
        y = await call(model, x)
    except Overloaded as error:
        return JSONResponse({"error": str(error)}, status_code=503)
    return JSONResponse({"predictions": y[:, 0].tolist()})


async def healthz(request: Request) -> JSONResponse:
    """Tell that the loop answers, and how busy the pool is."""
    statistics = current_runtime().statistics()
    return JSONResponse({"status": "ok", "running": statistics.running, "queued": statistics.queued})


app = Starlette(
    routes=[Route("/predict", predict, methods=["POST"]), Route("/healthz", healthz)],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8000)
