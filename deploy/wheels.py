"""The third-party code of the zips: wheels from the package index, each pinned by its hash.

Rules
- `requirements-*.txt` name every wheel with its version (that of constraints.txt, so that what is
  tested is what is deployed) and the hashes of the files that may be used for it.
- A wheel is fetched once; when all of them are there, no network is needed.

`python -m deploy.wheels` updates the requirements after a change of constraints.txt. This module
does not know what the zips take from the wheels.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PYTHON = "3.13"  # what Lambda runs
# Lambda's python3.13 runs on Amazon Linux 2023, with glibc 2.34; wheels for older versions run too.
GLIBC = ("2_34", "2_28", "2_17")
# Lambda's names of the architectures, and the wheels'.
ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}
# The packages of each zip, with all their dependencies: nothing is left to resolve.
NAMES = {
    "lambda": (
        "boto3",
        "botocore",
        "jmespath",
        "msgspec",
        "python-dateutil",
        "s3transfer",
        "six",
        "urllib3",
    ),
    "authorizer": ("cffi", "cryptography", "pycparser", "PyJWT"),
}


class WheelsError(Exception):
    """The wheels are not available. The message says why."""


def this_architecture() -> str:
    """The architecture of this machine, by Lambda's name for it."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def requirements(name: str) -> Path:
    """The file that pins the packages of the zip `name`."""
    return Path(__file__).with_name(f"requirements-{name}.txt")


def wheels(name: str, architecture: str, folder: Path) -> list[Path]:
    """The wheels of the zip `name`, from `folder` or fetched into it.

    Raises:
        WheelsError: pip cannot fetch them, or what it fetches is not what is pinned.
    """
    pinned = requirements(name)
    wanted = pinned.read_text().splitlines()
    folder.mkdir(parents=True, exist_ok=True)
    if not all(_files(line, folder) for line in wanted):
        _pip(
            "download",
            "--require-hashes",
            "-r",
            str(pinned),
            "--dest",
            str(folder),
            *_for(architecture),
        )
    return [_files(line, folder)[0] for line in wanted]


def lock(name: str) -> str:
    """The requirements of the zip `name`, with the versions of constraints.txt."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for architecture in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as unused:
            report = _pip(
                *("install", "--dry-run", "--ignore-installed", "--report", "-"),
                *("--target", unused, "--constraint", str(CONSTRAINTS)),
                *_for(architecture),
                *NAMES[name],
            )
        for each in json.loads(report)["install"]:
            package = f"{each['metadata']['name']}=={each['metadata']['version']}"
            hashes[package].add(each["download_info"]["archive_info"]["hashes"]["sha256"])
    return "".join(
        f"{package} {' '.join(f'--hash=sha256:{each}' for each in sorted(hashes[package]))}\n"
        for package in sorted(hashes, key=str.lower)
    )


def _files(line: str, folder: Path) -> list[Path]:
    """The files that the requirement's hashes allow."""
    allowed = set(re.findall(r"--hash=sha256:(\w+)", line))
    return [path for path in sorted(folder.glob("*.whl")) if _sha256(path) in allowed]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _for(architecture: str) -> Iterable[str]:
    machine = ARCHITECTURES[architecture]
    return (
        *("--no-deps", "--only-binary", ":all:", "--python-version", PYTHON),
        *(f"--platform=manylinux_{glibc}_{machine}" for glibc in GLIBC),
        f"--platform=manylinux2014_{machine}",
    )


def _pip(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WheelsError(f"pip cannot fetch the wheels: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """Writes all requirements."""
    for name in NAMES:
        requirements(name).write_text(lock(name))
        print(requirements(name).relative_to(ROOT))


if __name__ == "__main__":
    main()
