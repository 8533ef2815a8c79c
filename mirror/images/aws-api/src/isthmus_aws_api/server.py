"""Restores what was made, and only then listens."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from isthmus_aws_api import cloud
from isthmus_aws_api.api import Api
from isthmus_aws_api.journal import Damaged, Journal


def serve(data: Path, address: str, port: int) -> None:
    """Until SIGTERM. Whatever was answered is on disk, so there is nothing to finish then."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stdout)
    logger = logging.getLogger("isthmus.aws-api")
    # A line for each request would be all that the log has.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _end)
    if sys.flags.hash_randomization:
        sys.exit("start it with PYTHONHASHSEED=0: sets must be walked in the same order after a restart")
    try:
        api = Api(Journal(data), cloud.application())
        api.restore()
    except Damaged as error:
        logger.error("%s", error)
        sys.exit(1)
    server = make_server(address, port, api, threaded=True, request_handler=MotoRequestHandler)
    logger.info("answering at http://%s:%d", address, server.server_port)
    server.serve_forever()


def _end(number: int, frame: Any) -> None:  # noqa: ARG001  (signal's signature)
    sys.exit(0)
