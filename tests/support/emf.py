"""CloudWatch's embedded metric format, as CloudWatch reads it: which metrics a line of log has.

From the Amazon CloudWatch User Guide, "Specification: Embedded metric format": the JSON schema that
it publishes, and the rules that it has in words beside it. Where editions differ, the narrower one
counts (9 dimensions, now 30; 256 KB, now 1 MB).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema

MAX_BYTES = 256 * 1024
UNITS = (
    r"^(Seconds|Microseconds|Milliseconds|Percent|Count|Count/Second|None"
    r"|(Kilob|Megab|Gigab|Terab|B)(ytes|its)(/Second)?)$"
)
NAME = {"type": "string", "minLength": 1, "maxLength": 255}
DIMENSION_SET = {"type": "array", "maxItems": 9, "items": NAME}
DEFINITION = {
    "type": "object",
    "required": ["Name"],
    "additionalProperties": False,
    "properties": {
        "Name": NAME,
        "Unit": {"type": "string", "pattern": UNITS},
        "StorageResolution": {"enum": [1, 60]},
    },
}
DIRECTIVE = {
    "type": "object",
    "required": ["Namespace", "Dimensions", "Metrics"],
    "additionalProperties": False,
    "properties": {
        "Namespace": NAME,
        "Dimensions": {"type": "array", "minItems": 1, "items": DIMENSION_SET},
        "Metrics": {"type": "array", "maxItems": 100, "items": DEFINITION},
    },
}
DOCUMENT = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {"type": "array", "items": DIRECTIVE},
            },
        }
    },
}


@dataclass(frozen=True)
class Datum:
    """One value of one metric: what it is known by, and its unit."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    unit: str
    value: float


def data(line: str) -> list[Datum]:
    """What CloudWatch makes of a line; it must be in the format."""
    document: dict[str, Any] = json.loads(line)
    jsonschema.validate(document, DOCUMENT)
    assert len(line.encode()) <= MAX_BYTES
    found = []
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for definition in directive["Metrics"]:
            value = document[definition["Name"]]
            assert isinstance(value, int | float)
            assert not isinstance(value, bool)
            for names in directive["Dimensions"]:
                dimensions = {name: document[name] for name in names}
                assert all(isinstance(each, str) and each for each in dimensions.values())
                found.append(
                    Datum(
                        directive["Namespace"],
                        definition["Name"],
                        dimensions,
                        definition.get("Unit", "None"),
                        value,
                    )
                )
    return found
