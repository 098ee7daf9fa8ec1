"""A deployment, served on this machine: the API as read back, running the zips as deployed.

Rules
- The zips are on disk, for a control plane gives no code back; each is run only if its hash is the
  one that was deployed.
- The function's environment is the deployed one. Added are endpoints, which on AWS nobody names,
  and for an authorizer its issuer's address.
- Every call that the function makes goes through one recorder, whatever service it is for.

What it does not know: another Python version or architecture than this one's (the workers are this
Python; where a zip was built for another, its packages with compiled code are replaced by the
installed ones), memory limits, and permissions: what was recorded is for others to judge.
"""

import base64
import contextlib
import hashlib
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Self

from deploy.wheels import this_architecture
from local.auth.authorizers import Guard, anybody, custom, iam
from local.auth.sigv4 import User
from local.aws.permissions import Request
from local.aws.recorder import Recorder
from local.deployment.deployed import Deployed, DeployedFunction, NotServableError
from local.gateway.server import Gateway
from local.lambda_runtime.function import CONCURRENCY, MAX_EVENT_AGE_SECONDS, Function
from local.stack import HOST, MODEL, Child, Say

# Packages with compiled code: in a zip they are for its Python version and architecture.
COMPILED = ("cryptography", "cffi", "_cffi_backend", "msgspec")


@dataclass(eq=False)
class DeployedStack:
    """The deployment, as an async context manager: `async with DeployedStack(...) as stack`.

    `folder` gets the unpacked zips. `users` may sign where IAM is asked, by access key. `note` sees
    every request that the function makes to AWS, `record` every event that it gets. `issuer` is
    where a JWT authorizer's issuer is.
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
    record: Callable[[Mapping[str, Any]], None] = lambda _event: None
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
            recorder = Recorder(endpoints, self.note)
            parts.push_async_callback(recorder.close)
            aws = await recorder.start()
            function = self._function(
                deployed.function,
                unpacked(self.lambda_zip, deployed.function, self.folder / "function"),
                {"AWS_ENDPOINT_URL": aws, "CALLBACK_URL": f"{aws}/{deployed.stage}"},
            )
            parts.push_async_callback(function.close)
            await function.start()
            self._chat = function
            guard = await self._guard(parts)
            gateway = Gateway(
                deployed.api,
                function.invoke,
                function.invoke_async,
                stage=deployed.stage,
                api_id=deployed.api_id,
                guard=guard,
                record=self.record,
            )
            parts.push_async_callback(gateway.close)
            port = await gateway.start(HOST)
            endpoints["execute-api"] = f"http://{HOST}:{port}"
            self.url = f"ws://{HOST}:{port}/{deployed.stage}"
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    @property
    def busy(self) -> bool:
        """Whether the function has anything left to do."""
        return self._chat.busy

    async def _guard(self, parts: contextlib.AsyncExitStack) -> Guard:
        """What asks who it is, as the deployment says."""
        if self.deployed.auth == "none":
            return anybody
        if self.deployed.auth == "iam":
            return iam(self.users)
        authorizer = self.deployed.authorizer
        if authorizer is None or self.authorizer_zip is None:
            raise NotServableError("There is an authorizer, and no zip of it.")
        folder = self.folder / "authorizer"
        code = unpacked(self.authorizer_zip, authorizer, folder)
        function = self._function(authorizer, code, {"JWT_ISSUER": self.issuer})
        parts.push_async_callback(function.close)
        await function.start()
        return custom(function.invoke)

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


def unpacked(path: Path, deployed: DeployedFunction, folder: Path) -> Path:
    """The zip's content in `folder`, without compiled packages that cannot run here.

    Raises NotServableError if it is not the code that was deployed.
    """
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    if digest != deployed.code_sha256:
        raise NotServableError(f"{path} is not the code that {deployed.name} was deployed with.")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    runs_here = (deployed.runtime, deployed.architecture) == (python, this_architecture())
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        packed.extractall(folder, [n for n in names if runs_here or not n.startswith(COMPILED)])
    return folder
