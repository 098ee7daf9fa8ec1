"""What Terraform applies to where there is no AWS account: `python -m local.aws.control_plane`.

moto's server with all its services, its gaps closed (local/aws/moto_gaps.py), as `local.aws` serves it:
loopback only, in memory, gone when the process ends.

What it does not know: most of what AWS would refuse. It takes nearly any value of nearly any
argument, runs nothing that is deployed, and checks no permissions: a deployment that it took proves
how the parts are wired and no more.
"""

import argparse
import os

from local.aws.moto_server import serve


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m local.aws.control_plane", description="AWS, local"
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    asked = parser.parse_args()
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # read when moto is imported

    from local.aws import moto_gaps  # noqa: PLC0415 - importing it changes the process

    moto_gaps.close()
    serve(asked.port)


if __name__ == "__main__":
    main()
