"""The model ids in docs/families.md: one example per family, the first that the table lists.

Tests that need a model of every family take it from there, so that a new row is tested by itself.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from families.registry import FAMILIES, UnknownModelError, family_of

_ROW = re.compile(r"^\| (`[a-z0-9-]+`(?: `[a-z0-9-]+`)*) \| ([^|]*) \|", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


def _examples() -> dict[str, str]:
    page = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for names, examples in _ROW.findall(page):
        for model_id in _CODE.findall(examples):
            try:
                name = family_of(model_id).name
            except UnknownModelError as error:
                raise AssertionError(f"docs/families.md: {error}") from None
            assert name in _CODE.findall(names), f"docs/families.md: {model_id} is of family {name}"
            found.setdefault(name, model_id)
    missing = [row.name for row in FAMILIES if row.name not in found]
    assert not missing, f"docs/families.md has no example of {missing}"
    return {row.name: found[row.name] for row in FAMILIES}


EXAMPLES: Mapping[str, str] = _examples()
