"""The tables of docs/settings.md, generated from src/settings.py and terraform/modules/chat."""

import json
from typing import Any

from tools import deployment
from tools.markdown import code, table
from tools.settings_schema import Setting, settings

# The settings that have no Terraform variable, and what sets them.
_SET_BY = {
    "TABLE_NAME": "the deployment",
    "CALLBACK_URL": "the deployment",
    "SYSTEM_PROMPT_OBJECT": "the deployment, for a long `system_prompt`",
}


def function_settings() -> str:
    """Returns a row for each environment variable of the function."""
    variables = deployment.variables()
    return table(
        ("variable", "type", "default", "bounds", "meaning", "Terraform"),
        (
            (
                code(each.env),
                each.kind,
                "must be set" if each.required else _shown(each.default),
                _bounds(each),
                each.description,
                _terraform(each, variables.get(each.name)),
            )
            for each in settings()
        ),
    )


def deployment_variables() -> str:
    """Returns a row for each Terraform variable that is not a setting of the function."""
    names = {each.name for each in settings()}
    return table(
        ("variable", "type", "default", "meaning"),
        (
            (code(each.name), _type(each), _shown(each.default), _line(each.description))
            for each in deployment.all_variables().values()
            if each.name not in names
        ),
    )


def _terraform(setting: Setting, variable: deployment.Variable | None) -> str:
    if variable is None:
        return f"set by {_SET_BY[setting.env]}"
    own = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    if variable.default == own:
        return code(variable.name)
    return f"{code(variable.name)}: {_shown(variable.default)}"


def _type(variable: deployment.Variable) -> str:
    """Returns the type; an object's attributes are in its description."""
    return variable.kind.partition("({")[0]


def _line(description: str) -> str:
    return description.replace("\n\n", "<br>").replace("\n", "<br>")


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


def _bounds(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(map(_shown, setting.choices))
    if setting.most is not None:
        return f"{_shown(setting.least)} to {_shown(setting.most)}"
    return "" if setting.least is None else f"from {_shown(setting.least)}"
