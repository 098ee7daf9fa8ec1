"""JMESPath, imported when it is first used: pages are read with it."""

from typing import Any


def compile(expression: str) -> Any:  # noqa: A001 - its name
    """As JMESPath's own."""
    from jmespath.parser import Parser  # type: ignore[import-untyped]  # noqa: PLC0415

    return Parser().parse(expression)


def search(expression: str, data: Any, options: Any = None) -> Any:
    """As JMESPath's own."""
    return compile(expression).search(data, options=options)
