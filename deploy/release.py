"""`make release`: what a stack elsewhere needs, in build/release/.

Rules
- The zips of both functions, for both architectures; their digests in SHA256SUMS, as `sha256sum
  --check` reads them, and in UPGRADING.md as Terraform and Lambda write them.
- UPGRADING.md has what the changelog says about this version, and how to deploy the zips from S3.
- The folder is written anew, and only when everything is built.
"""

import base64
import hashlib
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

from deploy.package import BUILD, ENTRIES, ROOT, UnresolvedImportError, build
from deploy.wheels import ARCHITECTURES, WheelsError

FOLDER = BUILD / "release"

_NOTES = """# {name} {version}

## Deploying these zips

They are for the module `terraform/modules/chat` of the same version. A stack elsewhere needs
neither Python nor this repository's tools: upload the zips of one architecture to a versioned
bucket in the stack's Region,

```sh
sha256sum --check SHA256SUMS
aws s3 cp lambda-arm64.zip "s3://$BUCKET/{name}/{version}/"
aws s3api head-object --bucket "$BUCKET" --key {name}/{version}/lambda-arm64.zip --query VersionId
```

and name bucket, key, object version and digest in the module's `package`, and in its
`authorizer_package` with `auth = "jwt"`. `architecture` must be that of the zips. A new digest is a
new version of the function, which is tried before clients reach it.

| zip | SHA-256 in base64 (`source_code_hash`, `CodeSha256`) |
|---|---|
{rows}

## Before upgrading

1. Read the changes below.
2. `terraform plan`: nothing that stores conversations (`aws_dynamodb_table`) may be replaced.
3. To go back, name the previous objects again. Stored items are read by both versions.

{changes}
"""


def release(folder: Path = FOLDER) -> list[Path]:
    """Builds the release. Returns its files.

    Raises:
        WheelsError, UnresolvedImportError: as `build`.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    zips: dict[str, bytes] = {}
    for architecture in ARCHITECTURES:
        for name in ENTRIES:
            path, made = build(name, unfinished / architecture, architecture)
            if made.startswith("no bytecode"):
                print(f"{name}-{architecture}.zip: {made}, so cold starts take longer")
            path = path.rename(unfinished / f"{name}-{architecture}.zip")
            zips[path.name] = hashlib.sha256(path.read_bytes()).digest()
        (unfinished / architecture).rmdir()
    sums = "".join(f"{digest.hex()}  {name}\n" for name, digest in sorted(zips.items()))
    (unfinished / "SHA256SUMS").write_text(sums)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changes = latest((ROOT / "CHANGELOG.md").read_text())
    (unfinished / "UPGRADING.md").write_text(
        notes(project["name"], project["version"], zips, changes)
    )
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return sorted(folder.iterdir())


def notes(name: str, version: str, zips: Mapping[str, bytes], changes: str) -> str:
    """The text of UPGRADING.md; `zips` are their digests by name."""
    rows = (
        f"| `{path}` | `{base64.b64encode(digest).decode()}` |"
        for path, digest in sorted(zips.items())
    )
    return _NOTES.format(name=name, version=version, rows="\n".join(rows), changes=changes)


def latest(changelog: str) -> str:
    """The first section of the changelog: what is not released yet, or the newest release."""
    _, heading, rest = changelog.partition("\n## ")
    return f"## {rest.partition(f'{chr(10)}## ')[0].strip()}" if heading else ""


def main() -> None:
    """Builds the release, and says what it consists of."""
    try:
        for path in release():
            print(path)
    except (WheelsError, UnresolvedImportError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
