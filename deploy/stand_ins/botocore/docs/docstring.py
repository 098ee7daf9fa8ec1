"""Replaces the docstrings of clients' methods by empty ones."""


class Docstring(str):
    """An empty docstring."""

    __slots__ = ()

    def __new__(cls, **_: object) -> "Docstring":  # noqa: D102, PYI034
        return super().__new__(cls)


ClientMethodDocstring = PaginatorDocstring = WaiterDocstring = Docstring
