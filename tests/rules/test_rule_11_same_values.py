"""Rule 11: how a model is run decides when it is computed and by whom, never what comes out, to the last bit.

While BLAS is held, that is: OpenBLAS with two threads cuts its products elsewhere than with one.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import Runtime, fork, nn, sync, wait_all
from asyncjit.testing import deterministic
from tests.at_rest import PATIENCE_S, all_threads_busy
from tests.rules.places import in_loop_thread, in_place, in_plain_thread, in_pool_thread
from tests.scripts import check_script

Array = NDArray[Any]
Bits = list[tuple[str, tuple[int, ...], bytes]]


class BothDirections(nn.Module):
    """Two LSTMs, of which one runs backwards, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards = nn.LSTM(24, 40, rng=1)
        self.backwards = nn.LSTM(24, 40, rng=2)

    def forward(self, x: Array) -> Array:
        future = fork(self.forwards, x)
        backwards, _ = self.backwards(x[::-1])
        output, _ = sync.wait(future)
        return np.concatenate([output, backwards[::-1]], axis=-1)


class BothDirectionsAsync(BothDirections):
    """The same as coroutines."""

    async def forward(self, x: Array) -> Array:  # type: ignore[override]  # in place of the blocking one
        future = fork(self.forwards, x)
        backwards, _ = await fork(self.backwards, x[::-1])
        output, _ = await future
        return np.concatenate([output, backwards[::-1]], axis=-1)


def draw(*shape: int) -> Array:
    return np.random.default_rng(7).standard_normal(shape, np.float32)


def lstm(layers: int = 2) -> list[Array]:
    """Run a bidirectional LSTM; return its output and its last states."""
    output, (h_n, c_n) = nn.LSTM(24, 40, num_layers=layers, bidirectional=True, rng=3)(draw(12, 9, 24))
    return [output, h_n, c_n]


def lstm_of_doubles() -> list[Array]:
    model = nn.LSTM(24, 40, dtype=np.float64, rng=3)
    output, (h_n, c_n) = model(draw(12, 9, 24).astype(np.float64))
    return [output, h_n, c_n]


def linear() -> list[Array]:
    """Run a layer big enough for BLAS to use several threads, if it were let."""
    return [nn.Linear(500, 400, rng=4)(draw(700, 500))]


def matmul() -> list[Array]:
    a = draw(300, 500)
    return [a @ a.T, np.matmul(draw(6, 40, 50), draw(6, 50, 30)), a @ a[0]]


def reductions() -> list[Array]:
    a = draw(333, 777)
    return [a.sum(axis=0), a.mean(axis=1), np.exp(a).sum(keepdims=True), np.tanh(a)]


MODELS = [lstm, lstm_of_doubles, linear, matmul, reductions]

Model = Callable[[], list[Array]]


def bits(arrays: list[Array]) -> Bits:
    """Return all there is to compare: two NaNs may be the same, 0.0 and -0.0 are not."""
    return [(array.dtype.str, array.shape, array.tobytes()) for array in arrays]


def digest() -> str:
    """Run each model forked, with BLAS held; return what came out, in short."""
    sync.wait(fork(int))
    futures = [fork(model) for model in MODELS]
    return hashlib.sha256(repr([bits(future.result()) for future in futures]).encode()).hexdigest()


@pytest.fixture
def runtime(num_interop_threads: int) -> Iterator[Runtime]:
    """Return a runtime that holds BLAS already, so that a serial run in the test's own thread is of the same kind."""
    with Runtime(num_interop_threads) as runtime:
        sync.wait(fork(int))
        yield runtime


@pytest.fixture(params=MODELS, ids=lambda model: model.__name__)
def model(request: pytest.FixtureRequest) -> Model:
    """Each of the models."""
    return request.param  # type: ignore[no-any-return]


def forked(model: Model) -> list[Array]:
    return sync.wait(fork(model))


def nested(model: Model) -> list[Array]:
    return sync.wait(fork(lambda: sync.wait(fork(lambda: sync.wait(fork(model))))))


def awaited(model: Model) -> list[Array]:
    async def main() -> list[Array]:
        return await fork(model)

    return asyncio.run(main())


def in_coroutine_fork(model: Model) -> list[Array]:
    async def main() -> list[Array]:
        return await fork(model)

    return sync.wait(fork(main))


@pytest.mark.parametrize(
    "way",
    [forked, in_pool_thread, in_place, in_plain_thread, in_loop_thread, nested, awaited, in_coroutine_fork],
)
def test_every_way_to_run_a_model_gives_the_values_of_a_serial_run(
    runtime: Runtime, model: Model, way: Callable[[Model], list[Array]]
) -> None:
    assert bits(way(model)) == bits(model())


def test_a_busy_pool_gives_the_values_of_an_idle_one(runtime: Runtime) -> None:
    """All models run side by side, in whatever company."""
    serial = [bits(model()) for model in MODELS]
    for _ in range(3):
        with all_threads_busy(runtime):
            futures = [fork(model) for model in MODELS * 4]
        assert [bits(future.result()) for future in futures] == serial * 4


async def test_models_awaited_side_by_side_give_the_values_of_a_serial_run(num_interop_threads: int) -> None:
    async with Runtime(num_interop_threads):
        await fork(int)
        serial = [bits(model()) for model in MODELS]
        values = await wait_all([fork(model) for model in MODELS * 4])
        assert [bits(value) for value in values] == serial * 4


def test_the_debuggers_mode_gives_the_same_values(model: Model) -> None:
    with Runtime(4):
        expected = bits(in_pool_thread(model))
    with Runtime(inline=True):
        assert bits(forked(model)) == bits(nested(model)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_kernels_makes_no_difference(seed: int) -> None:
    with Runtime(4):
        expected = [bits(in_pool_thread(model)) for model in MODELS]
    with deterministic(seed):
        futures = [fork(model) for model in MODELS]
        assert [bits(future.result(PATIENCE_S)) for future in futures] == expected


def test_the_number_of_threads_makes_no_difference(model: Model) -> None:
    values = []
    for num_interop_threads in (1, 2, 4):
        with Runtime(num_interop_threads):
            values += [bits(value) for value in sync.wait_all([fork(model) for _ in range(8)])]
    assert values == [values[0]] * 24


def test_a_known_function_forked_by_itself_gives_what_its_call_gives(runtime: Runtime) -> None:
    a, b = draw(600, 500), draw(500, 400)
    assert bits([sync.wait(fork(np.matmul, a, b))]) == bits([np.matmul(a, b)])
    assert bits([sync.wait(fork(np.tanh, a))]) == bits([np.tanh(a)])
    assert bits([sync.wait(fork(np.sum, a, axis=0))]) == bits([np.sum(a, axis=0)])
    assert bits([sync.wait(fork(np.negative, a[:1, :1]))]) == bits([np.negative(a[:1, :1])])


def test_a_model_of_kernels_and_one_of_coroutines_give_the_same_values(runtime: Runtime) -> None:
    x = draw(12, 9, 24)
    model, model_async = BothDirections(), BothDirectionsAsync()
    forwards, _ = model.forwards(x)
    backwards, _ = model.backwards(x[::-1])
    expected = bits([np.concatenate([forwards, backwards[::-1]], axis=-1)])
    assert bits([model(x)]) == bits([sync.wait(fork(model, x))]) == expected
    assert bits([sync.wait(fork(model_async, x))]) == expected


@pytest.mark.parametrize("inline", ["", "1"], ids=["threads", "inline"])
def test_another_process_gives_the_same_values(inline: str) -> None:
    script = "from tests.rules.test_rule_11_same_values import digest\nprint(digest())"
    with Runtime(2):
        here = digest()
    environ = {"ASYNCJIT_NUM_INTEROP_THREADS": "4", "ASYNCJIT_INLINE": inline, "PYTHONHASHSEED": str(os.getpid() % 999)}
    assert check_script(script, environ).out == f"{here}\n"
