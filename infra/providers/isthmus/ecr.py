"""Amazon's registry: where a repository is, and how whoever is logged in to AWS may use it."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.oci import Login

HOST: Final = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


def login(host: str, **client: Any) -> Login:
    """A password for half a day, asked for with the credentials that AWS's tools take; `client`: for boto3's client."""
    found = HOST.fullmatch(host)
    if found is None:
        raise ResourceError(f"{host} is no registry of Amazon's, like 111122223333.dkr.ecr.eu-central-1.amazonaws.com")
    # Here: it takes a moment to load, and a lab never needs it. A session of its own, as threads may not share one.
    from boto3.session import Session
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = Session().client("ecr", region_name=found["region"], **client).get_authorization_token()
    except (BotoCoreError, ClientError) as fault:
        raise ResourceError(
            f"{host} gives no password: {fault}. Fix: log in to AWS (`aws sts get-caller-identity` says as whom), "
            "as somebody who may ecr:GetAuthorizationToken"
        ) from None
    user, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    return Login(url=f"https://{host}", user=user, password=password)
