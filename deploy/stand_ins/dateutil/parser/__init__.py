"""Imports dateutil's parser when it is first called."""

from typing import Any


def parse(*arguments: Any, **options: Any) -> Any:
    """As dateutil's."""
    from dateutil.parser import _parser  # type: ignore[import-untyped]  # noqa: PLC0415

    return _parser.parse(*arguments, **options)
