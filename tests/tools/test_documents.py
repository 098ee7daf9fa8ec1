"""The documents agree with the sources, and their links have targets."""

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hcl2
import pytest
from jsonschema import Draft202012Validator
from support.e2e_clients import SCHEMA, validator

import handler
from errors import CODES
from tools import __main__ as docs
from tools import decisions, deployment, limits, protocol_schema
from tools.__main__ import ROOT, SECTIONS, documents
from tools.markdown import section_names
from tools.settings_schema import settings

# Directories that are generated or installed.
GENERATED = {".git", ".terraform", ".venv", "build", "node_modules"}
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not GENERATED & set(path.relative_to(ROOT).parts)
)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


# -- generated sections ----------------------------------------------------------------------------


def test_the_documents_are_current() -> None:
    """`make docs` would change no document."""
    stale = [path for path, text in documents() if path.read_text() != text]

    assert [] == [str(path.relative_to(ROOT)) for path in stale]


def test_make_docs_writes_outdated_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes a document once and prints its name; the second run prints nothing."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- make docs: states -->\n<!-- up to here -->\n")
    (tmp_path / "docs" / "plain.md").write_text("no sections\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(protocol_schema, "FILE", tmp_path / "docs" / "protocol.schema.json")

    docs.main()
    first = capsys.readouterr().out
    docs.main()

    assert "written: README.md\nwritten: docs/protocol.schema.json\n" == first
    assert "" == capsys.readouterr().out
    assert "| `unfinished` |" in (tmp_path / "README.md").read_text()


def test_every_section_is_used_once() -> None:
    """Each generated section is in exactly one document."""
    found = Counter(name for path in DOCUMENTS for name in section_names(path.read_text()))

    assert dict.fromkeys(SECTIONS, 1) == found


# -- links -----------------------------------------------------------------------------------------


def links(path: Path) -> Iterator[str]:
    """Yields the relative targets of links and images outside of code."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(path: Path) -> set[str]:
    """Returns the anchors that GitHub generates from headings, and those that are named."""
    text = path.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    named = re.findall(r'<a name="(\w+)">', text)
    return {heading.replace(" ", "-") for heading in plain} | set(named)


def test_links_have_targets(document: Path) -> None:
    """Each linked file, image and heading exists."""
    broken = []
    for target in links(document):
        name, _, anchor = target.partition("#")
        linked = (document.parent / name).resolve() if name else document
        if not linked.exists() or (anchor and anchor.replace("\\_", "_") not in anchors(linked)):
            broken.append(target)

    assert [] == broken


def test_links_are_found() -> None:
    """The parser finds the links of the README."""
    assert len(list(links(ROOT / "README.md"))) > 10


# -- the protocol ----------------------------------------------------------------------------------


def test_the_schema_is_valid_and_described() -> None:
    """It is a JSON Schema, and every frame and field has a description."""
    Draft202012Validator.check_schema(SCHEMA)
    undescribed = [
        f"{name}.{field}"
        for name, each in SCHEMA["$defs"].items()
        for field, node in each.get("properties", {}).items()
        if node and not (node.get("description") or "$ref" in node)
    ]

    assert [] == undescribed
    assert [] == [name for name, each in SCHEMA["$defs"].items() if "description" not in each]


@pytest.mark.parametrize("name", [n for n, each in SCHEMA["$defs"].items() if "examples" in each])
def test_examples_are_valid(name: str) -> None:
    """Each example matches its definition."""
    for example in SCHEMA["$defs"][name]["examples"]:
        validator(name).validate(example)


def test_every_frame_has_an_example() -> None:
    """Client frames, server frames and the seed format have examples."""
    named = [each["$ref"] for each in SCHEMA["$defs"]["client"]["anyOf"]]
    named += [each["$ref"] for each in SCHEMA["$defs"]["server"]["oneOf"]]
    frames = [ref.rpartition("/")[2] for ref in named] + ["seed"]

    assert [] == [name for name in frames if not SCHEMA["$defs"][name].get("examples")]


def test_codes_are_documented() -> None:
    """docs/protocol.md, the schema and the code name the same error codes."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    table = text.partition("<!-- make docs: error-codes -->")[2].partition("<!--")[0]
    schema = [row["const"] for row in SCHEMA["$defs"]["error"]["properties"]["code"]["oneOf"]]

    assert ["code", *CODES] == re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert list(CODES) == schema


# -- the settings ----------------------------------------------------------------------------------


def test_every_variable_is_described() -> None:
    """Each Terraform variable has a type and a description that is a sentence."""
    found = deployment.all_variables()

    assert len(found) > len(settings())
    assert [] == [each.name for each in found.values() if not each.description.endswith(".")]
    assert [] == [each.name for each in found.values() if not each.kind]


def test_every_setting_and_variable_is_documented() -> None:
    """docs/settings.md has a row for each setting and variable, and no other rows."""
    text = (ROOT / "docs" / "settings.md").read_text()
    names = {each.env for each in settings()} | set(deployment.all_variables())

    # The first cell, or the last, which may have a default after the name.
    rows = re.findall(r"^\| `(\w+)` \|.*?\| (?:`(\w+)`)?[^|]* \|$", text, re.MULTILINE)
    assert names == {name for row in rows for name in row if name}


# -- the security model ----------------------------------------------------------------------------


def test_numbers_in_the_text_of_the_security_model() -> None:
    """Numbers in sentences agree with the sources, as those in tables do."""
    text = " ".join((ROOT / "docs" / "security.md").read_text().split())
    with (deployment.MODULE / "function.tf").open() as file:
        resources = hcl2.load(file)["resource"]
    (queue,) = [
        body
        for block in resources
        for kind, named in block.items()
        if kind.strip('"') == "aws_sqs_queue"
        for name, body in named.items()
        if name.strip('"') == "dead_letters"
    ]

    assert f"{8 * handler.SESSION_ID_BYTES} random bits" in text
    assert "${14 * 24 * 60 * 60}" == queue["message_retention_seconds"]
    assert text.count("14 days") == 2


def test_each_stated_maximum_cost_is_the_product_of_its_factors() -> None:
    """Each cost is the product of the factors beside it; the daily quota limits questions."""
    cases = limits.worst_cases()
    text = (ROOT / "docs" / "security.md").read_text()

    assert 6 == len(cases)
    shown = re.findall(r"\| ([^|]+ × [^|]+) \| ([\d,.]+) \|$", text, re.MULTILINE)
    assert len(cases) == len(shown)
    for product, dollars in shown:
        factors = [float(each.split()[0].replace(",", "")) for each in product.split(" × ")]
        assert pytest.approx(float(dollars.replace(",", "")), rel=1e-3) == math.prod(factors)
    assert 15 == round(cases[2].dollars)


# -- the samples -----------------------------------------------------------------------------------


def test_every_sample_event_is_described() -> None:
    """events/README.md has a row for each file, and no other rows."""
    text = (ROOT / "events" / "README.md").read_text()
    samples = {path.name for path in (ROOT / "events").glob("*.json")}

    assert samples == set(re.findall(r"^\| \[([a-z0-9]+\.json)\]", text, re.MULTILINE))


# -- the decisions ---------------------------------------------------------------------------------


def test_decisions_have_unique_numbers() -> None:
    """No two decisions have the same number, and each begins with a heading."""
    pages = list(decisions.pages())

    assert [] == [n for n, count in Counter(p.name[:4] for p in pages).items() if count > 1]
    assert [] == [page.name for page in pages if not page.read_text().startswith("# ")]


SECTIONS_OF_A_DECISION = ["Context", "Decision", "Consequences", "Unconfirmed"]


@pytest.mark.parametrize("page", list(decisions.pages()), ids=lambda page: str(page.name[:4]))
def test_decisions_have_the_same_sections(page: Path) -> None:
    """Context, decision and consequences, in this order, then what is unconfirmed, if anything."""
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)

    assert SECTIONS_OF_A_DECISION[: max(3, len(headings))] == headings


# -- the architecture ------------------------------------------------------------------------------


def imported_by(name: str) -> set[str]:
    """Returns the modules and packages of src/ that a module or package of it imports."""
    source = ROOT / "src" / name
    files = source.glob("*.py") if source.is_dir() else [source.with_suffix(".py")]
    found: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_arrows_are_imports() -> None:
    """Each arrow between modules in docs/architecture.md is an import in src/."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    diagram = text.partition("flowchart")[2].partition("```")[0]
    arrows = re.findall(r"^  (\w+)(?:\[.*?\])? --> (\w+)", diagram, re.MULTILINE)

    assert arrows
    assert [] == [(one, other) for one, other in arrows if other not in imported_by(one)]
