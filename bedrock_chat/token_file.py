"""Keeps a sign-in between runs, in a file that only its owner can read.

Rules
- One file for each server, issuer, client, scope and kind of token: a token that was issued for one
  server is never sent to another, whatever that one's configuration says.
- A file that cannot be read or written is as none: the user signs in again.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bedrock_chat.issuer import Client, Tokens


def folder() -> Path:
    """Return the folder of these files: XDG Base Directory Specification, `XDG_STATE_HOME`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "bedrock-chat" / "sign-in"


def delete_all() -> int:
    """Delete every stored sign-in; return how many there were."""
    found = sorted(folder().glob("*.json"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


@dataclass(frozen=True, slots=True)
class TokenFile:
    """Where one server's sign-in is stored."""

    path: Path

    @classmethod
    def of(cls, server: str, client: Client) -> "TokenFile":
        """Return the file for this server and client."""
        purpose = json.dumps([server, client.issuer, client.client_id, client.scope, client.kind])
        return cls(folder() / f"{hashlib.sha256(purpose.encode()).hexdigest()[:32]}.json")

    def read(self) -> Tokens | None:
        """Return what is stored, expired or not."""
        try:
            stored = json.loads(self.path.read_bytes())
            return Tokens(
                str(stored["token"]), str(stored["refresh_token"]), float(stored["expires_at"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, tokens: Tokens) -> None:
        """Replace what is stored, in one step."""
        new = self.path.with_suffix(f".{secrets.token_hex(4)}")
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(asdict(tokens), file)
            new.replace(self.path)

    def delete(self) -> None:
        """Delete what is stored."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
