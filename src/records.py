"""`dataclass`, made quickly.

The standard library writes each class's methods as text and compiles it: for the forty of this
function a sixth of a cold start. All but `__init__` do the same in every class, so they stand here
once. To whoever reads or checks types it is the dataclass that it says it is.

Differs in one thing: "frozen" here is that a field is set once, and in classes with slots only.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, **options: bool) -> Any:
        """As `dataclasses.dataclass`, of which it takes `frozen`, `kw_only` and `slots`."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen, **options)
        cls.__doc__ = cls.__doc__ or cls.__name__  # else it would be made of the signature
        made = dataclasses.dataclass(repr=False, eq=False, **options)(cls)
        made.__repr__, made.__eq__, made.__hash__ = _repr, _eq, None
        if frozen:
            made.__hash__, made.__setattr__, made.__delattr__ = _hash, _set_once, _refuse
        return made


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, each.name) for each in dataclasses.fields(self) if each.compare)


def _repr(self: Any) -> str:
    shown = (each.name for each in dataclasses.fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"


def _eq(self: Any, other: Any) -> bool:
    return _values(self) == _values(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _set_once(self: Any, name: str, value: Any) -> None:
    if hasattr(self, name):
        _refuse(self, name)
    object.__setattr__(self, name, value)


def _refuse(self: Any, name: str) -> NoReturn:
    del self
    raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")
