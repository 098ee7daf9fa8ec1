from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest
from msgspec import Meta, Struct, ValidationError, field

from settings import Settings
from validation import InvalidError, expected, explain
from wire.requests import Request


class Example(Struct, rename={"count": "theCount"}):
    text: str
    flag: bool = False
    count: Annotated[int, Meta(ge=1, le=5)] = 1
    size: Annotated[float, Meta(ge=0)] | None = None
    choice: Literal["b", "a"] = "a"
    code: Annotated[str, Meta(pattern="^x", extra={"expected": "text that begins with x"})] = "x"
    renamed: int = field(default=0, name="continue")
    described: Annotated[int, Meta(description="A number of things.")] = 0
    below: Annotated[int, Meta(ge=-5, le=0)] = 0
    optional: None | int = None  # noqa: RUF036 - the order must not matter
    many: Annotated[list[str], Meta(extra={"expected": "a list of texts"})] = []

    def __post_init__(self) -> None:
        if self.text == "forbidden":
            raise InvalidError("text must be another one")
        if self.text == "broken":
            raise ValueError("Python's own text")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "text is missing"),
        ({"text": 1}, "text must be text"),
        ({"text": "a", "flag": 1}, "flag must be true or false"),
        ({"text": "a", "theCount": 6}, "theCount must be a whole number from 1 to 5"),
        ({"text": "a", "theCount": 10**30}, "theCount must be a whole number from 1 to 5"),
        ({"text": "a", "size": -1.0}, "size must be a number of at least 0"),
        ({"text": "a", "choice": "c"}, "choice must be one of a, b"),
        ({"text": "a", "code": "y"}, "code must be text that begins with x"),
        ({"text": "a", "continue": "y"}, "continue must be a whole number"),
        ({"text": "a", "described": "y"}, "described must be a whole number"),
        ({"text": "a", "below": 1}, "below must be a whole number from -5 to 0"),
        ({"text": "a", "optional": "y"}, "optional must be a whole number"),
        ({"text": "a", "many": ["b", 7]}, "many must be a list of texts"),
        ({"text": "forbidden"}, "text must be another one"),
        ({"text": "broken"}, "The message is not valid"),
        ([], "The message is not valid"),
    ],
)
def test_a_refusal_is_a_sentence_without_the_value(fields: Any, sentence: str) -> None:
    """The sentence names the field as the sender does, and what it accepts."""
    with pytest.raises(ValidationError) as refused:
        msgspec.convert(fields, Example)

    assert sentence == explain(refused.value, Example)


def test_what_a_field_expects_is_read_from_its_type() -> None:
    """Also for a field that the sender left out."""
    assert "a whole number from 1 to 5" == expected(Example, "theCount")


class Collections(Struct):
    texts: list[str]
    pair: tuple[int, int]
    several: tuple[str, ...]
    names: dict[str, int]
    inner: Example
    when: datetime
    level: Literal[2, 1]
    tier: Literal["", "b", "a"]
    mixed: int | str | None = None
    any_: Any = None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("texts", "a list"),
        ("pair", "valid"),
        ("several", "a list"),
        ("names", "an object"),
        ("inner", "an object"),
        ("when", "valid"),
        ("level", "one of 1, 2"),
        ("tier", "one of a, b"),
        ("mixed", "a whole number or text"),
        ("any_", "valid"),
    ],
)
def test_a_field_of_any_type_has_an_expectation(name: str, words: str) -> None:
    """A type without words of its own is "valid"; "" is the same as no value, and not offered."""
    assert words == expected(Collections, name)


@pytest.mark.parametrize(
    "struct", [*get_args(Request), Settings], ids=lambda struct: str(struct.__name__)
)
def test_every_field_has_an_expectation(struct: type[Struct]) -> None:
    """No field of a request and no setting is left with "valid"."""
    for name in struct.__struct_encode_fields__:
        assert expected(struct, name) not in ("", "valid"), name


def test_a_refused_list_is_a_sentence() -> None:
    """Also if it is one of its items that is refused."""
    for fields in ({"texts": 1}, {"texts": [1]}):
        with pytest.raises(ValidationError) as refused:
            msgspec.convert(fields, Collections)

        assert "texts must be a list" == explain(refused.value, Collections)
