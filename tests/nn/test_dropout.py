"""`Dropout`: the identity, with torch's arguments."""

from typing import Any

import numpy as np
import pytest

from asyncjit.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0, 0.5, 1, np.float32(0.25)])
def test_what_comes_in_goes_out_in_training_or_not(p: float) -> None:
    layer, x = Dropout(p), np.array([1.0, np.nan, -np.inf])
    assert layer(x) is x
    assert layer.eval()(x) is x
    assert dropout(x, p) is x
    assert dropout(x, p, True, True) is x
    np.testing.assert_array_equal(x, [1, np.nan, -np.inf])


def test_integers_and_empty_arrays_pass() -> None:
    for x in (np.arange(3), np.zeros((0, 4))):
        assert Dropout()(x) is x


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Dropout(), "Dropout(p=0.5, inplace=False)"),
        (Dropout(0.2, True), "Dropout(p=0.2, inplace=True)"),
        (Dropout(p=1, inplace=False), "Dropout(p=1, inplace=False)"),
    ],
)
def test_it_is_shown_as_torch_shows_it(layer: Dropout, text: str) -> None:
    assert repr(layer) == text


def test_it_has_nothing_to_load() -> None:
    assert Dropout().state_dict() == {}


@pytest.mark.parametrize("p", [2, -0.1, float("nan")])
def test_a_probability_beyond_0_and_1_is_refused(p: float) -> None:
    message = f"^dropout probability has to be between 0 and 1, but got {p}$"
    with pytest.raises(ValueError, match=message):
        Dropout(p)
    with pytest.raises(ValueError, match=message):
        dropout(np.zeros(1), p)


@pytest.mark.parametrize(
    ("args", "message"), [(("a",), "'<=' not supported between instances of 'int' and 'str'"), ((0.5, 1), "inplace")]
)
def test_arguments_of_another_type_are_refused(args: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Dropout(*args)
