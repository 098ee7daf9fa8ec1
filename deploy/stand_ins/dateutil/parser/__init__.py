"""dateutil's parser, imported when it is first called."""

from typing import Any


def parse(*arguments: Any, **options: Any) -> Any:
    """As the parser's own."""
    from dateutil.parser import _parser  # noqa: PLC0415 - the purpose of this module

    return _parser.parse(*arguments, **options)
