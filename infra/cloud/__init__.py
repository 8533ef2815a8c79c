"""The cloud half on AWS: network, EKS, nodes, identity, stores and the link to the site, one concern a file."""

from infra.cloud.cloud import Cloud, CloudArgs

__all__ = ["Cloud", "CloudArgs"]
