"""A member of the tree of scopes, for the tests of those that have some."""

from asyncjit._core.context import ROOT, Scope


class Member(Scope):
    """A member of the tree that notes its cancel, as a fork does."""

    def __init__(self, parent: Scope | None = None) -> None:
        super().__init__(parent, None, ROOT)
        self.told: list[type[Exception]] = []
        if parent is not None:
            self.parent = parent.adopt(self)

    def cancel_body(self, cause: type[Exception]) -> bool:
        self.told.append(cause)
        return True
