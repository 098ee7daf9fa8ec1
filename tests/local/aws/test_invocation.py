"""Covers local/aws/invocation.py: a function's zip run once, with its result or its error."""

import sys
from pathlib import Path
from typing import Any

import pytest
from support.control_planes import code

from deploy.wheels import this_architecture
from local.aws.invocation import Code, invoke, unpack

HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


def of(source: str, **environment: str) -> Code:
    return Code(
        packed=code(source),
        handler="handler.x",
        runtime=HERE,
        architecture=this_architecture(),
        environment=environment,
    )


def test_a_function_is_run_with_its_event_and_its_environment() -> None:
    """And what it prints is not its result."""
    source = (
        "import os\ndef x(event, context):\n    print('log')\n    return [event, os.environ['A']]"
    )

    assert ([{"b": 1}, "a"], False) == invoke(of(source, A="a"), {"b": 1})


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def x(event, context): raise KeyError('k')", "KeyError"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemExit(1)", "SystemExit"),
        ("import os; os._exit(3)", "Runtime.ExitError"),
        ("", "AttributeError"),
    ],
)
def test_an_error_is_returned_also_one_at_the_start(source: str, kind: str) -> None:
    """By its type, as Lambda does."""
    error, failed = invoke(of(source), {})

    assert failed
    assert kind == error["errorType"]


def test_what_is_no_zip_is_an_error() -> None:
    """It is not run."""
    broken: Any = Code(packed=b"x", handler="h.x", runtime=HERE, architecture="arm64")

    assert ("Runtime.InvalidZip", True) == (
        invoke(broken, {})[0]["errorType"],
        invoke(broken, {})[1],
    )


def test_compiled_packages_for_another_python_are_left_out(tmp_path: Path) -> None:
    """The installed ones take their place."""
    import io  # noqa: PLC0415 - of this test alone
    import zipfile  # noqa: PLC0415 - as above

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handler.py", "")
        archive.writestr("msgspec/_core.so", "")
    unpack(packed.getvalue(), "python2.7", this_architecture(), tmp_path / "other")
    unpack(packed.getvalue(), HERE, this_architecture(), tmp_path / "own")

    assert not (tmp_path / "other" / "msgspec").exists()
    assert (tmp_path / "other" / "handler.py").is_file()
    assert (tmp_path / "own" / "msgspec").is_dir()
