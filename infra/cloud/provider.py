"""The AWS provider of everything in the cloud half: one account, one region, the same tags on all."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra.environment import Environment

ENVIRONMENT_TAG = "isthmus:environment"

SERVICES = ("budgets", "cloudwatchlogs", "ec2", "ecr", "efs", "eks", "iam", "kms", "s3", "sts")
"""Every service that the cloud half calls, as the provider names its endpoints."""


def provider(
    environment: Environment, endpoint: pulumi.Input[str] | None, opts: pulumi.ResourceOptions
) -> aws.Provider:
    """Amazon's own API with the user's credentials, or, for a lab, the API at `endpoint`, which takes any."""
    cloud = environment.cloud
    assert cloud is not None
    tags = {ENVIRONMENT_TAG: environment.name, "isthmus:managed-by": "pulumi"}
    defaults = aws.ProviderDefaultTagsArgs(tags=tags)
    if cloud.provisioner == "aws":
        # Credentials of another account end the run before anything is touched.
        return aws.Provider(
            "aws", region=cloud.region, default_tags=defaults, allowed_account_ids=[cloud.account_id], opts=opts
        )
    return aws.Provider(
        "aws",
        region=cloud.region,
        default_tags=defaults,
        endpoints=[aws.ProviderEndpointArgs(**dict.fromkeys(SERVICES, endpoint))],
        access_key="lab",
        secret_key="lab",
        skip_credentials_validation=True,
        skip_metadata_api_check=True,
        skip_requesting_account_id=True,
        s3_use_path_style=True,
        opts=opts,
    )
