"""The provider's own settings: where the API is, and which tags everything gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from infra.providers.isthmus.handler import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`endpoints`: service as pulumi-aws names it -> URL; empty where there is nobody to ask."""

    region: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    access_key: str = ""
    secret_key: str = ""
    default_tags: Mapping[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """boto3's client of a service, as boto3 names it."""
        return boto3.client(
            service,
            endpoint_url=self.endpoints["cloudwatchlogs" if service == "logs" else service],
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=60,
            ),
        )


def settings(raw: Mapping[str, Any]) -> Settings:
    """From what the engine hands over, where nested values may be JSON texts; unknown ones count as not given."""
    known = {key: _plain(value) for key, value in raw.items() if value is not UNKNOWN}
    endpoints = (known.get("endpoints") or [{}])[0]
    given = {key: url for key, url in endpoints.items() if isinstance(url, str) and url}
    tags = (known.get("defaultTags") or {}).get("tags") or {}
    return Settings(
        region=known.get("region") or "",
        # One that is not known yet is not there yet.
        endpoints={} if UNKNOWN in endpoints.values() else given,
        access_key=known.get("accessKey") or "",
        secret_key=known.get("secretKey") or "",
        default_tags=tags,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "[{":
        return json.loads(value)
    return value
