"""msgspec without TOML, YAML and JSON Schema. Its modules are imported when first used."""

from importlib import import_module
from typing import Any

from msgspec import _core
from msgspec._core import *  # type: ignore[import-not-found]  # noqa: F403


def field(
    *, default: Any = _core.NODEFAULT, default_factory: Any = _core.NODEFAULT, name: Any = None
) -> Any:
    """As msgspec's."""
    return _core.Field(default=default, default_factory=default_factory, name=name)


def __getattr__(name: str) -> Any:
    if name not in ("inspect", "json", "msgpack", "structs"):
        raise AttributeError(f"this msgspec has no {name}")
    return import_module(f"msgspec.{name}")
