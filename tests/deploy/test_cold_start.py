"""Covers deploy/trim.py: what starting costs, in counts, and that trimming loses nothing.

The bounds leave a little room: whoever meets one asks what the first event needs it for.
"""

import gzip
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore import xform_name
from botocore.model import ServiceModel
from support.zips import LAMBDA_PYTHON, PYTHONS, isolated

from clients import SERVICES
from deploy import trim
from deploy.package import SRC

MODULES = 335  # imported until the handler is ready, Python's own among them
OPENED = 270  # files that are opened meanwhile, each module's among them
OF_DATA = 10  # of them botocore's data
ZIP_BYTES = 3_000_000
FORBIDDEN = (
    *(
        "boto3.docs",
        "boto3.s3",
        "botocore.crt.auth",
        "botocore.docs.service",
        "dateutil.parser._parser",
    ),
    *("concurrent.futures.process", "concurrent.futures.thread", "html.parser"),
    *("importlib.metadata", "jmespath.parser", "multiprocessing", "s3transfer.futures", "sqlite3"),
    *("unittest", "urllib3.http2.connection", "zipfile"),
)
STARTING = """
import sys
sys.path.insert(0, sys.argv[1])
import gc, json
opened = []
sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
import handler
modules = list(sys.modules)
print(json.dumps([modules, opened, gc.isenabled(), gc.get_freeze_count()]))
"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "y",
    "AWS_DEFAULT_REGION": "us-east-1",
    "CALLBACK_URL": "https://a.execute-api.us-east-1.amazonaws.com/p",
    "MODEL_ID": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "TABLE_NAME": "none",
}


@pytest.mark.parametrize("python", PYTHONS)
def test_it_imports_and_opens_no_more_than_it_needs(python: str, task_root: Path) -> None:
    """Modules, files and data are counted; none is there for S3, HTTP/2, documentation or pages."""
    modules, opened, collecting, frozen = isolated(python, STARTING, task_root, None, **ENVIRONMENT)
    data = [path for path in opened if "/botocore/data/" in path]

    assert [] == [name for name in modules if name.startswith(FORBIDDEN)]
    assert OF_DATA >= len(data)
    assert collecting
    assert frozen > 10_000
    if python == LAMBDA_PYTHON:  # others have other modules of their own
        assert MODULES >= len(modules)
        assert OPENED >= len(opened)


def test_the_zip_is_small(packed: Path) -> None:
    """A third of what is promised: what is fetched and unpacked is a part of a cold start."""
    assert packed.stat().st_size < ZIP_BYTES


def test_every_operation_that_is_called_is_kept() -> None:
    """As the sources call clients, by methods and pages; and none is kept that nobody calls."""
    called = set()
    for path in SRC.glob("*.py"):
        text = path.read_text()
        called |= set(re.findall(r"client\.(\w+)\(", text))
        called |= set(re.findall(r'get_paginator\("(\w+)"\)', text))
    kept = {xform_name(name) for names in trim.OPERATIONS.values() for name in names}

    assert kept == called - {"get_paginator"}
    assert set(SERVICES) == set(trim.OPERATIONS)


@pytest.mark.parametrize("service", trim.OPERATIONS)
def test_what_is_kept_is_as_it_was(service: str, task_root: Path) -> None:
    """Each operation takes, gives and raises the same, all the way down, but for documentation."""
    whole = next((Path(botocore.__file__).parent / "data" / service).glob("*/service-2.json.gz"))
    (kept,) = (task_root / "botocore" / "data" / service).glob("*/service-2.json")
    was, now = json.loads(gzip.decompress(whole.read_bytes())), json.loads(kept.read_text())
    before, after = ServiceModel(was, service), ServiceModel(now, service)

    assert sorted(trim.OPERATIONS[service]) == sorted(after.operation_names)
    assert before.metadata == after.metadata
    assert "documentation" not in now
    for name in after.operation_names:
        old: Any = before.operation_model(name)
        new: Any = after.operation_model(name)
        for part in ("input_shape", "output_shape"):
            assert described(getattr(old, part)) == described(getattr(new, part))
        assert [described(each) for each in old.error_shapes] == [
            described(each) for each in new.error_shapes
        ]
        assert trim._undocumented(old._operation_model) == new._operation_model


def described(shape: Any, above: tuple[str, ...] = ()) -> Any:
    """A shape with all that it contains, to where it contains itself."""
    if shape is None or shape.name in above:
        return shape and shape.name
    inner = (*above, shape.name)
    traits = {k: v for k, v in shape._shape_model.items() if k in ("enum", "box", "exception")}
    members: Any = None
    if shape.type_name == "structure":
        members = {name: described(each, inner) for name, each in shape.members.items()}
    elif shape.type_name == "list":
        members = described(shape.member, inner)
    elif shape.type_name == "map":
        members = [described(shape.key, inner), described(shape.value, inner)]
    return [shape.name, shape.type_name, shape.metadata, shape.serialization, traits, members]


def test_each_stand_in_stands_for_something(packed: Path) -> None:
    """It is in the zip instead of what the wheel has there, byte for byte."""
    with zipfile.ZipFile(packed) as content:
        for path in trim.STAND_INS.rglob("*.py"):
            name = path.relative_to(trim.STAND_INS).as_posix()
            assert content.read(name) == path.read_bytes()
            assert (Path(botocore.__file__).parents[1] / name).exists()


LATER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import dateutil.parser, jmespath
print(json.dumps([
    dateutil.parser.parse("2026-11-22T10:00:00Z").isoformat(),
    jmespath.search("a[0].b", {"a": [{"b": 1}]}),
    jmespath.compile("a").search({"a": 2}),
]))
"""


def test_what_is_imported_later_works(task_root: Path) -> None:
    """Times and pages are read as ever, once there are any."""
    assert ["2026-11-22T10:00:00+00:00", 1, 2] == isolated(sys.executable, LATER, task_root, None)
