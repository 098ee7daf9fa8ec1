from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, ValidationError, field

from validation import expected, explain


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
            raise ValueError("text must be another one")


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
        ([], "the message is not valid"),
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
