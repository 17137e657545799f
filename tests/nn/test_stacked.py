"""`Stacked`: what it sees, keeps, copies and refuses; the numbers are in test_stacked_forms."""

import copy
import pickle
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

from asyncjit import nn
from asyncjit.nn import activations, stacked_forms, stacked_steps
from asyncjit.nn.stacked import Stacked
from tests.nn.states import zeros
from tests.nn.test_stacked_forms import assert_same, bits, mlp

Array = NDArray[Any]


# The modules stay the ones that hold the parameters


def test_names_parameters_and_text_are_a_module_lists() -> None:
    modules = [nn.LSTM(3, 4, bidirectional=True), nn.LSTM(3, 4, bidirectional=True)]
    stacked, plain = Stacked(modules), nn.ModuleList(modules)
    stacked(zeros(2, 1, 3))
    for found, expected in (
        (stacked.state_dict(), plain.state_dict()),
        (dict(stacked.named_parameters()), dict(plain.named_parameters())),
    ):
        assert list(found) == list(expected)
        assert all(found[name] is expected[name] for name in expected)
    assert next(iter(stacked.state_dict())) == "0.weight_ih_l0"
    assert list(stacked) == modules
    assert repr(stacked) == "Stacked(\n  (0-1): 2 x LSTM(3, 4, bidirectional=True)\n)"


def doubled_weight(stacked: Stacked) -> None:
    last: Any = stacked[2]
    last[3].out.weight = 2 * last[3].out.weight


def loaded(stacked: Stacked) -> None:
    stacked.load_state_dict({name: array + 1 for name, array in stacked.state_dict().items()})


def replaced_layer(stacked: Stacked) -> None:
    first: Any = stacked[0]
    first[1] = nn.Linear(4, 5, rng=99)


def replaced_module(stacked: Stacked) -> None:
    stacked[1] = mlp(99)


def appended_module(stacked: Stacked) -> None:
    stacked.append(mlp(99))


def removed_module(stacked: Stacked) -> None:
    del stacked[0]


def changed_options(stacked: Stacked) -> None:
    for module in stacked:
        at_the_end: Any = module
        at_the_end[3].bound = activations.Hardtanh(-0.1, 0.1)


@pytest.mark.parametrize(
    "change",
    [doubled_weight, loaded, replaced_layer, replaced_module, appended_module, removed_module, changed_options],
)
def test_whatever_is_replaced_in_the_modules_is_seen(change: Callable[[Stacked], None]) -> None:
    stacked = Stacked([mlp(seed) for seed in range(3)])
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    before = stacked(x)
    change(stacked)
    after = stacked(x)
    assert_same(after, [module(x) for module in stacked])
    assert bits(after) != bits(before)


def test_weights_are_stacked_once_for_as_long_as_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*args: Any) -> stacked_steps.Weights:
        made.append(args)
        return stacked_steps.stack_weights(*args)

    monkeypatch.setattr(stacked_forms, "stack_weights", counted)
    modules = [nn.LSTM(3, 4, rng=seed) for seed in range(2)]
    stacked = Stacked(modules)
    assert len(made) == 0
    first = stacked(zeros(2, 1, 3))
    stacked(zeros(3, 2, 3))
    stacked.each([zeros(2, 3), zeros(2, 3)])
    assert len(made) == 1
    modules[1].bias_hh_l0 = modules[1].bias_hh_l0 + 1
    assert bits(stacked(zeros(2, 1, 3))) != bits(first)
    assert len(made) == 2


def test_one_module_may_be_there_several_times() -> None:
    shared, other = nn.LSTM(3, 4, rng=0), nn.LSTM(3, 4, rng=1)
    stacked = Stacked([shared, other, shared])
    x = np.ones((2, 1, 3), np.float32)
    assert_same(stacked(x), [shared(x), other(x), shared(x)])
    shared.weight_hh_l0 = 2 * shared.weight_hh_l0
    assert_same(stacked(x), [shared(x), other(x), shared(x)])
    assert len(list(stacked.parameters())) == 8


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda stacked: pickle.loads(pickle.dumps(stacked))])
def test_a_copy_computes_the_same_and_goes_its_own_way(clone: Callable[[Stacked], Stacked]) -> None:
    stacked = Stacked([nn.GRU(3, 4, rng=seed) for seed in range(2)])
    x = np.ones((2, 1, 3), np.float32)
    size = len(pickle.dumps(stacked))
    expected = stacked(x)
    assert len(pickle.dumps(stacked)) == size, "the stacked form is made again, not copied"
    copied = clone(stacked)
    assert bits(copied(x)) == bits(expected)
    copied.load_state_dict({name: array + 1 for name, array in copied.state_dict().items()})
    assert bits(copied(x)) != bits(expected)
    assert bits(stacked(x)) == bits(expected)


def test_a_slice_is_stacked_too() -> None:
    stacked = Stacked([nn.Linear(3, 4, rng=seed) for seed in range(4)])
    x = np.ones((2, 3), np.float32)
    assert type(stacked[1:3]) is Stacked
    assert_same(stacked[1:3](x), stacked(x)[1:3])


# Memory and threads


@pytest.mark.parametrize("modules", [[nn.LSTM(4, 4), nn.LSTM(4, 4)], [nn.Linear(4, 4)] * 2, [activations.ReLU()] * 2])
def test_results_share_no_memory_with_inputs_or_with_each_other(modules: list[nn.Module]) -> None:
    def arrays_in(value: Any) -> list[Array]:
        return [a for item in value for a in arrays_in(item)] if isinstance(value, tuple | list) else [value]

    x, state = np.ones((1, 2, 4), np.float32), (np.ones((1, 2, 4), np.float32), np.ones((1, 2, 4), np.float32))
    stacked = Stacked(modules)
    results = stacked(x, state) if isinstance(modules[0], nn.LSTM) else stacked(x)
    arrays = [x, *state, *stacked.state_dict().values(), *arrays_in(results)]
    arrays = list({id(array): array for array in arrays}.values())
    assert not any(np.shares_memory(arrays[a], arrays[b]) for a in range(len(arrays)) for b in range(a))
    assert all((array == 1).all() for array in (x, *state))


def test_ten_threads_on_one_stack_get_the_bits_of_one() -> None:
    modules = [nn.LSTM(9, 20, num_layers=2, bidirectional=True, rng=seed) for seed in range(3)]
    stacked = Stacked(modules)
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal((20, 3, 9)).astype(np.float32) for _ in range(10)]
    alone = Stacked(modules)
    expected = [bits(alone(x)) for x in inputs]
    barrier = threading.Barrier(10)

    def run(x: Array) -> list[Any]:
        barrier.wait()
        return [bits(stacked(x)) for _ in range(5)]

    with ThreadPoolExecutor(10) as pool:
        for wanted, runs in zip(expected, pool.map(run, inputs), strict=True):
            assert all(found == wanted for found in runs)


def test_the_call_is_typed_as_forward_is() -> None:
    assert_type(Stacked([nn.Linear(1, 1)])(zeros(1)), list[Any])


# What does not fit


class Mine(nn.Linear):
    def forward(self, x: Array) -> Array:
        return x


@pytest.mark.parametrize(
    ("modules", "text"),
    [
        ([nn.Embedding(3, 4)] * 2, "Stacked: 0 is of class Embedding; supported are LSTM, GRU, Linear, Sequential, "),
        ([nn.Linear(1, 1), Mine(1, 1)], "Stacked: 1 is of class Mine; supported are"),
        ([nn.Linear(1, 1), nn.ModuleList()], "Stacked: 1 is of class ModuleList; supported are"),
        (
            [nn.Sequential(nn.Linear(1, 1), nn.Sequential({"last": activations.Softmax(-1)}))],
            "Stacked: 0.1.last is of class Softmax; supported are",
        ),
        ([nn.Linear(1, 1), None], "NoneType is not a Module subclass"),
    ],
)
def test_the_first_module_that_is_not_supported_is_named_with_its_place(modules: Any, text: str) -> None:
    with pytest.raises(TypeError, match="^" + re.escape(text)):
        Stacked(modules)


@pytest.mark.parametrize(
    ("modules", "text"),
    [
        ([nn.LSTM(3, 4), nn.LSTM(3, 4), nn.LSTM(3, 5)], "0 is LSTM(3, 4) of float32 and 2 is LSTM(3, 5) of float32"),
        (
            [nn.LSTM(3, 4), nn.GRU(3, 4)],
            "0 is LSTM(3, 4) of float32 and 1 is GRU(3, 4) of float32",
        ),
        (
            [nn.LSTM(3, 4), nn.LSTM(3, 4, dtype=np.float64)],
            "0 is LSTM(3, 4) of float32 and 1 is LSTM(3, 4) of float64",
        ),
        (
            [nn.LSTM(3, 4), nn.LSTM(3, 4, batch_first=True)],
            "0 is LSTM(3, 4) of float32 and 1 is LSTM(3, 4, batch_first=True) of float32",
        ),
        (
            [nn.Sequential(nn.Linear(1, 2), activations.ELU()), nn.Sequential(nn.Linear(1, 2), activations.ELU(2.0))],
            "0.1 is ELU(alpha=1.0) and 1.1 is ELU(alpha=2.0)",
        ),
    ],
)
def test_two_modules_that_differ_are_both_shown(modules: list[nn.Module], text: str) -> None:
    with pytest.raises(ValueError, match="^Stacked: modules should be alike, but " + re.escape(text) + "$"):
        Stacked(modules)


def test_a_module_that_does_not_fit_is_found_at_the_next_call() -> None:
    stacked = Stacked([nn.Linear(2, 3)])
    stacked(zeros(1, 2))
    stacked.append(nn.Linear(2, 4))
    with pytest.raises(ValueError, match="modules should be alike"):
        stacked(zeros(1, 2))


def test_none_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Stacked: expected at least one module, got none$"):
        Stacked([])


@pytest.mark.parametrize(
    ("xs", "hxs", "message"),
    [
        ([zeros(2, 3)], None, "expected 2 inputs, one for each module, got 1"),
        ([zeros(2, 3)] * 3, None, "expected 2 inputs, one for each module, got 3"),
        ([zeros(2, 3)] * 2, [zeros(1, 4)], "expected 2 states, one for each module, got 1"),
    ],
)
def test_each_module_needs_an_input(xs: Any, hxs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Stacked: {message}$"):
        Stacked([nn.GRU(3, 4), nn.GRU(3, 4)]).each(xs, hxs)
