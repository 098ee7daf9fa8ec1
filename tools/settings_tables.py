"""The tables of docs/settings.md, made of src/settings.py and terraform/."""

import json
from dataclasses import MISSING, Field, fields
from typing import Any

from settings import Settings
from tools import deployment
from tools.markdown import code, table

_CALLED: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    float | None: "number",
    bool: "true or false",
    tuple[str, ...]: "JSON list of texts",
}

# What a deployment does not choose, and who does.
_SET_BY = {"TABLE_NAME": "the deployment", "CALLBACK_URL": "the local stack"}


def of_the_function() -> str:
    """Each environment variable of the function."""
    chosen = deployment.variables()
    return table(
        ("variable", "type", "default", "bounds", "meaning", "Terraform"),
        (
            (
                code(f.metadata["env"]),
                _CALLED[f.type],
                "must be set" if f.default is MISSING else _shown(f.default),
                _bounds(f),
                f.metadata["meaning"],
                _terraform(f, chosen.get(f.name)),
            )
            for f in fields(Settings)
        ),
    )


def of_the_deployment() -> str:
    """Each variable of Terraform that the function is not told."""
    told = {f.name for f in fields(Settings)}
    return table(
        ("variable", "type", "default", "meaning", "file"),
        (
            (code(each.name), each.kind, _shown(each.default), each.description, code(each.file))
            for each in deployment.variables().values()
            if each.name not in told
        ),
    )


def _terraform(setting: "Field[Any]", chosen: deployment.Variable | None) -> str:
    if chosen is None:
        return f"set by {_SET_BY[setting.metadata['env']]}"
    own = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    return (
        code(chosen.name)
        if chosen.default == own
        else f"{code(chosen.name)}: {_shown(chosen.default)}"
    )


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return code(value) if value else "empty"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return _shown(list(value))
    if isinstance(value, list | dict | bool):
        return code(json.dumps(value))
    return f"{value:,.15g}"


def _bounds(setting: "Field[Any]") -> str:
    if choices := setting.metadata.get("choices"):
        return ", ".join(map(code, choices))
    least, most = setting.metadata.get("least"), setting.metadata.get("most")
    if most is not None:
        return f"{_shown(least)} to {_shown(most)}"
    return "" if least is None else f"from {_shown(least)}"
