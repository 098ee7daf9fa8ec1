"""Covers deploy/trim.py: the cost of a start, in counts, and that trimming loses nothing used.

The bounds are a little above today's counts: a change that exceeds one has to justify its imports.
"""

import gzip
import json
import re
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore
import msgspec
import pytest
from botocore import xform_name
from botocore.model import ServiceModel
from support.zips import isolated, lambda_python

from clients import SERVICES
from deploy import trim
from deploy.package import SRC

MODULES = 345  # imported until the handler is ready, Python's own included
OPENED = 260  # files that are opened meanwhile, modules included
DATA_FILES = 10  # of these, botocore's data
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
    *("importlib.metadata", "jmespath.parser", "msgspec.inspect", "msgspec.toml", "msgspec.yaml"),
    *("multiprocessing", "s3transfer.futures", "sqlite3"),
    *("unittest", "urllib3.http2.connection", "zipfile"),
)
STARTING = """
import sys
sys.path.insert(0, sys.argv[1])
import gc, json, os.path
opened = []
sys.addaudithook(lambda event, values: event == "open" and opened.append(str(values[0])))
import handler
modules = list(sys.modules)
files = [path for path in opened if os.path.isfile(path)]
print(json.dumps([modules, files, gc.isenabled(), gc.get_freeze_count()]))
"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "y",
    "AWS_DEFAULT_REGION": "us-east-1",
    "CALLBACK_URL": "https://a.execute-api.us-east-1.amazonaws.com/p",
    "MODEL_ID": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "TABLE_NAME": "none",
}


def test_a_start_imports_and_opens_no_more_than_it_needs(task_root: Path) -> None:
    """Modules and files are counted; none is for S3, HTTP/2, documentation, pages or schemas."""
    modules, opened, collecting, frozen = isolated(
        lambda_python(), STARTING, task_root, None, **ENVIRONMENT
    )
    data = [path for path in opened if "/botocore/data/" in path]

    assert [] == [name for name in modules if name.startswith(FORBIDDEN)]
    assert collecting
    assert frozen > 10_000
    assert DATA_FILES >= len(data)
    assert MODULES >= len(modules)
    assert OPENED >= len(opened)


WITH_PROMPT = """
print(json.dumps([modules, files, handler.SERVICES.settings.system_prompt]))
"""


def test_a_prompt_in_an_object_is_read_without_a_client_for_s3(
    task_root: Path, tmp_path: Path
) -> None:
    """Its module is imported only where there is one, and needs nothing else of botocore."""
    (tmp_path / "system-prompt.txt").write_text("Answer in rhymes.")
    serving = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    starting = f"{STARTING}{WITH_PROMPT}"
    with ThreadingHTTPServer(("127.0.0.1", 0), serving) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/system-prompt.txt?versionId=v1"
        with_object, opened, prompt = isolated(
            lambda_python(), starting, task_root, None, **ENVIRONMENT, SYSTEM_PROMPT_OBJECT=url
        )
        server.shutdown()
    without, *_ = isolated(lambda_python(), starting, task_root, None, **ENVIRONMENT)

    ours = {path.stem for path in SRC.rglob("*.py")}
    assert "Answer in rhymes." == prompt
    assert {"prompt_object"} == ours & (set(with_object) - set(without))
    assert [] == [name for name in set(with_object) - set(without) if name.startswith(FORBIDDEN)]
    assert DATA_FILES >= len([path for path in opened if "/botocore/data/" in path])


def test_the_zip_is_small(lambda_zip: Path) -> None:
    """Fetching and unpacking it is a part of a cold start."""
    assert lambda_zip.stat().st_size < ZIP_BYTES


def test_the_operations_that_the_sources_call_are_included() -> None:
    """By methods and paginators, in all of src/; no operation is included that is not called."""
    called = set()
    for path in SRC.rglob("*.py"):
        text = path.read_text()
        called |= set(re.findall(r"client\.(\w+)\(", text))
        called |= set(re.findall(r'get_paginator\("(\w+)"\)', text))
    included = {xform_name(name) for names in trim.OPERATIONS.values() for name in names}

    assert included == called - {"get_paginator"}
    assert set(SERVICES) == set(trim.OPERATIONS)


@pytest.mark.parametrize("service", trim.OPERATIONS)
def test_included_operations_are_unchanged(service: str, task_root: Path) -> None:
    """Input, output and errors are the same at every depth, without documentation."""
    whole = next((Path(botocore.__file__).parent / "data" / service).glob("*/service-2.json.gz"))
    (trimmed,) = (task_root / "botocore" / "data" / service).glob("*/service-2.json")
    was, now = json.loads(gzip.decompress(whole.read_bytes())), json.loads(trimmed.read_text())
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


def test_each_stand_in_replaces_a_file_of_a_wheel(lambda_zip: Path) -> None:
    """It is in the zip at that path, byte for byte."""
    with zipfile.ZipFile(lambda_zip) as content:
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


def test_modules_imported_later_work(task_root: Path) -> None:
    """Times and pages are parsed as without the stand-ins."""
    assert ["2026-11-22T10:00:00+00:00", 1, 2] == isolated(sys.executable, LATER, task_root, None)


MSGSPEC = """
import json, sys
sys.path.insert(0, sys.argv[1])
import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, replace

class Item(Struct):
    number: int
    names: list[str] = field(default_factory=list)

[inspected, _] = msgspec.inspect.type_info(Item).fields
item = replace(msgspec.json.decode(b'{"number": 1}', type=Item), number=2)
missing = [name for name in json.load(sys.stdin) if not hasattr(msgspec, name)]
print(json.dumps([asdict(item), type(inspected.type).__name__, missing, msgspec.__file__]))
"""


def test_msgspecs_stand_in_has_its_names(task_root: Path) -> None:
    """All but TOML, YAML and the version, and its modules work when they are first used."""
    names = [name for name in dir(msgspec) if not name.startswith("_")]
    item, kind, missing, file = isolated(lambda_python(), MSGSPEC, task_root, names)

    assert {"number": 2, "names": []} == item
    assert "IntType" == kind
    assert ["toml", "yaml"] == missing
    assert str(task_root) in file
