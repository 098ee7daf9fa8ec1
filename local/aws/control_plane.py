"""A control plane for Terraform, without an account: `python -m local.aws.control_plane`.

moto's server with all its services and the corrections of local/aws/moto_gaps.py, served as by
`local.aws`: loopback only, in memory, lost when the process ends.

What it does not know: most of what AWS would refuse. It accepts nearly any value of nearly any
argument, and checks no permissions: a successful deployment proves how the parts are wired and no
more. A function runs only when Lambda's Invoke is called (local/aws/invocation.py).
"""

import argparse
import os

from local.aws.moto_server import serve


def main() -> None:
    """Serves until SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser(
        prog="python -m local.aws.control_plane", description="Serves moto as a control plane."
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    options = parser.parse_args()
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # read when moto is imported

    from local.aws import moto_gaps  # noqa: PLC0415 - importing it changes the process

    moto_gaps.apply()
    serve(options.port)


if __name__ == "__main__":
    main()
