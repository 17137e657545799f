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
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncjit import Runtime, call, current_runtime, nn
from asyncjit.errors import Overloaded

NUM_FEATURES = 2
LARGEST = 1e6  # a larger number is no feature, and what overflows has no JSON
model = nn.Sequential(nn.Linear(NUM_FEATURES, 16, rng=0), nn.Linear(16, 1, rng=1))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep one runtime while the service lives: every handler sees it."""
    async with Runtime(max_queued=1000):
        yield


def parse(body: bytes) -> NDArray[np.float32]:
    """Return the sequence in a request's body; ValueError with the reason if there is none."""
    try:
        x = np.array(json.loads(body)["sequence"], dtype=np.float64)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"the body must be {{'sequence': [[...], ...]}}: {error!r}") from None
    if x.ndim != 2 or x.shape[1] != NUM_FEATURES:
        raise ValueError(f"a sequence has the shape (steps, {NUM_FEATURES}), got {x.shape}")
    if not (np.abs(x) <= LARGEST).all():  # false for NaN too
        raise ValueError(f"a sequence has finite numbers between {-LARGEST:g} and {LARGEST:g}")
    return x.astype(np.float32)


async def predict(request: Request) -> JSONResponse:
    """Return a prediction for each row of `sequence`, a list of rows of NUM_FEATURES numbers."""
    try:
        x = parse(await request.body())
    except ValueError as error:
        return JSONResponse({"error": str(error)}, status_code=400)
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
