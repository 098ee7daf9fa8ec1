"""`make docs`: writes the files, and parts of files, that are generated from the sources.

`python -m tools`, with `src` on the path, rewrites each file whose generated parts are out of date
and prints its name. A test fails while one is out of date.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tools import (
    decisions,
    limits,
    model_families,
    protocol,
    protocol_schema,
    root_module,
    settings_tables,
    terraform_docs,
)
from tools.markdown import Section, fill_sections

ROOT = Path(__file__).resolve().parents[1]

SECTIONS: Mapping[str, Section] = {
    "client-frames": protocol.client_frames,
    "server-frames": protocol.server_frames,
    "seed-frames": protocol.seed_frames,
    "stop-reasons": protocol.stop_reasons,
    "states": protocol.states,
    "error-codes": protocol.error_codes,
    "protocol-limits": protocol.limits,
    "function-settings": settings_tables.function_settings,
    "deployment-variables": settings_tables.deployment_variables,
    "security-limits": limits.bounds,
    "worst-cost": limits.worst_cost,
    "decisions": decisions.index,
}


def documents() -> Iterator[tuple[Path, str]]:
    """Yields each generated file and the text that it should have."""
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        yield path, fill_sections(path.read_text(), SECTIONS)
    yield protocol_schema.FILE, protocol_schema.text()
    yield model_families.FILE, model_families.text()
    yield from root_module.files().items()
    for path in sorted(ROOT.glob("terraform/modules/*/README.md")):
        yield path, terraform_docs.filled(path)


def main() -> None:
    """Writes the files that are out of date."""
    for path, text in documents():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
