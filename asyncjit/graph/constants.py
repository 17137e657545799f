"""`Constants`: the arrays that are not traced and went into a graph, which keeps them as they are, not copies of them.

So one that is filled, used and filled anew would be in the graph with its last values only. Whether an array changes
until the trace ends is told by a checksum: a copy of all weights would take their memory once more.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from asyncjit.errors import TraceError
from asyncjit.graph.ir import Place
from asyncjit.graph.places import user_place
from asyncjit.graph.trees import leaves_of


class Constants:
    """Those of one trace."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, int, Place]] = {}  #: with the checksum and place of their first use

    def take(self, tree: Any) -> None:
        """Note the arrays in a tree, which go into the graph."""
        for leaf in leaves_of(tree):
            if isinstance(leaf, np.ndarray) and id(leaf) not in self._seen:
                self._seen[id(leaf)] = (leaf, _checksum(leaf), user_place())

    def check(self) -> None:
        """Raise TraceError for an array that was changed since."""
        for array, checksum, place in self._seen.values():
            if _checksum(array) != checksum:
                raise TraceError(
                    f"{place}: an array that is not traced, {array.dtype}[{', '.join(map(str, array.shape))}], is "
                    "changed after it was used here, and the graph has the array itself, with its last values: use a "
                    "copy, as x * plain.copy(), or make a new array each time"
                )


def _checksum(array: Any) -> int:
    return 0 if array.dtype.hasobject else zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)
