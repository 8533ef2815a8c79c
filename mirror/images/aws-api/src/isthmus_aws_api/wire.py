"""A request as it came over the wire: which call of which service it is, and whether it can change anything."""

from __future__ import annotations

import io
import re
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SERVICES: Final = ("budgets", "ec2", "ecr", "efs", "eks", "iam", "kms", "logs", "s3", "sts")
"""What is offered: what the cloud half calls. Others need packages that are not here, and nobody saw them restored."""

READS: Final = re.compile(r"(Batch(Check|Get)|Describe|Filter|Get|Head|List|Lookup|Search|Simulate|Test|Validate)")
KMS_READS: Final = re.compile(r"(Decrypt|Encrypt|Generate|ReEncrypt|Sign|Verify)")
NAMES: Final = "moto.preserved_header_names"
"""Where moto's server notes how headers of S3 metadata were spelled."""

OF_THE_SERVER: Final = frozenset({"REMOTE_ADDR", "REMOTE_PORT", "SERVER_SOFTWARE"})


class BrokenOff(Exception):
    """The client went away before it had sent all."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """`environ` and `names` are what can be kept of the WSGI environment."""

    environ: Mapping[str, str]
    names: Mapping[str, str]
    body: bytes

    @property
    def what(self) -> str:
        """The call in words, such as `ec2 CreateVpc` or `s3 PUT /models/champion`."""
        return f"{self.service} {self.call or self.environ['REQUEST_METHOD'] + ' ' + self._path()}"

    @property
    def service(self) -> str:
        """As the signature names it; what is not signed is for S3."""
        signed = re.search(r"Credential=[^/]*/\d+/[^/]+/([^/]+)/", self.environ.get("HTTP_AUTHORIZATION", ""))
        return signed[1] if signed else "s3"

    @property
    def call(self) -> str:
        """The name of the call; empty where method and path say it."""
        if target := self.environ.get("HTTP_X_AMZ_TARGET"):
            return target.rpartition(".")[2]
        path = self.environ.get("PATH_INFO", "")
        if rpc := re.fullmatch(r"/service/\w+/operation/(\w+)", path):
            return rpc[1]
        form = self.environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
        text = self.body.decode(errors="replace") if form else ""
        query = self.environ.get("QUERY_STRING", "")
        for part in (text, query):
            if action := urllib.parse.parse_qs(part).get("Action"):
                return action[0]
        return ""

    @property
    def reads(self) -> bool:
        """Whether a look is all that it takes."""
        if not self.call:
            return self.environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS")
        return bool(READS.match(self.call) or (self.service == "kms" and KMS_READS.match(self.call)))

    def wsgi(self) -> dict[str, Any]:
        """The environment for the application, the same for a live request and a replayed one."""
        return {
            **self.environ,
            NAMES: dict(self.names),
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def _path(self) -> str:
        path = self.environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")
        query = self.environ.get("QUERY_STRING", "")
        return f"{path}?{query}" if query else path


def received(environ: Mapping[str, Any]) -> Request:
    """All of a request. Raises BrokenOff: half an object must not become one."""
    try:
        if environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
        else:
            size = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(size)
            if len(body) < size:
                raise BrokenOff(f"{len(body)} bytes of {size} came")
    except OSError as error:
        raise BrokenOff(str(error)) from error
    kept = {
        key: value
        for key, value in environ.items()
        if isinstance(value, str) and "." not in key and key not in OF_THE_SERVER
    }
    return Request(environ=kept, names=environ.get(NAMES) or {}, body=body)
