"""`UnderErrstate`: a call as it was within `np.errstate` in the traced code, which a graph has no node for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class UnderErrstate:
    """Calls `fn` with NumPy's floating-point errors treated as `errstate` says, in the form of `np.geterr`."""

    fn: Callable[..., Any]
    errstate: dict[str, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        with np.errstate(**self.errstate):
            return self.fn(*args, **kwargs)
