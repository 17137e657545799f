"""The cells' arithmetic by itself: steps over given products, in shares, without a warning."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit.nn.cells import GRUShare, LSTMShare
from tests.reference import textbook
from tests.reference.textbook import assert_close

Array = NDArray[Any]

GATES = {LSTMShare: 4, GRUShare: 3}
STEPS = {LSTMShare: textbook.lstm_step, GRUShare: textbook.gru_step}
EACH = pytest.mark.parametrize("kind", [LSTMShare, GRUShare])


class Case:
    """Steps of one kind of cell: what the input gives, the hidden state's weights, biases, states."""

    def __init__(self, kind: Any, L: int, N: int, H: int, dtype: str, seed: int = 0, scale: float = 3) -> None:
        rng = np.random.default_rng(seed)
        self.kind, self.G, self.H = kind, GATES[kind], H
        self.projected = (scale * rng.standard_normal((L, N, self.G, H))).astype(dtype)
        self.weight = (rng.standard_normal((self.G, H, H)) / H**0.5).astype(dtype)
        self.given_bias = rng.standard_normal((self.G, H)).astype(dtype)
        self.hidden_bias = rng.standard_normal(H).astype(dtype)
        self.h = rng.standard_normal((N, H)).astype(dtype)
        self.carried = [rng.standard_normal((N, H)).astype(dtype)] if kind is LSTMShare else []
        self.output = np.full((L, N, H), np.nan, dtype)

    def over(self, units: slice, meet: Callable[[], object] | None = None, *, has_biases: bool = True) -> None:
        """Make the steps of some units."""
        given_bias = self.given_bias[:, units] if has_biases else None
        hidden_bias = self.hidden_bias[units] if has_biases and self.kind is GRUShare else None
        carried = [state[:, units] for state in self.carried]
        cell = self.kind(self.h[:, units], carried, given_bias, hidden_bias)
        weight = self.weight[:, units]

        def multiply(h: Array) -> None:
            cell.hidden[...] = np.einsum("nk,guk->ngu", h, weight)

        cell.over(self.projected[..., units], self.h, self.output, units, multiply, meet)

    def textbook(self, n: int, *, has_biases: bool = True) -> tuple[Array, list[Array]]:
        """Return the output (L, H) and the last states of one sequence."""
        size = self.G * self.H
        given_bias = has_biases * self.given_bias.reshape(size).astype(np.float64)
        weights = {
            "weight_ih": np.zeros((size, 0)),  # what the input gives stands in the bias
            "weight_hh": self.weight.reshape(size, self.H).astype(np.float64),
            "bias_hh": np.zeros(size),
        }
        if self.kind is GRUShare and has_biases:
            weights["bias_hh"][2 * self.H :] = self.hidden_bias
        states = tuple(state[n].astype(np.float64) for state in (self.h, *self.carried))
        output = np.zeros((len(self.projected), self.H))
        for t, from_x in enumerate(self.projected[:, n]):
            weights["bias_ih"] = from_x.reshape(size) + given_bias
            states = STEPS[self.kind](weights, np.zeros(0), states)
            output[t] = states[0]
        return output, list(states)


@EACH
@given(
    L=st.integers(0, 5),
    N=st.integers(0, 4),
    H=st.integers(1, 40),
    dtype=st.sampled_from(["float32", "float64"]),
    has_biases=st.booleans(),
    seed=st.integers(0, 99),
)
def test_steps_over_given_products_are_the_textbooks(
    kind: Any, L: int, N: int, H: int, dtype: str, has_biases: bool, seed: int
) -> None:
    case = Case(kind, L, N, H, dtype, seed)
    expected = [case.textbook(n, has_biases=has_biases) for n in range(N)]
    before = case.h.copy()
    case.over(slice(0, H), has_biases=has_biases)
    np.testing.assert_array_equal(case.h, before)
    for n, (output, (_, *carried)) in enumerate(expected):
        assert_close(case.output[:, n], output.astype(dtype), scale=9)
        for state, wanted in zip(case.carried, carried, strict=True):
            assert_close(state[n], wanted.astype(dtype), scale=9)


@EACH
def test_a_batch_of_one_without_its_axis_has_the_same_bits(kind: Any) -> None:
    with_axis, without = Case(kind, 4, 1, 33, "float32"), Case(kind, 4, 1, 33, "float32")
    with_axis.over(slice(0, 33))
    hidden_bias = without.hidden_bias if kind is GRUShare else None
    cell = kind(without.h[0], [state[0] for state in without.carried], without.given_bias, hidden_bias)
    assert cell.hidden.shape == (GATES[kind], 33)

    def multiply(h: Array) -> None:
        cell.hidden[...] = np.einsum("nk,guk->ngu", h[np.newaxis], without.weight)[0]

    cell.over(without.projected[:, 0], without.h[0], without.output[:, 0], slice(0, 33), multiply, None)
    np.testing.assert_array_equal(without.output, with_axis.output)
    for found, wanted in zip(without.carried, with_axis.carried, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EACH
def test_shares_that_meet_after_each_step_have_the_bits_of_the_whole(kind: Any, dtype: str) -> None:
    whole, shared = Case(kind, 6, 3, 75, dtype), Case(kind, 6, 3, 75, dtype)
    whole.over(slice(0, 75))
    cuts = [slice(0, 32), slice(32, 64), slice(64, 75)]
    barrier = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda units: shared.over(units, barrier.wait), cuts))
    np.testing.assert_array_equal(shared.output, whole.output)
    for found, wanted in zip(shared.carried, whole.carried, strict=True):
        np.testing.assert_array_equal(found, wanted)


@EACH
def test_a_share_writes_its_own_units_and_no_other(kind: Any) -> None:
    case = Case(kind, 1, 3, 40, "float32")
    before = [state.copy() for state in case.carried]
    case.over(slice(8, 20), lambda: None)
    is_own = (np.arange(40) >= 8) & (np.arange(40) < 20)
    assert np.isfinite(case.output[..., is_own]).all()
    assert np.isnan(case.output[..., ~is_own]).all()
    for state, values in zip(case.carried, before, strict=True):
        np.testing.assert_array_equal(state[:, ~is_own], values[:, ~is_own])
        assert (state[:, is_own] != values[:, is_own]).all()


@EACH
def test_chunk_after_chunk_goes_on_where_the_last_one_ended(kind: Any) -> None:
    whole, cut = Case(kind, 6, 3, 40, "float64"), Case(kind, 6, 3, 40, "float64")
    whole.over(slice(0, 40))
    projected, output = cut.projected, cut.output
    for steps in (slice(0, 2), slice(2, 6)):
        cut.projected, cut.output = projected[steps], output[steps]
        cut.over(slice(0, 40))
        cut.h = cut.output[-1]
    np.testing.assert_array_equal(output, whole.output)
    for found, wanted in zip(cut.carried, whole.carried, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EACH
def test_gates_saturate_without_a_warning(kind: Any, dtype: str) -> None:
    case = Case(kind, 5, 2, 20, dtype, scale=1e30)
    with np.errstate(all="raise", under="ignore"):
        case.over(slice(0, 20))
    assert np.isfinite(case.output).all()
    assert np.abs(case.output).max() <= np.abs(case.h).max() + 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@EACH
def test_nan_and_inf_go_where_the_textbook_says_and_stay_in_their_sequence(kind: Any, value: float) -> None:
    case, clean = Case(kind, 3, 3, 20, "float64"), Case(kind, 3, 3, 20, "float64")
    for gate in range(GATES[kind]):
        case.projected[0, 1, gate, gate] = value
    with np.errstate(invalid="ignore"):
        expected, _ = case.textbook(1)
        case.over(slice(0, 20))
        clean.over(slice(0, 20))
    np.testing.assert_allclose(case.output[:, 1], expected, 1e-12, 1e-13)
    np.testing.assert_array_equal(case.output[:, ::2], clean.output[:, ::2])


@EACH
def test_subnormal_states_are_not_flushed_to_zero(kind: Any) -> None:
    case = Case(kind, 1, 1, 4, "float32", scale=0)
    case.weight[...] = 0
    case.h[...] = 0
    if kind is LSTMShare:
        case.carried[0][...] = 1e-42
    else:
        case.h[...] = 1e-42
    case.over(slice(0, 4), has_biases=False)
    # All gates are 1/2: a quarter of c is left in the LSTM's h, a half of h in the GRU's.
    quarter = np.float32(1e-42) / (4 if kind is LSTMShare else 2)
    np.testing.assert_allclose(case.output, np.full((1, 1, 4), quarter), 0, 3e-45)
    assert case.output.all()


@EACH
def test_workspaces_are_aligned_and_belong_to_one_cell(kind: Any) -> None:
    h = np.zeros((3, 20), np.float32)
    carried = [h.copy()] if kind is LSTMShare else []
    first, second = (kind(h, carried, None, None) for _ in range(2))
    assert first.hidden.shape == (3, GATES[kind], 20)
    assert first.hidden.ctypes.data % 64 == 0
    assert not np.shares_memory(first.hidden, second.hidden)
