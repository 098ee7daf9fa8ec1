"""Text that people read uses standard technical terms.

Each expression below was used in this repository and made readers guess; beside it is what to write
instead. Messages, comments and docstrings count, since all of them are read; of the tests and
benchmarks also names, but not their other texts, which are sent as data.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.__main__ import ROOT

# Regular expression: what to write instead. Only expressions without a use as a standard term.
AVOIDED = {
    r"(?:to|can|could|cannot) be had": "available; can be obtained",
    r"mend(?:s|ed|ing)?": "fix",
    r"the door": "authentication; access",
    r"(?:let|lets) (?:you |them |people |anybody |nobody )?in": "authenticated; allowed to connect",
    r"nobody|somebody|anybody|whoever|whomever": "the client, caller, user or process",
    r"tell(?! .*\bapart)|tells|told|telling": "send, report, state, return",
    r"hear|hears|heard": "receive",
    r"knocks?": "attempts to connect",
    r"bury|buried": "recover; mark as abandoned",
    r"by and by": "later",
    r"(?:go|goes|went|gone|going) on": "continue",
    r"(?:break|breaks|broke|broken) off": "incomplete; interrupted",
    r"dearest|dearer": "largest; more expensive",
    r"forgets?|forgotten": "delete; expire",
    r"slip of the pen": "typing error",
    r"talks?|talking": "connect, send, communicate",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(AVOIDED)})\b", re.IGNORECASE)

SOURCES = (
    "*.md",
    "docs/**/*.md",
    "docs/protocol.schema.json",
    "events/*.md",
    "src/**/*.py",
    "bedrock_chat/*.py",
    "deploy/*.py",
    "local/**/*.py",
    "tools/*.py",
    "terraform/**/*.tf",
    "terraform/**/*.md",
    "web/*.html",
    "web/*.js",
    "Makefile",
)
# Texts that stay, by file.
EXCEPTIONS = {
    "local/auth/modes.py": "tokens for anybody",  # programs search for this line of the output
    "src/authorizer.py": '"nobody"',  # the principal of a policy that denies
}
FILES = sorted(path.relative_to(ROOT) for pattern in SOURCES for path in ROOT.glob(pattern))


DATA_FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("tests", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts and path != Path(__file__).resolve()
)


def prose(source: str) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and names of definitions in a Python file, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name.replace("_", " ")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", DATA_FILES, ids=str)
def test_standard_terms_are_used_where_tests_explain_themselves(path: Path) -> None:
    """No name, docstring or comment uses an expression of the list."""
    found = [
        f"{path}:{number}: {match[0]!r} in {text}"
        for number, text in prose((ROOT / path).read_text())
        for match in PATTERN.finditer(text)
    ]

    assert "" == "\n".join(found)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_standard_terms_are_used(path: Path) -> None:
    """No line uses an expression of the list."""
    text = (ROOT / path).read_text().replace(EXCEPTIONS.get(str(path), "\0"), "")
    found = [
        f"{path}:{number}: {match[0]!r} in {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in PATTERN.finditer(line)
    ]

    assert "" == "\n".join(found)


def test_prose_is_what_explains_and_not_what_is_sent() -> None:
    """Comments, docstrings, and names in words."""
    source = """'''Told.'''
def is_told() -> None:  # tells
    "It tells."
    send("told")
"""
    assert ["# tells", "Told.", "is told", "It tells."] == [text for _, text in prose(source)]


def test_the_pattern_matches() -> None:
    """Each expression is found, in any letter case, and not inside other words."""
    assert PATTERN.search("The model is not to be had right now.")
    assert PATTERN.search("Nobody has let you in.")
    assert not PATTERN.search("Enough digits to tell two ids apart.")
    assert not PATTERN.search("Amending, stalking and foretelling are other words.")
