"""Sequences in chunks, turns, shares and blocks: the textbook's numbers, and the same bits on any number of threads.

Small arrays are led each way by constants that are made small; some runs take the real ones.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import asyncjit
from asyncjit import nn, sync
from asyncjit._core import intraop, splitting
from asyncjit._core.products import Form, set_product_form
from asyncjit._core.teams import Member
from asyncjit.nn import packing, recurrent, sequence
from tests.at_rest import all_threads_busy, when_idle
from tests.nn.test_packing import assert_same_bits_everywhere
from tests.reference import textbook
from tests.reference.textbook import assert_close

pytestmark = pytest.mark.usefixtures("packed")

Array = NDArray[Any]

# What decides on the way that a sequence is run: the work from which on threads take turns, and share the steps.
NEVER = math.inf
WAYS: dict[str, tuple[float, float]] = {"alone": (NEVER, NEVER), "turns": (1, NEVER), "shared": (1, 1)}


def lead(
    patch: pytest.MonkeyPatch, way: str, chunk: int = 2, block: int = 10**6, *, adds_bias_late: bool = False
) -> None:
    """Lead small sequences the given way, in chunks of so many rows or steps and blocks of so many sequences."""
    turns, shared = WAYS[way]
    small: dict[ModuleType, dict[str, float]] = {
        packing: {"SMALL_LIMIT": 0, "SPLIT_WORK": 1000},
        splitting: {"BLOCK_WORK": 1000, "BLOCK_ROWS": 48},
        sequence: {"TURNS_WORK": turns, "SHARED_WORK": shared, "BLOCK_BATCH": block, "NUM_ROWS": chunk}
        | {"NUM_ROWS_TAKING_TURNS": 1, "NUM_STEPS_TAKING_TURNS": chunk}
        | {"LATE_BIAS_SIZE": 0 if adds_bias_late else NEVER},
        recurrent: {"TURNS_WORK": turns},
    }
    for module, constants in small.items():
        for name, value in constants.items():
            assert hasattr(module, name)
            patch.setattr(module, name, value)


class Teams:
    """Which bodies ran, each with the number of threads that it was run by."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[tuple[str, int]] = []
        patch.setattr(sequence, "together", self.together)

    def together(self, body: Any, most: int) -> None:
        name = getattr(body, "func", body).__name__

        def run(member: Member) -> None:
            if member.rank == 0:
                self.sizes.append((name, member.size))
            body(member)

        intraop.together(run, most)


def drawn(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def run(layer: Any, x: Array, states: tuple[Array, ...]) -> list[Array]:
    """Return the output and the last states."""
    output, last = layer(x, states if len(states) == 2 else states[0])
    return [output, *(last if isinstance(last, tuple) else (last,))]


def assert_textbook(layer: Any, x: Array, states: tuple[Array, ...], found: list[Array], scale: float = 1) -> None:
    step, parameters = textbook.STEPS[type(layer).__name__], layer.state_dict()
    options = {"num_layers": layer.num_layers, "bidirectional": layer.bidirectional}
    for n in range(x.shape[1]):
        wanted = textbook.sequence(step, parameters, x[:, n], [state[:, n] for state in states], **options)
        for array, expected in zip(found, wanted, strict=True):
            assert_close(array[:, n].copy(), expected.astype(x.dtype), scale)


@given(
    kind=st.sampled_from([nn.LSTM, nn.GRU]),
    way=st.sampled_from(list(WAYS)),
    form=st.sampled_from(["packed", "plain"]),
    L=st.integers(1, 7),
    N=st.integers(0, 5),
    H_in=st.sampled_from([1, 5, 32, 300]),
    H=st.one_of(st.integers(1, 70), st.just(260)),
    chunk=st.integers(1, 9),
    block=st.integers(1, 4),
    dtype=st.sampled_from(["float32", "float64"]),
    is_bidirectional=st.booleans(),
    has_bias=st.booleans(),
    adds_bias_late=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whichever_way_it_is_run_a_sequence_is_the_textbooks(
    kind: Callable[..., Any],
    way: str,
    form: Form,
    L: int,
    N: int,
    H_in: int,
    H: int,
    chunk: int,
    block: int,
    dtype: str,
    is_bidirectional: bool,
    has_bias: bool,
    adds_bias_late: bool,
    seed: int,
) -> None:
    layer = kind(H_in, H, bias=has_bias, bidirectional=is_bidirectional, dtype=dtype, rng=seed)
    # Neither contiguous nor writeable: inputs are as they come.
    x = drawn(H_in, N, 2 * L, dtype=dtype, seed=seed).T[::-2]
    num_states = 1 if kind is nn.GRU else 2
    states = tuple(drawn(N, H, 1 + is_bidirectional, dtype=dtype).transpose(2, 0, 1) for _ in range(num_states))
    for array in (x, *states):
        array.flags.writeable = False
    set_product_form(form)
    with pytest.MonkeyPatch.context() as patch:
        lead(patch, way, chunk, block, adds_bias_late=adds_bias_late)
        found = run(layer, x, states)
    assert_textbook(layer, x, states, found, scale=4)


# Bits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("block", [2, 1000])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_bits_are_the_same_however_many_threads_make_them(
    kind: Callable[..., Any], way: str, block: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, way, block=block, adds_bias_late=block == 2)
    layer = kind(70, 170, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
    x = drawn(7, 5, 70, dtype=dtype)
    assert_same_bits_everywhere(lambda: run(layer, x, states_for(layer, 5)))


def states_for(layer: Any, batch: int) -> tuple[Array, ...]:
    shape = (layer.num_layers * (1 + layer.bidirectional), batch, layer.hidden_size)
    states = drawn(2, *shape, dtype=layer.weight_hh_l0.dtype.name, seed=5)
    return (states[0], states[1]) if isinstance(layer, nn.LSTM) else (states[0],)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_block_has_the_bits_it_has_alone(kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, "alone", block=3)
    layer, x = kind(70, 170, rng=0), drawn(4, 7, 70)
    states = states_for(layer, 7)
    whole = run(layer, x, states)
    for rows in (slice(0, 3), slice(3, 7)):
        part = run(layer, x[:, rows], tuple(state[:, rows] for state in states))
        for array, wanted in zip(part, whole, strict=True):
            np.testing.assert_array_equal(array, wanted[:, rows])


# Which way, and by how many


@pytest.mark.parametrize("num_threads", [1, 2, 4])
@pytest.mark.parametrize(
    ("way", "body", "most"), [("alone", "_make_steps", 1), ("turns", "_take_turns", 2), ("shared", "_make_steps", 5)]
)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_on_an_idle_pool_all_threads_that_there_is_work_for_join_in(
    kind: Callable[..., Any], way: str, body: str, most: int, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, way, chunk=100)
    teams = Teams(monkeypatch)
    layer, x = kind(20, 170, rng=0), drawn(4, 3, 20)  # five panels, and a rest
    with sync.Runtime(4) as runtime:
        asyncjit.set_num_threads(num_threads)
        when_idle(runtime).result()
        monkeypatch.setattr(packing, "SPLIT_WORK", NEVER)  # no thread is off for the products with the input
        layer(x)
    assert teams.sizes == [(body, min(most, num_threads))]


@pytest.mark.parametrize("way", WAYS)
def test_on_a_busy_pool_nobody_joins_in(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, way, chunk=100)
    teams = Teams(monkeypatch)
    with sync.Runtime(2) as runtime, all_threads_busy(runtime):
        nn.LSTM(20, 170, rng=0)(drawn(4, 3, 20))
    assert [size for _, size in teams.sizes] == [1]


@pytest.mark.parametrize("way", WAYS)
def test_plain_products_are_not_shared_and_make_no_panels(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_product_form("plain")
    lead(monkeypatch, way, chunk=100)
    teams = Teams(monkeypatch)
    layer = nn.LSTM(20, 170, rng=0)
    with sync.Runtime(2) as runtime:
        when_idle(runtime).result()
        layer(drawn(4, 3, 20))
    assert teams.sizes == [("_make_steps", 1)]
    weights = layer._weights("_l0")
    assert weights.ih._panels is None
    assert weights.hh._panels is None


@pytest.mark.parametrize("way", WAYS)
def test_one_sequence_takes_the_plain_product(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lead(monkeypatch, way, chunk=100)
    layer = nn.GRU(20, 170, rng=0)
    layer(drawn(4, 1, 20))
    assert layer._weights("_l0").hh._panels is None


# The real constants


REAL = [
    pytest.param(nn.LSTM, 64, 4, 20, [("_make_steps", 1)], id="alone"),
    pytest.param(nn.LSTM, 512, 8, 20, [("_take_turns", 2)], id="turns"),
    pytest.param(nn.GRU, 700, 8, 20, [("_take_turns", 2)], id="turns, GRU"),
    pytest.param(nn.LSTM, 512, 24, 3, [("_make_steps", 2)], id="shared"),
    pytest.param(nn.GRU, 512, 40, 3, [("_make_steps", 2)], id="shared, GRU"),
    pytest.param(nn.LSTM, 40, 256, 3, [("_make_steps", 1)] * 2, id="blocks"),
    pytest.param(nn.LSTM, 512, 65, 2, [("_make_steps", 1)], id="plain, for its batch"),
]


@pytest.mark.parametrize(("kind", "H", "N", "L", "teams"), REAL)
def test_at_real_sizes_each_way_is_taken_and_right(
    kind: Callable[..., Any], H: int, N: int, L: int, teams: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Teams(monkeypatch)
    layer, x = kind(30, H, rng=0), drawn(L, N, 30)
    states = states_for(layer, N)
    with sync.Runtime(2) as runtime:
        sync.call(len, ())  # BLAS is held from here on
        when_idle(runtime).result()
        split = run(layer, x, states)
        assert found.sizes == teams
        with all_threads_busy(runtime):
            alone = run(layer, x, states)
    for array, wanted in zip(split, alone, strict=True):
        np.testing.assert_array_equal(array, wanted)
    assert_textbook(layer, x[:, :9], tuple(state[:, :9] for state in states), [array[:, :9] for array in split], 4)


# Directions


@pytest.mark.parametrize(("L", "is_split"), [(2, False), (20, True)])
def test_directions_run_side_by_side_where_they_are_worth_it(
    L: int, is_split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[tuple[int, int]] = []

    def parallel_for(fn: Callable[[int, int], object], n: int, *, grain: int) -> None:
        def run(start: int, stop: int) -> None:
            cuts.append((start, stop))
            fn(start, stop)

        intraop.parallel_for(run, n, grain=grain)

    monkeypatch.setattr(recurrent, "parallel_for", parallel_for)
    layer = nn.LSTM(128, 128, bidirectional=True, rng=0)
    x = drawn(L, 4, 128)  # 131,072 multiplications a row: 10⁷ for 80 of them
    layer(x)
    assert sorted(cuts) == ([(0, 1), (1, 2)] if is_split else [(0, 2)])
    zeros = np.zeros((2, 4, 128), np.float32)
    assert_textbook(layer, x, (zeros, zeros), run(layer, x, (zeros, zeros)), 4)
    assert_same_bits_everywhere(lambda: [layer(x)[0]])


# States and workspaces


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_initial_states_are_neither_kept_nor_changed(
    kind: Callable[..., Any], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(monkeypatch, way, block=2)
    layer, x = kind(20, 70, bidirectional=True, rng=0), drawn(5, 4, 20)
    states = states_for(layer, 4)
    before = [state.copy() for state in states]
    found = run(layer, x, states)
    for state, values in zip(states, before, strict=True):
        np.testing.assert_array_equal(state, values)
        assert not any(np.shares_memory(state, array) for array in found)
        state[...] = 0
    for array, wanted in zip(found, run(layer, x, tuple(before)), strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_two_interleaved_calls_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = nn.LSTM(160, 160, rng=0), [np.full((4, 14, 160), value, np.float32) for value in (0.5, -2)]
    expected = [layer(x)[0] for x in inputs]
    turn = threading.Barrier(2)
    tanh = np.tanh

    def step_by_step(*args: Any) -> Any:
        turn.wait()  # both stand within a step, their workspaces half done
        return tanh(*args)

    monkeypatch.setattr(np, "tanh", step_by_step)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda x: layer(x)[0], inputs))
    for y, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y, wanted)
