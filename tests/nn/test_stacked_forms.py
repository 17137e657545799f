"""The forms of `Stacked`: against the modules themselves, a textbook loop and torch's stored numbers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncjit import nn
from asyncjit.nn import activations, stacked_forms, stacked_steps
from asyncjit.nn.stacked import Stacked
from tests.nn.states import widened, zeros

REFERENCES = sorted(
    path for kind in ("lstm", "gru") for path in (Path(__file__).parents[1] / "reference" / kind).glob("*.npz")
)
RTOL = {"float32": 1e-5, "float64": 1e-12}
ATOL = {"float32": 1e-6, "float64": 1e-14}

Array = NDArray[Any]


def assert_same(found: Any, expected: Any) -> None:
    """Compare two values that modules return: the same structure, shapes, dtypes, and numbers within rounding."""
    assert type(found) is type(expected)
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for item, wanted in zip(found, expected, strict=True):
            assert_same(item, wanted)
        return
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    dtype = found.dtype.name
    np.testing.assert_allclose(found, expected, RTOL[dtype], ATOL[dtype])


def bits(value: Any) -> Any:
    return [bits(item) for item in value] if isinstance(value, tuple | list) else value.tobytes()


def mlp(seed: int) -> nn.Sequential:
    head = nn.Sequential({"out": nn.Linear(5, 2, rng=seed), "bound": activations.Hardtanh(-0.3, 0.3)})
    return nn.Sequential(activations.Tanh(), nn.Linear(4, 5, rng=seed + 1), activations.ReLU(inplace=True), head)


# The values


@given(
    kind=st.sampled_from([nn.LSTM, nn.GRU]),
    num_modules=st.integers(1, 4),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    L=st.integers(1, 6),
    batch=st.sampled_from([None, 0, 1, 3]),
    num_layers=st.integers(1, 3),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    dtype=st.sampled_from(["float32", "float64"]),
    has_states=st.booleans(),
    has_inputs_of_their_own=st.booleans(),
    is_narrow=st.booleans(),
    seed=st.integers(0, 99),
)
def test_recurrent_modules_give_what_each_of_them_gives(
    kind: Any,
    num_modules: int,
    sizes: tuple[int, int],
    L: int,
    batch: int | None,
    num_layers: int,
    flags: tuple[bool, bool, bool],
    dtype: str,
    has_states: bool,
    has_inputs_of_their_own: bool,
    is_narrow: bool,
    seed: int,
) -> None:
    bias, batch_first, bidirectional = flags
    rng = np.random.default_rng(seed)
    modules = [
        widened(kind(*sizes, num_layers, bias, batch_first, bidirectional, dtype=dtype, rng=rng))
        for _ in range(num_modules)
    ]

    def drawn(*shape: int) -> Array:
        # Neither contiguous nor writable: inputs are as they come.
        array: Array = rng.standard_normal((*shape[::-1], 2)).astype(dtype).T[0]
        array.flags.writeable = False
        return array

    def state() -> Any:
        shape = [num_layers * (1 + bidirectional), *([] if batch is None else [batch]), sizes[1]]
        return (drawn(*shape), drawn(*shape)) if kind is nn.LSTM else drawn(*shape)

    leading = [L] if batch is None else [batch, L] if batch_first else [L, batch]
    xs = [drawn(*leading, sizes[0]) for _ in modules]
    states = [state() for _ in modules]
    stacked = Stacked(modules)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked_steps, "NARROW", sizes[1] + is_narrow)
        if has_inputs_of_their_own:
            hxs = states if has_states else None
            expected = [
                module(x, hx if has_states else None) for module, x, hx in zip(modules, xs, states, strict=True)
            ]
            assert_same(stacked.each(xs, hxs), expected)
        else:
            hx = states[0] if has_states else None
            assert_same(stacked(xs[0], hx), [module(xs[0], hx) for module in modules])


@given(
    leading=st.lists(st.integers(0, 3), max_size=3),
    sizes=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    has_inputs_of_their_own=st.booleans(),
)
def test_linear_modules_give_what_each_of_them_gives(
    leading: list[int], sizes: tuple[int, int], bias: bool, dtype: str, has_inputs_of_their_own: bool
) -> None:
    rng = np.random.default_rng(0)
    modules = [nn.Linear(*sizes, bias, dtype=dtype, rng=rng) for _ in range(3)]
    xs = [rng.standard_normal((sizes[0], *leading)).astype(dtype).T for _ in modules]
    if has_inputs_of_their_own:
        assert_same(Stacked(modules).each(xs), [module(x) for module, x in zip(modules, xs, strict=True)])
    else:
        assert_same(Stacked(modules)(xs[0]), [module(xs[0]) for module in modules])


@pytest.mark.parametrize("kind", stacked_forms.ELEMENTWISE)
def test_elementwise_modules_give_what_each_of_them_gives(kind: Callable[[], nn.Module]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    module = kind()
    assert_same(Stacked([module, kind()])(x), [module(x), module(x)])
    assert_same(Stacked([module, kind()]).each([x, -x]), [module(x), module(-x)])


def test_every_activation_is_elementwise_or_along_an_axis() -> None:
    found = {
        kind
        for name, kind in vars(activations).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and not name.startswith("_") and name != "Layer"
    }
    assert found - set(stacked_forms.ELEMENTWISE) == {activations.Softmax, activations.LogSoftmax}


def test_sequentials_in_sequentials_give_what_each_of_them_gives() -> None:
    modules = [mlp(seed) for seed in range(4)]
    xs = np.random.default_rng(0).standard_normal((4, 7, 4)).astype(np.float32)
    assert_same(Stacked(modules)(xs[0]), [module(xs[0]) for module in modules])
    assert_same(Stacked(modules).each(xs), [module(x) for module, x in zip(modules, xs, strict=True)])


def test_a_sequential_ends_with_a_recurrent_module_s_output_and_states() -> None:
    modules = [nn.Sequential(nn.Linear(3, 4, rng=seed), nn.GRU(4, 5, rng=seed)) for seed in range(2)]
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    assert_same(Stacked(modules)(x), [module(x) for module in modules])


def test_wide_layers_too_give_what_each_of_them_gives() -> None:
    modules = [nn.LSTM(5, stacked_steps.NARROW, bidirectional=True, rng=seed) for seed in range(2)]
    x = np.random.default_rng(0).standard_normal((6, 2, 5)).astype(np.float32)
    assert_same(Stacked(modules)(x), [module(x) for module in modules])


@pytest.mark.parametrize("num_values", [1, 100, 1_000_000])
def test_a_sequence_longer_than_one_projection_is_seamless(num_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked_steps, "NUM_PROJECTED", num_values)
    modules = [widened(nn.LSTM(3, 2, 2, bidirectional=True, dtype=np.float64, rng=seed)) for seed in range(2)]
    x = np.random.default_rng(1).standard_normal((10, 1, 3))
    assert_same(Stacked(modules)(x), [module(x) for module in modules])


# Independent numbers


def sigmoid(values: Array) -> Array:
    return np.array([1 / (1 + math.exp(-value)) for value in values])


def lstm_step(gates_x: list[Array], gates_h: list[Array], state: list[Array]) -> list[Array]:
    i, f, g, o = (a + b for a, b in zip(gates_x, gates_h, strict=True))
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def gru_step(gates_x: list[Array], gates_h: list[Array], state: list[Array]) -> list[Array]:
    r, z = (sigmoid(gates_x[gate] + gates_h[gate]) for gate in (0, 1))
    n = np.tanh(gates_x[2] + r * gates_h[2])
    return [(1 - z) * n + z * state[0]]


@pytest.mark.parametrize(("kind", "num_gates", "step"), [(nn.LSTM, 4, lstm_step), (nn.GRU, 3, gru_step)])
def test_each_direction_is_what_the_textbook_loop_makes_of_it(kind: Any, num_gates: int, step: Any) -> None:
    L, H = 7, 4
    modules = [widened(kind(3, H, bidirectional=True, dtype=np.float64, rng=seed)) for seed in range(3)]
    x = np.random.default_rng(0).standard_normal((L, 3))
    for module, (output, _) in zip(modules, Stacked(modules)(x), strict=True):
        for direction, suffix in enumerate(["_l0", "_l0_reverse"]):
            w_ih, w_hh, b_ih, b_hh = (
                module.state_dict()[name + suffix] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            state = [np.zeros(H), np.zeros(H)]
            for t in reversed(range(L)) if direction else range(L):
                gates_x = np.split(w_ih.dot(x[t]) + b_ih, num_gates)
                gates_h = np.split(w_hh.dot(state[0]) + b_hh, num_gates)
                state = step(gates_x, gates_h, state)
                assert_same(output[t, direction * H : (direction + 1) * H], state[0])


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_torchs_stored_numbers_come_out(path: Path) -> None:
    with np.load(path) as file:
        stored = dict(file)
    kind: Any = {"lstm": nn.LSTM, "gru": nn.GRU}[path.parent.name]
    config, x = json.loads(str(stored["config"])), stored["x"]
    modules = [kind(x.shape[-1], stored["parameter.weight_hh_l0"].shape[1], **config, dtype=x.dtype) for _ in range(3)]
    prefix = "parameter."
    modules[1].load_state_dict({n.removeprefix(prefix): a for n, a in stored.items() if n.startswith(prefix)})
    names = ["h", "c"] if kind is nn.LSTM else ["h"]
    initial, last = (
        tuple(stored[name + suffix] for name in names if name + suffix in stored) for suffix in ("_0", "_n")
    )
    hx: Any = None if not initial else initial if kind is nn.LSTM else initial[0]
    found = Stacked(modules)(x, hx)[1]
    assert_same(found, (stored["output"], last if kind is nn.LSTM else last[0]))


def test_there_are_stored_numbers() -> None:
    assert len(REFERENCES) >= 18


def test_the_layout_of_the_input_changes_no_bit() -> None:
    stacked = Stacked([nn.Sequential(nn.Linear(33, 17, rng=seed), nn.LSTM(17, 20, rng=seed)) for seed in range(3)])
    x = np.random.default_rng(1).standard_normal((6, 2, 33)).astype(np.float32)
    expected = bits(stacked(x))
    for same in (np.asfortranarray(x), x.repeat(2, axis=2)[..., ::2], x[::-1].copy()[::-1]):
        assert bits(stacked(same)) == expected
    linear, rows = Stacked([nn.Linear(330, 170, rng=seed) for seed in range(3)]), x.reshape(6, 66).repeat(5, axis=1)
    assert bits(linear(np.asfortranarray(rows))) == bits(linear(rows))


def test_huge_inputs_saturate_without_a_warning() -> None:
    with np.errstate(all="raise", under="ignore"):
        results = Stacked([nn.LSTM(2, 3, rng=0), nn.LSTM(2, 3, rng=1)])(np.full((3, 1, 2), 1e30, np.float32))
    assert all(np.isfinite(output).all() for output, _ in results)


# What does not fit


def lstms() -> list[nn.Module]:
    return [nn.LSTM(3, 4, rng=seed) for seed in range(2)]


@pytest.mark.parametrize(
    ("modules", "args"),
    [
        (lstms(), (zeros(3),)),
        (lstms(), (zeros(1, 1, 1, 3),)),
        (lstms(), (zeros(2, 1, 3, dtype="float64"),)),
        (lstms(), (zeros(2, 1, 4),)),
        (lstms(), (zeros(0, 1, 3),)),
        (lstms(), (zeros(2, 1, 3), (zeros(1, 1, 4), zeros(1, 2, 4)))),
        (lstms(), (zeros(2, 1, 3), (zeros(1, 1, 4), zeros(1, 1, 4, dtype="float64")))),
        (lstms(), (zeros(2, 1, 3), (zeros(1, 1, 4),))),
        (lstms(), (zeros(2, 1, 3), np.float32(1))),
        (lstms(), (zeros(2, 1, 3), np.zeros(()))),
        ([nn.GRU(3, 4), nn.GRU(3, 4)], (zeros(2, 3), zeros(1, 1, 4))),
        ([nn.Linear(3, 4), nn.Linear(3, 4)], (zeros(2, 2),)),
        ([nn.Linear(3, 4), nn.Linear(3, 4)], (zeros(2, 3, dtype="float64"),)),
        ([nn.Linear(3, 4), nn.Linear(3, 4)], (zeros(),)),
        ([nn.Linear(3, 4), nn.Linear(3, 4)], (zeros(2, 3), zeros(1))),
        ([activations.Tanh(), activations.Tanh()], (zeros(2, 3), zeros(1))),
        ([activations.ELU(), activations.ELU()], (np.zeros((2, 3), int),)),
        ([mlp(0), mlp(1)], (zeros(2, 3),)),
        ([mlp(0), mlp(1)], (zeros(2, 4), zeros(1))),
        ([nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 4)) for _ in range(2)], (zeros(2, 3),)),
    ],
)
def test_an_input_that_does_not_fit_raises_what_the_module_raises(modules: list[Any], args: tuple[Any, ...]) -> None:
    def raised(run: Callable[[], object]) -> tuple[type[Exception], str]:
        try:
            run()
        except Exception as error:
            return type(error), str(error)
        raise AssertionError("nothing was raised")

    expected = raised(lambda: modules[0](*args))
    assert raised(lambda: Stacked(modules)(*args)) == expected
    assert raised(lambda: Stacked(modules).each(*([arg, arg] for arg in args))) == expected


def test_inputs_of_their_own_may_differ_in_shape() -> None:
    modules = [nn.LSTM(3, 4, rng=seed) for seed in range(2)]
    xs = [zeros(2, 1, 3), zeros(5, 2, 3)]
    hxs = [None, (zeros(1, 2, 4) + 1, zeros(1, 2, 4) + 1)]
    assert_same(Stacked(modules).each(xs), [module(x) for module, x in zip(modules, xs, strict=True)])
    assert_same(Stacked(modules).each(xs, hxs), [modules[0](xs[0]), modules[1](xs[1], hxs[1])])
    assert_same(Stacked(modules).each(xs[1:] * 2, hxs), [modules[0](xs[1]), modules[1](xs[1], hxs[1])])


def test_inputs_of_their_own_are_not_converted_to_a_common_dtype() -> None:
    modules = [activations.Tanh(), activations.Tanh()]
    xs: list[Array] = [np.ones(3, np.float32), np.ones(3)]
    assert_same(Stacked(modules).each(xs), [module(x) for module, x in zip(modules, xs, strict=True)])
    with pytest.raises(ValueError, match=r"^LSTM: input dtype \(float64\) does not match weight dtype \(float32\)"):
        Stacked(lstms()).each([zeros(2, 1, 3), zeros(2, 1, 3, dtype="float64")])
