"""Covers src/records.py."""

import dataclasses
from typing import Any

import pytest

from records import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    x: int
    y: int = 0


@dataclass(frozen=True, slots=True)
class Other:
    x: int
    y: int = 0


@dataclass(slots=True, kw_only=True)
class Changing:
    names: list[str] = dataclasses.field(default_factory=list)
    hidden: int = dataclasses.field(default=0, repr=False, compare=False)


def test_it_is_a_dataclass() -> None:
    """Fields, defaults, replacing, patterns, texts: as everybody knows them."""
    match Point(1, 2):
        case Point(x, y):
            assert (1, 2) == (x, y)
    assert {"x": 3, "y": 0} == dataclasses.asdict(dataclasses.replace(Point(1), x=3))
    assert "Point(x=1, y=0)" == repr(Point(1))
    assert "Changing(names=[])" == repr(Changing(hidden=1))
    assert not hasattr(Point(1), "__dict__")
    with pytest.raises(TypeError):
        Changing(["a"])  # type: ignore[call-arg]


def test_equal_is_of_the_same_class_with_equal_fields() -> None:
    """And what is equal and frozen is one member of a set; what changes is none."""
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert not Point(1) == Other(1)  # type: ignore[comparison-overlap]  # noqa: SIM201
    assert 1 == len({Point(1), Point(1)})
    assert Changing(hidden=1) == Changing(hidden=2)
    with pytest.raises(TypeError):
        hash(Changing())


def test_frozen_is_not_changed() -> None:
    """Neither set again, nor deleted; what is not frozen may be."""
    point: Any = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert Point(1) == point
    changing = Changing()
    changing.hidden = 3
    assert 3 == changing.hidden
