"""A layer held to a case of torch's stored numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tolerance = dict[str, float]  # by dtype


def assert_as_stored(
    kind: Any, config: dict[str, Any], stored: dict[str, Array], rtol: Tolerance, atol: Tolerance
) -> None:
    """Make a layer of class `kind` with a case's arguments and parameters; its text and its output are torch's."""
    text = config.pop("repr")
    dtype = stored["x"].dtype.name
    layer = kind(**config, dtype=dtype)
    layer.load_state_dict({name: stored[f"parameter.{name}"] for name in layer.state_dict()})
    found = layer(stored["x"])
    assert repr(layer) == text
    assert (found.shape, found.dtype.name) == (stored["y"].shape, dtype)
    np.testing.assert_allclose(found, stored["y"], rtol[dtype], atol[dtype])
