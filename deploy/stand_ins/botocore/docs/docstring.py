"""Docstrings of clients' methods: there is nobody to read them."""


class Docstring(str):
    """Says nothing about what it is made with."""

    __slots__ = ()

    def __new__(cls, **_: object) -> "Docstring":  # noqa: D102, PYI034
        return super().__new__(cls)


ClientMethodDocstring = PaginatorDocstring = WaiterDocstring = Docstring
