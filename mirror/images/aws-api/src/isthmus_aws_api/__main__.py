"""Prepares the process, and only then imports the rest: modules take `datetime` by name, and moto reads settings."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from isthmus_aws_api import moment

SETTINGS = {
    # Without it moto knows none of Amazon's own policies.
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    # 1300 machine images for each region, and nothing here boots from one.
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
}


def main() -> None:
    """Serve what --data holds."""
    parser = argparse.ArgumentParser(prog="isthmus_aws_api", description="AWS in memory, with a journal")
    parser.add_argument("--data", type=Path, required=True, help="the folder that survives")
    parser.add_argument("--account", required=True, help="the number of the one account that it has")
    parser.add_argument("--address", default="0.0.0.0", help="where to listen")  # noqa: S104  a lab's network
    parser.add_argument("--port", type=int, default=5000, help="0 takes a free one, and the log says which")
    arguments = parser.parse_args()
    moment.install()
    os.environ.update(SETTINGS, MOTO_ACCOUNT_ID=arguments.account)
    from isthmus_aws_api.server import serve

    serve(arguments.data, arguments.address, arguments.port)


if __name__ == "__main__":
    main()
