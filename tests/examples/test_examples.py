"""Each example runs as a user would run it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.loading import EXAMPLES
from tests.support import optional


def run(name: str, *arguments: str, folder: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tutorial_runs_and_prints_what_it_promises(tmp_path: Path) -> None:
    out = run("tutorial.py", "6", "3", "8", folder=tmp_path)
    assert "-100.0" in out
    assert "Inference took" in out
    assert (tmp_path / "parallel.json").exists()


def test_the_async_model_gathers_meets_its_deadline_and_is_cancelled(tmp_path: Path) -> None:
    out = run("async_model.py", folder=tmp_path).splitlines()
    assert out[0] == "gathered two outputs of shape (20, 8, 64) equal: True"
    assert out[1].startswith("deadline: the ")
    assert out[2].startswith("cancelled: the fork of LSTMEnsemble (forked at async_model.py:")


@pytest.fixture
def service() -> Any:
    optional("starlette")
    optional("uvicorn")
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("service")
    finally:
        sys.path.remove(str(EXAMPLES))


async def ask(service: Any, method: str, path: str, **request: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=service.app)
    async with service.lifespan(service.app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, **request)


async def test_the_service_predicts_what_the_model_gives(service: Any) -> None:
    answer = await ask(service, "POST", "/predict", json={"sequence": [[0.1, 0.2], [0.3, 0.4]]})
    expected = service.model(service.np.array([[0.1, 0.2], [0.3, 0.4]], service.np.float32))
    assert answer.status_code == 200
    assert answer.json()["predictions"] == pytest.approx(expected[:, 0].tolist())


async def test_the_service_is_healthy(service: Any) -> None:
    answer = await ask(service, "GET", "/healthz")
    assert answer.json() == {"status": "ok", "running": 0, "queued": 0}


HOSTILE = [  # each was answered by 500 once
    b'{"sequence": [[NaN, 1]]}',
    b'{"sequence": [[1e300, 1]]}',
    b'{"sequence": [[1' + b"0" * 400 + b", 1]]}",
    b'{"sequence": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"\xff",
]


@pytest.mark.parametrize(
    "body", [b"no json", b"{}", b'{"sequence": [[1, 2, 3]]}', b'{"sequence": [[1], [1, 2]]}', *HOSTILE]
)
async def test_the_service_tells_what_is_wrong_with_a_request(service: Any, body: bytes) -> None:
    answer = await ask(service, "POST", "/predict", content=body)
    assert answer.status_code == 400
    assert "sequence" in answer.json()["error"]
