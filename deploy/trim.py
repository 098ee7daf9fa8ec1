"""The part of the wheels that runs in Lambda.

Rules
- Service data describes the operations in `OPERATIONS`, unchanged, and no others. It is plain JSON:
  it is read at each start, and the zip compresses it anyway.
- A module that is imported at each start and never used is replaced by a stand-in, in `stand_ins/`
  at the same path. All other files of the wheels are as published.

Pure, except that stand-ins are read: bytes in, bytes out.
"""

import gzip
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

# The operations that src/ calls (src/store/table.py, src/bedrock_stream.py, src/posting.py and
# src/signing_poster.py), by service.
OPERATIONS = {
    "apigatewaymanagementapi": ("PostToConnection",),
    "bedrock-runtime": ("InvokeModelWithResponseStream",),
    "dynamodb": (
        "BatchWriteItem",
        "GetItem",
        "PutItem",
        "Query",
        "TransactWriteItems",
        "UpdateItem",
    ),
}

# Whether a file is included, by the first pattern that matches (`*` matches across folders).
CONTENT = (
    # Service data: the model, the endpoint rules and the paginators.
    ("botocore/data/dynamodb/2011-12-05/*", False),  # a retired version of the API
    *((f"botocore/data/{service}/*/service-2.json.gz", True) for service in OPERATIONS),
    *((f"botocore/data/{service}/*/endpoint-rule-set-1.json.gz", True) for service in OPERATIONS),
    *((f"botocore/data/{service}/*/paginators-1.json", True) for service in OPERATIONS),
    # Data that is read for every client.
    ("botocore/data/_retry.json", True),
    ("botocore/data/endpoints.json", True),
    ("botocore/data/partitions.json", True),
    ("botocore/data/sdk-default-configuration.json", True),
    ("botocore/data/*", False),
    ("boto3/data/*", False),  # of resources, which are not used
    ("boto3/examples/*", False),  # for boto3's own documentation
    # Packages with a stand-in: the modules that are imported.
    ("boto3/docs/*", False),
    ("boto3/resources/__init__.py", True),
    ("boto3/resources/factory.py", True),
    ("boto3/resources/*", False),
    ("botocore/docs/__init__.py", True),
    ("botocore/docs/docstring.py", True),
    ("botocore/docs/utils.py", True),
    ("botocore/docs/*", False),
    ("s3transfer/__init__.py", True),
    ("s3transfer/manager.py", True),
    ("s3transfer/*", False),
    ("urllib3/http2/connection.py", False),
    # TOML, YAML and JSON Schema, which msgspec itself would import at each start.
    ("msgspec/_json_schema.py", False),
    ("msgspec/_version.py", False),
    ("msgspec/toml.py", False),
    ("msgspec/yaml.py", False),
    ("*.dist-info/METADATA", True),  # names and versions, for vulnerability scanners
    ("*.dist-info/*", False),
    ("*.data/*", False),  # command-line scripts
    ("*.pyi", False),
    ("*/py.typed", False),
    ("*", True),
)

STAND_INS = Path(__file__).with_name("stand_ins")

_SHAPE = re.compile(r'"shape": "(\w+)"')


def included(path: str) -> bool:
    """Whether a wheel's file goes into the zip."""
    return next(include for pattern, include in CONTENT if fnmatchcase(path, pattern))


def trimmed(path: str, content: bytes) -> tuple[str, bytes]:
    """A wheel's file as it goes into the zip, with its path there."""
    stand_in = STAND_INS / path
    if stand_in.is_file():
        return path, stand_in.read_bytes()
    if not path.startswith("botocore/data/"):
        return path, content
    packed = path.endswith(".gz")
    data = json.loads(gzip.decompress(content) if packed else content)
    service, name = path.split("/")[2], path.rpartition("/")[2]
    if name == "endpoints.json":
        data = endpoints(data)
    elif name.startswith("service-2."):
        data = model(data, OPERATIONS[service])
    elif name.startswith("paginators-1."):
        pages = data["pagination"]
        data["pagination"] = {each: pages[each] for each in pages if each in OPERATIONS[service]}
    return path.removesuffix(".gz"), json.dumps(data, separators=(",", ":")).encode()


def endpoints(data: Any) -> Any:
    """The list of endpoints without its services.

    Each client reads the whole list, for partitions and Regions. The services of `OPERATIONS` have
    endpoint rules of their own (endpoint-rule-set-1.json).
    """
    partitions = [{**partition, "services": {}} for partition in data["partitions"]]
    return {**data, "partitions": partitions}


def model(data: Any, operations: tuple[str, ...]) -> Any:
    """The model of a service, reduced to these operations and the shapes that they reach."""
    used = {name: _undocumented(data["operations"][name]) for name in operations}
    shapes: dict[str, Any] = {}
    waiting = list(_named(used))
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = _undocumented(data["shapes"][name])
            waiting += _named(shapes[name])
    rest = _undocumented(
        {each: data[each] for each in data if each not in ("operations", "shapes")}
    )
    # In their original order, so that equal data is an equal file.
    ordered = {name: shapes[name] for name in data["shapes"] if name in shapes}
    return {**rest, "operations": used, "shapes": ordered}


def _named(part: Any) -> Iterator[str]:
    """The shapes that a part of a model refers to."""
    return (each[1] for each in _SHAPE.finditer(json.dumps(part)))


def _undocumented(part: Any) -> Any:
    match part:
        case dict():
            return {
                name: _undocumented(value)
                for name, value in part.items()
                if not (name == "documentation" and isinstance(value, str))
            }
        case list():
            return [_undocumented(each) for each in part]
        case _:
            return part
