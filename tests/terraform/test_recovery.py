"""A deployment that was interrupted is completed by the next apply.

With FAULTS=all in the environment, each call that creates something is refused once, and each
resource is replaced alone: this takes several minutes.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import zips
from support.control_planes import serving
from support.deployments import ARCHITECTURE
from support.e2e_clients import skip_or_fail
from support.refusing_proxy import Call, Refuser, refusing

from deploy import terraform
from local.deployment.terraform import Deployment, DeploymentError

pytestmark = pytest.mark.timeout(300)

ALL = os.environ.get("FAULTS") == "all"
EXHAUSTIVE = pytest.mark.skipif(not ALL, reason="takes minutes: FAULTS=all")

# Of about 100 calls that create a deployment: in the midst of it.
BEFORE_EXPIRY = 30
# The call at which the next run is interrupted. All that has a fixed name exists by then: an answer
# that Terraform does not wait for would leave something behind that is in no state.
CREATE_STAGE = re.compile(r"/v2/apis/\w+/stages")

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"


class Broken:
    """A deployment through a proxy that can refuse."""

    def __init__(self, url: str, refuser: Refuser, folder: Path, package: Path) -> None:
        self.refuser = refuser
        self.deployment = Deployment(url, folder)
        self.variables: dict[str, Any] = {
            "alarms": {"email": "someone@example.com"},
            "domain": {"name": "ws.example.com", "certificate_arn": CERTIFICATE},
            "package": {"path": str(package)},
            "architecture": ARCHITECTURE,
        }

    def apply(self) -> None:
        self.deployment.apply(self.variables)

    def instances(self) -> dict[str, bool]:
        """Each resource in the state, as `-replace` names it, and whether it is tainted."""
        state = json.loads((self.deployment.folder / "terraform.tfstate").read_text())
        return {
            f"{each['type']}.{each['name']}"
            + (f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""): (
                instance.get("status") == "tainted"
            )
            for each in state["resources"]
            if each["mode"] == "managed" and each["type"] != "terraform_data"
            for instance in each["instances"]
        }


@pytest.fixture
def broken(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Broken]:
    package = zips.built(zips.shared(request.config), "lambda")
    with serving("local.aws.control_plane") as url, refusing(url) as (proxy, refuser):
        try:
            yield Broken(proxy, refuser, tmp_path / "terraform", package)
        except terraform.TerraformMissingError as error:
            skip_or_fail(str(error))


def test_an_apply_goes_through_after_expired_credentials_and_an_interrupt(broken: Broken) -> None:
    """What was created but could not be read is replaced, although its name is fixed."""
    changes = 0

    def expired(call: Call) -> str | None:
        nonlocal changes
        changes += call.changes
        return "ExpiredToken" if changes > BEFORE_EXPIRY else None

    broken.refuser.refuses = expired
    with pytest.raises(DeploymentError, match=r"(?i)expired"):
        broken.apply()
    after_expiry = broken.instances()

    interrupted = False

    def interrupt(call: Call) -> str | None:
        nonlocal interrupted
        if call.changes and CREATE_STAGE.fullmatch(call.path):
            broken.deployment.signal(signal.SIGINT)  # as Ctrl-C
            interrupted = True
        return "ExpiredToken" if interrupted else None

    broken.refuser.refuses = interrupt
    with pytest.raises(DeploymentError, match=r"(?i)interrupt|cancel"):
        broken.apply()
    after_interrupt = broken.instances()

    broken.refuser.refuses = lambda _call: None
    broken.apply()

    assert any(after_expiry.values())
    assert 0 < len(after_expiry) < len(after_interrupt) < len(broken.instances())
    assert [] == broken.deployment.plan()


@EXHAUSTIVE
@pytest.mark.timeout(1200)
def test_an_apply_goes_through_after_each_refused_call(broken: Broken) -> None:
    """Each call that changes something is refused the first time; then the same apply again."""
    seen: set[Call] = set()

    def first(call: Call) -> str | None:
        if not call.changes or call in seen:
            return None
        seen.add(call)
        return "AccessDenied"

    broken.refuser.refuses = first
    for _ in range(40):  # a run gets as far as the resources whose dependencies exist
        try:
            broken.apply()
            break
        except DeploymentError:
            continue

    assert 80 < len(broken.refuser.refused)
    assert [] == broken.deployment.plan()


@EXHAUSTIVE
@pytest.mark.timeout(3600)
def test_each_resource_can_be_replaced_alone(broken: Broken) -> None:
    """As a tainted one is by the next apply."""
    broken.apply()
    failed = {}
    for address in broken.instances():
        try:
            broken.deployment.apply(broken.variables, [address])
        except DeploymentError as error:
            failed[address] = str(error)

    assert {} == failed
    assert [] == broken.deployment.plan()
