"""The README of a Terraform module: its requirements, resources, inputs and outputs.

They are written as by `terraform-docs markdown table`, between its marks. Text outside of the marks
is kept.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools import deployment

BEGIN, END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"
_SECTION = re.compile(rf"{BEGIN}\n.*?{END}", re.DOTALL)
_BLOCK = re.compile(r'^(resource|data) "(\w+)" "(\w+)" \{', re.MULTILINE)
_CALL = re.compile(r'^module "(\w+)" \{\n  source += "(.*?)"', re.MULTILINE)
_PROVIDER = re.compile(r'^    (\w+) = \{.*?version += "(.*?)"', re.MULTILINE | re.DOTALL)
_REQUIRED = re.compile(r'required_version = "(.*?)"')
# Where the registry documents a provider's resources; terraform_data is built in.
_PAGES = "https://registry.terraform.io/providers/hashicorp/aws/latest/docs"
_BUILT_IN = "https://developer.hashicorp.com/terraform/language/resources/terraform-data"


def filled(path: Path) -> str:
    """Returns the README at `path` with its generated part replaced."""
    return _SECTION.sub(lambda _: f"{BEGIN}\n{_content(path.parent)}\n{END}", path.read_text())


def _content(folder: Path) -> str:
    text = "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))
    providers = dict(_PROVIDER.findall(text))
    required = _REQUIRED.search(text)
    versions = {"terraform": required[1] if required else "n/a", **providers}
    return "\n\n".join(
        (
            _section(
                "Requirements",
                ("Name", "Version"),
                ((_anchor("requirement", name), version) for name, version in versions.items()),
            ),
            _section(
                "Providers",
                ("Name", "Version"),
                ((_anchor("provider", name), version) for name, version in providers.items()),
            ),
            _section(
                "Modules",
                ("Name", "Source", "Version"),
                (
                    (_anchor("module", name), source, "n/a")
                    for name, source in sorted(_CALL.findall(text))
                ),
            ),
            _section("Resources", ("Name", "Type"), _resources(text)),
            _section(
                "Inputs", ("Name", "Description", "Type", "Default", "Required"), _inputs(folder)
            ),
            _section(
                "Outputs",
                ("Name", "Description"),
                (
                    (_anchor("output", each.name), _cell(each.description))
                    for each in sorted(
                        deployment.outputs(folder).values(), key=lambda each: each.name
                    )
                ),
            ),
        )
    )


def _section(title: str, head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return f"## {title}\n\nNo {title.lower()}."
    marks = [":--------:" if each == "Required" else "-" * (len(each) + 2) for each in head]
    return "\n".join([f"## {title}", "", f"| {' | '.join(head)} |", f"|{'|'.join(marks)}|", *lines])


def _anchor(kind: str, name: str) -> str:
    escaped = name.replace("_", r"\_")
    return f'<a name="{kind}_{name}"></a> [{escaped}](#{kind}\\_{escaped})'


def _resources(text: str) -> Iterable[tuple[str, str]]:
    for kind, resource, name in sorted(_BLOCK.findall(text), key=lambda each: each[1:]):
        what = {"resource": "resource", "data": "data source"}[kind]
        folder = {"resource": "resources", "data": "data-sources"}[kind]
        page = f"{_PAGES}/{folder}/{resource.removeprefix('aws_')}"
        link = _BUILT_IN if resource == "terraform_data" else page
        yield f"[{resource}.{name}]({link})", what


def _inputs(folder: Path) -> Iterable[tuple[str, ...]]:
    for each in sorted(deployment.variables(folder).values(), key=lambda each: each.name):
        default = "n/a" if each.required else _code(_shown(each.default))
        yield (
            _anchor("input", each.name),
            _cell(each.description),
            _code(each.kind),
            default,
            "yes" if each.required else "no",
        )


def _shown(value: Any) -> str:
    return json.dumps(value, indent=2 if isinstance(value, list) and value else None)


def _code(text: str) -> str:
    if "\n" in text:
        lines = text.replace("|", "\\|").replace("\n", "<br/>")
        return f"<pre>{lines}</pre>"
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br/>")
