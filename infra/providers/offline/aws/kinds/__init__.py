"""Every type that the stand-in for the aws plugin knows, by its token."""

from __future__ import annotations

from typing import Final

from infra.providers.offline.aws.kind import Kind
from infra.providers.offline.aws.kinds import (
    efs,
    eks,
    iam,
    launch_template,
    network,
    others,
    s3,
    security_groups,
    vpn,
)

MODULES: Final = (network, security_groups, launch_template, vpn, eks, efs, iam, others, s3)

KINDS: Final[dict[str, Kind]] = {kind.token: kind for module in MODULES for kind in module.KINDS}
