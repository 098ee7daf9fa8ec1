"""Covers local/auth/modes.py: what each value of `AUTH` starts and prints."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from local.auth.authorizers import Auth
from local.auth.modes import AUDIENCE, AUTH_MODES, USER_NAMES, AuthMode
from local.lambda_runtime.function import InitFailedError

SRC = Path(__file__).parents[3] / "src"
URL = "ws://127.0.0.1:3001"


def with_mode(auth: Auth, use: Callable[[AuthMode], Awaitable[Any]], code: Path = SRC) -> Any:
    async def scenario() -> Any:
        async with AUTH_MODES[auth](code, lambda _: None) as mode:
            return await use(mode)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("auth", "starts"),
    [
        ("none", [f"connect: npx wscat -c '{URL}?format=text'"]),
        (
            "iam",
            [
                *(
                    f"connect as {name}: npx wscat -c '{URL}?format=text&X-Amz-"
                    for name in USER_NAMES
                ),
                f"signed URL for the page, as alice: {URL}?X-Amz-",
            ],
        ),
        (
            "jwt",
            [
                "sign in: make chat",
                f"connect as alice: npx wscat -c '{URL}?format=text' -s chat.v1 -s 'bearer.ey",
                "tokens for anybody: curl http://127.0.0.1:",
            ],
        ),
    ],
)
def test_each_mode_prints_how_to_connect(auth: Auth, starts: list[str]) -> None:
    """The hints are commands and URLs to copy."""

    async def use(mode: AuthMode) -> list[str]:
        return mode.hints(URL)

    hints = with_mode(auth, use)
    assert starts == [hint[: len(start)] for hint, start in zip(hints, starts, strict=True)]


def test_an_authorizer_that_does_not_start_is_reported(tmp_path: Path) -> None:
    """Before any client connects, and with Lambda's reason."""
    (tmp_path / "authorizer.py").write_text("import nothing_of_that_name")

    async def use(_: AuthMode) -> None:
        raise AssertionError

    with pytest.raises(InitFailedError, match="nothing_of_that_name"):
        with_mode("jwt", use, tmp_path)


def test_the_issuers_tokens_have_the_authorizers_audience() -> None:
    """The printed token is valid for the authorizer of the local stack."""

    async def use(mode: AuthMode) -> str:
        return str(mode.hints(URL)[1].partition("bearer.")[2].removesuffix("'"))

    claims = jwt.decode(with_mode("jwt", use), options={"verify_signature": False})
    assert AUDIENCE == claims["aud"]
