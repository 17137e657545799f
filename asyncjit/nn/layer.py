"""`Layer`: a module of this package, whose parameters cannot be changed in place.

Layers compute with forms that are made of their parameters once, such as panels (`packing`). A parameter that was
written to afterwards would be silently ignored by them. So what is set as a parameter of a layer is copied into memory
that NumPy refuses to write to, through this array and every view of it; setting the attribute anew, or
`load_state_dict`, is how a parameter changes, and both are seen, because forms are kept with the array they were made
of. Arrays that are shared (tied) stay so: one that has such memory already is not copied again.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np

from asyncjit.nn.memory import read_only
from asyncjit.nn.module import Module

Form = TypeVar("Form")


class Layer(Module):
    """Base class of this package's layers; parameters are read-only copies of what they are set to.

    Examples
    --------
    >>> import numpy as np
    >>> from asyncjit import nn
    >>> linear = nn.Linear(2, 1)
    >>> linear.weight[0, 0] = 5
    Traceback (most recent call last):
        ...
    ValueError: assignment destination is read-only
    >>> linear.weight = np.array([[5, 6]], dtype=np.float32)
    >>> linear.weight
    array([[5., 6.]], dtype=float32)
    """

    _is_operation: ClassVar[bool] = True
    _replaces_parameters: ClassVar[bool] = True
    _by_columns: ClassVar[bool] = False  # whether matrices are kept by columns (`memory`)
    _forms: Mapping[str, Any] = MappingProxyType({})  # each with the parameters it was made of

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray) and self._is_parameter(name, value):
            value = read_only(value, by_columns=self._by_columns)
        super().__setattr__(name, value)

    def _keep(self, key: str, form: Form) -> Form:
        """Keep what was made of parameters; whoever uses it compares the parameters it was made of with today's."""
        vars(self).setdefault("_forms", {})[key] = form
        return form
