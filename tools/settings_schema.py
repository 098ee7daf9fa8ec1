"""The fields of `Settings`, as its type annotations describe them.

Reads `src/settings.py` through `msgspec.inspect`. Does not know what Terraform does with a setting.
"""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import Struct, inspect

from settings import Settings

_TYPE_NAMES: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.LiteralType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.VarTupleType: "JSON array of strings",
}


class Setting(Struct, frozen=True, kw_only=True):
    """One field of `Settings`.

    `name` is the field's name, which is also the Terraform variable's; `env` is the environment
    variable. `default` means nothing where `required` is true. `least` and `most` are inclusive.
    `choices` is empty where any value of the type is allowed.
    """

    name: str
    env: str
    kind: str
    required: bool
    default: Any
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    description: str


def settings() -> tuple[Setting, ...]:
    """Returns every setting, in the order of the fields."""
    return tuple(_settings(Settings))


def _settings(struct: type[Struct]) -> Iterator[Setting]:
    for field in cast("inspect.StructType", inspect.type_info(struct)).fields:
        kind, description = field.type, ""
        if isinstance(kind, inspect.Metadata):
            description = (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        kind = _without_none(kind)
        yield Setting(
            name=field.name,
            env=field.encode_name,
            kind=_TYPE_NAMES[type(kind)],
            required=field.required,
            default=None if field.default is msgspec.NODEFAULT else field.default,
            least=getattr(kind, "ge", None),
            most=getattr(kind, "le", None),
            choices=tuple(map(str, getattr(kind, "values", ()))),
            description=description,
        )


def _without_none(kind: inspect.Type) -> inspect.Type:
    """Returns the type that an optional type holds."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    (held,) = (each for each in kind.types if not isinstance(each, inspect.NoneType))
    return held
