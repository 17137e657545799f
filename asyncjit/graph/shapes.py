"""`TracedShape`: a shape that tells which of its items were read.

What the traced code reads of a shape becomes part of the graph, as a number. So each item that is read is told, and
the graph holds for that size alone; sizes that nobody read may differ. NumPy's C code reads tuples of this class
through `__iter__`, as everybody does but a few methods of tuple, which are all here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex


class TracedShape(tuple[int, ...]):
    """The shape of a traced array; `read` is called with "ndim" or the number of a dimension.

    Examples
    --------
    >>> seen = []
    >>> shape = TracedShape((5, 3), seen.append)
    >>> shape[1], seen
    (3, [1])
    >>> shape[-1], seen
    (3, [1, 'ndim', 1])
    """

    _read: Callable[[int | str], object]

    def __new__(cls, sizes: tuple[int, ...], read: Callable[[int | str], object]) -> TracedShape:
        """Make one."""
        shape = super().__new__(cls, sizes)
        shape._read = read
        return shape

    def plain(self) -> tuple[int, ...]:
        """Return a tuple, all of which counts as read."""
        num_dimensions = len(self)
        for dimension in range(num_dimensions):
            self._read(dimension)
        return tuple(super().__iter__())

    def __len__(self) -> int:
        self._read("ndim")
        return super().__len__()

    def __iter__(self) -> Iterator[int]:
        return iter(self.plain())

    def __reversed__(self) -> Iterator[int]:
        return reversed(self.plain())

    def __getitem__(self, index: Any) -> Any:
        dimensions = range(super().__len__())[index]  # IndexError as tuple's
        if isinstance(index, slice):
            self._read("ndim")
            for dimension in dimensions:
                self._read(dimension)
        else:
            if index < 0:
                self._read("ndim")
            self._read(dimensions)
        return super().__getitem__(index)

    def __eq__(self, other: object) -> bool:
        return bool(self.plain() == _plain(other))

    def __ne__(self, other: object) -> bool:
        return bool(self.plain() != _plain(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self.plain() < _plain(other))

    def __le__(self, other: Any) -> bool:
        return bool(self.plain() <= _plain(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.plain() > _plain(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.plain() >= _plain(other))

    def __hash__(self) -> int:
        return hash(self.plain())

    def __contains__(self, size: object) -> bool:
        return size in self.plain()

    def __add__(self, other: Any) -> Any:
        return self.plain() + _plain(other)

    def __radd__(self, other: Any) -> Any:
        return other + self.plain()

    def __mul__(self, times: SupportsIndex) -> tuple[int, ...]:
        return self.plain() * times

    __rmul__ = __mul__

    def index(self, *args: Any) -> int:
        """Return where a size stands."""
        return self.plain().index(*args)

    def count(self, size: object) -> int:
        """Return how often a size occurs."""
        return self.plain().count(size)

    def __repr__(self) -> str:
        return repr(self.plain())

    def __str__(self) -> str:
        return repr(self.plain())

    def __format__(self, spec: str) -> str:
        return format(self.plain(), spec)

    def __copy__(self) -> tuple[int, ...]:
        return self.plain()

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[int, ...]:
        return self.plain()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return tuple, (self.plain(),)


def _plain(other: Any) -> Any:
    return other.plain() if type(other) is TracedShape else other
