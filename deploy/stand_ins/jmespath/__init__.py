"""Imports JMESPath's parser when it is first used, by paginators."""

from typing import Any


def compile(expression: str) -> Any:  # noqa: A001 - its name
    """As JMESPath's."""
    from jmespath.parser import Parser  # type: ignore[import-untyped]  # noqa: PLC0415

    return Parser().parse(expression)


def search(expression: str, data: Any, options: Any = None) -> Any:
    """As JMESPath's."""
    return compile(expression).search(data, options=options)
