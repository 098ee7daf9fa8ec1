"""Explains msgspec's validation errors as sentences for the sender of the value. Pure.

Rules
- The expectation is read from the type, so the check and the sentence cannot differ.
- `Meta(extra={"expected": "..."})` replaces wording that cannot be derived, such as a pattern's.
- Names are the external ones: a frame's field, an environment variable.
- A sentence never contains the value itself: it may be private. For the same reason, the text of an
  exception is used only if it is an `InvalidError`, never if Python or a library wrote it.

Runs only after a value was refused, so nothing here costs a cold start.
"""

import re
from typing import Any

from msgspec import Struct, ValidationError

# How msgspec states where a value is: "Expected `int`, got `str` - at `$.limit`".
_PATH = re.compile(r" - at `\$\.(\w+)")
_MISSING = re.compile(r"missing required field `(\w+)`")

_NAMES = {
    "BoolType": "true or false",
    "DictType": "an object",
    "FloatType": "a number",
    "IntType": "a whole number",
    "ListType": "a list",
    "StrType": "text",
    "StructType": "an object",
    "VarTupleType": "a list",
}


class InvalidError(ValueError):
    """A value is invalid. The message is for its sender: "part must be a whole number from 1 to 2".

    A struct's `__post_init__` may raise it.
    """


def explain(error: ValidationError, struct: type[Struct]) -> str:
    """Returns why `struct` refused a value: "limit must be a whole number from 1 to 100".

    If its `__post_init__` raised `InvalidError`, that is the reason.
    """
    if isinstance(error.__cause__, InvalidError):
        return str(error.__cause__)
    if missing := _MISSING.search(str(error)):
        return f"{missing[1]} is missing"
    if path := _PATH.search(str(error)):
        return f"{path[1]} must be {expected(struct, path[1])}"
    return "The message is not valid"


def expected(struct: type[Struct], name: str) -> str:
    """Returns what the field with the external name `name` accepts, in words."""
    from msgspec import inspect  # noqa: PLC0415 - only a refusal needs it

    info: Any = inspect.type_info(struct)
    return _expected(next(field.type for field in info.fields if field.encode_name == name))


def _expected(kind: Any) -> str:
    name = type(kind).__name__
    if name == "Metadata":
        wording = (kind.extra or {}).get("expected")
        return str(wording) if wording else _expected(kind.type)
    if name == "UnionType":  # None is the same as leaving the field out
        types = (each for each in kind.types if type(each).__name__ != "NoneType")
        return " or ".join(dict.fromkeys(map(_expected, types)))
    if name == "LiteralType":  # "" is the same as leaving the field out
        return f"one of {', '.join(str(each) for each in kind.values if each != '')}"
    return _NAMES.get(name, "valid") + _bounds(getattr(kind, "ge", None), getattr(kind, "le", None))


def _bounds(least: float | None, most: float | None) -> str:
    if least is None:
        return ""
    return f" of at least {least}" if most is None else f" from {least} to {most}"
