"""A version that fails at its start, applied: it never reaches the alias, nor the clients."""

import json
import shutil
from pathlib import Path

import pytest
from support.deployments import ARCHITECTURE, FIRST, OPTIONAL, Site, ann
from support.e2e_clients import text

from deploy import alias, package, state
from local.deployment.deployed import client
from local.deployment.terraform import DeploymentError

pytestmark = pytest.mark.timeout(600)  # the first test waits for the deployment


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose function does not start."""
    folder = tmp_path_factory.mktemp("broken")
    source = shutil.copytree(package.SRC, folder / "src")
    handler = source / "handler.py"
    handler.write_text(f"{handler.read_text()}\nraise RuntimeError('It does not start.')\n")
    return package.build("lambda", folder, ARCHITECTURE, source)[0]


def test_the_trial_is_an_event_that_the_function_understands(site: Site) -> None:
    """And refuses before it reads or writes anything; other JSON is refused in other words."""
    site.serving(FIRST)
    stored = json.loads((site.deployment.folder / "terraform.tfstate").read_text())
    (trial,) = state.instances(stored, "aws_lambda_invocation")

    assert {"statusCode": 403, "body": "Not authenticated."} == json.loads(trial["result"])


def test_a_version_that_does_not_start_never_reaches_the_alias(site: Site, broken: Path) -> None:
    """Clients are answered by the version before, and the next run goes through."""
    site.serving(FIRST)
    functions = client(site.url, "lambda")
    before = alias.live(functions, site.outputs)
    with pytest.raises(DeploymentError, match="It does not start"):
        site.deployment.apply(
            {
                **OPTIONAL,
                **FIRST.variables,
                "package": {"path": str(broken)},
                "architecture": ARCHITECTURE,
            }
        )
    published = functions.list_versions_by_function(FunctionName=site.outputs["function_name"])
    after = alias.live(functions, site.outputs)
    with ann(site.serving(FIRST)) as person:
        answer = text(person.say("hello"))
    site.apply_again()

    assert before == after
    assert int(before) < max(
        int(each["Version"]) for each in published["Versions"] if each["Version"] != "$LATEST"
    )
    assert "You said: hello" == answer
    assert int(after) < int(alias.live(functions, site.outputs))
