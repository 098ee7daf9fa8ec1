"""The documents say what the sources say, and lead where they say."""

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
from tools import __main__ as making
from tools import decisions, deployment, limits
from tools.__main__ import ROOT, SECTIONS, documents
from tools.markdown import places
from tools.settings_schema import settings

# Made here, or not ours.
ELSEWHERE = {".git", ".terraform", ".venv", "build", "node_modules"}
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not ELSEWHERE & set(path.relative_to(ROOT).parts)
)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


# -- what is made ----------------------------------------------------------------------------------


def test_the_documents_are_current() -> None:
    """`make docs` has nothing to write."""
    stale = [path for path, text in documents() if path.read_text() != text]

    assert [] == [str(path.relative_to(ROOT)) for path in stale]


def test_make_docs_writes_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and says which; where all is current, it says nothing."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- make docs: states -->\n<!-- up to here -->\n")
    (tmp_path / "docs" / "plain.md").write_text("no places\n")
    monkeypatch.setattr(making, "ROOT", tmp_path)

    making.main()
    first = capsys.readouterr().out
    making.main()

    assert "written: README.md\n" == first
    assert "" == capsys.readouterr().out
    assert "| `unfinished` |" in (tmp_path / "README.md").read_text()


def test_every_section_has_its_place() -> None:
    """What is made is shown, once."""
    found = Counter(name for path in DOCUMENTS for name in places(path.read_text()))

    assert dict.fromkeys(SECTIONS, 1) == found


# -- where links lead ------------------------------------------------------------------------------


def links(path: Path) -> Iterator[str]:
    """Relative targets of links and images, outside code."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_links_lead_somewhere(document: Path) -> None:
    """Each file that is linked to or shown exists, and each heading that is pointed at."""
    lost = []
    for target in links(document):
        name, _, anchor = target.partition("#")
        there = (document.parent / name).resolve() if name else document
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)

    assert [] == lost


def test_there_are_links() -> None:
    """The parser finds what it should."""
    assert len(list(links(ROOT / "README.md"))) > 10


# -- the protocol ----------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    """It is a JSON Schema, and every frame and each of its fields says what it means."""
    Draft202012Validator.check_schema(SCHEMA)
    silent = [
        f"{name}.{field}"
        for name, each in SCHEMA["$defs"].items()
        for field, node in each.get("properties", {}).items()
        if node and not (node.get("description") or "$ref" in node)
    ]

    assert [] == silent
    assert [] == [name for name, each in SCHEMA["$defs"].items() if "description" not in each]


@pytest.mark.parametrize("name", [n for n, each in SCHEMA["$defs"].items() if "examples" in each])
def test_examples_are_valid(name: str) -> None:
    """Each is what its own definition describes."""
    for example in SCHEMA["$defs"][name]["examples"]:
        validator(name).validate(example)


def test_every_frame_has_an_example() -> None:
    """Those that a client sends, those that it receives, and the seed's."""
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
    """A sentence for each variable of Terraform, and its type."""
    found = deployment.variables()

    assert len(found) > len(settings())
    assert [] == [each.name for each in found.values() if not each.description.endswith(".")]
    assert [] == [each.name for each in found.values() if not each.kind]


def test_every_setting_and_variable_is_documented() -> None:
    """docs/settings.md has a row for each, or for the setting that it is; and no other."""
    text = (ROOT / "docs" / "settings.md").read_text()
    names = {each.env for each in settings()} | set(deployment.variables())

    # The first cell, or the last, which may tell another default behind the name.
    rows = re.findall(r"^\| `(\w+)` \|.*?\| (?:`(\w+)`)?[^|]* \|$", text, re.MULTILINE)
    assert names == {name for row in rows for name in row if name}


# -- the security model ----------------------------------------------------------------------------


def test_numbers_in_the_security_models_words() -> None:
    """Those that stand in sentences are the sources', as those in its tables are."""
    text = " ".join((ROOT / "docs" / "security.md").read_text().split())
    with (deployment.FOLDER / "function.tf").open() as file:
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


def test_what_a_stranger_can_cost() -> None:
    """The products are those of the factors that they show; an allowance bounds what is asked."""
    cases = limits.worst()
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
    """events/README.md has a row for each file, and no other."""
    text = (ROOT / "events" / "README.md").read_text()
    samples = {path.name for path in (ROOT / "events").glob("*.json")}

    assert samples == set(re.findall(r"^\| \[([a-z0-9]+\.json)\]", text, re.MULTILINE))


# -- the decisions ---------------------------------------------------------------------------------


def test_decisions_have_numbers_of_their_own() -> None:
    """Two branches do not take the same one; each begins with its heading."""
    pages = list(decisions.pages())

    assert [] == [n for n, count in Counter(p.name[:4] for p in pages).items() if count > 1]
    assert [] == [page.name for page in pages if not page.read_text().startswith("# ")]
