"""Serves a deployment on this machine: the API as read back, with the zips as deployed.

Rules
- The zips are read from disk, since a control plane does not return code; each is run only if its
  hash is the one that was deployed.
- The function has its deployed environment variables. Endpoints are added, and for an authorizer
  the address of its issuer.
- All calls of the function to AWS pass through one recorder.

What it does not know: another Python version or architecture than this one's (functions run with
this Python; where a zip was built for another, its packages with compiled code are replaced by the
installed ones), memory limits, and permissions: the caller evaluates the recorded requests.
"""

import base64
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Self

from local.auth.authorizers import iam_authorizer, lambda_authorizer
from local.auth.sigv4 import User
from local.aws import invocation
from local.aws.permissions import Request
from local.aws.recorder import recording
from local.deployment.deployed import Deployed, DeployedFunction, NotServableError
from local.gateway.authorization import Authorizer, allow_all
from local.gateway.server import Gateway
from local.lambda_runtime.function import CONCURRENCY, MAX_EVENT_AGE_SECONDS, Function
from local.loopback import HOST
from local.recordings import discard
from local.stack import MODEL, Child, Say


@dataclass(eq=False)
class DeployedStack:
    """The deployment, as an async context manager: `async with DeployedStack(...) as stack`.

    The zips are unpacked into `folder`. `users`, by access key, may connect where `auth` is "iam".
    `note` is called with every request of the function to AWS, `record` with every event that it
    receives. `issuer` is the URL of the JWT authorizer's issuer.
    """

    deployed: Deployed
    control_plane: str
    folder: Path
    lambda_zip: Path
    authorizer_zip: Path | None = None
    _: KW_ONLY
    users: Mapping[str, User] = field(default_factory=dict)
    issuer: str = ""
    model: str = MODEL
    note: Callable[[Request], None] = lambda _request: None
    record: Callable[[Mapping[str, Any]], None] = discard
    log: Say = print
    url: str = field(default="", init=False)
    _chat: Function = field(init=False, repr=False)
    _parts: contextlib.AsyncExitStack = field(
        default_factory=contextlib.AsyncExitStack, init=False, repr=False
    )

    async def __aenter__(self) -> Self:
        """Raises NotServableError, StackError or InitFailedError, with nothing left running."""
        deployed = self.deployed
        async with contextlib.AsyncExitStack() as parts:
            bedrock = Child("Bedrock", "local.bedrock", "--model", self.model, log=self.log)
            parts.push_async_callback(bedrock.close)
            await bedrock.start()
            endpoints = {"dynamodb": self.control_plane, "bedrock": bedrock.url}
            aws = await parts.enter_async_context(recording(endpoints, self.note))
            function = self._function(
                deployed.function,
                unpack(self.lambda_zip, deployed.function, self.folder / "function"),
                {"AWS_ENDPOINT_URL": aws, "CALLBACK_URL": f"{aws}/{deployed.stage}"},
            )
            parts.push_async_callback(function.close)
            await function.start()
            self._chat = function
            authorizer = await self._authorizer(parts)
            gateway = Gateway(
                deployed.api,
                function.invoke,
                function.invoke_async,
                stage=deployed.stage,
                api_id=deployed.api_id,
                authorizer=authorizer,
                record=self.record,
            )
            parts.push_async_callback(gateway.close)
            port = await gateway.start()
            endpoints["execute-api"] = f"http://{HOST}:{port}"
            self.url = f"ws://{HOST}:{port}/{deployed.stage}"
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    @property
    def busy(self) -> bool:
        """Whether the function has events in progress or queued."""
        return self._chat.busy

    async def _authorizer(self, parts: contextlib.AsyncExitStack) -> Authorizer:
        """Starts the authorizer of the deployment."""
        if self.deployed.auth == "none":
            return allow_all
        if self.deployed.auth == "iam":
            return iam_authorizer(self.users)
        authorizer = self.deployed.authorizer
        if authorizer is None or self.authorizer_zip is None:
            raise NotServableError(
                "The deployment has an authorizer, but no authorizer_zip was given."
            )
        folder = self.folder / "authorizer"
        code = unpack(self.authorizer_zip, authorizer, folder)
        function = self._function(authorizer, code, {"JWT_ISSUER": self.issuer})
        parts.push_async_callback(function.close)
        await function.start()
        return lambda_authorizer(function.invoke)

    def _function(
        self, deployed: DeployedFunction, code: Path, added: Mapping[str, str]
    ) -> Function:
        return Function(
            deployed.handler,
            code,
            {**deployed.environment, "AWS_LAMBDA_FUNCTION_NAME": deployed.name, **added},
            timeout=deployed.timeout,
            concurrency=deployed.concurrency or CONCURRENCY,
            max_event_age=deployed.max_event_age or MAX_EVENT_AGE_SECONDS,
            log=self.log,
        )


def unpack(path: Path, deployed: DeployedFunction, folder: Path) -> Path:
    """Unpacks a zip into `folder`, without compiled packages that cannot run here.

    Raises NotServableError if the zip is not the code that was deployed.
    """
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    if digest != deployed.code_sha256:
        raise NotServableError(f"{path} is not the code that {deployed.name} was deployed with.")
    return invocation.unpack(path, deployed.runtime, deployed.architecture, folder)
