"""What is wrong with a value, as a sentence for whoever sent it. Pure.

Rules
- The expectation is read off the type, so that what is checked and what is said cannot differ.
- A name is the one outside: a frame's field, an environment variable.

Nothing here runs unless something was refused, so nothing here costs a cold start.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct, ValidationError

# Where msgspec says that a value stands: "Expected `int`, got `str` - at `$.limit`".
_PATH = re.compile(r" - at `\$\.(\w+)")
_MISSING = re.compile(r"missing required field `(\w+)`")

_NAMES = {
    "BoolType": "true or false",
    "FloatType": "a number",
    "IntType": "a whole number",
    "StrType": "text",
}


def explain(error: ValidationError, struct: type[Struct]) -> str:
    """The refusal as a sentence, such as "limit must be a whole number from 1 to 100".

    Never holds the value itself: it may be private.
    """
    said = str(error)
    if missing := _MISSING.search(said):
        return f"{missing[1]} is missing"
    if path := _PATH.search(said):
        return f"{path[1]} must be {expected(struct, path[1])}"
    return "the message is not understood"


def expected(struct: type[Struct], name: str) -> str:
    """What the field `name`, as it is called outside, takes."""
    info: Any = msgspec.inspect.type_info(struct)
    return _expected(next(field.type for field in info.fields if field.encode_name == name))


def _expected(kind: Any) -> str:
    """In words; `expected` in a type's `Meta.extra` comes before what is read off it."""
    name = type(kind).__name__
    if name == "Metadata":
        words = (kind.extra or {}).get("expected")
        return str(words) if words else _expected(kind.type)
    if name == "UnionType":  # with None, which is as good as leaving it out
        return _expected(next(each for each in kind.types if type(each).__name__ != "NoneType"))
    if name == "LiteralType":
        return f"one of {', '.join(sorted(kind.values))}"
    return _NAMES[name] + _bounds(getattr(kind, "ge", None), getattr(kind, "le", None))


def _bounds(least: float | None, most: float | None) -> str:
    if least is None:
        return ""
    return f" of at least {least}" if most is None else f" from {least} to {most}"
