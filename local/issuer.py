"""An OIDC issuer on loopback, for `make run AUTH=jwt`: it says its key, and hands out tokens.

Rules: loopback only. It gives anybody a token for any name, for it is a toy: `GET /token/alice`.
What follows replaces claims: `/token/alice?aud=nobody` and `?seconds=-60` are refused. Its key is
made anew at each start, so what it has signed is worth nothing to anybody else.

What it does not know: people, passwords, consent, refresh tokens; everything that makes a real one.
"""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

HOST = "127.0.0.1"
ALGORITHM, KEY_ID = "ES256", "local"
TOKEN_SECONDS = 3600


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(slots=True)
class Issuer:
    """One issuer. `url` names it, in its tokens too; it is known once it serves."""

    audience: str
    url: str = ""
    _private: ec.EllipticCurvePrivateKey = field(default_factory=_key, repr=False)

    def token(self, name: str, seconds: int = TOKEN_SECONDS, **claims: Any) -> str:
        """A token for this person. `claims` replace its own."""
        now = int(time.time())
        own = {
            "iss": self.url,
            "sub": name,
            "aud": self.audience,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode({**own, **claims}, self._private, ALGORITHM, {"kid": KEY_ID})

    def app(self) -> web.Application:
        """What it serves: OpenID Connect Discovery, its key, and tokens."""
        public = ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True)

        async def discovery(_: web.Request) -> web.Response:
            return web.json_response(
                {
                    "issuer": self.url,
                    "jwks_uri": f"{self.url}/keys",
                    "id_token_signing_alg_values_supported": [ALGORITHM],
                    "response_types_supported": [],
                    "subject_types_supported": ["public"],
                }
            )

        async def keys(_: web.Request) -> web.Response:
            return web.json_response(
                {"keys": [{**public, "kid": KEY_ID, "alg": ALGORITHM, "use": "sig"}]}
            )

        async def token(request: web.Request) -> web.Response:
            claims: dict[str, Any] = dict(request.query)
            if "seconds" in claims:
                claims["seconds"] = int(claims["seconds"])
            return web.Response(text=self.token(request.match_info["name"], **claims) + "\n")

        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", discovery),
                web.get("/keys", keys),
                web.get("/token/{name}", token),
            ]
        )
        return app


@contextlib.asynccontextmanager
async def issuing(audience: str) -> AsyncIterator[Issuer]:
    """An issuer that serves on a free port."""
    issuer = Issuer(audience)
    runner = web.AppRunner(issuer.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        issuer.url = f"http://{HOST}:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()
