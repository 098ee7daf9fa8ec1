"""One deployment for many tests: applied once to a local control plane, then changed in place."""

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from botocore.credentials import Credentials
from support.e2e_clients import Client
from websockets.sync.client import connect

from deploy.terraform import FOLDER as ROOT_MODULE
from deploy.terraform import MODULE
from deploy.url import presigned
from deploy.wheels import this_architecture
from local.auth.issuer import run_issuer
from local.auth.sigv4 import User
from local.aws.account import ACCOUNT, REGION
from local.aws.permissions import AccountContext, Permission, Request, required_permissions
from local.deployment.deployed import Deployed, client, read
from local.deployment.stack import DeployedStack
from local.deployment.terraform import Deployment
from local.page import FOLDER
from local.stack import Child

T = TypeVar("T")

USER = User(
    arn=f"arn:aws:iam::{ACCOUNT}:user/ann", access_key="AKIALOCALANN", secret_key="a secret of ann"
)
# Bedrock User Guide, "Global cross-Region inference": where the call is made, and nowhere.
REGIONS_OF = {"global": (REGION, "")}
PATIENCE = 60.0
ARCHITECTURE = this_architecture()  # the zips run here


class Loop:
    """An event loop in a thread of its own, for what serves while a test sends requests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Version:
    """What is deployed: variables, files of the module that are other ones, and packages.

    `replaced` are resources that are replaced although nothing about them has changed.
    """

    name: str
    variables: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    lambda_zip: Path | None = None
    authorizer_zip: Path | None = None
    replaced: Sequence[str] = ()


# What every version has, so that in the end nothing of it may be left.
OPTIONAL = {
    "alarms": {"email": "someone@example.com", "monthly_budget_usd": 10},
    "web": {"folder": str(FOLDER)},
    "deletion_protection": False,
}
# What the deployed template adds to each event: the repository's does not.
MARK = {"template": "of the first version"}
# With every option that makes the function call a service.
FIRST = Version(
    "first",
    {"guardrail_id": "gr0123456789"},
    {
        "event.json.vtl": (MODULE / "event.json.vtl")
        .read_text()
        .replace('"isBase64Encoded": true', f'"isBase64Encoded": true, {json.dumps(MARK)[1:-1]}')
    },
)


class Site:
    """A control plane, a deployment on it, and what serves that deployment."""

    def __init__(self, built: Path) -> None:
        """`built` is the function's zip."""
        self._temporary = tempfile.TemporaryDirectory(prefix="deployment-")
        self.folder = Path(self._temporary.name)
        self.took: dict[str, float] = {}
        self.log: list[str] = []
        self.requests: list[Request] = []
        self.events: list[Mapping[str, Any]] = []
        self.outputs: dict[str, Any] = {}
        self.second_plan: list[str] | None = None
        self._version: Version | None = None
        self._stack: DeployedStack | None = None
        self._loop = Loop()
        self._issuing = run_issuer("chat")
        self.zip = built
        self._control_plane = Child("AWS", "local.aws.control_plane", log=self.log.append)
        try:
            self.issuer = self._loop.run(self._issuing.__aenter__())
            self._loop.run(self._control_plane.start())
            self.deployment = Deployment(self.url, self.folder / "terraform")
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Where the control plane is."""
        return self._control_plane.url

    @property
    def place(self) -> AccountContext:
        return AccountContext(
            account_id=ACCOUNT, api_id=self.outputs["api_id"], profile_regions=REGIONS_OF
        )

    @property
    def permissions(self) -> list[Permission]:
        """What the function needed for the requests that were seen so far."""
        return [
            each for request in self.requests for each in required_permissions(request, self.place)
        ]

    def wait(self) -> None:
        """Until everybody has left, and all is done that came of what they did."""
        assert self._stack is not None
        deadline = time.monotonic() + PATIENCE
        while self._stack.busy or self._connections:
            assert time.monotonic() < deadline, "the function does not come to an end"
            time.sleep(0.02)

    @property
    def _connections(self) -> int:
        """How many connections the function knows to be open."""
        event_types = [event["requestContext"]["eventType"] for event in self.events]
        return event_types.count("CONNECT") - event_types.count("DISCONNECT")

    def read(self) -> Deployed:
        return read(self.url, self.outputs["api_id"], self.outputs["stage"])

    def serving(self, version: Version) -> str:
        """Where the version is served; it is applied first where another is deployed."""
        if self._version is not version:
            self.stop()
            self._apply(version)
        if self._stack is None:
            self._serve(version)
        assert self._stack is not None
        return self._stack.url

    def apply_again(self) -> None:
        """Applies what is served once more: something else was applied in between."""
        assert self._version is not None
        version, self._version = self._version, None
        self.serving(version)

    def plan_again(self) -> None:
        """What Terraform would change of what it has just made."""
        with self.timed("second plan"):
            self.second_plan = self.deployment.plan()

    def _apply(self, version: Version) -> None:
        for name, text in version.files.items():
            (self.deployment.folder / MODULE.relative_to(ROOT_MODULE) / name).write_text(text)
        code = {
            "package": {"path": str(version.lambda_zip or self.zip)},
            "authorizer_package": {"path": str(version.authorizer_zip or self.zip)},
            "architecture": ARCHITECTURE,
        }
        with self.timed(f"apply {version.name}"):
            self.outputs = self.deployment.apply(
                {**OPTIONAL, **code, **version.variables}, version.replaced
            )
        self._version = version

    def _serve(self, version: Version) -> None:
        stack = DeployedStack(
            self.read(),
            self.url,
            self.folder / f"code-{version.name}",
            version.lambda_zip or self.zip,
            version.authorizer_zip,
            users={USER.access_key: USER},
            issuer=self.issuer.url,
            note=self.requests.append,
            record=self.events.append,
            log=self.log.append,
        )
        self._loop.run(stack.__aenter__())
        self._stack = stack

    def stop(self) -> None:
        """No longer serves."""
        if self._stack is not None:
            self._loop.run(self._stack.__aexit__())
            self._stack = None

    def token(self, name: str) -> str:
        """A token for a user, where tokens are required."""
        return self.issuer.token(name)

    def destroy(self) -> None:
        self.stop()
        with self.timed("destroy"):
            self._disable_the_page()
            self.deployment.destroy()
        self._version = None

    def _disable_the_page(self) -> None:
        """As the provider does, too, but it looks half a minute later whether it is done."""
        cloudfront = client(self.url, "cloudfront")
        for each in cloudfront.list_distributions()["DistributionList"].get("Items", []):
            found = cloudfront.get_distribution_config(Id=each["Id"])
            config = {**found["DistributionConfig"], "Enabled": False}
            cloudfront.update_distribution(
                Id=each["Id"], IfMatch=found["ETag"], DistributionConfig=config
            )

    def close(self) -> None:
        self.stop()
        self._loop.run(self._control_plane.close())
        self._loop.run(self._issuing.__aexit__(None, None, None))
        self._loop.close()
        self._temporary.cleanup()

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.took[what] = time.monotonic() - began


def signed(url: str, query: Mapping[str, str] | None = None, user: User = USER) -> str:
    """A URL with that query, as `make url` signs it."""
    credentials = Credentials(user.access_key, user.secret_key, user.token)
    return presigned(url, credentials, REGION, query)


@contextmanager
def ann(url: str, **query: str) -> Iterator[Client]:
    """A client that IAM authenticates. Every frame that it receives is held against the schema."""
    with connect(signed(url, query), max_size=None, open_timeout=PATIENCE) as socket:
        yield Client(socket, query.get("format", "events"))
