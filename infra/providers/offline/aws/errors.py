"""What boto3 raises, as one line that a person can act on."""

from __future__ import annotations

import re

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from infra.providers.offline.aws.kind import Kind

AwsFault = (BotoCoreError, ClientError, ResponseParserError)
"""Everything that a call of boto3 raises."""

_CREDENTIALS = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)


class Refused(Exception):
    """A request that the stand-in or AWS turns down; the message says what, why and, where it is known, the fix."""


def code(error: Exception) -> str:
    """AWS's own code of the error; empty where the answer had none."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else ""


def is_gone(kind: Kind, error: Exception) -> bool:
    """Whether the thing is not there any more."""
    return code(error) in kind.gone


def is_unknown_to_the_api(kind: Kind, error: Exception) -> bool:
    """Whether the lab's API does not have the call at all: it answers with a web page then.

    Only of kinds that are known for it: of any other kind that would be a fault to be told.
    """
    if kind.exercised:
        return False
    if isinstance(error, ResponseParserError):
        return True
    return isinstance(error, ClientError) and "<!doctype html>" in error.response["Error"].get("Message", "").lower()


def refused(kind: Kind, name: str, doing: str, error: Exception) -> Refused:
    """The error in words."""
    what = f"{kind.token} {name}: {doing}"
    if isinstance(error, (EndpointConnectionError, HTTPClientError)):
        return Refused(f"{what}: the AWS API does not answer ({error}); start it again: make up")
    if isinstance(error, ClientError):
        fix = "; log in again: aws sso login" if code(error) in _CREDENTIALS else ""
        message = re.sub(r"\s+", " ", error.response["Error"].get("Message", ""))[:300]
        return Refused(f"{what}: {error.operation_name}: {code(error)}: {message}{fix}")
    return Refused(f"{what}: {' '.join(str(error).split())[:300]}")
